"""Test probabilities: predicted once for a model and its test images, and never another model's."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline import atomic_io
from pipeline.errors import UserError
from pipeline.models import probabilities, saved_model

IMAGES = np.arange(4 * 2 * 2, dtype=np.uint8).reshape(4, 2, 2, 1)


@pytest.fixture
def predicted(monkeypatch):
    """The number of images of each prediction; every one gives other probabilities."""
    counts = []

    def predict(model, images, what):
        counts.append(len(images))
        return np.full((len(images), 3), len(counts), np.float32)

    monkeypatch.setattr(saved_model, "predict", predict)
    return counts


def on_test_images(folder, sha256="a", images=IMAGES):
    saved = saved_model.SavedModel(folder / "model.h5", None, {}, sha256)
    return probabilities.on_test_images(saved, SimpleNamespace(x_test=images))


def test_they_are_predicted_once_and_read_by_every_later_script(tmp_path, predicted):
    first = on_test_images(tmp_path)
    again = on_test_images(tmp_path)
    np.testing.assert_array_equal(again, first)
    assert predicted == [4] and again.dtype == np.float32
    assert [path.name for path in tmp_path.iterdir()] == ["model_test_probabilities.npz"]


@pytest.mark.parametrize("other", [{"sha256": "b"}, {"images": IMAGES + 1}, {"images": IMAGES[:3]}])
def test_those_of_another_model_or_of_other_images_are_not_taken(other, tmp_path, predicted):
    on_test_images(tmp_path)
    found = on_test_images(tmp_path, **other)
    assert len(predicted) == 2 and (found == 2).all()
    np.testing.assert_array_equal(on_test_images(tmp_path, **other), found)
    assert len(predicted) == 2, "they have taken the place of the earlier ones"


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:100], lambda content: b"text" * 99])
def test_a_damaged_file_is_replaced(damage, tmp_path, predicted):
    on_test_images(tmp_path)
    path = tmp_path / "model_test_probabilities.npz"
    path.write_bytes(damage(path.read_bytes()))
    assert (on_test_images(tmp_path) == 2).all() and (on_test_images(tmp_path) == 2).all()


def test_a_flipped_bit_is_noticed(tmp_path, predicted):
    on_test_images(tmp_path)
    path = tmp_path / "model_test_probabilities.npz"
    content = bytearray(path.read_bytes())
    content[content.index(np.float32([1, 1]).tobytes())] ^= 1
    path.write_bytes(content)
    assert (on_test_images(tmp_path) == 2).all()


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path, predicted, monkeypatch):
    def refuse(path):
        raise UserError(f"cannot write {path} (read-only file system)")

    monkeypatch.setattr(probabilities, "replacing", refuse)
    assert on_test_images(tmp_path).shape == (4, 3)
    monkeypatch.setattr(probabilities, "replacing", atomic_io.replacing)
    assert on_test_images(tmp_path / "gone").shape == (4, 3)
    assert list(tmp_path.iterdir()) == []
