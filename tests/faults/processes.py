"""A small training run as a process, for tests that do things to it."""

import contextlib
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import pytest
from conftest import PROJECT

SMALL = ("--dataset", "digits", "--limit", "256", "--filters", "2", "--batch-size", "32")
# --limit 250 of 1,797 digits: 450 test and 135 validation images, of which neither 8 nor 2 divides the last batch.
DIVIDED = ("--limit", "250", "--epochs", "4", "--precision", "float32", "--dropout", "0")
# What JAX has compiled is kept for the next process: most of the time of a run this small.
COMPILED = tempfile.TemporaryDirectory()
JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": COMPILED.name}
JAX |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
NOBODY = 65534
# Of a Ray cluster's first node: no processes that a test has no use for.
HEAD = {"include_dashboard": False, "no_monitor": True, "include_log_monitor": False}
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


def start(folder, *flags, environment=None, prefix=()):
    """mnist_classification.py on few digits, writing to a folder; stdout and stderr are pipes.

    Args:
        environment: variables beside this process' own.
        prefix: words before the command, as of setpriv.
    """
    command = [*prefix, sys.executable, str(PROJECT / "mnist_classification.py"), *SMALL, "--output-dir", str(folder)]
    variables = {name: value for name, value in os.environ.items() if name != "DATA_DIR"}
    # Nobody has no home: Keras and Matplotlib would look for one.
    variables |= {"KERAS_HOME": "/tmp", "MPLCONFIGDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *flags], env=variables | (environment or {}), **pipes)


def start_on_jax(folder, *flags, environment=None, prefix=()):
    """start() on JAX, for a run whose batches are divided among devices or hosts."""
    return start(folder, *DIVIDED, *flags, environment=JAX | (environment or {}), prefix=prefix)


def python(*words):
    """A process of Python in the project's folder; stdin, stdout and stderr are pipes."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen([sys.executable, *map(str, words)], cwd=PROJECT, env=environment, **pipes)


@contextlib.contextmanager
def driver(*words):
    """A process of python() that works on a Ray cluster, killed at the end of the block if it still runs."""
    process = python(*words)
    try:
        yield process
    finally:
        process.kill()


@contextlib.contextmanager
def control_group(controller, version1, version2):
    """Words before a command that start it in a control group with a limit; skips where there can be none.

    Args:
        controller: "memory" or "blkio", as version 1 calls it.
        version1, version2: file and content of the limit in a group of this version of control groups.
    """
    group, (file, content) = Path("/sys/fs/cgroup", controller, f"test-{os.getpid()}"), version1
    if not group.parent.is_dir():
        group, (file, content) = Path("/sys/fs/cgroup", group.name), version2
    try:
        group.mkdir()
        (group / file).write_text(content)
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no control group for {controller} can be made here ({error})")
    try:
        yield ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
    finally:
        group.rmdir()


def wait_for(condition, process):
    """Wait until a condition holds, and return what it says; a process that ends before fails the test."""
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    return found


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
