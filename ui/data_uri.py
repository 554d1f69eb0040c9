"""Pictures that the page's JavaScript sends: a data URI with a PNG or JPEG in it."""

import base64
import binascii
import hashlib
from pathlib import Path

from pipeline.errors import UserError

LARGEST = 200_000  # characters of a picture; a full square of scribble has some 20,000
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

    Raises:
        UserError: as decoded() does.
    """
    if not uri:
        return None
    content, suffix = decoded(uri)
    path = folder / f"picture-{hashlib.sha256(content).hexdigest()[:20]}{suffix}"
    path.write_bytes(content)
    return path
