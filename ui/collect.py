"""Pictures that visitors of the page ask to keep, by class, to train on: `--dataset data/collected`. No Gradio here.

    data/collected/7/3f1c….png             as the model saw it
    data/collected/7/original/3f1c….jpg    as it was; a data set's folder is read no deeper than its classes

Pictures for models of digits go to that folder, those for other models to one beside it that is named by their data
set (data/collected-cifar100). Only the user whose process this is may read them.
"""

import hashlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.atomic_io import replacing
from pipeline.data import pictures
from pipeline.errors import UserError
from ui.answers import Answer

ORIGINAL = "original"
MOST, MOST_BYTES = 10_000, 2_000_000_000  # pictures of one class, bytes of all: so that no visitor fills the disk
SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif", "HEIF": ".heic"}  # of formats that are not called as their files are
NAME = re.compile(r"\w[\w ,.()&'+-]*")  # of a class or data set that may name a folder: no separator, no leading dot
_writing = threading.Lock()


@dataclass(frozen=True)
class Kept:
    """A picture that is kept: its two files, and how many of its class are kept by now."""

    seen: Path
    original: Path
    count: int


def keep(answer: Answer, picture: str | Path, class_name: str, folder: Path) -> Kept:
    """Keep the picture of an answer as one of a class; once, however often it is asked for.

    A picture that is kept as another class already is moved to this one.

    Args:
        answer: of a model to the picture.
        picture: its file.
        class_name: one of the model's.
        folder: of the pictures for models of digits.
    Raises:
        UserError: no class of the model, a name that cannot name a folder, a picture that is gone, too many pictures,
            or a full disk.
    """
    if class_name not in answer.class_names:
        raise UserError(f"{class_name} is no class of {answer.title}; choose one of its classes")
    collection = folder
    if not answer.digit:
        collection = folder.with_name(f"{folder.name}-{_checked(answer.dataset)}")
    target = collection / _checked(class_name)
    try:
        content = Path(picture).read_bytes()
        with Image.open(picture, formats=pictures.formats()) as opened:
            suffix = SUFFIXES.get(opened.format, f".{opened.format.lower()}")
    except OSError as error:
        raise UserError("the picture is no longer there; show it again") from error
    name = hashlib.sha256(content).hexdigest()[:20]
    with _writing:
        _make(collection)
        seen, original = target / f"{name}.png", target / ORIGINAL / f"{name}{suffix}"
        if not seen.exists() and len(list(target.glob("*.png"))) >= MOST:
            raise UserError(f"{MOST:,} pictures of {class_name} are kept already; remove some from the folder")
        if sum(path.stat().st_size for path in collection.glob(f"*/{ORIGINAL}/*")) > MOST_BYTES:
            raise UserError(f"{collection.name}/ is full ({MOST_BYTES / 1e9:g} GB); remove some pictures from it")
        _make(original.parent)
        with replacing(original) as temporary:
            temporary.write_bytes(content)
        with replacing(seen) as temporary:
            Image.fromarray(np.squeeze(answer.seen)).save(temporary)
        _forget_elsewhere(name, collection, target)
        return Kept(seen, original, len(list(target.glob("*.png"))))


def _checked(name: str) -> str:
    """A name that may name a folder, as it is."""
    if not NAME.fullmatch(name):
        raise UserError(f"pictures of {name!r} cannot be kept: that is no name for a folder")
    return name


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"nothing can be kept in {folder.name}/ ({error.strerror})") from error


def _forget_elsewhere(name: str, collection: Path, target: Path) -> None:
    """Remove a picture from the classes that it does not belong to."""
    for pattern in (f"*/{name}.png", f"*/{ORIGINAL}/{name}.*"):
        for path in collection.glob(pattern):
            if target not in path.parents:
                path.unlink()
