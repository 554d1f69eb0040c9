"""A script in a process that ends when the one that started it does: python -m plan.watched SCRIPT FLAGS.

A Ray worker may be killed with no chance to end what it started, and the script would go on, a second one beside the
one that takes its place elsewhere.
"""

import os
import runpy
import signal
import sys
import threading
import time


def watch(parent: int) -> None:
    """Tell this process to save and end once its parent has gone; it is killed where it does not."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
