"""This process: its cores, its memory, its noise; and what other processes say."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from pipeline.errors import BadInput


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_megabytes() -> float | None:
    """Most memory that this process ever held, in MB; None where the system does not tell.

    On Linux from /proc: getrusage would count the parent's memory too, from before the exec.
    """
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


@contextlib.contextmanager
def silence():
    """Drop what C++ code writes to file descriptor 2 meanwhile; Python's exceptions still get through."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def output_of(*command: str) -> str:
    """What a short command says; nothing where it is absent, fails or takes over ten seconds."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def measured_in_another(what: str, script: str, flags: list[str], environment: dict[str, str] | None = None) -> dict:
    """What a script measures in a process of its own: the JSON object that it prints last.

    Args:
        what: names the process where it fails.
        environment: variables that it has besides this process's.
    Raises:
        BadInput: it failed; its own last line follows.
    """
    command = [sys.executable, script, *flags]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (environment or {}))
    if done.returncode:
        raise BadInput(f"the {what} process failed: {(done.stderr.strip().splitlines() or ['nothing said'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])
