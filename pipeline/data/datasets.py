"""Data sets as raw uint8 pixels and integer labels, with a validation part carved from train."""

import dataclasses
import functools
import math
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline import backend
from pipeline.data import arrays, own, registry, sources, toy
from pipeline.data.cifar100_labels import CIFAR100_FINE
from pipeline.data.registry import SOURCES
from pipeline.data.rows import Rows, take
from pipeline.errors import UserError

SPLIT_SEED = 0  # the same validation images whatever a run's seed, so that seeds can be compared
ENOUGH_VALIDATION = 1_000  # images


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
    notes: dict = field(default_factory=dict)  # how own data were read, for metrics.json

    @property
    def title(self) -> str:
        """Name for plots; says so when the data are not the real ones."""
        return registry.title(self.name)

    @property
    def digits(self) -> bool:
        """Whether the images are white digits on black, centered as MNIST's are."""
        if self.name in SOURCES:
            return registry.is_digits(self.name)
        return own.are_digits(self.class_names, self.x_train)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width, channels)"""
        return self.x_train.shape[1:]


def load(name: str, data_dir: str | None = None, shape: tuple[int, int, int | None] | None = None) -> Dataset:
    """Load a data set whole: its training part and its test part, in their official order.

    It is decoded once per process; its arrays are read-only, because later callers get the same ones.

    Args:
        name: of a data set in pipeline.data.registry, or a path to one of the user's own; a model's file knows own
            data by the name of their file or folder alone, which is looked for in data_dir then.
        data_dir: folder to look in; None: $DATA_DIR, else data/ and the project's own folder.
        shape: (height, width, channels) that the images are brought to, channels None: as they are; None leaves them.
    Raises:
        UserError: no such data set or folder, a damaged file, or no file and no network.
    """
    return _kept(name, places(name, data_dir), shape)


def of_model(saved, data_dir: str | None = None) -> Dataset:
    """The data set that a saved model was trained on, whole, in the shape of the model's images; see load().

    Args:
        saved: models.saved_model.SavedModel.
    Raises:
        UserError: as load() does, or its classes are no longer those of the model.
    """
    dataset = load(saved.metadata["dataset"], data_dir, saved.model.input_shape[1:])
    if list(dataset.class_names) != list(saved.metadata["class_names"]):
        raise UserError(
            f"{dataset.title} has other classes than {saved.path}, or another order of them; bring back the data that "
            "the model was trained on, or train it again"
        )
    warn_if_changed(dataset, saved)
    return dataset


def warn_if_changed(dataset: Dataset, saved) -> None:
    """Warn on stderr where a data set is no longer what a saved model was trained on; older models do not know.

    Own data without a test part get a new one when they change, with pictures in it that were training pictures.
    """
    if saved.metadata.get("data_sha256", dataset.sha256) != dataset.sha256:
        print(
            f"warning: {dataset.title} has changed since {saved.path.name} was trained: its test images may be among "
            "those that the model was trained on",
            file=sys.stderr,
        )


def places(name: str, data_dir: str | None) -> tuple[Path, ...]:
    """The folders to look in, absolute; of own data the file or folder itself; none for toy data.

    Raises:
        UserError: no such data set or folder.
    """
    if name not in SOURCES:
        return (_own_path(name, data_dir),)
    if SOURCES[name].toy:
        return ()
    return tuple(folder.resolve() for folder in sources.folders(data_dir))


def _own_path(name: str, data_dir: str | None) -> Path:
    """Where own data lie: at that path, in the data folder, or they are the data folder."""
    candidates = [Path(name)]
    if name == recorded_name(name):
        for folder in sources.folders(data_dir):
            candidates += [folder / name, *([folder] if folder.resolve().name == name else [])]
    for path in candidates:
        if path.exists():
            return path.absolute()
    raise UserError(
        f"there is no data set {name}, and no file or folder of that name here or in the data folder; choose from "
        f"{', '.join(SOURCES)}, name a path, or give the folder that holds it by --data-dir"
    )


def recorded_name(dataset: str) -> str:
    """What a data set is called in results: its name, or that of its file or folder, without those above it.

    Raises:
        UserError: own data of a named data set's name.
    """
    if dataset in SOURCES:
        return dataset
    name = Path(os.path.abspath(dataset)).name
    if name in SOURCES:
        raise UserError(
            f"{dataset} has the name of another data set; rename it, or, if it is {SOURCES[name].title}, use "
            f"--dataset {name} --data-dir {dataset}"
        )
    return name


def _decode(name: str, places: tuple[Path, ...], shape: tuple[int, int, int | None] | None = None) -> Dataset:
    """Read a whole data set into read-only arrays."""
    if name not in SOURCES:
        recorded = recorded_name(name)
        parts = own.read(places[0], shape, SPLIT_SEED)
        names, files, notes = parts.class_names, parts.files, parts.notes
        found = (parts.x_train, parts.y_train, parts.x_test, parts.y_test)
    else:
        recorded, names, notes = name, SOURCES[name].class_names, {}
        if name == "digits":
            found, files = toy.digits(), {}
        elif name == "synthetic":
            found, files = toy.synthetic(), {}
        else:
            found, files = sources.read(name, places)
    x_train, y_train, x_test, y_test = found
    digest = sources.digest({"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test})
    if name in SOURCES and SOURCES[name].sha256 not in ("", digest):
        print(f"warning: these are not the images and labels of {SOURCES[name].title} as published", file=sys.stderr)
    if shape:
        x_train, x_test = arrays.fit(x_train, shape), arrays.fit(x_test, shape)
    for array in (x_train, y_train, x_test, y_test):
        array.setflags(write=False)
    fine = {}
    if name == "cifar100":
        coarse_of = dict(y_train[:, ::-1].tolist())  # read off here, where no image is left out yet
        fine["superclasses"] = tuple(coarse_of[label] for label in sorted(coarse_of))
        fine["fine_train"], fine["fine_test"] = y_train[:, 1], y_test[:, 1]
        y_train, y_test = y_train[:, 0], y_test[:, 0]
    elif name == "cifar100-fine":
        y_train, y_test = y_train[:, 1], y_test[:, 1]
    return Dataset(recorded, names, x_train, y_train, x_test, y_test, files, digest, notes=notes, **fine)


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
        validation: fraction of the training images, in (0, 1). One below 0.05 is meant for large data sets: of others
            it is a tenth, or as much as gives 1,000 images, which is said.
        limit: number of training images to keep (stratified); None keeps all.
    Raises:
        UserError: fewer validation or training images than classes, a limit that keeps or drops fewer than that (all
            is fine), or a class of which no training image is left.
    """
    from sklearn.model_selection import train_test_split  # here: its import takes a second

    y, classes, asked = dataset.y_train, len(dataset.class_names), validation
    if validation < 0.05:
        validation = max(validation, min(0.1, ENOUGH_VALIDATION / len(y)))
    if validation * len(y) < classes - 1e-9:  # 0.29 * 100 is less than 29
        least = math.ceil(100 * classes / len(y)) / 100
        raise UserError(f"--validation {asked:g} leaves fewer validation images than classes; use at least {least:g}")
    if len(y) - math.ceil(validation * len(y)) < classes:
        raise UserError(f"--validation {asked:g} leaves fewer training images than classes; use a smaller fraction")
    kept, held_out = train_test_split(np.arange(len(y)), test_size=validation, random_state=SPLIT_SEED, stratify=y)
    if validation != asked:
        print(f"{len(held_out):,} of {len(y):,} training images are for validation, as {asked:g} of them is too few")
    # Of a single image nothing can be drawn once more for the limit.
    is_limited = limit is not None and limit != len(kept)
    _check_classes_kept(dataset, kept, 2 if is_limited else 1, f"--validation {asked}", "a smaller fraction")
    if is_limited:
        if not classes <= limit <= len(kept) - classes:
            raise UserError(f"--limit must be {classes} to {len(kept) - classes} for {dataset.name}, got {limit}")
        chosen, _ = train_test_split(np.arange(len(kept)), train_size=limit, random_state=SPLIT_SEED, stratify=y[kept])
        kept = kept[chosen]
        _check_classes_kept(dataset, kept, 1, f"--limit {limit}", "a larger one")
    parts = {}
    for kind in ("x", "y", "fine"):
        whole = getattr(dataset, f"{kind}_train")
        if whole is not None:
            parts[f"{kind}_train"] = take(whole, kept)
            parts[f"{kind}_validation"] = take(whole, held_out)
    return dataclasses.replace(dataset, **parts)


def _check_classes_kept(dataset: Dataset, kept: np.ndarray, fewest: int, flag: str, remedy: str) -> None:
    """UserError where a class that has training images keeps too few of them."""
    count = np.bincount(dataset.y_train[kept], minlength=len(dataset.class_names))
    few = [dataset.class_names[label] for label in np.unique(dataset.y_train) if count[label] < fewest]
    if few:
        raise UserError(f"{flag} leaves too few training images of {', '.join(few[:5])}; use {remedy}")


def prepare(config, shape: tuple[int, int, int | None] | None = None) -> Dataset:
    """The data set that a training script's config asks for, in a shape as load() takes it, validation carved off."""
    # Not by load(): a training process needs the parts alone, and the whole would stay in memory beside them.
    found = places(config.dataset, config.data_dir)
    with ThreadPoolExecutor(1) as pool:
        decoding = pool.submit(_decode, config.dataset, found, shape)
        backend.import_keras()  # meanwhile, since decompressing lets other threads run
    whole = decoding.result()
    dataset = split(whole, config.validation, config.limit)
    return shrink(dataset, 3 * config.batch_size) if config.dry_run else dataset


def shrink(dataset: Dataset, n: int) -> Dataset:
    """The first n images of every part, for a dry run."""
    fields = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(dataset)}
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray | Rows)}
    return dataclasses.replace(dataset, **{name: value[:n] for name, value in arrays.items()})
