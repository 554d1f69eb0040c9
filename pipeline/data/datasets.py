"""Data sets as raw uint8 pixels and integer labels, with a validation part carved from train."""

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data import sources, toy
from pipeline.data.cifar100_labels import CIFAR100_COARSE, CIFAR100_FINE
from pipeline.errors import UserError

SPLIT_SEED = 0  # the same validation images whatever a run's seed, so that seeds can be compared
TITLES = {
    "mnist": "MNIST",
    "cifar100": "CIFAR-100, 20 superclasses",
    "digits": "8x8 digits (toy data, not MNIST)",
    "synthetic": "synthetic shapes (toy data, not CIFAR-100)",
}
TOY = ("digits", "synthetic")  # need no file and no network; for trying things out
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Dataset:
    """Images (n, height, width, channels) uint8 in [0, 255] and labels (n,) int64 in class_names' order."""

    name: str
    class_names: tuple[str, ...]
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    sources: dict[str, str]  # name -> SHA-256 of each file that was read; empty for toy data
    sha256: str  # of the decoded arrays of the whole data set, all labels included, before any split or limit
    x_validation: np.ndarray | None = None
    y_validation: np.ndarray | None = None
    # CIFAR-100's 100 fine labels of the same images, in the order of CIFAR100_FINE
    fine_train: np.ndarray | None = None
    fine_validation: np.ndarray | None = None
    fine_test: np.ndarray | None = None
    superclasses: tuple[int, ...] = ()  # coarse label of each fine one

    @property
    def title(self) -> str:
        """Name for plots; says so when the data are not the real ones."""
        return TITLES[self.name]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width, channels)"""
        return self.x_train.shape[1:]


def load(name: str, data_dir: str | None = None) -> Dataset:
    """Load a data set whole: its training part and its test part, in their official order.

    It is decoded once per process; its arrays are read-only, because later callers get the same ones.

    Args:
        name: "mnist", "cifar100", "digits" or "synthetic".
        data_dir: folder to look in; None: $DATA_DIR, else data/ and the project's own folder.
    Raises:
        UserError: no such data set or folder, a damaged file, or no file and no network.
    """
    return _kept(name, _places(name, data_dir))


def _places(name: str, data_dir: str | None) -> tuple[Path, ...]:
    """The folders to look in, absolute; none for toy data."""
    if name not in TITLES:
        raise UserError(f"there is no data set {name}; choose from {', '.join(TITLES)}")
    if name in TOY:
        return ()
    return tuple(folder.resolve() for folder in sources.folders(data_dir))


def _decode(name: str, places: tuple[Path, ...]) -> Dataset:
    """Read a whole data set into read-only arrays."""
    if name == "digits":
        arrays, files, names = toy.digits(), {}, DIGITS
    elif name == "synthetic":
        arrays, files, names = toy.synthetic(), {}, toy.SYNTHETIC_NAMES
    elif name == "mnist":
        arrays, files = sources.mnist(places)
        names = DIGITS
    else:
        arrays, files = sources.cifar100(places)
        names = CIFAR100_COARSE
    digest = hashlib.sha256()
    for array in arrays:
        array.setflags(write=False)
        digest.update(np.ravel(array))
    x_train, y_train, x_test, y_test = arrays
    fine = {}
    if name == "cifar100":
        coarse_of = dict(y_train[:, ::-1].tolist())  # read off here, where no image is left out yet
        fine["superclasses"] = tuple(coarse_of[label] for label in sorted(coarse_of))
        fine["fine_train"], fine["fine_test"] = y_train[:, 1], y_test[:, 1]
        y_train, y_test = y_train[:, 0], y_test[:, 0]
    return Dataset(name, names, x_train, y_train, x_test, y_test, files, digest.hexdigest(), **fine)


_kept = functools.lru_cache(maxsize=2)(_decode)  # two: the real ones


def with_fine_labels(dataset: Dataset) -> Dataset:
    """The same images with their fine labels in place of the coarse ones, but for the test images.

    Raises:
        UserError: the data set has none.
    """
    if dataset.fine_train is None:
        raise UserError(f"--labels fine needs CIFAR-100; {dataset.title} has one kind of label")
    return dataclasses.replace(
        dataset,
        class_names=CIFAR100_FINE,
        y_train=dataset.fine_train,
        y_validation=dataset.fine_validation,
    )


def split(dataset: Dataset, validation: float = 0.1, limit: int | None = None) -> Dataset:
    """Carve a stratified, seeded validation part from train, then keep `limit` training images.

    Args:
        validation: fraction of the training images, in (0, 1).
        limit: number of training images to keep (stratified); None keeps all.
    Raises:
        UserError: fewer validation images than classes, or a limit that keeps or drops fewer than that (all is fine).
    """
    from sklearn.model_selection import train_test_split  # here: its import takes a second

    y, classes = dataset.y_train, len(dataset.class_names)
    if validation * len(y) < classes:
        raise UserError(f"--validation {validation} leaves fewer validation images than classes; use a larger fraction")
    kept, held_out = train_test_split(np.arange(len(y)), test_size=validation, random_state=SPLIT_SEED, stratify=y)
    if limit is not None and limit != len(kept):
        if not classes <= limit <= len(kept) - classes:
            raise UserError(f"--limit must be {classes} to {len(kept) - classes} for {dataset.name}, got {limit}")
        chosen, _ = train_test_split(np.arange(len(kept)), train_size=limit, random_state=SPLIT_SEED, stratify=y[kept])
        kept = kept[chosen]
    parts = {}
    for kind in ("x", "y", "fine"):
        whole = getattr(dataset, f"{kind}_train")
        if whole is not None:
            parts[f"{kind}_train"] = whole[kept]
            parts[f"{kind}_validation"] = whole[held_out]
    return dataclasses.replace(dataset, **parts)


def prepare(config) -> Dataset:
    """The data set that a training script's config asks for, validation carved off."""
    # Not by load(): a training process needs the parts alone, and the whole would stay in memory beside them.
    whole = _decode(config.dataset, _places(config.dataset, config.data_dir))
    dataset = split(whole, config.validation, config.limit)
    return shrink(dataset, 3 * config.batch_size) if config.dry_run else dataset


def shrink(dataset: Dataset, n: int) -> Dataset:
    """The first n images of every part, for a dry run."""
    fields = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(dataset)}
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    return dataclasses.replace(dataset, **{name: value[:n] for name, value in arrays.items()})
