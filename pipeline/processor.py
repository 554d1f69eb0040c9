"""The processor: its name, and whether it multiplies bfloat16 matrices."""

import platform
from pathlib import Path

from pipeline.process import output_of

UNITS = ("avx512_bf16", "amx_bf16", "bf16")  # that multiply bfloat16 matrices, x86's and Arm's


def name() -> str:
    """What the system calls it, with those of UNITS that it has."""
    called = _cpuinfo().get("model name") or output_of("sysctl", "-n", "machdep.cpu.brand_string")
    return " ".join([called or platform.processor() or platform.machine(), *_units()])


def has_bfloat16() -> bool:
    """Whether it multiplies bfloat16 matrices in hardware: AVX-512 BF16, AMX, Arm's BF16; known on Linux alone."""
    return bool(_units())


def lacks_bfloat16(machine: dict) -> bool:
    """Whether a machine that hardware.describe() told of has no such arithmetic, so that its times stand apart."""
    return machine["accelerator"] == "none" and not set(UNITS) & set(machine["processor"].split())


def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}


def _units() -> list[str]:
    info = _cpuinfo()
    features = info.get("flags", info.get("Features", "")).split()
    return [unit for unit in UNITS if unit in features]
