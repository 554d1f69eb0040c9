"""Files in Keras' cache: downloaded where they are missing, checked by their hash, whole or not at all."""

import hashlib
import os
import re
import socket
import tempfile
from pathlib import Path

from pipeline.backend import keras
from pipeline.errors import UserError

TIMEOUT = 15  # seconds without an answer; a download without a time-out can hang for ever


def cached(origin: str, file_hash: str, subfolder: str, absent: str, remedy: str) -> Path:
    """Path of a file in Keras' cache, downloaded where it is missing or has another hash.

    A file with another hash, of a download that was killed or put there by the user, is replaced by a whole one or not
    at all; Keras itself would delete it before it knows whether the download works.

    Args:
        origin: URL; its last part is the file's name.
        file_hash: published MD5 or SHA-256, hex.
        subfolder: of the cache ("datasets", "models").
        absent: what is missing where ("mnist.npz is not in data").
        remedy: what to do without a network.
    Raises:
        UserError: the file is not there whole, and the download failed; says why.
    """
    name = origin.rpartition("/")[2]
    path = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / subfolder / name
    if path.is_file():
        if _digest(path, file_hash) == file_hash:
            return path
        absent = f"{path} is incomplete or another file,"
    usual = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            whole = keras.utils.get_file(name, origin, cache_dir=folder, cache_subdir="", file_hash=file_hash)
            os.replace(whole, path)
    except Exception as error:  # Keras wraps whatever went wrong in a bare Exception
        raise UserError(f"{absent} and the download failed ({_reason(error)}); {remedy}") from error
    finally:
        socket.setdefaulttimeout(usual)
    return path


def _digest(path: Path, like: str) -> str:
    """Hex digest of a file by the algorithm of another digest, MD5 (32 digits) or SHA-256."""
    algorithm = "md5" if len(like) == 32 else "sha256"
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _reason(error: Exception) -> str:
    """Why a download failed, in the system's words: "Name or service not known".

    Keras puts "URL fetch failure on https://...: None -- [Errno -2] " before them.
    """
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    words = first_line.rpartition(" -- ")[2]
    return re.sub(r"\[Errno -?\d+\] ", "", words)
