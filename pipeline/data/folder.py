"""A folder of pictures by class: found, decoded to one size on all cores, and kept decoded for the next run."""

import hashlib
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pipeline import console, system
from pipeline.atomic_io import read_json, replacing, write_json
from pipeline.data import pictures
from pipeline.data.arrays import DAMAGE, Parts
from pipeline.data.rows import Rows, chunks, take
from pipeline.errors import UserError

TRAIN, TEST, VALIDATION = ("train", "training"), ("test", "testing"), ("val", "valid", "validation")
SIDE = 32  # pixels, where nobody asks for another size
USUAL = 0.95  # of the files: so many of one format, and the others are named
NAMED = 5  # files that are named where some are skipped
IN_MEMORY = 2**28  # bytes of decoded pictures; more of them stay on the disk, and are read as they are needed
VERSION = 1  # of the decoded copy: to be raised where pictures are decoded otherwise


@dataclass(frozen=True)
class Found:
    """The files of a folder by class: of each part {class name: paths}; test is None where there is no such part.

    Paths are strings: millions of Path objects would take gigabytes.
    """

    train: dict[str, list[str]]
    test: dict[str, list[str]] | None
    notes: dict


def found(folder: Path) -> Found | None:
    """The pictures of D/train/<class>/* or D/<class>/*, and of D/test/<class>/*; None where there are none.

    Without test/, valid/ or val/ is the test part; beside test/ it is left out. A train/ without folders of pictures
    in it is a class like any other.

    Raises:
        UserError: a test part with other classes, or pictures without a class in a test/ or valid/ beside the classes.
    """
    inside = {path.name.lower(): path for path in _folders(folder)}
    train = _named(inside, TRAIN)
    of_train = (_classes(train) if train else {}) or _beside_parts(folder)
    if not of_train:
        return None
    test, validation = _named(inside, TEST), _named(inside, VALIDATION)
    notes = {}
    if test and validation:
        notes["left_out"] = f"{validation.name}/; validation images are carved from the training images"
    test = test or validation
    of_test = _classes(test) if test else {}
    if unknown := sorted(of_test.keys() - of_train.keys()):
        raise UserError(f"{test} has classes without a training picture: {', '.join(unknown[:5])}")
    if of_test:
        notes["test_part"] = f"{test.name}/"
    return Found(of_train, of_test or None, notes)


def _beside_parts(folder: Path) -> dict[str, list[str]]:
    """The classes D/<class>/*; {} where no folder holds pictures but those named as parts are."""
    classes = _classes(folder)
    if all(name.lower() in (*TRAIN, *TEST, *VALIDATION) for name in classes):
        return {}
    for name in classes:
        if name.lower() in (*TEST, *VALIDATION):
            raise UserError(
                f"{folder / name} holds pictures beside the folders of the classes: move it elsewhere if they are "
                "pictures to test with, or rename it if it is a class"
            )
    return classes


def _named(inside: dict[str, Path], names: tuple[str, ...]) -> Path | None:
    return next((inside[name] for name in names if name in inside), None)


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))]


def _classes(folder: Path) -> dict[str, list[str]]:
    """Class name -> its files in natural order of name; folders without a file that may be a picture are no classes."""
    classes = {}
    for path in sorted(_folders(folder), key=pictures.natural_order):
        files = [file.path for file in os.scandir(path) if file.is_file() and not pictures.is_litter(file.name)]
        if any(_suffix(file) in pictures.SUFFIXES for file in files):
            classes[path.name] = sorted(files, key=pictures.natural_order)
    return classes


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def read(folder: Path, files: Found, shape: tuple[int, int, int | None] | None) -> Parts:
    """Decode a folder's pictures: upright, center square, scaled, gray where all are gray or channels say so.

    Files that cannot be read are left out, counted and named. The decoded copy is kept in the cache folder, under the
    names, sizes and times of the files.

    Raises:
        UserError: no picture of a class can be read.
    """
    height, width, channels = shape or (SIDE, SIDE, None)
    names = tuple(files.train)
    every, part, label = [], [], []
    for number, of_part in enumerate((files.train, files.test or {})):
        for k, name in enumerate(names):
            paths = of_part.get(name, [])
            every += paths
            part.append(np.full(len(paths), number))
            label.append(np.full(len(paths), k))
    part, label = np.concatenate(part), np.concatenate(label)
    images, errors = _decoded(folder, every, (height, width))
    good = np.ones(len(every), bool)
    good[[int(place) for place in errors]] = False
    _say_skipped(errors, every)
    unreadable = np.setdiff1d(np.arange(len(names)), label[good & (part == 0)])
    if len(unreadable):
        raise UserError(f"no picture of {names[unreadable[0]]} in {folder} can be read")
    _say_odd([every[k] for k in np.flatnonzero(good)])
    is_gray = channels == 1 or (channels is None and _all_gray(take(images, np.flatnonzero(good))))
    if is_gray:
        images = images.as_gray(_gray) if isinstance(images, Rows) else _gray(images)
    train, test = (np.flatnonzero(good & (part == k)) for k in (0, 1))
    # Not by class: a few of them, as a dry run takes, are of all classes then.
    test = np.random.default_rng(0).permutation(test)
    notes = dict(files.notes)
    notes["skipped_files"] = len(errors)
    parts = Parts(take(images, train), label[train], None, None, names, {}, notes)
    if files.test is not None:
        parts.x_test, parts.y_test = take(images, test), label[test]
    return parts


def _say_skipped(errors: dict[str, str], files: list[str]) -> None:
    if not errors:
        return
    places = [int(place) for place in errors]
    named = _named_files([files[k] for k in places])
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    print(f"warning: {len(places):,} files cannot be read and are skipped: {named}{more}", file=sys.stderr)
    remedies = {errors[str(k)] for k in places if _suffix(files[k]) in pictures.HEIF}
    for remedy in sorted(remedies):
        print(f"warning: {remedy}", file=sys.stderr)


def _named_files(paths: list[str]) -> str:
    """The first few files with the folders that they lie in."""
    return ", ".join("/".join(Path(path).parts[-2:]) for path in paths[:NAMED])


def _say_odd(files: list[str]) -> None:
    """Name the files of another format where nearly all are of one: they are often no pictures of the class."""
    suffixes = [_suffix(file).replace("jpeg", "jpg") for file in files]
    usual, count = Counter(suffixes).most_common(1)[0]
    odd = [file for file, suffix in zip(files, suffixes, strict=True) if suffix != usual]
    if odd and count >= USUAL * len(files):
        print(
            f"{count:,} of {len(files):,} pictures are {usual} files; "
            f"look whether the others belong there: {_named_files(odd)}"
        )


def _all_gray(images) -> bool:
    """Whether the three channels of every image are the same."""
    return all((part == part[..., :1]).all() for part in chunks(images, "pictures looked at for colors"))


def _gray(images: np.ndarray) -> np.ndarray:
    """RGB images (n, h, w, 3) as (n, h, w, 1), by Pillow's weights."""
    gray = np.empty((*images.shape[:3], 1), np.uint8)
    for target, image in zip(gray, images, strict=True):
        target[..., 0] = np.asarray(Image.fromarray(image).convert("L"))
    return gray


def _decoded(folder: Path, files: list[str], size: tuple[int, int]) -> tuple[np.ndarray | Rows, dict[str, str]]:
    """Images (n, height, width, 3) uint8, and {place: reason} of those that cannot be read, from the cache if it can.

    Where a file cannot be read, its image is black.
    """
    shape = (len(files), *size, 3)
    copy = _cache_folder() / f"{_key(folder, files, size)}.npz"
    if math.prod(shape) > IN_MEMORY:
        return _decoded_on_disk(copy.with_suffix(".pixels"), files, shape)
    kept = _kept(copy, shape)
    if kept:
        print(f"{len(files):,} pictures from the decoded copy in {copy.parent}")
        return kept
    images = np.zeros(shape, np.uint8)
    errors = _decode(files, size, images.__setitem__)
    _keep(copy, images, errors)
    return images, errors


def _decoded_on_disk(copy: Path, files: list[str], shape: tuple[int, ...]) -> tuple[Rows, dict[str, str]]:
    """The same of pictures that would fill the memory: they go to a file one by one, and stay there.

    Raises:
        UserError: there is no room for it.
    """
    record = copy.with_suffix(".json")  # comes last: with it the copy is whole
    images = Rows(copy, shape[1:], np.arange(shape[0]))
    if record.exists() and copy.exists() and copy.stat().st_size == math.prod(shape):
        print(f"{len(files):,} pictures from the decoded copy in {copy.parent}")
        return images, read_json(record)

    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make {copy.parent} ({error.strerror}); set XDG_CACHE_HOME to another folder"
        ) from error
    with replacing(copy) as temporary:
        with open(temporary, "wb") as file:
            file.truncate(math.prod(shape))

        def store(place: int, image: np.ndarray) -> None:
            with open(temporary, "r+b") as file:
                file.seek(place * image.nbytes)
                file.write(image.tobytes())

        errors = _decode(files, shape[1:3], store)
    write_json(record, errors)
    return images, errors


def _decode(files: list[str], size: tuple[int, int], store: Callable[[int, np.ndarray], None]) -> dict[str, str]:
    """Decode pictures on all cores and give each to `store` with its place; {place: reason} of the unreadable ones."""
    errors = {}
    pictures.formats()  # once, before the threads

    def decode(place: int) -> None:
        try:
            picture = pictures.opened(files[place], max(size))
            store(place, np.asarray(ImageOps.fit(picture, size[::-1], Image.Resampling.LANCZOS)))
        except UserError as error:
            errors[str(place)] = str(error)

    portion = min(10_000, max(1, len(files) // 10))  # the pool keeps a kilobyte for each picture that it was given
    with ThreadPoolExecutor(system.cores()) as pool:  # Pillow decodes and scales without Python's lock
        for first in range(0, len(files), portion):
            end = min(first + portion, len(files))
            list(pool.map(decode, range(first, end)))
            console.counter(end, len(files), "pictures decoded")
    return dict(sorted(errors.items(), key=lambda entry: int(entry[0])))


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "small-image-classifiers"


def _key(folder: Path, files: list[str], size: tuple[int, int]) -> str:
    """Hex digest of what a decoded copy depends on: names, sizes and times of the files, image size, readers."""
    digest = hashlib.sha256(json.dumps([VERSION, *size, pictures.formats()]).encode())
    for file in files:
        status = os.stat(file)
        told = (os.path.relpath(file, folder), status.st_size, status.st_mtime_ns)
        digest.update(json.dumps(told).encode())
    return digest.hexdigest()[:32]


def _kept(copy: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, dict[str, str]] | None:
    try:
        with np.load(copy, allow_pickle=False) as archive:
            images, errors = archive["images"], json.loads(str(archive["errors"]))
    except (OSError, *DAMAGE):
        return None
    return (images, errors) if images.shape == shape and images.dtype == np.uint8 else None


def _keep(copy: Path, images: np.ndarray, errors: dict[str, str]) -> None:
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with replacing(copy) as temporary:
            np.savez(temporary, images=images, errors=np.array(json.dumps(errors)))
    except (OSError, UserError) as error:
        print(f"the decoded pictures cannot be kept for the next run ({error})")
