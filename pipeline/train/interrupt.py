"""Ctrl-C and SIGTERM, deferred until a training step is over and a checkpoint can be saved."""

import contextlib
import os
import signal
import threading


class DeferredSignals:
    """A block in which the first signal only sets `code`; a second one ends the program at once.

    A signal that the process ignores stays ignored: a shell starts its background processes so,
    that Ctrl-C may stop what runs in the foreground alone.

    Attributes:
        code: 0, or the exit code of the signal that came.
    """

    def __init__(self):
        self.code = 0
        self.before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.code:
            raise SystemExit(self.code)
        self.code = 128 + number
        # Not print(): the signal may have come while stdout's buffer is being written, which Python then refuses.
        with contextlib.suppress(OSError):
            os.write(1, b"\nfinishing this step, then saving a checkpoint; once more ends at once\n")
