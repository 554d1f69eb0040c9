"""Errors and exit codes: what a user can fix ends in one line on stderr, never in a traceback."""

import os
import shlex
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable

DEBUG = "--debug"  # flag of every script: the traceback as well


class UserError(Exception):
    """A flag, a file or a folder that the user can fix; the message says in one line what is wrong and what to do."""


class Interrupted(Exception):
    """A run that was told to stop and has saved its checkpoint; the message says in one line how to go on.

    Args:
        code: exit code, 130 for Ctrl-C and 143 for SIGTERM.
        where: "after step 3 of epoch 2".
    """

    def __init__(self, code: int, where: str):
        quoted = subprocess.list2cmdline if os.name == "nt" else shlex.join  # cmd.exe takes ' for a letter
        command = quoted([*(word for word in sys.argv if word != "--resume"), "--resume"])
        super().__init__(f"interrupted {where}, the checkpoint is saved; go on with: python {command}")
        self.code = code


def _terminated(signal_number, frame):
    raise SystemExit(128 + signal_number)


def exit_code(main: Callable[[], int | None]) -> int:
    """Call a script's `main`; the exit code of the process.

    0: done. 1: some of several inputs failed. 2: bad input, or a disk that refused.
    130 (Ctrl-C) and 143 (SIGTERM): interrupted; a training run goes on with --resume.
    141: the reader of the output has gone (`| head`).
    """
    signal.signal(signal.SIGTERM, _terminated)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a path may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main() or 0
        sys.stdout.flush()  # here, where a reader that has gone is noticed quietly
        return code
    except BrokenPipeError:
        # Python flushes once more at its end: into nothing (docs.python.org/3/library/signal.html#note-on-sigpipe).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except UserError as error:
        return _bad_input(str(error))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _bad_input(f"{error.strerror or error}{where}")
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        return _interrupted(130)
    except SystemExit as stop:
        if stop.code in (130, 143):
            return _interrupted(stop.code)
        raise


def _bad_input(message: str) -> int:
    if DEBUG in sys.argv:
        traceback.print_exc()
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _interrupted(code: int) -> int:
    print("\ninterrupted; a training run goes on from its last checkpoint with --resume", file=sys.stderr)
    return code
