"""gradcam.py: which questions it answers, and what it draws for them."""

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gradcam
from pipeline.backend import keras
from pipeline.errors import UserError
from pipeline.explain import plots
from pipeline.models import probabilities, saved_model


def test_a_model_that_cannot_be_explained_does_not_stop_the_others(folder, tmp_path, capsys):
    one = saved_model.load(folder / "first.h5")
    vote = keras.Model(one.input, keras.layers.Average()([one.output, one.output]), name="vote")
    about = {"title": "Some", "dataset": "digits", "class_names": list("0123456789")}
    for model, name in ((vote, "cifar100_cnn_scratch.h5"), (one, "custom_cnn_model.h5")):
        saved_model.save(model, tmp_path / name, image_shape=(28, 28, 1), prefix=name.split("_")[0], **about)
    assert gradcam.main(["--output-dir", str(tmp_path)]) == 1
    assert "vote does not end in a softmax layer" in capsys.readouterr().err
    assert (tmp_path / "custom_gradcam.png").exists() and (tmp_path / "custom_gradcam_all.png").exists()
    assert (tmp_path / "gradcam_overview.png").exists(), "of those that can be explained"
    saved_model.save(vote, tmp_path / "custom_cnn_model.h5", image_shape=(28, 28, 1), prefix="custom", **about)
    with pytest.raises(UserError, match="vote"):
        gradcam.main(["--output-dir", str(tmp_path)])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--method", "eigen-cam", "--target", "4"], "eigen-cam asks for no class"),
        (["--method", "eigen-cam", "--against", "4"], "eigen-cam asks for no class"),
        (["--target", "4", "--against", "4"], "both 4"),
        (["--target", "ten"], "there is no class ten"),
    ],
)
def test_a_question_without_an_answer_is_bad_input(folder, tmp_path, flags, says):
    with pytest.raises(UserError, match=says):
        gradcam.main([str(folder / "first.h5"), "--output-dir", str(tmp_path), *flags])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        ([], "models"),
        (["--method", "occlusion"], "models/demo"),
        (["--target", "4"], "models/demo"),
        (["models/first.h5", "a.png", "--method", "occlusion"], "models"),
        (["--method", "occlusion", "--output-dir", "there"], "there"),
    ],
)
def test_another_explanation_never_replaces_the_default_ones_picture(flags, where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = gradcam.parse(gradcam.Config, flags)
    assert gradcam.folder_for(Path("models/first.h5"), config) == Path(where) and Path(where).is_dir()


def test_the_first_of_each_class_that_fits():
    labels, fits = np.array([2, 0, 2, 1, 0]), np.array([False, True, True, False, True])
    assert gradcam.first_of_each_class(labels, fits) == {0: 1, 2: 2}


def test_the_page_has_the_first_right_and_wrong_image_of_the_most_confused_classes():
    labels = np.array([0, 1, 0, 1, 1, 2, 0, 2, 2])
    predicted = np.array([0, 1, 2, 0, 0, 2, 0, 2, 1])
    assert gradcam.confused_examples(labels, predicted, 3) == [1, 3, 0, 2, 5, 8]
    assert gradcam.confused_examples(labels, labels, 3) == []


def test_the_page_is_full_at_eight_images():
    labels, predicted = np.arange(20) % 10, np.r_[np.arange(10), (np.arange(10) + 1) % 10]
    assert len(gradcam.confused_examples(labels, predicted, 10)) == 8


@pytest.fixture
def drawn(monkeypatch):
    """Arguments of what is drawn, by the plot's name; the model's answers stand for themselves."""
    plots_drawn = {"sheet": [], "page": [], "overview": []}
    for name, calls in plots_drawn.items():
        monkeypatch.setattr(plots, name, lambda *arguments, calls=calls: calls.append(arguments))
    monkeypatch.setattr(
        probabilities, "on_test_images", lambda saved, dataset: np.eye(10)[np.arange(len(dataset.x_test)) % 10]
    )
    monkeypatch.setattr(
        gradcam.Explained,
        "maps",
        lambda self, images, classes, against=None: dict.fromkeys(self.methods, np.ones((len(images), 28, 28))),
    )
    return plots_drawn


def test_the_overview_has_right_answers_of_a_model_of_each_data_set_and_no_wrong_one(folder, tmp_path, drawn):
    shutil.copy(folder / "first.h5", tmp_path / "custom_cnn_model.h5")
    gradcam.main(["--output-dir", str(tmp_path)])
    ((examples, finding, *_),) = drawn["overview"]
    assert len(examples) == 6 and finding.startswith("6 right answers")
    for image, answer, truth, heat in examples:
        assert answer.removeprefix("answer: ").split(",")[0] == truth.removeprefix("image: ")
        assert image.shape == (28, 28, 1) and heat.shape == (28, 28)
    gradcam.main([str(tmp_path / "custom_cnn_model.h5")])
    assert len(drawn["overview"]) == 1, "of one model that is named there is none"


@pytest.mark.parametrize(("method", "most", "heads"), [("eigen-cam", 1, 1), ("layer-cam", 2, 2)])
def test_a_method_that_asks_for_no_class_shows_one_map_of_an_image(folder, tmp_path, drawn, method, most, heads):
    gradcam.main([str(folder / "first.h5"), "--output-dir", str(tmp_path / "new"), "--method", method])
    assert (tmp_path / "new").is_dir()
    ((groups, rows, *_),) = drawn["sheet"]
    assert max(len(cell[2]) for row in rows for cell in row if not isinstance(cell, str)) == most
    assert len(groups["got wrong"]) == heads


@pytest.mark.parametrize(
    ("flags", "heads"),
    [
        ([], ["Grad-CAM", "+ expected gradients"]),
        (["--method", "grad-cam"], ["Grad-CAM"]),
        (["--method", "layer-cam", "--layer", "fused"], ["Grad-CAM (2 stages)", "LayerCAM (2 stages)"]),
    ],
)
def test_grad_cam_is_always_on_the_page_and_another_explanation_beside_it(folder, tmp_path, drawn, flags, heads):
    gradcam.main([str(folder / "first.h5"), "--output-dir", str(tmp_path), *flags])
    ((found, examples, finding, *_),) = drawn["page"]
    assert found == heads
    assert 6 <= len(examples) <= 8 and all(len(maps) == len(heads) for _, _, maps in examples)
    captions = [caption for _, caption, _ in examples]
    assert any("right" in caption for caption in captions) and any("wrong" in caption for caption in captions)
    assert finding.startswith("Evidence for the predicted class: half of it lies on ")


def test_the_title_of_a_page_says_on_how_much_of_the_images_half_of_the_evidence_lies():
    one, all_of_them, none = np.zeros((10, 10)), np.ones((10, 10)), np.zeros((10, 10))
    one[3, 4] = 1
    title = partial(gradcam.Explained.finding, SimpleNamespace(what="Evidence"))
    assert title([one, all_of_them, none]) == "Evidence: half of it lies on 1 to 50% of the image"
    assert title([one, one]) == "Evidence: half of it lies on 1% of the image"
    assert title([none]) == "Evidence: none was found"


def test_thorough_is_refused_for_a_method_that_knows_no_more_masks(folder, tmp_path):
    with pytest.raises(UserError, match="--thorough"):
        gradcam.main([str(folder / "first.h5"), "--output-dir", str(tmp_path), "--method", "layer-cam", "--thorough"])


def test_a_test_image_of_cifar100_has_a_fine_class_and_another_none():
    assert gradcam.fine_class(SimpleNamespace(fine_test=np.array([3, 1])), 0) == "bear"
    assert gradcam.fine_class(SimpleNamespace(fine_test=None), 0) == ""
