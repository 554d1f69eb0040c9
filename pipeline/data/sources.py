"""MNIST and CIFAR-100 on disk: found, downloaded where missing, checked, decoded."""

import gzip
import os
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pipeline import PROJECT
from pipeline.atomic_io import sha256
from pipeline.data import download
from pipeline.errors import UserError

LARGEST = 60000 * 28 * 28 * 8 + 1000  # bytes of an array or a member that is worth reading at all
# What a damaged archive raises.
DAMAGE = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    MemoryError,
    RuntimeError,
    zlib.error,
)
# What each data set is called on disk.
FILES = {"mnist": ("mnist.npz",), "cifar100": ("cifar-100-binary.tar.gz", "cifar-100-binary")}
# URL and SHA-256 of each download: MNIST's are those of keras.datasets.mnist.
DOWNLOADS = {
    "mnist": (
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    ),
    "cifar100": (
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    ),
}
INSTEAD = {"mnist": "digits", "cifar100": "synthetic"}  # toy data for the same scripts
CIFAR100_PARTS = {"train.bin": 50000, "test.bin": 10000}  # number of records
# (x_train, y_train, x_test, y_test) and {file name: SHA-256} of what was read; CIFAR-100's y are
# (n, 2): coarse and fine label
Parts = tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], dict[str, str]]


def folders(data_dir: str | None) -> list[Path]:
    """Where to look: data_dir, else $DATA_DIR, else data/ and the project; UserError if it does not exist."""
    chosen = data_dir or os.environ.get("DATA_DIR")
    if not chosen:
        return [PROJECT / "data", PROJECT]
    if not Path(chosen).is_dir():
        raise UserError(f"the data folder {chosen} does not exist; create it or fix --data-dir or $DATA_DIR")
    return [Path(chosen)]


def _find(name: str, places: list[Path]) -> Path | None:
    """The first file or folder of a data set in these folders."""
    for folder in places:
        for file in FILES[name]:
            if (folder / file).exists():
                return folder / file
    return None


def present(name: str, places: list[Path]) -> bool:
    """Whether "mnist" or "cifar100" is on disk, so that loading it downloads nothing."""
    return _find(name, places) is not None


def _find_or_download(name: str, places: list[Path]) -> Path:
    """The file or folder of a data set in these folders, else in Keras' cache; UserError where it is in neither."""
    path = _find(name, places)
    if path is not None:
        return path
    absent = f"{FILES[name][0]} is not in {' or '.join(map(str, places))}"
    remedy = f"put the file there, or run with --dataset {INSTEAD[name]}, which needs none"
    return download.cached(*DOWNLOADS[name], "datasets", absent, remedy)


def mnist(places: list[Path]) -> Parts:
    """MNIST with a channel axis, from mnist.npz or a download; UserError where it is not MNIST."""
    path = _find_or_download("mnist", places)
    try:
        with np.load(path, allow_pickle=False) as archive:
            for member in archive.zip.infolist():
                if member.file_size > LARGEST:
                    raise ValueError(f"{member.filename} has {member.file_size:,} bytes")
            x_train, y_train, x_test, y_test = (archive[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    except (*DAMAGE, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or not the mnist.npz of Keras ({error}); replace it") from error
    for images, labels, n in ((x_train, y_train, 60000), (x_test, y_test, 10000)):
        if images.shape != (n, 28, 28) or labels.shape != (n,) or images.dtype != np.uint8:
            raise UserError(
                f"{path} has images {images.shape} {images.dtype} and labels {labels.shape}; "
                f"MNIST has ({n}, 28, 28) uint8 and ({n},)"
            )
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 9:
            raise UserError(f"{path} has labels that are not 0 to 9; replace it")
    arrays = (x_train[..., None], y_train.astype(np.int64), x_test[..., None], y_test.astype(np.int64))
    return arrays, {path.name: sha256(path)}


def cifar100_records(raw: bytes, source: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode the official binary version: one record is coarse label, fine label, 3,072 pixels.

    Returns:
        images (n, 32, 32, 3) uint8, labels (n, 2) int64: coarse in [0, 19], fine in [0, 99].
    Raises:
        UserError: not n whole records, or a label out of range.
    """
    if len(raw) != n * 3074:
        raise UserError(f"{source} holds {len(raw):,} bytes instead of {n * 3074:,}: truncated or not CIFAR-100")
    records = np.frombuffer(raw, np.uint8).reshape(n, 3074)
    if records[:, 0].max() > 19 or records[:, 1].max() > 99:
        raise UserError(f"{source} has a label out of range; it is damaged, replace it")
    images = np.ascontiguousarray(records[:, 2:].reshape(n, 3, 32, 32).transpose(0, 2, 3, 1))
    return images, records[:, :2].astype(np.int64)


def cifar100(places: list[Path]) -> Parts:
    """CIFAR-100 with both labels, from the binary version or a download; UserError where damaged."""
    path = _find_or_download("cifar100", places)
    if path.is_dir():
        parts = _of_folder(path)
        files = {name: sha256(path / name) for name in CIFAR100_PARTS}
    else:
        parts = _of_archive(path)
        files = {path.name: sha256(path)}
    return (*parts[0], *parts[1]), files


def _of_folder(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of CIFAR-100's training part and test part, from the unpacked folder."""
    parts = []
    for name, n in CIFAR100_PARTS.items():
        if not (path / name).is_file():
            raise UserError(f"{path / name} is missing; unpack cifar-100-binary.tar.gz again")
        parts.append(cifar100_records((path / name).read_bytes(), str(path / name), n))
    return parts


def _of_archive(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same from the archive, in memory alone: nothing is unpacked, whatever the names in it."""
    try:
        with tarfile.open(path) as archive:
            members = {}
            for member in archive:
                if member.size > LARGEST:
                    raise ValueError(f"{member.name} has {member.size:,} bytes")
                members[member.name] = member
            parts = []
            for name, n in CIFAR100_PARTS.items():
                member = members[f"cifar-100-binary/{name}"]
                if not member.isreg():
                    raise ValueError(f"{name} is no file in it")
                parts.append(cifar100_records(archive.extractfile(member).read(), f"{path}:{name}", n))
    except (*DAMAGE, tarfile.TarError, gzip.BadGzipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} is damaged or not CIFAR-100's binary version ({reason}); replace it") from error
    return parts
