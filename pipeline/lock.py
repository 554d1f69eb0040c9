"""One run at a time in a folder."""

import errno
import os
from pathlib import Path
from typing import IO

from pipeline.errors import BadInput


def hold(path: Path) -> IO:
    """Lock a file for this process; the system lets go of it when the process ends, however it ends.

    Args:
        path: file to lock, made if need be. Where the file system knows no locks, nothing is locked.
    Returns:
        The open file; it must stay open for as long as the lock is to be held.
    Raises:
        BadInput: another process holds it.
    """
    file = open(path, "a+")  # noqa: SIM115  (the lock lives as long as the file is open)
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            file.close()
            raise BadInput(
                f"another run is writing to {path.parent}; wait for it, end it, or choose another --output-dir"
            ) from error
    return file
