"""MNIST and CIFAR-100 on disk: found, downloaded by Keras where missing, checked, decoded."""

import gzip
import os
import socket
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pipeline import PROJECT
from pipeline.atomic_io import sha256
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
# (x_train, y_train, x_test, y_test) and {file name: SHA-256} of what was read; CIFAR-100's y are
# (n, 2): coarse and fine label
Parts = tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], dict[str, str]]


def folders(data_dir: str | None) -> list[Path]:
    """Where to look: data_dir, else $DATA_DIR, else data/ and the project; UserError if it does not exist."""
    chosen = data_dir or os.environ.get("DATA_DIR")
    if not chosen:
        return [PROJECT / "data", PROJECT]
    if not Path(chosen).is_dir():
        raise UserError(f"the data folder {chosen} does not exist; create it or mend --data-dir or $DATA_DIR")
    return [Path(chosen)]


def _find(places: list[Path], *names: str) -> Path | None:
    return next((folder / name for folder in places for name in names if (folder / name).exists()), None)


def present(name: str, places: list[Path]) -> bool:
    """Whether "mnist" or "cifar100" is on disk, so that loading it downloads nothing."""
    return _find(places, *FILES[name]) is not None


def download(fetch, absent: str, remedy: str):
    """Run a Keras download with a time-out and return what it does.

    Args:
        fetch: the download, without arguments.
        absent: what is not where ("mnist.npz is not in data"); remedy: what to do without a network.
    Raises:
        UserError: it failed; says why.
    """
    usual = socket.getdefaulttimeout()
    socket.setdefaulttimeout(15)
    try:
        return fetch()
    except Exception as error:  # Keras wraps whatever went wrong in a bare Exception
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        reason = first_line.rsplit(":", 1)[-1].strip()
        raise UserError(f"{absent} and the download failed ({reason}); {remedy}") from error
    finally:
        socket.setdefaulttimeout(usual)


def _of_keras(fetch, places: list[Path], file_name: str, embedded_name: str):
    absent = f"{file_name} is not in {' or '.join(map(str, places))}"
    return download(fetch, absent, f"put the file there, or run with --dataset {embedded_name}, which needs none")


def mnist(places: list[Path]) -> Parts:
    """MNIST with a channel axis, from mnist.npz or a download; UserError where it is not MNIST."""
    path = _find(places, *FILES["mnist"])
    if path is None:
        from pipeline.backend import keras

        (x_train, y_train), (x_test, y_test) = _of_keras(keras.datasets.mnist.load_data, places, "mnist.npz", "digits")
        arrays, files = (x_train, y_train, x_test, y_test), {}
    else:
        try:
            with np.load(path, allow_pickle=False) as archive:
                for member in archive.zip.infolist():
                    if member.file_size > LARGEST:
                        raise ValueError(f"{member.filename} has {member.file_size:,} bytes")
                arrays = tuple(archive[key] for key in ("x_train", "y_train", "x_test", "y_test"))
        except (*DAMAGE, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is damaged or not the mnist.npz of Keras ({error}); replace it") from error
        files = {path.name: sha256(path)}
    for images, labels, n in ((*arrays[:2], 60000), (*arrays[2:], 10000)):
        if images.shape != (n, 28, 28) or labels.shape != (n,) or images.dtype != np.uint8:
            raise UserError(
                f"{path or 'mnist.npz'} has images {images.shape} {images.dtype} and labels {labels.shape}; "
                f"MNIST has ({n}, 28, 28) uint8 and ({n},)"
            )
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 9:
            raise UserError(f"{path or 'mnist.npz'} has labels that are not 0 to 9; replace it")
    x_train, y_train, x_test, y_test = arrays
    return (x_train[..., None], y_train.astype(np.int64), x_test[..., None], y_test.astype(np.int64)), files


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
    path = _find(places, *FILES["cifar100"])
    parts, files = [], {}
    if path is None:
        from pipeline.backend import keras

        coarse, fine = (
            _of_keras(
                lambda mode=mode: keras.datasets.cifar100.load_data(label_mode=mode),
                places,
                "cifar-100-binary.tar.gz",
                "synthetic",
            )
            for mode in ("coarse", "fine")
        )
        for (images, labels), (_, fine_labels) in zip(coarse, fine, strict=True):
            parts.append((images, np.hstack([labels, fine_labels]).astype(np.int64)))
    elif path.is_dir():
        for name, n in (("train.bin", 50000), ("test.bin", 10000)):
            if not (path / name).is_file():
                raise UserError(f"{path / name} is missing; unpack cifar-100-binary.tar.gz again")
            parts.append(cifar100_records((path / name).read_bytes(), str(path / name), n))
            files[name] = sha256(path / name)
    else:
        try:
            with tarfile.open(path) as archive:
                members = {}
                for member in archive:  # in memory alone: nothing is unpacked, whatever the names
                    if member.size > LARGEST:
                        raise ValueError(f"{member.name} has {member.size:,} bytes")
                    members[member.name] = member
                for name, n in (("train.bin", 50000), ("test.bin", 10000)):
                    member = members[f"cifar-100-binary/{name}"]
                    if not member.isreg():
                        raise ValueError(f"{name} is no file in it")
                    parts.append(cifar100_records(archive.extractfile(member).read(), f"{path}:{name}", n))
        except (*DAMAGE, tarfile.TarError, gzip.BadGzipFile) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"{path} is damaged or not CIFAR-100's binary version ({reason}); replace it") from error
        files[path.name] = sha256(path)
    return (*parts[0], *parts[1]), files
