"""One run at a time in a folder."""

import contextlib
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
    if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        file.close()  # the run before this one let go of it, and removed it, between our two calls
        return hold(path)
    return file


def let_go(file: IO) -> None:
    """Remove the file of a lock and let go of it, in this order: nobody can be refused by what is left."""
    if os.name == "nt":  # an open file cannot be removed there
        file.close()
    with contextlib.suppress(PermissionError):  # a scanner has it open; what is left is not locked
        Path(file.name).unlink(missing_ok=True)
    file.close()
