"""Data sets as raw uint8 pixels and integer labels, found on disk or downloaded by Keras."""

import dataclasses
import gzip
import hashlib
import os
import socket
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from pipeline import embedded
from pipeline.errors import BadInput
from pipeline.names import CIFAR100_COARSE

SPLIT_SEED = 0  # the same validation images whatever a run's seed, so that seeds can be compared
PROJECT = Path(__file__).resolve().parent.parent
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
    return {"mnist": _mnist, "cifar100": _cifar100}[name](_folders(data_dir))


def split(dataset: Dataset, validation: float = 0.1, limit: int | None = None) -> Dataset:
    """Carve a stratified, seeded validation part from train, then keep `limit` training images.

    Args:
        validation: share of the training images, in [0, 1); 0 leaves none.
        limit: number of training images to keep (stratified); None keeps all.
    Raises:
        BadInput: limit is smaller than the number of classes or larger than what there is.
    """
    x, y, parts = dataset.x_train, dataset.y_train, {}
    if validation:
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


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folders(data_dir: str | None) -> list[Path]:
    chosen = data_dir or os.environ.get("DATA_DIR")
    if not chosen:
        return [PROJECT / "data", PROJECT]
    if not Path(chosen).is_dir():
        raise BadInput(f"the data folder {chosen} does not exist; create it or mend --data-dir or $DATA_DIR")
    return [Path(chosen)]


def _find(folders: list[Path], *names: str) -> Path | None:
    return next((folder / name for folder in folders for name in names if (folder / name).exists()), None)


def _download(fetch, folders: list[Path], file_name: str, embedded_name: str):
    """Run a Keras download with a time-out; where it fails, say in one line what to do."""
    usual = socket.getdefaulttimeout()
    socket.setdefaulttimeout(15)
    try:
        return fetch()
    except Exception as error:  # Keras wraps whatever went wrong in a bare Exception
        reason = str(error).splitlines()[0].rsplit(":", 1)[-1].strip()
        raise BadInput(
            f"{file_name} is not in {' or '.join(map(str, folders))} and its download failed ({reason}); "
            f"put the file there, or run with --dataset {embedded_name}, which needs none"
        ) from error
    finally:
        socket.setdefaulttimeout(usual)


def _mnist(folders: list[Path]) -> Dataset:
    path = _find(folders, "mnist.npz")
    if path is None:
        from pipeline.quiet import keras

        (x_train, y_train), (x_test, y_test) = _download(keras.datasets.mnist.load_data, folders, "mnist.npz", "digits")
        arrays, files = (x_train, y_train, x_test, y_test), {}
    else:
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = tuple(archive[key] for key in ("x_train", "y_train", "x_test", "y_test"))
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BadInput(f"{path} is damaged or not the mnist.npz of Keras ({error}); replace it") from error
        files = {path.name: sha256(path)}
    for images, labels, n in ((*arrays[:2], 60000), (*arrays[2:], 10000)):
        if images.shape != (n, 28, 28) or labels.shape != (n,) or images.dtype != np.uint8:
            raise BadInput(
                f"{path or 'mnist.npz'} has images {images.shape} {images.dtype} and labels {labels.shape}; "
                f"MNIST has ({n}, 28, 28) uint8 and ({n},)"
            )
        if labels.max() > 9:
            raise BadInput(f"{path or 'mnist.npz'} has a label above 9; replace it")
    x_train, y_train, x_test, y_test = arrays
    return Dataset(
        "mnist",
        tuple("0123456789"),
        x_train[..., None],
        y_train.astype(np.int64),
        x_test[..., None],
        y_test.astype(np.int64),
        files,
    )


def cifar100_records(raw: bytes, source: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode the official binary version: one record is coarse label, fine label, 3,072 pixels.

    Returns:
        images (n, 32, 32, 3) uint8, coarse labels (n,) int64.
    Raises:
        BadInput: not n whole records, or a label out of range.
    """
    if len(raw) != n * 3074:
        raise BadInput(f"{source} holds {len(raw):,} bytes instead of {n * 3074:,}: truncated or not CIFAR-100")
    records = np.frombuffer(raw, np.uint8).reshape(n, 3074)
    if records[:, 0].max() > 19 or records[:, 1].max() > 99:
        raise BadInput(f"{source} has a label out of range; it is damaged, replace it")
    images = np.ascontiguousarray(records[:, 2:].reshape(n, 3, 32, 32).transpose(0, 2, 3, 1))
    return images, records[:, 0].astype(np.int64)


def _cifar100(folders: list[Path]) -> Dataset:
    path = _find(folders, "cifar-100-binary.tar.gz", "cifar-100-binary")
    parts, files = [], {}
    if path is None:
        from pipeline.quiet import keras

        (x_train, y_train), (x_test, y_test) = _download(
            lambda: keras.datasets.cifar100.load_data(label_mode="coarse"),
            folders,
            "cifar-100-binary.tar.gz",
            "shapes",
        )
        parts = [(x_train, y_train.ravel().astype(np.int64)), (x_test, y_test.ravel().astype(np.int64))]
    elif path.is_dir():
        for name, n in (("train.bin", 50000), ("test.bin", 10000)):
            if not (path / name).is_file():
                raise BadInput(f"{path / name} is missing; unpack cifar-100-binary.tar.gz again")
            parts.append(cifar100_records((path / name).read_bytes(), str(path / name), n))
            files[name] = sha256(path / name)
    else:
        try:
            with tarfile.open(path) as archive:
                for name, n in (("train.bin", 50000), ("test.bin", 10000)):
                    member = archive.extractfile(f"cifar-100-binary/{name}")
                    parts.append(cifar100_records(member.read(), f"{path}:{name}", n))
        except (tarfile.TarError, EOFError, KeyError, AttributeError, zlib.error, gzip.BadGzipFile) as error:
            raise BadInput(f"{path} is damaged or not CIFAR-100's binary version ({error}); replace it") from error
        files[path.name] = sha256(path)
    return Dataset("cifar100", CIFAR100_COARSE, *parts[0], *parts[1], files=files)
