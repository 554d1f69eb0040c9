"""Result files of the benchmarks: where they go, and what they were made on."""

from pathlib import Path

from pipeline import atomic_io, backend
from pipeline.train import identity


def folder(config, trial: bool = False) -> Path:
    """--output-dir where it is given, else output/; output/demo for trials, also if a setting differs from its default.

    Args:
        config: dataclass of config.flag() fields, one of them output_dir.
    """
    changed = identity.recorded(config) != identity.recorded(type(config)())
    found = identity.results_folder(config.output_dir, trial or changed)
    found.mkdir(parents=True, exist_ok=True)
    return found


def write(name: str, config, measured: dict) -> None:
    """Write measurements and what they were made on as JSON, and print the file's path."""
    path = folder(config) / name
    atomic_io.write_json(path, {"schema": 1, **measured, **backend.provenance()})
    print(path)
