"""gradcam.py: which questions it answers, and what it draws for them."""

from pathlib import Path

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
    assert (tmp_path / "custom_gradcam.png").exists()
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


def test_a_method_that_asks_for_no_class_shows_one_map_of_an_image(folder, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "sheet", lambda groups, rows, *rest: drawn.append((groups, rows)))
    monkeypatch.setattr(
        probabilities, "on_test_images", lambda saved, dataset: np.eye(10)[np.arange(len(dataset.x_test)) % 10]
    )
    for method in ("eigen-cam", "layer-cam"):
        monkeypatch.setattr(gradcam.Explained, "maps", lambda self, images, classes, against=None: np.ones(len(images)))
        gradcam.main([str(folder / "first.h5"), "--output-dir", str(tmp_path / "new"), "--method", method])
    assert (tmp_path / "new").is_dir()
    maps = [max(len(cell[2]) for row in rows for cell in row if not isinstance(cell, str)) for _, rows in drawn]
    assert maps == [1, 2]
    assert [groups["got wrong"] for groups, _ in drawn] == [["whatever the class"], ["predicted class", "true class"]]
