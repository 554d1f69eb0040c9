"""Pictures that the page's JavaScript sends: a data URI with a PNG or JPEG in it."""

import base64
import binascii
import contextlib
import hashlib
import time
from pathlib import Path

from pipeline.errors import UserError

LARGEST = 200_000  # characters of a picture; a full square of scribble has some 20,000
KEPT = 3600  # seconds
MOST_STORED = 200_000_000  # bytes of all drawings and camera pictures
SUFFIXES = {"data:image/png;base64": ".png", "data:image/jpeg;base64": ".jpg"}


def decoded(uri: str) -> tuple[bytes, str]:
    """Content of the picture file in a data URI, and its suffix.

    Raises:
        UserError: something else, or too long.
    """
    head, _, content = str(uri).partition(",")
    if head not in SUFFIXES or len(content) > LARGEST:
        raise UserError("that is no picture of this page")
    try:
        return base64.b64decode(content, validate=True), SUFFIXES[head]
    except binascii.Error as error:
        raise UserError("the picture arrived damaged; draw or take it again") from error


def save(uri: str | None, folder: Path) -> Path | None:
    """Write a picture to a file named by its content; None where nothing was drawn.

    Those of more than an hour ago are removed.

    Raises:
        UserError: as decoded() does, or too many pictures are kept.
    """
    if not uri:
        return None
    content, suffix = decoded(uri)
    if _forget(folder) > MOST_STORED:
        raise UserError("too many pictures were sent; come back in an hour")
    path = folder / f"picture-{hashlib.sha256(content).hexdigest()[:20]}{suffix}"
    path.write_bytes(content)
    return path


def _forget(folder: Path) -> int:
    """Remove pictures that nobody has sent for an hour; the bytes of those that stay."""
    stored = 0
    for path in folder.glob("picture-*"):
        with contextlib.suppress(FileNotFoundError):  # another visitor's request removes them as well
            status = path.stat()
            if time.time() - status.st_mtime > KEPT:
                path.unlink()
            else:
                stored += status.st_size
    return stored
