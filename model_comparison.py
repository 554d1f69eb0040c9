"""Which model to deploy, in which format: accuracy, speed, memory and size of every saved model.

    python model_comparison.py                             # models in output/
    python model_comparison.py --output-dir output/demo    # those of the demo
    python model_comparison.py my_model.h5 other.h5        # these, your own among them

Each model runs in every runtime that is installed: Keras predict(), Keras' direct call, and what
export_model.py wrote beside the model, in ONNX Runtime and LiteRT. Writes model_comparison.png, .csv
and .json to the output folder.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline import atomic_io, backend, system
from pipeline.config import flag, parse
from pipeline.console import counter
from pipeline.data import datasets
from pipeline.deploy import comparison, latency, macs, runtimes
from pipeline.errors import UserError, exit_code
from pipeline.models import saved_model
from pipeline.system import cores


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    models: tuple[str, ...] = flag((), "saved .h5 models; default: all in the output folder", positional="MODEL")
    rounds: int = flag(20, "turns of each runtime at each batch size", minimum=1)
    threads: int = flag(0, "processor threads of each runtime; 0: one per core", minimum=0)
    data_dir: str | None = flag(None)
    output_dir: str = flag("output", "folder with the models and their exports, and for the results")


def runnable(path: Path) -> dict[str, Path]:
    """Runtime -> file, for a model and its exports; says what is not there or not of this very model."""
    fingerprint, found, absent = atomic_io.sha256(path), {}, []
    for runtime, (suffix, _) in runtimes.RUNTIMES.items():
        file = path.with_name(path.stem + suffix)
        if not runtimes.installed(runtime):
            print(f"{runtime} is left out: not installed, see requirements-export.txt")
        elif not file.is_file():
            absent.append(file.name)
        elif suffix != ".h5" and source_of(file) != fingerprint:
            print(f"{file} is left out: damaged, or not made from {path.name} as it is now; run export_model.py again")
        else:
            found[runtime] = file
    if absent:
        print(f"left out, since export_model.py has not made them: {', '.join(absent)}")
    return found


def source_of(export: Path) -> str | None:
    """SHA-256 of the saved model that an export was made from, if the export can be read and says so."""
    try:
        return runtimes.open_model(export).about.get("source_sha256")
    except UserError:
        return None


def measure(path: Path, name: str, rounds: int, threads: int, data_dir: str | None) -> tuple[dict, dict, dict]:
    """One model in every runtime, under the name that tables give it.

    Returns:
        its entry in the results; runtime -> (n,) bool, which test images it got right; matrix
        arithmetic -> fastest product in GFLOP/s, taken in the same turns.
    """
    about, model = saved_model.metadata(path), saved_model.load(path)
    work, dataset = macs.multiply_accumulates(model), datasets.load(about["dataset"], data_dir)
    sources = runnable(path)
    found = {path: saved_model.predict(model, dataset.x_test, what=f"test images through {path.name}")}
    found |= {file: runtimes.predict(file, dataset.x_test) for file in sources.values() if file != path}
    right = {file: probabilities.argmax(axis=1) == dataset.y_test for file, probabilities in found.items()}
    # The yardstick: products of square matrices of this side. Without the hardware bfloat16 is emulated, slowly.
    sides = {"float32": 2048, "bfloat16": 2048 if system.cpu_has_bfloat16() else 256}
    timings = latency.interleaved(
        {**sources, **{f"matmul {kind}": side for kind, side in sides.items()}},
        dataset.x_test,
        threads,
        rounds,
        lambda done: counter(done, rounds, f"rounds of timing {name}"),
    )
    peaks = {}
    for kind, side in sides.items():
        seconds = timings.pop(f"matmul {kind}")["seconds"].values()
        peaks[kind] = 2 * side**3 / min(map(min, seconds)) / 1e9
    entry = {
        "name": name,
        "title": about["title"],
        "file": path.name,
        "dataset": about["dataset"],
        "n_test": len(dataset.y_test),
        "parameters": model.count_params(),
        "multiply_accumulates": work,
        "runtimes": [
            {
                "runtime": runtime,
                "file": sources[runtime].name,
                "file_megabytes": sources[runtime].stat().st_size / 1e6,
                **comparison.accuracy(right[sources[runtime]]),
                "peak_megabytes": timed["peak_megabytes"],
                "batches": {str(batch): comparison.speed(batch, s) for batch, s in timed["seconds"].items()},
            }
            for runtime, timed in timings.items()
        ],
    }
    return entry, {runtime: right[file] for runtime, file in sources.items()}, peaks


def main(argv: list[str] | None = None) -> int:
    """Measure what is there, name what is missing."""
    config = parse(Config, argv, about=__doc__)
    backend.full_float32()
    folder, threads = Path(config.output_dir), config.threads or cores()
    if threads > cores():
        raise UserError(f"--threads must be at most {cores()}, the cores there are, got {threads}")
    paths = [Path(model) for model in config.models] or saved_model.finished(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:  # what cannot be measured ends it now, not after minutes of timing
        datasets.load(saved_model.metadata(path)["dataset"], config.data_dir)
        macs.multiply_accumulates(saved_model.load(path))
    names = comparison.names(paths)
    measured = [measure(*one, config.rounds, threads, config.data_dir) for one in zip(paths, names, strict=True)]
    entries, right, peaks = (list(part) for part in zip(*measured, strict=True))
    peak = {kind: max(one[kind] for one in peaks) for kind in peaks[0]}
    for entry in entries:
        comparison.add_ratios(entry, peak)
    result = {
        "models": entries,
        "differences": comparison.differences(entries, right),
        "matrix_peak_gflops": peak,
        "threads": threads,
        "rounds": config.rounds,
        **backend.provenance(),
    }
    print(comparison.text(result))
    atomic_io.write_csv(folder / "model_comparison.csv", pd.DataFrame(comparison.flat(entries)))
    comparison.draw(result, folder / "model_comparison.png")
    atomic_io.write_json(folder / "model_comparison.json", result)
    print(f"{folder / 'model_comparison.png'}, .csv, .json")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
