"""Images as arrays in files: .npz, IDX and CSV, checked before they are believed; and images made to fit a shape."""

import gzip
import math
import re
import tokenize
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.atomic_io import sha256
from pipeline.errors import UserError

LARGEST = 60000 * 28 * 28 * 8 + 1000  # bytes of an array, a member or a file that is worth reading at all
LARGEST_CSV = 4 * LARGEST  # four letters for a pixel
SIDES = (4, 512)  # pixels that an image may have
# What a damaged file raises.
DAMAGE = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,  # NumPy reads an array's header as Python
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
)
IDX_NAME = re.compile(r"(?P<set>.*?)(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")


@dataclass
class Parts:
    """A data set as it was read: images (n, h, w, 1 or 3) uint8, labels (n,) int64 in class_names' order.

    The test part is None where there is none. files: name -> SHA-256 of what was read. notes: for metrics.json.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray | None
    y_test: np.ndarray | None
    class_names: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    notes: dict = field(default_factory=dict)


def reason(error: Exception) -> str:
    """The first line of what an error says, or its name."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file with x_train and y_train at least; no pickle is loaded.

    Raises:
        UserError: a damaged or too large file, or one without these.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            for member in archive.zip.infolist():
                if member.file_size > LARGEST:
                    raise _too_large(f"{member.filename} in {path}")
            wanted = ("x_train", "y_train", "x_test", "y_test", "class_names")
            found = {key: archive[key] for key in wanted if key in archive.files}
            if not {"x_train", "y_train"} <= found.keys() or ("x_test" in found) != ("y_test" in found):
                raise ValueError("it needs the arrays x_train, y_train, x_test and y_test")
    except (*DAMAGE, OSError) as error:  # the latter of an archive whose places lie before its beginning
        raise UserError(f"{path} is damaged or no .npz file of images ({reason(error)}); replace it") from error
    return found


def _too_large(what: str) -> UserError:
    return UserError(f"{what} is larger than {LARGEST // 10**6} MB; save the images as a folder of pictures instead")


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file (LeCun's format), gzipped or not; UserError where it is none or too large."""
    try:
        open_it = gzip.open if path.suffix == ".gz" else open
        with open_it(path, "rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise _too_large(str(path))
        if len(content) < 4 or content[:3] != b"\x00\x00\x08":
            raise ValueError("it does not begin as an IDX file of bytes does")
        dimensions = content[3]
        shape = [int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4)]
        start = 4 + 4 * dimensions
        if len(content) - start != math.prod(shape):
            raise ValueError(f"it has {len(content) - start:,} values and declares {math.prod(shape):,}")
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    except DAMAGE as error:
        raise UserError(f"{path} is damaged or no IDX file ({reason(error)}); replace it") from error


def idx_files(folder: Path) -> dict[str, Path]:
    """Role -> file of the IDX files in a folder: x_train, y_train, x_test, y_test; empty where they are not all there.

    Raises:
        UserError: those of several data sets.
    """
    sets = {}
    for path in sorted(folder.iterdir()):
        match = IDX_NAME.fullmatch(path.name)
        if match and path.is_file():
            part = "train" if match["part"] == "train" else "test"
            kind = "x" if match["kind"] == "images" else "y"
            sets.setdefault(match["set"], {}).setdefault(f"{kind}_{part}", path)
    whole = {name: files for name, files in sets.items() if len(files) == 4}
    if len(whole) > 1:
        raise UserError(
            f"{folder} holds the IDX files of several data sets ({', '.join(sorted(whole))}); give each its own folder"
        )
    return next(iter(whole.values()), {})


def read_idx_set(files: dict[str, Path]) -> Parts:
    """The data set of four IDX files; EMNIST's images, which are stored transposed, are turned upright."""
    found = {role: read_idx(path) for role, path in files.items()}
    if files["x_train"].name.startswith("emnist"):
        for role in ("x_train", "x_test"):
            found[role] = found[role].swapaxes(1, 2)
    return parts(found, _folder_name(files["x_train"]), {path.name: sha256(path) for path in files.values()})


def _folder_name(path: Path) -> str:
    return path.parent.name or str(path.parent)


def read_csv(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Images and labels of a CSV file with 784 or 3,072 pixel columns, with a head line or without.

    Returns:
        images (n, 28, 28) or (n, 32, 32, 3) uint8; labels (n,), numbers or str, of the column `label`, else of the
        first of one column more than pixels; None where there is none.
    Raises:
        UserError: another number of columns, pixels that are not whole numbers in [0, 255], or rows without a label.
    """
    import pandas as pd

    if path.stat().st_size > LARGEST_CSV:
        raise UserError(f"{path} has more than {LARGEST_CSV:,} bytes; save the images as .npz")
    try:
        with open(path, encoding="utf-8") as file:
            first = file.readline().split(",")
        # A head names each column once, and hundreds of pixels cannot all differ; a row may begin with a text label.
        has_head = len(set(first)) == len(first)
        table = pd.read_csv(path, header=0 if has_head else None)
        labels = None
        if "label" in table.columns:
            labels = _labels_of_csv(table.pop("label"), path)
        elif table.shape[1] in (785, 3073):
            labels = _labels_of_csv(table.pop(table.columns[0]), path)
        pixels = table.to_numpy()
        if pixels.shape[1] not in (784, 3072):
            raise ValueError(f"it has {pixels.shape[1]} pixel columns instead of 784 or 3,072")
        if pixels.dtype.kind not in "iu" or pixels.min() < 0 or pixels.max() > 255:
            raise ValueError("its pixels are not whole numbers from 0 to 255")
    except (*DAMAGE, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no CSV file of images ({reason(error)}); replace it") from error
    pixels = pixels.astype(np.uint8)
    if pixels.shape[1] == 784:
        return pixels.reshape(-1, 28, 28), labels
    return _color(pixels), labels


def _labels_of_csv(column, path: Path) -> np.ndarray:
    """The labels (n,) of a pandas column: numbers as they are, all else as str."""
    if missing := column.isna().sum():
        raise UserError(
            f"{path} has rows without a label (empty, NA or None), {missing:,} in all; name their class or drop them"
        )
    labels = column.to_numpy()
    return labels if labels.dtype.kind in "iuf" else labels.astype(str)


def _color(pixels: np.ndarray) -> np.ndarray:
    """Rows (n, 3072) as images (n, 32, 32, 3), by planes or by pixels, whichever makes neighbors more alike."""
    planes = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    interleaved = pixels.reshape(-1, 32, 32, 3)

    def roughness(images):
        few = images[:200].astype(np.int16)
        return np.abs(np.diff(few, axis=1)).mean() + np.abs(np.diff(few, axis=2)).mean()

    return min((planes, interleaved), key=roughness)


def csv_files(folder: Path, prefix: str = "") -> tuple[Path | None, Path | None]:
    """<prefix>train.csv and <prefix>test.csv of a folder, each None where it is not there."""
    train, test = (folder / f"{prefix}{part}.csv" for part in ("train", "test"))
    return train if train.is_file() else None, test if test.is_file() else None


def read_csv_set(train: Path, test: Path | None, name: str) -> Parts:
    """The data set of one or two CSV files; a test file without labels, as Kaggle's are, cannot be the test part."""
    images, labels = read_csv(train)
    if labels is None:
        raise UserError(f"{train} has no column `label`; it cannot be trained on")
    found, files, notes = {"x_train": images, "y_train": labels}, {train.name: sha256(train)}, {}
    if test:
        images, labels = read_csv(test)
        if labels is None:
            notes["left_out"] = f"{test.name}, which has no column `label`"
        else:
            found |= {"x_test": images, "y_test": labels}
            files[test.name] = sha256(test)
    return parts(found, name, files, notes)


def parts(found: dict[str, np.ndarray], what: str, files: dict[str, str], notes: dict | None = None) -> Parts:
    """Arrays as a data set: images made uint8 with a channel axis, labels counted from 0 in the order of their values.

    Raises:
        UserError: shapes or values that are no images with labels; names `what`.
    """
    x = {part: as_pixels(found[f"x_{part}"], f"x_{part} of {what}") for part in ("train", "test") if _has(found, part)}
    values = _labels(found["y_train"], x["train"], f"y_train of {what}")
    kinds, y_train = np.unique(values, return_inverse=True)
    y_test = None
    if "test" in x:
        if x["test"].shape[1:] != x["train"].shape[1:]:
            raise UserError(f"the training and test images of {what} differ in size")
        test = _labels(found["y_test"], x["test"], f"y_test of {what}")
        if unknown := sorted(set(test.tolist()) - set(kinds.tolist())):
            raise UserError(f"y_test of {what} has classes without a training image: {unknown[:5]}")
        y_test = np.searchsorted(kinds, test).astype(np.int64)
    names = tuple(map(str, kinds.tolist()))
    given = found.get("class_names")
    if given is not None and given.dtype.kind == "U" and kinds.dtype.kind in "iu" and len(given) > kinds.max() >= 0:
        names = tuple(str(given[kind]) for kind in kinds)
    return Parts(x["train"], y_train.ravel().astype(np.int64), x.get("test"), y_test, names, files, notes or {})


def _has(found: dict, part: str) -> bool:
    return f"x_{part}" in found


def _labels(labels: np.ndarray, images: np.ndarray, what: str) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (len(images),):
        raise UserError(f"{what} has shape {labels.shape} for {len(images):,} images")
    if labels.dtype.kind == "f" and np.array_equal(labels, labels.round()):
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iuU":
        raise UserError(f"{what} holds {labels.dtype}, not whole numbers or names")
    return labels


def as_pixels(images: np.ndarray, what: str) -> np.ndarray:
    """Images (n, h, w) or (n, h, w, 1 or 3) of whole numbers in [0, 255] or floats in [0, 1] as (n, h, w, c) uint8.

    Raises:
        UserError: another shape, or other values.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or not len(images):
        raise UserError(f"{what} has shape {images.shape}; images are (n, height, width) or (n, height, width, 1 or 3)")
    low, high = SIDES
    if not all(low <= side <= high for side in images.shape[1:3]):
        raise UserError(
            f"{what} has images of {images.shape[1]}x{images.shape[2]}; sides may be {low} to {high} pixels"
        )
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind not in "fiu":
        raise UserError(f"{what} holds {images.dtype}, not pixels")
    least, most = images.min(), images.max()  # NaN where one of the values is
    if not (least >= 0 and most <= 255):
        raise UserError(f"{what} has values from {least:g} to {most:g}; pixels are 0 to 255, or 0 to 1 as floats")
    if images.dtype.kind == "f" and most <= 1:
        images = images * 255
    return np.ascontiguousarray(images.round().astype(np.uint8))


def fit(images: np.ndarray, shape: tuple[int, int, int | None]) -> np.ndarray:
    """Images (n, h, w, 1 or 3) uint8 scaled to a height and width and made gray or color; channels None: as they are.

    Images of that shape already are returned themselves.
    """
    height, width, channels = shape
    channels = channels or images.shape[3]
    if images.shape[1:] == (height, width, channels):
        return images
    fitted = np.empty((len(images), height, width, channels), np.uint8)
    mode = "L" if channels == 1 else "RGB"
    for target, image in zip(fitted, images, strict=True):
        picture = Image.fromarray(np.squeeze(image, 2) if image.shape[2] == 1 else image).convert(mode)
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        target[:] = np.asarray(picture).reshape(height, width, channels)
    return fitted
