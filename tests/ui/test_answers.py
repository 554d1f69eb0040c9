"""What a model answers to a picture, in numbers, words and heat maps; the page shows it."""

import os

import h5py
import numpy as np
import pytest
from page_folder import FIRST, FOREIGN, SECOND, TEXT, WORDS, expected
from PIL import Image

pytest.importorskip("gradio", reason='optional: pip install -e ".[ui]"')
from pipeline.backend import keras
from pipeline.data import datasets
from pipeline.deploy import runtimes
from pipeline.errors import UserError
from pipeline.explain import explainer
from pipeline.models import h5_scan, novelty, saved_model
from ui import answer_html, answers, data_uri, models, texts


def card(answer, method="grad-cam", language="en") -> str:
    return answer_html.card(answer, "a model", method, language)


def answered(*probabilities) -> answers.Answer:
    """An answer with these probabilities of the classes zero, one, two, …"""
    about = {"seen": np.zeros((28, 28, 1), np.uint8), "digit": False, "inverted": False, "heat": None}
    return answers.Answer("", "", WORDS[: len(probabilities)], np.float32(probabilities), milliseconds=1, **about)


def test_an_answer_is_the_models_own(folder, pictures):
    for path in pictures[:3]:
        answer = answers.answer(folder / "demo" / "second.h5", path, method="layer-cam")
        probabilities = expected(folder, path)
        best = np.argsort(-probabilities)[:5]
        assert list(answer.top()) == [WORDS[k] for k in best]
        np.testing.assert_allclose(list(answer.top().values()), probabilities[best], atol=1e-6)
        maps = explainer.Explainer(saved_model.load(folder / "first.h5"))
        np.testing.assert_allclose(answer.heat, maps(answer.seen[None], method="layer-cam")[0], atol=1e-5)
        assert answer.seen.shape == (28, 28, 1) and answer.milliseconds > 0
        shown = answer_html.overlay(answer.seen, answer.heat)
        assert np.array_equal(shown[answer.heat == 0], answer.seen.repeat(3, axis=2)[answer.heat == 0])
        assert (shown[answer.heat == 1] != answer.seen.repeat(3, axis=2)[answer.heat == 1]).any()


def test_a_current_export_gives_the_probabilities_and_keras_the_heat_map(folder, pictures, tmp_path, monkeypatch):
    made_up = np.linspace(0.01, 0.19, 10, dtype=np.float32)
    opened = runtimes.Opened(lambda images: np.tile(made_up, (len(images), 1)), (28, 28, 1), {})
    (tmp_path / "model.h5").write_bytes((folder / "first.h5").read_bytes())
    monkeypatch.setattr(runtimes, "exact_export", lambda path: opened if path == tmp_path / "model.h5" else None)
    answer = answers.answer(tmp_path / "model.h5", pictures[0])
    np.testing.assert_array_equal(answer.probabilities, made_up)
    by_keras = answers.answer(folder / "first.h5", pictures[0])
    np.testing.assert_array_equal(answer.heat, by_keras.heat)
    np.testing.assert_allclose(by_keras.probabilities, expected(folder, pictures[0]), atol=1e-6)


def test_the_digits_of_a_picture_are_found_once_for_all_models_and_again_when_it_changes(
    folder, pictures, tmp_path, monkeypatch
):
    picture, found = tmp_path / "a.png", []
    read = answers.pictures.read_digits

    def noted(path):
        found.append(path)
        return read(path)

    monkeypatch.setattr(answers.pictures, "read_digits", noted)
    for time, source in enumerate(pictures[:2], start=1):
        picture.write_bytes(source.read_bytes())
        os.utime(picture, (time, time))
        for model in (folder / "first.h5", folder / "demo" / "second.h5"):
            answer = answers.answer(model, picture)
            np.testing.assert_allclose(answer.probabilities, expected(folder, source), atol=1e-6)
    assert found.count(picture) == 2  # expected() reads the other files


def test_a_picture_that_is_unlike_the_training_images_is_called_so(folder, digits, pictures, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes((folder / "first.h5").read_bytes())
    board = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.full((5, 5), 255)).astype(np.uint8)[6:34, 6:34]
    board[[0, -1]] = board[:, [0, -1]] = 0  # a picture as MNIST's, which is taken as it is
    Image.fromarray(board).save(tmp_path / "board.png")
    assert not answers.answer(path, tmp_path / "board.png").foreign, "the file has no score"
    novelty.add(path, datasets.split(digits, 0.2))
    of_board, of_digit = (answers.answer(path, picture) for picture in (tmp_path / "board.png", pictures[0]))
    assert "does not look like a digit" in card(of_board) and "bir rakama benzemiyor" in card(of_board, language="tr")
    assert not of_digit.foreign and "look like" not in card(of_digit)


@pytest.mark.parametrize(
    ("probabilities", "says", "in_turkish"),
    [
        ((0.01, 0.97, 0.02), "one", "one"),
        ((0.41, 0.04, 0.55), "between two and zero", "two ile zero arasında"),
        ((0.3, 0.36, 0.34), "one, two or zero", "one, two veya zero"),
        ((0.2, 0.2, 0.3, 0.15, 0.15), "unsure, perhaps two", "emin değil, belki two"),
    ],
)
def test_the_verdict_names_as_many_classes_as_the_model_is_unsure_of(probabilities, says, in_turkish):
    assert answer_html.verdict(answered(*probabilities), "en") == says
    assert answer_html.verdict(answered(*probabilities), "tr") == in_turkish


def test_classes_that_are_as_good_as_impossible_get_no_bar(bars):
    assert [name for name, _ in bars(card(answered(0.9, 0.0005, 0.0985, 0.001)))] == ["zero", "two", "three"]
    assert [name for name, _ in bars(card(answered(0, 1, 0)))] == ["one"]


def test_models_of_both_folders_are_named_by_what_they_say_they_are(folder):
    assert {FIRST, SECOND, FOREIGN, TEXT} <= set(models.found(folder))
    with pytest.raises(UserError, match="make demo"):
        models.found(folder / "nowhere")


def test_every_method_is_explained_in_words():
    assert set(explainer.METHODS) <= set(texts.TEXTS)


def test_what_a_file_says_of_itself_is_text_and_never_markup(folder, pictures, tmp_path):
    with h5py.File(folder / "first.h5") as file:
        content = file.attrs["pipeline"]
    evil = tmp_path / "evil.h5"
    evil.write_bytes((folder / "first.h5").read_bytes())
    with h5py.File(evil, "a") as file:
        file.attrs["pipeline"] = content.replace(FIRST, "<script>").replace('"0"', '"<img>"').replace('"7"', '"<img>"')
        file.attrs[h5_scan.DIGEST] = h5_scan.digest(file)
    answer = answers.answer(evil, pictures[0])
    shown = answer_html.card(answer, "<script>", "grad-cam", "en", {"<script>": "<img>"})
    shown += answer_html.glance(answer, "en") + answer_html.message("<script>", alert=True)
    assert "<script>" not in shown and "<img>" not in shown and "&lt;script&gt;" in shown


def test_an_ensemble_is_answered_without_a_heat_map(folder, pictures, tmp_path):
    one = saved_model.load(folder / "first.h5")
    ensemble = keras.Model(one.input, keras.layers.Average()([one.output, one.output]), name="ensemble")
    about = {"prefix": "ensemble", "title": "Ensemble", "dataset": "digits", "class_names": WORDS}
    saved_model.save(ensemble, tmp_path / "ensemble.h5", image_shape=(28, 28, 1), **about)
    answer = answers.answer(tmp_path / "ensemble.h5", pictures[0])
    np.testing.assert_allclose(answer.probabilities, expected(folder, pictures[0]), atol=1e-6)
    shown = card(answer)
    assert "No heat map" in shown and shown.count("<figure>") == 1


def test_a_model_without_a_fine_map_is_answered_and_explained_by_occlusion_alone(folder, pictures, tmp_path):
    pixels = keras.Input((28, 28, 1))
    logits = keras.layers.Dense(10)(keras.layers.Flatten()(pixels))
    about = {"prefix": "flat", "title": "Flat", "dataset": "digits", "class_names": WORDS}
    model = keras.Model(pixels, keras.layers.Softmax()(logits))
    saved_model.save(model, tmp_path / "flat.h5", image_shape=(28, 28, 1), **about)
    assert "No heat map" in card(answers.answer(tmp_path / "flat.h5", pictures[0]))
    assert answers.answer(tmp_path / "flat.h5", pictures[0], method="occlusion").heat.any()


def test_a_method_that_knows_of_no_class_is_not_shown_as_a_reason_for_one(folder, pictures):
    answer = answers.answer(folder / "first.h5", pictures[0], method="eigen-cam")
    without_class, with_class = (card(answer, method) for method in ("eigen-cam", "grad-cam"))
    assert "whatever the class" in without_class and "evidence" not in without_class
    assert "evidence" in with_class


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text.png", "not a picture"),
        ("script.png", "not a picture"),
        ("enormous.png", "9,000 x 9,000 pixels"),
        ("bomb.png", "pixels"),
        ("blank.png", "cannot find a digit"),
        ("cut.png", "damaged"),
    ],
)
def test_a_bad_picture_is_answered_with_a_message_that_names_it_without_its_folder(folder, bad_pictures, name, says):
    with pytest.raises(UserError, match=says) as problem:
        answers.answer(folder / "first.h5", bad_pictures[name])
    assert name in str(problem.value) and "/" not in str(problem.value)


@pytest.mark.parametrize("value", ["nonsense", "data:image/png;base64,***", "data:text/html;base64,aGVsbG8="])
def test_what_is_no_drawing_is_refused(value, tmp_path):
    with pytest.raises(UserError):
        data_uri.save(value, tmp_path)
    with pytest.raises(UserError):
        data_uri.save("data:image/png;base64," + "A" * (data_uri.LARGEST + 4), tmp_path)
    assert data_uri.save("", tmp_path) is None and not list(tmp_path.iterdir())


def test_drawings_end_before_the_disk_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(data_uri, "MOST_STORED", 3)
    assert data_uri.save("data:image/png;base64,aGVsbG8=", tmp_path).exists()
    with pytest.raises(UserError, match="too many"):
        data_uri.save("data:image/png;base64,aGVsbG8h", tmp_path)


def test_a_picture_that_is_gone_is_not_called_a_missing_model(folder, tmp_path):
    with pytest.raises(UserError, match=r"^the picture is no longer there; show it again$"):
        answers.answer(folder / "first.h5", tmp_path / "picture-gone.png")
