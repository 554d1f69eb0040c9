"""How fast saved models and their exports answer: beside the machine's matrix product, Keras, and from the start.

    python export_model.py output/cifar100_cnn_scratch.h5 output/cifar100_cnn_best.h5
    python benchmarks/answering.py            # about three minutes on two idle cores

Each runtime in a process of its own, in turn with a float32 matrix product of 3072 x 3072, for 1, 32 and 256 images:
milliseconds, GFLOP/s (two operations for each multiply-accumulate), the fraction of the matrix product's rate, and the
speedup over Keras predict. Then the seconds from starting predict.py to its answer about one picture, for an .onnx
file, for an .h5 file beside its export, and for an .h5 file alone. Writes benchmark_answering.json.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import model_comparison
from benchmarks import results
from pipeline import PROJECT
from pipeline.config import flag, parse
from pipeline.deploy import comparison, latency, runtimes
from pipeline.errors import UserError, exit_code
from pipeline.models import macs, saved_model
from pipeline.system import cores
from pipeline.train.identity import OUTPUT

MODELS = tuple(OUTPUT / saved_model.MODELS[prefix].file for prefix in ("cifar100", "cifar100-best"))
SIDE = 3072  # of the matrices
ONNX, BESIDE, ALONE = "onnx", "h5 beside its export", "h5 alone"


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    rounds: int = flag(6, "turns of each runtime", minimum=1)
    starts: int = flag(5, "starts of predict.py for each kind of file", minimum=1)
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def answering(path: Path, rounds: int) -> dict:
    """Speeds of one model in each runtime, and the median rate of the matrix product in the same run."""
    model = saved_model.open_model(path).model
    files = model_comparison.runnable(path)
    images = np.random.default_rng(0).integers(0, 256, (max(latency.CALLS), *model.input_shape[1:]), np.uint8)
    with latency.matrix_products({"float32": SIDE}, cores()) as products:
        timed = latency.interleaved({**files, **products}, images, cores(), rounds)
    products = [seconds for calls in timed.pop("matmul float32")["seconds"].values() for seconds in calls]
    entry = {
        "name": path.stem,
        "multiply_accumulates": macs.multiply_accumulates(model),
        "matrix_product_gflops": 2 * SIDE**3 / float(np.median(products)) / 1e9,
        "runtimes": [
            {
                "runtime": runtime,
                "batches": {str(batch): comparison.speed(batch, calls) for batch, calls in measured["seconds"].items()},
            }
            for runtime, measured in timed.items()
        ],
    }
    comparison.add_ratios(entry, {"float32": entry["matrix_product_gflops"]})
    return entry


def seconds_to_answer(path: Path, starts: int) -> dict[str, list[float]]:
    """Seconds of each run of predict.py about one picture, by the kind of the model's file, in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("together", "apart"):
            (folder / kind).mkdir()
            shutil.copy(path, folder / kind)
        export = shutil.copy(path.with_suffix(runtimes.SUFFIXES["onnx"]), folder / "together")
        files = {ONNX: Path(export), BESIDE: folder / "together" / path.name, ALONE: folder / "apart" / path.name}
        picture = folder / "picture.png"
        Image.linear_gradient("L").save(picture)
        seconds = {kind: [] for kind in files}
        for _ in range(starts):
            for kind, file in files.items():
                begun = time.perf_counter()
                command = [sys.executable, str(PROJECT / "predict.py"), str(file), str(picture)]
                subprocess.run(command, capture_output=True, check=True)
                seconds[kind].append(time.perf_counter() - begun)
    return seconds


def text(entry: dict) -> str:
    """A model's speeds as lines for a terminal."""
    lines = [f"{entry['name']}: matrix product {entry['matrix_product_gflops']:.0f} GFLOP/s"]
    for timed in entry["runtimes"]:
        one, many = timed["batches"]["1"], timed["batches"]["256"]
        lines.append(
            f"  {timed['runtime']:<16}1 image {one['median_ms']:6.2f} ms  256 images {many['median_ms']:5.0f} ms, "
            f"{many['gflops']:4.0f} GFLOP/s, {many['fraction_of_float32_peak']:.0%} of the matrix product, "
            f"speedup {many['speedup']:.2f} over Keras predict"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Every model's speeds, then predict.py with the first one."""
    config = parse(Config, argv, about=__doc__)
    for path in MODELS:
        if runtimes.exact_export(path) is None:
            raise UserError(f"{path} has no current ONNX export beside it; run export_model.py {path} first")
    entries = []
    for path in MODELS:
        entries.append(answering(path, config.rounds))
        print(text(entries[-1]), flush=True)
    seconds = seconds_to_answer(MODELS[0], config.starts)
    medians = {kind: float(np.median(times)) for kind, times in seconds.items()}
    for kind, median in medians.items():
        print(f"predict.py, {kind}: {median:.2f} s from its start to the answer")
    result = {"models": entries, "threads": cores(), "rounds": config.rounds}
    result["seconds_to_answer"] = {"medians": medians, "seconds": seconds}
    results.write("benchmark_answering.json", config, result)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
