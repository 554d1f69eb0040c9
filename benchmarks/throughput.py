"""How fast the baseline trains, against plain Keras, and what its input pipeline costs.

    python benchmarks/throughput.py            # about five minutes on two idle cores

Three ways to take the same training steps, each in processes of its own, in turn (A B C A B C), so
that a machine that drifts favours none; medians of single steps:

    plain      Keras' own layers in float32, ready batches in memory, fit()
    ready      this project's layers and precision, ready batches in memory, fit()
    pipeline   the same with shuffling and augmentation, as the script trains

Also the peak memory of the pipeline's process. Writes benchmark_throughput.json to output/demo/, with
--dataset cifar100 to output/.
"""

import json
import sys
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.batch_norm import with_stock_layers
from pipeline import PROJECT, atomic_io, backend
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.data import datasets
from pipeline.data.batches import Batches
from pipeline.errors import exit_code
from pipeline.system import measured_in_another, peak_megabytes

WAYS = ("plain", "ready", "pipeline")


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    dataset: str = flag("synthetic", "images to train on", choices=("synthetic", "cifar100"))
    steps: int = flag(14, "timed steps per process, after four that warm up", minimum=4)
    rounds: int = flag(3, "processes per way, in turn", minimum=1)
    data_dir: str | None = flag(None)
    way: str | None = flag(None, "measure one way in this process (used by the benchmark itself)", choices=WAYS)


class Clock(keras.callbacks.Callback):
    """Seconds from the end of one step to the end of the next, waiting for input included."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # wait until the step is done
        self.ends.append(time.perf_counter())


def measure(config: Config) -> dict:
    """Images per second and peak memory of one way, in this process."""
    import cifar100_cnn

    script = cifar100_cnn.Config(recipe="baseline", dataset=config.dataset)
    backend.use_precision("float32" if config.way == "plain" else "auto")
    keras.utils.set_random_seed(0)
    dataset = datasets.split(datasets.load(config.dataset, config.data_dir))
    model = cifar100_cnn.build_model(script)
    if config.way == "plain":
        model = with_stock_layers(model)
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    size, count = script.batch_size, config.steps + 4
    clock, rng = Clock(), np.random.default_rng(0)
    chosen = rng.integers(0, len(dataset.x_train), size * count)
    images, labels = dataset.x_train[chosen], dataset.y_train[chosen]
    if config.way == "pipeline":
        batches = Batches(images, labels, batch_size=size, seed=0, epoch=0, augment=cifar100_cnn.augmentation(script))
        model.fit(batches, shuffle=False, verbose=0, callbacks=[clock])
    else:
        model.fit(images.astype(np.float32), labels, batch_size=size, shuffle=False, verbose=0, callbacks=[clock])
    seconds = np.diff(clock.ends)[3:]
    peak = (peak_megabytes() or np.nan) / 1000
    return {"images_per_second": size / float(np.median(seconds)), "peak_gigabytes": peak}


def main(argv: list[str] | None = None) -> int:
    """Measure the ways in turn and print their ratios."""
    config = parse(Config, argv, about=__doc__)
    if config.way:
        print(json.dumps(measure(config)))
        return 0
    found = {way: [] for way in WAYS}
    for turn in range(config.rounds):
        for way in WAYS:
            flags = ["--way", way, "--dataset", config.dataset, "--steps", str(config.steps)]
            flags += ["--data-dir", config.data_dir] if config.data_dir else []
            found[way].append(measured_in_another(way, __file__, flags))
            speed = found[way][-1]["images_per_second"]
            print(f"round {turn + 1} of {config.rounds}  {way:<9} {speed:7.0f} images/s", flush=True)
    speed = {way: float(np.median([one["images_per_second"] for one in found[way]])) for way in WAYS}
    result = {
        "images_per_second": speed,
        "pipeline_over_plain": speed["pipeline"] / speed["plain"],
        "input_cost_percent": 100 * (speed["ready"] / speed["pipeline"] - 1),
        "peak_gigabytes": max(one["peak_gigabytes"] for one in found["pipeline"]),
        "rounds": found,
        "dataset": config.dataset,
        **backend.provenance(),
    }
    folder = PROJECT / ("output" if config.dataset == "cifar100" else "output/demo")
    folder.mkdir(parents=True, exist_ok=True)
    atomic_io.write_json(folder / "benchmark_throughput.json", result)
    print(
        f"pipeline over plain Keras: {result['pipeline_over_plain']:.2f} times; "
        f"input and augmentation cost {result['input_cost_percent']:.1f} % over ready batches; "
        f"peak memory {result['peak_gigabytes']:.1f} GB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
