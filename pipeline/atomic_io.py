"""Atomic file writes: whole or not at all; plain data in them; and a lock on a folder."""

import contextlib
import hashlib
import json
import os
import re
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import UserError

# Seconds between the tries of a rename: on Windows a virus scanner or an indexer may have a new file open for a moment.
WAITS = (0.05, 0.1, 0.2, 0.4, 0.8) if os.name == "nt" else ()


@contextlib.contextmanager
def replacing(path: Path):
    """Yield a temporary name beside `path`; it takes the final name only if all went well.

    The content is on the disk before the name, and the name before this returns.

    Raises:
        UserError: a full disk, a folder that is gone or cannot be written to.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        rename(temporary, path)
        _sync(path.parent)
    except (OSError, RuntimeError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise UserError(f"cannot write {path} ({reason}); what was there before is whole") from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def rename(source: Path, target: Path) -> None:
    """Give a file or folder the name of another, whose place it takes."""
    for wait in WAITS:
        with contextlib.suppress(PermissionError):
            source.replace(target)
            return
        time.sleep(wait)
    source.replace(target)


def _sync(folder: Path) -> None:
    """Bring a folder's entries to the disk; Windows does so by itself and opens no folders."""
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _reason(error: Exception) -> str | None:
    """The system's words for a failed write, also where h5py hides the number in its text; else None."""
    if getattr(error, "errno", None):
        return error.strerror
    number = re.search(r"errno = (\d+)", str(error))
    return os.strerror(int(number[1])) if number else None


def write_json(path: Path, content) -> None:
    """Write plain data as indented JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict:
    """A file of results; UserError if it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # the latter of brackets in brackets
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged; delete it or do that run again")
    return found


def write_csv(path: Path, frame) -> None:
    """Write a pandas DataFrame without its index, atomically; floats with six digits."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def lock(path: Path) -> FileLock:
    """Hold a lock file until its release(), or until the process ends, however it ends.

    The lock is the system's, not the file's being there: a file that is left behind locks nothing.

    Args:
        path: file to lock, made if need be.
    Raises:
        UserError: somebody else holds it, another process or this one.
    """
    held = FileLock(path, mode=0o666)  # another user may lock it later
    try:
        held.acquire(blocking=False)
    except Timeout as error:
        raise UserError(
            f"another run is writing to {path.parent}; wait for it, end it, or choose another --output-dir"
        ) from error
    return held


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
