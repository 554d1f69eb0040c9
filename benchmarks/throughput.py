"""How fast the baseline trains, against plain Keras, and what its input pipeline costs.

    python benchmarks/throughput.py            # about five minutes on two idle cores

Three setups for the same training steps, each in processes of its own, in turn (A B C A B C), so that a machine that
drifts favors none; medians of single steps:

    plain      Keras' own layers in float32, ready batches in memory, fit()
    ready      this project's layers and precision, ready batches in memory, fit()
    pipeline   the same with shuffling and augmentation, as the script trains

Also the peak memory of the pipeline's process. Writes benchmark_throughput.json.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass

import numpy as np

import cifar100_cnn
from benchmarks import results
from benchmarks.batch_norm import with_stock_layers
from pipeline import backend, data
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.errors import exit_code
from pipeline.system import measured_in_another, peak_megabytes

SETUPS = ("plain", "ready", "pipeline")
WARM_UP = 4  # steps


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    dataset: str = flag("cifar100", "images to train on", choices=("cifar100", "synthetic"))
    steps: int = flag(14, f"timed steps of each process, after {WARM_UP} that warm up", minimum=4)
    rounds: int = flag(3, "processes of each setup, in turn", minimum=1)
    setup: str | None = flag(None, "measure one in this process (used by the benchmark itself)", choices=SETUPS)
    data_dir: str | None = flag(None, recorded=False)
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def measure(config: Config) -> dict:
    """Images per second and peak memory of one setup, in this process."""
    training = cifar100_cnn.Config(recipe="baseline", dataset=config.dataset)
    backend.use_precision("float32" if config.setup == "plain" else "auto")
    keras.utils.set_random_seed(0)
    dataset = data.datasets.split(data.datasets.load(config.dataset, config.data_dir))
    model = cifar100_cnn.build_model(training)
    if config.setup == "plain":
        model = with_stock_layers(model)
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    ends = []

    def note_end(batch, logs):
        float(logs["loss"])  # wait until the step is done
        ends.append(time.perf_counter())

    callbacks = [keras.callbacks.LambdaCallback(on_train_batch_end=note_end)]
    size, rng = training.batch_size, np.random.default_rng(0)
    chosen = rng.integers(0, len(dataset.x_train), size * (WARM_UP + config.steps))
    images, labels = dataset.x_train[chosen], dataset.y_train[chosen]
    if config.setup == "pipeline":
        augment = cifar100_cnn.augmentation(training)
        batches = data.batches.Batches(images, labels, batch_size=size, seed=0, epoch=0, augment=augment)
        model.fit(batches, shuffle=False, verbose=0, callbacks=callbacks)
    else:
        model.fit(images.astype(np.float32), labels, batch_size=size, shuffle=False, verbose=0, callbacks=callbacks)
    seconds = np.diff(ends)[WARM_UP - 1 :]  # from the end of a step to the end of the next, waiting for input included
    peak = (peak_megabytes() or np.nan) / 1000
    return {"images_per_second": size / float(np.median(seconds)), "peak_gigabytes": peak}


def main(argv: list[str] | None = None) -> int:
    """Measure the setups in turn and print their ratios."""
    config = parse(Config, argv, about=__doc__)
    if config.setup:
        print(json.dumps(measure(config)))
        return 0
    runs = {setup: [] for setup in SETUPS}
    for turn in range(config.rounds):
        for setup in SETUPS:
            flags = ["--setup", setup, "--dataset", config.dataset, "--steps", str(config.steps)]
            flags += ["--data-dir", config.data_dir] if config.data_dir else []
            runs[setup].append(measured_in_another(setup, __file__, flags))
            speed = runs[setup][-1]["images_per_second"]
            print(f"round {turn + 1} of {config.rounds}  {setup:<9} {speed:7.0f} images/s", flush=True)
    speeds = {setup: float(np.median([run["images_per_second"] for run in runs[setup]])) for setup in SETUPS}
    result = {
        "images_per_second": speeds,
        "pipeline_over_plain": speeds["pipeline"] / speeds["plain"],
        "input_cost_percent": 100 * (speeds["ready"] / speeds["pipeline"] - 1),
        "peak_gigabytes": max(run["peak_gigabytes"] for run in runs["pipeline"]),
        "rounds": runs,
        "dataset": config.dataset,
    }
    print(
        f"pipeline over plain Keras: {result['pipeline_over_plain']:.2f} times; "
        f"input and augmentation cost {result['input_cost_percent']:.1f} % over ready batches; "
        f"peak memory {result['peak_gigabytes']:.1f} GB"
    )
    results.write("benchmark_throughput.json", config, result)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
