"""The named data sets on disk: found in their usual forms, downloaded where missing, checked, decoded."""

import hashlib
import io
import os
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import PROJECT
from pipeline.atomic_io import sha256
from pipeline.data import arrays, download, plain_pickle
from pipeline.data.registry import SOURCES
from pipeline.data.rows import chunks
from pipeline.errors import UserError

DEFAULT = (PROJECT / "data", PROJECT)  # where to look without --data-dir and $DATA_DIR
SHOWN = 10  # names of a folder's content in an error
# x_train, y_train, x_test, y_test and {file name: SHA-256} of what was read; CIFAR-100's y are (n, 2): coarse and
# fine label
Decoded = tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], dict[str, str]]


def folders(data_dir: str | None) -> list[Path]:
    """Where to look: data_dir, else $DATA_DIR, else data/ and the project; UserError if it does not exist."""
    chosen = data_dir or os.environ.get("DATA_DIR")
    if not chosen:
        return list(DEFAULT)
    if not Path(chosen).is_dir():
        raise UserError(f"the data folder {chosen} does not exist; create it or fix --data-dir or $DATA_DIR")
    return [Path(chosen)]


def present(name: str, places: list[Path]) -> bool:
    """Whether a named data set is on disk, so that loading it downloads nothing."""
    return bool(files_of(name, places))


def files_of(name: str, places: list[Path]) -> tuple[Path, ...]:
    """The files of a named data set on disk, or the one folder or archive that holds it; () where there is none."""
    return next(filter(None, (_found(name, folder) for folder in places)), ())


def content_of(folder: Path) -> str:
    """The first names in a folder, for an error: "a.png, b.png, …"."""
    names = sorted(path.name for path in folder.iterdir())
    listed = ", ".join(names[:SHOWN]) or "nothing"
    return f"{listed}, …" if len(names) > SHOWN else listed


def read(name: str, places: list[Path]) -> Decoded:
    """Decode a named data set that is on disk or can be downloaded.

    Args:
        places: of folders(); there is a download only where these are the default ones.
    Raises:
        UserError: nothing usable there, a damaged file, another data set, or no network.
    """
    found = files_of(name, places) or _downloaded(name, places)
    print(f"reading {', '.join(map(str, found))}")
    return _read_cifar(name, found[0]) if name in CIFAR else _read_gray(name, found)


def _found(name: str, folder: Path) -> tuple[Path, ...] | None:
    """The files of a data set in a folder, or the one folder or archive that holds it."""
    return _find_cifar(name, folder) if name in CIFAR else _find_gray(name, folder)


def _downloaded(name: str, places: list[Path]) -> tuple[Path, ...]:
    source = SOURCES[name]
    if {place.resolve() for place in places} != {place.resolve() for place in DEFAULT}:
        (folder,) = places
        raise UserError(
            f"{folder} holds no {source.title}, but {content_of(folder)}; it needs {', or '.join(source.files)}, or "
            f"leave --data-dir and $DATA_DIR away for a download, or use --dataset {source.instead}, which needs none, "
            "or --dataset PATH for images of your own"
        )
    absent = f"{source.files[0]} is not in {' or '.join(map(str, places))}"
    remedy = f"put the file there, or run with --dataset {source.instead}, which needs none"
    return tuple(download.cached(url, sum_, source.subfolder, absent, remedy) for url, sum_ in source.downloads)


# MNIST and what comes in its form: names of .npz files, what its CSV files' names begin with, torchvision's folder.
GRAY = {
    "mnist": (("mnist.npz",), ("mnist_", ""), "MNIST/raw"),
    "fashion-mnist": (("fashion-mnist.npz", "fashion_mnist.npz"), ("fashion-mnist_", ""), "FashionMNIST/raw"),
}
GRAY_SHAPES = ((60000, 28, 28, 1), (10000, 28, 28, 1))


def _find_gray(name: str, folder: Path) -> tuple[Path, ...] | None:
    """The .npz file, the four IDX files, or the two CSV files."""
    npz, csv, torchvision = GRAY[name]
    for place in (folder, folder / name, folder / torchvision):
        if not place.is_dir():
            continue
        for file in npz:
            if (place / file).exists():
                return (place / file,)
        if idx := arrays.idx_files(place):
            return tuple(idx.values())
        for prefix in csv:
            pair = arrays.csv_files(place, prefix)
            if all(pair):
                return pair
    return None


def _read_gray(name: str, files: tuple[Path, ...]) -> Decoded:
    """Images (n, 28, 28, 1) of MNIST or what has its form; UserError where they are another data set's."""
    first = files[0]
    if first.suffix == ".npz":
        parts = arrays.parts(arrays.read_npz(first), str(first), {first.name: sha256(first)})
    elif first.suffix == ".csv":
        parts = arrays.read_csv_set(*files, str(first))
    else:
        roles = ("x_train", "y_train", "x_test", "y_test")
        by_role = {role: arrays.idx_files(first.parent)[role] for role in roles}
        parts = arrays.read_idx_set(by_role)
    _check_gray(name, parts, first)
    return (parts.x_train, parts.y_train, parts.x_test, parts.y_test), parts.files


def _check_gray(name: str, parts: arrays.Parts, path: Path) -> None:
    source = SOURCES[name]
    if parts.x_test is None:
        raise UserError(f"{path} has no test part with labels, so it is not {source.title}; use --dataset PATH")
    shapes = (parts.x_train.shape, parts.x_test.shape)
    if shapes != GRAY_SHAPES or parts.class_names != tuple("0123456789"):
        raise UserError(
            f"{path} is not {source.title}, but {len(parts.x_train):,} training and {len(parts.x_test):,} test images "
            f"{parts.x_train.shape[1:]} of the classes {', '.join(parts.class_names[:12])}; use --dataset PATH"
        )
    begins = tuple(parts.y_train[: len(source.first_labels)].tolist())
    if begins == source.first_labels and source.sha256 in ("", digest(vars(parts))):
        return
    others = [other for other in SOURCES.values() if other.first_labels == begins and other is not source]
    if others:
        raise UserError(f"{path} holds {others[0].title}, not {source.title}; use --dataset {others[0].name}")
    raise UserError(f"{path} holds other images than {source.title}; use --dataset {path} if they are what you want")


def digest(found: dict[str, np.ndarray]) -> str:
    """SHA-256 of x_train, y_train, x_test and y_test, one after the other."""
    whole = hashlib.sha256()
    for key in ("x_train", "y_train", "x_test", "y_test"):
        for part in chunks(found[key], "images hashed"):
            whole.update(part)
    return whole.hexdigest()


LARGEST_ARCHIVE = 400_000_000  # bytes, decompressed; CIFAR's have 184 to 187 million
CIFAR_PARTS = {"train": 50000, "test": 10000}  # number of images


@dataclass(frozen=True)
class Form:
    """A form in which CIFAR is handed out.

    folder: its name unpacked; archives: file names. train, test: names of the files in it. labels: of an image, the
    number of bytes before it in the binary form, or the keys in the Python form.
    """

    folder: str
    archives: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: int | tuple[str, ...]


BATCHES = tuple(f"data_batch_{k}" for k in range(1, 6))
CIFAR = {
    "cifar100": (
        Form("cifar-100-binary", ("cifar-100-binary.tar.gz", "cifar-100-binary.tar"), ("train.bin",), ("test.bin",), 2),
        Form(
            "cifar-100-python",
            ("cifar-100-python.tar.gz", "cifar-100-python.tar"),
            ("train",),
            ("test",),
            ("coarse_labels", "fine_labels"),
        ),
    ),
    "cifar10": (
        Form(
            "cifar-10-batches-py",
            ("cifar-10-python.tar.gz", "cifar-10-python.tar"),
            BATCHES,
            ("test_batch",),
            ("labels",),
        ),
        Form(
            "cifar-10-batches-bin",
            ("cifar-10-binary.tar.gz", "cifar-10-binary.tar"),
            tuple(f"{batch}.bin" for batch in BATCHES),
            ("test_batch.bin",),
            1,
        ),
    ),
}
CIFAR["cifar100-fine"] = CIFAR["cifar100"]
HIGHEST = {"cifar100": (19, 99), "cifar100-fine": (19, 99), "cifar10": (9,)}  # of the labels


def _find_cifar(name: str, folder: Path) -> tuple[Path, ...] | None:
    """The archive or the unpacked folder, which may be the folder itself."""
    for form in CIFAR[name]:
        for file in (*form.archives, form.folder):
            if (folder / file).exists():
                return (folder / file,)
        if all((folder / file).is_file() for file in (*form.train, *form.test)):
            return (folder,)
    return None


def _form_of(name: str, path: Path) -> Form:
    for form in CIFAR[name]:
        if path.name in (*form.archives, form.folder):
            return form
        if path.is_dir() and all((path / file).is_file() for file in form.train):
            return form
    raise UserError(f"{path} is not {SOURCES[name].title}")


def _read_cifar(name: str, path: Path) -> Decoded:
    """CIFAR-10 with labels (n,), or CIFAR-100 with labels (n, 2); UserError where damaged."""
    form = _form_of(name, path)
    members = {**dict.fromkeys(form.train, "train"), **dict.fromkeys(form.test, "test")}
    if path.is_dir():
        contents = _of_folder(path, members)
        files = {member: sha256(path / member) for member in members}
    else:
        contents = _of_archive(path, form.folder, members)
        files = {path.name: sha256(path)}
    images, labels = {"train": [], "test": []}, {"train": [], "test": []}
    for member, part in members.items():
        n = CIFAR_PARTS[part] // len(form.train if part == "train" else form.test)
        source = f"{path / member}" if path.is_dir() else f"{path}:{member}"
        decode = cifar_records if isinstance(form.labels, int) else cifar_pickle
        some_images, some_labels = decode(contents.pop(member), source, n, form.labels, HIGHEST[name])
        images[part].append(some_images)
        labels[part].append(some_labels)
    found = []
    for part in ("train", "test"):
        found.append(_joined(images[part]))
        y = _joined(labels[part])
        found.append(y[:, 0] if y.shape[1] == 1 else y)
    return tuple(found), files


def _joined(some: list[np.ndarray]) -> np.ndarray:
    return some[0] if len(some) == 1 else np.concatenate(some)


def cifar_records(
    raw: bytes, source: str, n: int, n_labels: int = 2, highest: tuple[int, ...] = (19, 99)
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the official binary version: one record is the labels (CIFAR-100: coarse, fine) and 3,072 pixels.

    Returns:
        images (n, 32, 32, 3) uint8, labels (n, n_labels) int64, each in [0, highest].
    Raises:
        UserError: not n whole records, or a label out of range.
    """
    size = n_labels + 3072
    if len(raw) != n * size:
        raise UserError(f"{source} holds {len(raw):,} bytes instead of {n * size:,}: truncated or not CIFAR")
    records = np.frombuffer(raw, np.uint8).reshape(n, size)
    labels = records[:, :n_labels].astype(np.int64)
    if (labels.max(axis=0) > highest).any():
        raise UserError(f"{source} has a label out of range; it is damaged, replace it")
    return _from_planes(records[:, n_labels:]), labels


def cifar_pickle(
    raw: bytes, source: str, n: int, keys: tuple[str, ...], highest: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the official Python version, a pickled dict; returns and raises what cifar_records() does."""
    try:
        found = plain_pickle.read(raw)
        pixels, labels = found["data"], np.array([found[key] for key in keys]).T
        if not isinstance(pixels, np.ndarray) or pixels.shape != (n, 3072) or labels.shape != (n, len(keys)):
            raise ValueError(f"it does not hold {n:,} images with their labels")
        if labels.dtype.kind != "i" or labels.min() < 0 or (labels.max(axis=0) > highest).any():
            raise ValueError("a label is out of range")
    except arrays.DAMAGE as error:
        raise UserError(
            f"{source} is damaged or not CIFAR's Python version ({arrays.reason(error)}); replace it"
        ) from error
    return _from_planes(pixels), labels.astype(np.int64)


def _from_planes(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def _of_folder(path: Path, members: dict[str, str]) -> dict[str, bytes]:
    """The content of each file of the unpacked folder."""
    contents = {}
    for name in members:
        if not (path / name).is_file():
            raise UserError(f"{path / name} is missing; unpack the archive again")
        if (path / name).stat().st_size > arrays.LARGEST:
            raise UserError(f"{path / name} is too large for CIFAR; replace it")
        contents[name] = (path / name).read_bytes()
    return contents


def _decompressed(path: Path) -> bytes:
    """The content of a file, of a .gz decompressed; ValueError where it is too large for CIFAR or cut off."""
    if path.stat().st_size > LARGEST_ARCHIVE:
        raise ValueError(f"it has {path.stat().st_size:,} bytes")
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    # At once: tarfile would ask gzip for 43,000 pieces, which takes twice as long and keeps Keras' import waiting.
    stream = zlib.decompressobj(wbits=31)  # 31: gzip's header and checksum
    content = stream.decompress(content, LARGEST_ARCHIVE)
    if not stream.eof or stream.unused_data:
        raise ValueError("it is cut off, or not in the one piece that CIFAR is handed out in")
    return content


def _of_archive(path: Path, folder: str, members: dict[str, str]) -> dict[str, bytes]:
    """The same from the archive, in memory alone: nothing is unpacked, whatever the names in it."""
    try:
        with tarfile.open(fileobj=io.BytesIO(_decompressed(path))) as archive:
            found = {}
            for member in archive:
                if member.size > arrays.LARGEST:
                    raise ValueError(f"{member.name} has {member.size:,} bytes")
                found[member.name] = member
            contents = {}
            for name in members:
                member = found[f"{folder}/{name}"]
                if not member.isreg():
                    raise ValueError(f"{name} is no file in it")
                contents[name] = archive.extractfile(member).read()
    except (*arrays.DAMAGE, tarfile.TarError) as error:
        raise UserError(f"{path} is damaged or not CIFAR ({arrays.reason(error)}); replace it") from error
    return contents
