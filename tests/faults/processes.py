"""A small training run as a process, for tests that do things to it."""

import contextlib
import csv
import os
import subprocess
import sys
from pathlib import Path

import h5py
from conftest import PROJECT

SMALL = ("--dataset", "digits", "--limit", "256", "--filters", "2", "--batch-size", "32")
NOBODY = 65534
# Of a Ray cluster's first node: no processes that a test has no use for.
HEAD = {"include_dashboard": False, "no_monitor": True, "include_log_monitor": False}
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def start(folder, *flags, nobody=False):
    """mnist_classification.py on few digits, writing to a folder; stdout and stderr are pipes.

    Args:
        nobody: run as the user nobody, if this is root.
    """
    user = AS_NOBODY if nobody and is_root() else []
    command = [*user, sys.executable, str(PROJECT / "mnist_classification.py"), *SMALL, "--output-dir", str(folder)]
    environment = {name: value for name, value in os.environ.items() if name != "DATA_DIR"}
    # Nobody has no home: Keras and Matplotlib would look for one.
    environment |= {"KERAS_HOME": "/tmp", "MPLCONFIGDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *flags], env=environment, **pipes)


def is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


def until(process, words):
    """Read what a process prints up to the line that begins with these words."""
    while line := process.stdout.readline():
        if line.strip().startswith(words):
            return line
    raise AssertionError(f"ended without {words!r}: {process.stderr.read()}")


def finish(process):
    """(exit code, stdout, stderr); a process that hangs is killed, and its test fails."""
    try:
        out, err = process.communicate(timeout=900)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


def with_word(word):
    """IDs of the processes that have this word in their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if word.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def model_digest(folder):
    """The digest of the finished model's weights, architecture and origin."""
    with h5py.File(folder / "custom_cnn_model.h5") as file:
        return file.attrs["sha256"]


def history(folder):
    """Rows of the history, without the seconds."""
    with open(folder / "custom_cnn_history.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def leftovers(folder):
    """Temporary files; the lock is none."""
    return [path for path in folder.glob(".*") if path.suffix != ".lock"]


def one_line(err, *words):
    """Whether stderr is one line, begins with error: and has these words."""
    return len(err.strip().splitlines()) == 1 and err.startswith("error: ") and all(word in err for word in words)
