"""What a user can mend ends in one line on stderr and a stable exit code, never in a traceback."""

import signal
import sys
from collections.abc import Callable

from pipeline.interrupt import Interrupted


class BadInput(Exception):
    """A flag, a file or a folder that the user can put right; the message says how, in one line."""


def _terminated(signal_number, frame):
    raise SystemExit(128 + signal_number)


def exit_code(main: Callable[[], int | None]) -> int:
    """Call a script's `main`; the exit code of the process.

    0: done. 1: some of several inputs failed. 2: bad input, or a disk that refused.
    130 (Ctrl-C) and 143 (SIGTERM): interrupted; a training run goes on with --resume.
    """
    signal.signal(signal.SIGTERM, _terminated)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a path may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    try:
        return main() or 0
    except BadInput as error:
        message = str(error)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        message = f"{error.strerror or error}{where}"
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.code
    except KeyboardInterrupt:
        return _interrupted(130)
    except SystemExit as stop:
        if stop.code in (130, 143):
            return _interrupted(stop.code)
        raise
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _interrupted(code: int) -> int:
    print("\ninterrupted; a training run goes on from its last saved state with --resume", file=sys.stderr)
    return code
