"""Pictures that the page keeps: both files, once, by class; and no name of a visitor's becomes a path."""

import stat

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason='optional: pip install -e ".[ui]"')
from pipeline.data import datasets
from pipeline.errors import UserError
from ui import answers, collect

NAMES = tuple("0123456789")


def answer(seen, names=NAMES, dataset="mnist", digit=True) -> answers.Answer:
    about = {"seen": seen, "digit": digit, "inverted": False, "heat": None, "milliseconds": 1.0}
    probabilities = np.full(len(names), 1 / len(names), np.float32)
    return answers.Answer("a model", dataset, names, probabilities, **about)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a photo.jpg"
    Image.effect_noise((60, 40), 50).convert("RGB").save(path)
    return path


@pytest.fixture
def seen():
    return np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)


def files(folder) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_picture_is_kept_as_it_was_and_as_the_model_saw_it_once(photo, seen, tmp_path):
    folder = tmp_path / "data" / "collected"
    for _ in range(2):
        kept = collect.keep(answer(seen), photo, "7", folder)
    assert kept.count == 1 and len(files(folder)) == 2
    assert kept.seen.parent == folder / "7" and kept.original.parent == folder / "7" / "original"
    assert kept.original.read_bytes() == photo.read_bytes() and kept.original.suffix == ".jpg"
    np.testing.assert_array_equal(np.asarray(Image.open(kept.seen)), seen[..., 0])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_picture_kept_as_another_class_moves_there(photo, seen, tmp_path):
    collect.keep(answer(seen), photo, "7", tmp_path)
    kept = collect.keep(answer(seen), photo, "1", tmp_path)
    assert {name for name in files(tmp_path) if name != photo.name} == {
        f"1/{kept.seen.name}",
        f"1/original/{kept.original.name}",
    }


def test_pictures_of_other_data_lie_beside_and_in_color(photo, tmp_path):
    seen = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    of_photos = answer(seen, ("large man-made outdoor things", "fish"), "cifar100", digit=False)
    kept = collect.keep(of_photos, photo, "large man-made outdoor things", tmp_path / "collected")
    assert kept.seen.parent == tmp_path / "collected-cifar100" / "large man-made outdoor things"
    np.testing.assert_array_equal(np.asarray(Image.open(kept.seen)), seen)


@pytest.mark.parametrize("name", ["../outside", "a/b", "..", ".hidden", "a\\b", "", "nul\0", "c:d", "line\nbreak"])
def test_no_name_leads_out_of_the_folder(photo, seen, tmp_path, name):
    folder = tmp_path / "data" / "collected"
    refused = [
        (answer(seen), name),  # no class of the model
        (answer(seen, (name, "7")), name),  # a class of a hostile model
        (answer(seen, NAMES, f"x/{name}", digit=False), "7"),
    ]
    for one, class_name in refused:
        with pytest.raises(UserError):
            collect.keep(one, photo, class_name, folder)
    assert not folder.parent.exists() and files(tmp_path) == {photo.name}


def test_a_picture_that_is_gone_and_a_full_folder_are_said(photo, seen, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="show it again"):
        collect.keep(answer(seen), tmp_path / "gone.png", "7", tmp_path / "collected")
    monkeypatch.setattr(collect, "MOST", 1)
    collect.keep(answer(seen), photo, "7", tmp_path / "collected")
    other = tmp_path / "other.png"
    Image.effect_noise((30, 30), 40).save(other)
    as_one = collect.keep(answer(seen), other, "1", tmp_path / "collected")
    with pytest.raises(UserError, match="remove"):
        collect.keep(answer(seen), other, "7", tmp_path / "collected")
    assert as_one.seen.exists() and as_one.original.exists(), "it is no longer anywhere"
    assert collect.keep(answer(seen), photo, "7", tmp_path / "collected").count == 1
    monkeypatch.setattr(collect, "MOST_BYTES", 1)
    with pytest.raises(UserError, match="is full"):
        collect.keep(answer(seen), other, "2", tmp_path / "collected")


def test_the_folder_is_a_data_set_of_what_the_model_saw_laid_out_as_mnist(digits, photo, tmp_path):
    folder = tmp_path / "collected"
    rng = np.random.default_rng(0)
    for k, (image, label) in enumerate(zip(digits.x_test[:80], digits.y_test[:80], strict=True)):
        path = tmp_path / f"{k}.png"
        Image.fromarray(rng.integers(0, 256, (50, 50), np.uint8)).save(path)  # the originals look otherwise
        collect.keep(answer(image), path, str(label), folder)
    found = datasets.load(str(folder), shape=(28, 28, None))
    assert found.class_names == NAMES and found.digits
    read = {image.tobytes() for image in np.concatenate([found.x_train, found.x_test])}
    assert read == {image.tobytes() for image in digits.x_test[:80]}


def test_photographs_of_digits_are_not_taken_for_digits_laid_out_as_mnist(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("3", "8"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(6):
            Image.fromarray(rng.integers(100, 256, (28, 28), np.uint8)).save(tmp_path / "photos" / name / f"{k}.png")
    assert not datasets.load(str(tmp_path / "photos"), shape=(28, 28, None)).digits
