"""Data sets as raw uint8 pixels and integer labels, with a validation part carved from train."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from pipeline import embedded, files
from pipeline.errors import BadInput
from pipeline.names import CIFAR100_COARSE

SPLIT_SEED = 0  # the same validation images whatever a run's seed, so that seeds can be compared
TITLES = {
    "mnist": "MNIST",
    "cifar100": "CIFAR-100, 20 superclasses",
    "digits": "embedded 8x8 digits, not MNIST",
    "shapes": "embedded drawn shapes, not CIFAR-100",
}


@dataclass(frozen=True)
class Dataset:
    """Images (n, height, width, channels) uint8 in [0, 255] and labels (n,) int64 in class_names' order."""

    name: str
    class_names: tuple[str, ...]
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    files: dict[str, str]  # file name -> SHA-256 of what was read
    x_validation: np.ndarray | None = None
    y_validation: np.ndarray | None = None

    @property
    def title(self) -> str:
        """Name for figures; says so when the data are not the real ones."""
        return TITLES[self.name]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width, channels)"""
        return self.x_train.shape[1:]


def load(name: str, data_dir: str | None = None) -> Dataset:
    """Load a data set whole: its training part and its test part, in their official order.

    Args:
        name: "mnist", "cifar100", "digits" or "shapes".
        data_dir: folder to look in; None: $DATA_DIR, else data/ and the project's own folder.
    Raises:
        BadInput: no such folder, a damaged file, or no file and no network.
    """
    if name == "digits":
        return Dataset(name, tuple("0123456789"), *embedded.digits(), files={})
    if name == "shapes":
        return Dataset(name, embedded.SHAPE_NAMES, *embedded.shapes(), files={})
    places = files.folders(data_dir)
    if name == "mnist":
        arrays, hashes = files.mnist(places)
        return Dataset(name, tuple("0123456789"), *arrays, files=hashes)
    arrays, hashes = files.cifar100(places)
    return Dataset(name, CIFAR100_COARSE, *arrays, files=hashes)


def split(dataset: Dataset, validation: float = 0.1, limit: int | None = None) -> Dataset:
    """Carve a stratified, seeded validation part from train, then keep `limit` training images.

    Args:
        validation: share of the training images, in [0, 1); 0 leaves none.
        limit: number of training images to keep (stratified); None keeps all.
    Raises:
        BadInput: fewer validation images than classes, or a limit below that or above what there is.
    """
    x, y, parts = dataset.x_train, dataset.y_train, {}
    if validation:
        if validation * len(y) < len(dataset.class_names):
            raise BadInput(f"--validation {validation} leaves fewer validation images than classes; use a larger share")
        kept, held_out = train_test_split(np.arange(len(y)), test_size=validation, random_state=SPLIT_SEED, stratify=y)
        parts = {"x_validation": x[held_out], "y_validation": y[held_out]}
        x, y = x[kept], y[kept]
    if limit is not None and limit != len(y):
        classes = len(dataset.class_names)
        if not classes <= limit <= len(y) - classes:
            raise BadInput(f"--limit must be {classes} to {len(y) - classes} for {dataset.name}, got {limit}")
        kept, _ = train_test_split(np.arange(len(y)), train_size=limit, random_state=SPLIT_SEED, stratify=y)
        x, y = x[kept], y[kept]
    return dataclasses.replace(dataset, x_train=x, y_train=y, **parts)


def prepare(config) -> Dataset:
    """The data set that a training script's config asks for, validation carved off."""
    dataset = split(load(config.dataset, config.data_dir), config.validation, config.limit)
    return shrink(dataset, 3 * config.batch_size) if config.dry_run else dataset


def shrink(dataset: Dataset, n: int) -> Dataset:
    """The first n images of every part, for a dry run."""
    arrays = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(dataset)}
    return dataclasses.replace(
        dataset, **{name: value[:n] for name, value in arrays.items() if isinstance(value, np.ndarray)}
    )
