"""This process and its machine: cores, memory, stderr, processor, other processes. Needs no Keras."""

import contextlib
import json
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

from pipeline.errors import UserError


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


_descriptor = threading.RLock()


@contextlib.contextmanager
def silence():
    """Drop what C++ code writes to file descriptor 2 meanwhile; Python's exceptions still get through.

    One thread at a time: a second one would take the null device for the descriptor that it has to bring back.
    """
    with _descriptor:
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
        UserError: it failed; its own last line follows.
    """
    command = [sys.executable, script, *flags]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (environment or {}))
    if done.returncode:
        raise UserError(f"the {what} process failed: {(done.stderr.strip().splitlines() or ['nothing said'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


WITH_BFLOAT16 = ("BF16", "FP16", "AMX", "AVX10", "DEFAULT", "ALL")  # in oneDNN's names of instruction sets
BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16", "bf16")  # that multiply bfloat16 matrices, x86's and Arm's


def processor_name() -> str:
    """The processor's name, as the system gives it."""
    called = _cpuinfo().get("model name") or output_of("sysctl", "-n", "machdep.cpu.brand_string")
    return called or platform.processor() or platform.machine()


def cpu_has_bfloat16() -> bool:
    """Whether it multiplies bfloat16 matrices in hardware: AVX-512 BF16, AMX, Arm's BF16; known on Linux alone.

    Where ONEDNN_MAX_CPU_ISA keeps oneDNN from these instructions, TensorFlow's bfloat16 kernels fail.
    """
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    if not any(name in allowed for name in WITH_BFLOAT16):
        return False
    info = _cpuinfo()
    features = info.get("flags", info.get("Features", "")).split()
    return any(unit in features for unit in BFLOAT16_UNITS)


def lacks_bfloat16(machine: dict) -> bool:
    """Whether a machine of backend.describe() has no bfloat16 arithmetic, so that its times stand apart."""
    return machine["accelerator"] == "none" and not machine["bfloat16"]


def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
