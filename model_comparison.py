"""Which model to deploy, in which format: accuracy, speed, memory and size of every saved model.

    python model_comparison.py                             # models in output/
    python model_comparison.py --output-dir output/demo    # those of the demo
    python model_comparison.py my_model.h5 other.h5        # these, your own among them: results in output/demo/

Each model runs in every runtime that is installed: Keras predict(), Keras' direct call, and what
export_model.py wrote beside the model, in ONNX Runtime and LiteRT. Writes model_comparison.png, .csv
and .json to the output folder.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import atomic_io, backend, data, deploy, models, system
from pipeline.config import flag, parse
from pipeline.console import counter
from pipeline.deploy import runtimes
from pipeline.errors import UserError, exit_code
from pipeline.system import cores


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    models: tuple[str, ...] = flag((), "saved .h5 models; default: all in the output folder", positional="MODEL")
    rounds: int = flag(20, "turns of each runtime at each batch size", minimum=1)
    threads: int = flag(0, "processor threads of each runtime; 0: one per core", minimum=0)
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(
        None, "folder for the results, and with the models; default: output, and output/demo where MODELs are named"
    )


def output_folder(config: Config) -> Path:
    """Where the results go: those of models that were named must not replace the ones of the finished models."""
    if config.output_dir:
        return Path(config.output_dir)
    return Path("output/demo") if config.models else Path("output")


def runnable(model: Path) -> dict[str, Path]:
    """Runtime -> file, for a model and its exports; prints what is missing or was made from another model."""
    found, missing = {}, []
    for runtime, (suffix, _) in runtimes.RUNTIMES.items():
        file = model.with_name(model.stem + suffix)
        if not runtimes.installed(runtime):
            print(f"{runtime} is left out: not installed, run: pip install -e .[export]")
        elif not file.is_file():
            missing.append(file.name)
        elif suffix != ".h5" and not is_current(file):
            print(f"{file} is left out: damaged, or not made from {model.name} as it is now; run export_model.py again")
        else:
            found[runtime] = file
    if missing:
        print(f"left out, since export_model.py has not made them: {', '.join(missing)}")
    return found


def is_current(export: Path) -> bool:
    """Whether an export can be opened and was made from the model beside it as it is now."""
    try:
        return not runtimes.is_outdated(export, runtimes.open_model(export).about)
    except UserError:
        return False


def correct_answers(saved: "models.saved_model.SavedModel", dataset, files: dict[str, Path]) -> dict[str, np.ndarray]:
    """Runtime -> (n_test,) bool: which test images the model classifies correctly there."""
    in_keras = models.probabilities.on_test_images(saved, dataset)
    correct = {}
    for runtime, file in files.items():
        is_export = file != saved.path
        probabilities = runtimes.predict(file, dataset.x_test, "test images") if is_export else in_keras
        correct[runtime] = probabilities.argmax(axis=1) == dataset.y_test
    return correct


def measure(
    saved: "models.saved_model.SavedModel", name: str, dataset, products: dict, threads: int, rounds: int
) -> tuple[dict, dict, dict]:
    """One model in every runtime, under the name that tables give it.

    Args:
        products: of deploy.latency.matrix_products(), timed in turns with the runtimes.
    Returns:
        its entry in the results; its correct_answers(); name of a product -> seconds of the fastest one.
    """

    def tell(done: int) -> None:
        counter(done, rounds, f"rounds of timing {name}")

    files = runnable(saved.path)
    correct = correct_answers(saved, dataset, files)
    timed = deploy.latency.interleaved({**files, **products}, dataset.x_test, threads, rounds, tell)
    fastest = {product: min(map(min, timed.pop(product)["seconds"].values())) for product in products}
    of_runtimes = []
    for runtime, measured in timed.items():
        file, seconds = files[runtime], measured["seconds"]
        of_runtimes.append(
            {
                "runtime": runtime,
                "file": file.name,
                "file_megabytes": file.stat().st_size / 1e6,
                **deploy.comparison.accuracy(correct[runtime]),
                "peak_megabytes": measured["peak_megabytes"],
                "batches": {str(batch): deploy.comparison.speed(batch, seconds[batch]) for batch in seconds},
            }
        )
    entry = {
        "name": name,
        "title": saved.metadata["title"],
        "file": saved.path.name,
        "dataset": saved.metadata["dataset"],
        "n_test": len(dataset.y_test),
        "parameters": saved.model.count_params(),
        "multiply_accumulates": models.macs.multiply_accumulates(saved.model),
        "runtimes": of_runtimes,
    }
    return entry, correct, fastest


def measure_all(paths: list[Path], products: dict, threads: int, config: Config) -> list[tuple]:
    """measure() of each saved model."""
    # What cannot be measured ends it now, not after minutes of timing.
    opened = [models.saved_model.open_model(path) for path in paths]
    for saved in opened:
        models.macs.multiply_accumulates(saved.model)
    datasets = [data.datasets.of_model(saved, config.data_dir) for saved in opened]
    backend.full_float32()
    return [
        measure(saved, name, dataset, products, threads, config.rounds)
        for saved, name, dataset in zip(opened, deploy.comparison.names(paths), datasets, strict=True)
    ]


def main(argv: list[str] | None = None) -> int:
    """Measure the models that are there; missing ones are named."""
    config = parse(Config, argv, about=__doc__)
    folder, threads = output_folder(config), config.threads or cores()
    if threads > cores():
        raise UserError(f"--threads must be at most {cores()}, the cores there are, got {threads}")
    paths = [Path(model) for model in config.models] or models.saved_model.finished(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Without the hardware bfloat16 is emulated, slowly.
    sides = {"float32": 2048, "bfloat16": 2048 if system.cpu_has_bfloat16() else 256}
    with deploy.latency.matrix_products(sides, threads) as products:
        measured = measure_all(paths, products, threads, config)
    entries, correct, fastest = zip(*measured, strict=True)
    peak = {}
    for kind, side in sides.items():
        peak[kind] = 2 * side**3 / min(seconds[f"matmul {kind}"] for seconds in fastest) / 1e9
    for entry in entries:
        deploy.comparison.add_ratios(entry, peak)
    result = {
        "schema": 1,
        "models": entries,
        "differences": deploy.comparison.differences(entries, correct),
        "matrix_peak_gflops": peak,
        "threads": threads,
        "rounds": config.rounds,
        **backend.provenance(),
    }
    print(deploy.comparison.text(result))
    atomic_io.write_csv(folder / "model_comparison.csv", deploy.comparison.table(entries))
    deploy.comparison_plot.draw(result, folder / "model_comparison.png")
    atomic_io.write_json(folder / "model_comparison.json", result)
    print(f"{folder / 'model_comparison.png'}, .csv, .json")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
