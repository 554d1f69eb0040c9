"""A data set of the user's own: an .npz file, IDX or CSV files, or a folder of pictures by class."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.data import arrays, folder, registry
from pipeline.data.arrays import Parts
from pipeline.data.rows import chunks, take
from pipeline.errors import UserError

TEST_FRACTION = 0.2  # of the images, where the data have no test part of their own
FEWEST = 5  # images of a class, in all: fewer cannot be divided into three parts
UNBALANCED = 3.0  # times as many images of the largest class as of the smallest that are worth a line
FORMS = (
    "a folder with a folder of pictures for each class, or train/ and test/ with such folders in them; an .npz file "
    "with x_train, y_train, x_test, y_test; a folder with four IDX files; train.csv with a column `label`"
)


def read(path: Path, shape: tuple[int, int, int | None] | None, seed: int) -> Parts:
    """Read own data, with a test part in any case; says what was read, and what is odd about it.

    Args:
        path: a file or folder in one of FORMS.
        shape: (height, width, channels) that pictures are decoded to, channels None: gray where all are.
        seed: of the test part, where it has to be carved.
    Raises:
        UserError: another form, a damaged file, one class, or too few images of a class.
    """
    print(f"reading {path}")
    parts = _parts(path, shape)
    _check_classes(parts, path)
    if "left_out" in parts.notes:
        print(f"left out: {parts.notes['left_out']}")
    if parts.x_test is None:
        _carve_test_part(parts, seed)
    _note_balance(parts)
    _note_duplicates(parts)
    return parts


def _parts(path: Path, shape) -> Parts:
    if path.is_file():
        if path.suffix == ".npz":
            return _of_npz(path)
        if path.suffix == ".csv":
            return arrays.read_csv_set(path, None, path.name)
        raise UserError(f"{path} is no data set; --dataset takes {FORMS}")
    if idx := arrays.idx_files(path):
        return arrays.read_idx_set(idx)
    train, test = arrays.csv_files(path)
    if train:
        return arrays.read_csv_set(train, test, path.name)
    if pictures := folder.found(path):
        return folder.read(path, pictures, shape)
    npz = sorted(path.glob("*.npz"))
    if len(npz) == 1:
        return _of_npz(npz[0])
    listed = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
    raise UserError(f"{path} is no data set: it holds {listed}; --dataset takes {FORMS}")


def are_digits(class_names: tuple[str, ...], images: np.ndarray) -> bool:
    """Whether images (n, h, w, c) are white digits on black as MNIST's: 28x28, gray, and nine in ten black all around.

    So are the digits that the page collects, and EMNIST's; photographs of digits are not.
    """
    if not set(class_names) <= set(registry.DIGIT_NAMES) or images.shape[1:] != (28, 28, 1):
        return False
    edges = np.array(images)
    edges[:, 1:-1, 1:-1] = 0
    return bool(np.mean(edges.max(axis=(1, 2, 3)) == 0) >= 0.9)


def _of_npz(path: Path) -> Parts:
    return arrays.parts(arrays.read_npz(path), path.name, {path.name: arrays.sha256(path)})


def _check_classes(parts: Parts, path: Path) -> None:
    names, labels = parts.class_names, parts.y_train
    if len(names) < 2:
        raise UserError(f"{path} has one class, {names[0]}; there is nothing to tell apart")
    count = np.bincount(labels, minlength=len(names))
    few = np.flatnonzero(count < FEWEST)
    if len(few):
        listed = ", ".join(f"{names[k]} ({count[k]})" for k in few[:5])
        raise UserError(f"{path} has too few training images of {listed}; each class needs {FEWEST} at least")


def _carve_test_part(parts: Parts, seed: int) -> None:
    """Make a stratified fifth of the images the test part."""
    from sklearn.model_selection import train_test_split  # here: its import takes a second

    n, classes = len(parts.y_train), len(parts.class_names)
    if TEST_FRACTION * n < classes:
        raise UserError(f"a fifth of {n} images is fewer than the {classes} classes; add images")
    kept, test = train_test_split(np.arange(n), test_size=TEST_FRACTION, random_state=seed, stratify=parts.y_train)
    x, y = parts.x_train, parts.y_train
    parts.x_train, parts.y_train, parts.x_test, parts.y_test = take(x, kept), y[kept], take(x, test), y[test]
    parts.notes["test_part"] = f"a stratified fifth of the images, seed {seed}"
    print(f"no test part of its own: a stratified fifth, {len(test):,} of {n:,} images, is the test part (seed {seed})")


def _note_balance(parts: Parts) -> None:
    count = np.bincount(parts.y_train, minlength=len(parts.class_names))
    if count.max() >= UNBALANCED * count.min():
        most, least = (f"{count[k]:,} of {parts.class_names[k]}" for k in (count.argmax(), count.argmin()))
        print(f"the classes are unbalanced, from {least} to {most}; --class-weights balanced makes up for it")


def _note_duplicates(parts: Parts) -> None:
    """Count the test images that are training images, too, which make a test worthless."""
    known = set(_contents(parts.x_train))
    twice = sum(content in known for content in _contents(parts.x_test))
    parts.notes["test_images_in_training"] = twice
    if twice:
        print(f"warning: {twice:,} of {len(parts.x_test):,} test images are training images, too; remove them")


def _contents(images) -> Iterator[bytes]:
    """A digest of each image's pixels."""
    for part in chunks(images, "images compared"):
        for image in part:
            yield hashlib.sha256(image).digest()
