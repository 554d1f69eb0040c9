"""What an epoch costs against the number of images, the batch size and the processor cores.

    python benchmarks/scaling.py            # about five minutes on two idle cores

The network of recipe fast with SGD. Each row of ROWS is measured in processes of its own, all rows in turn, round by
round: the second epoch, shuffling and augmentation included, and the process's peak memory. The images are random,
because no result here depends on them. Writes benchmark_scaling.json.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass

import numpy as np

import cifar100_cnn
from benchmarks import results
from pipeline import backend, data
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.errors import UserError, exit_code
from pipeline.system import measured_in_another, peak_megabytes

# Images, batch size, cores (0: all there are). One thing differs from the second row at a time.
ROWS = (
    (2_048, 256, 0),
    (8_192, 256, 0),
    (32_768, 256, 0),
    (8_192, 32, 0),
    (8_192, 1_024, 0),
    (8_192, 256, 1),
)


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    rounds: int = flag(2, "processes of each row", minimum=1)
    row: int | None = flag(
        None, "measure one row in this process (used by the benchmark itself)", minimum=0, maximum=len(ROWS) - 1
    )
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def measure(images: int, batch: int, cores: int) -> dict:
    """Seconds of an epoch and peak memory, in this process."""
    if cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])  # before TensorFlow counts its threads
    config = cifar100_cnn.Config()
    backend.use_precision("auto")
    keras.utils.set_random_seed(0)
    model = cifar100_cnn.build_model(config)
    sgd = keras.optimizers.SGD(0.01, momentum=0.85, nesterov=True)
    model.compile(sgd, "sparse_categorical_crossentropy", jit_compile=False)
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (images, 32, 32, 3), np.uint8), rng.integers(0, 20, images)
    augment = cifar100_cnn.augmentation(config)
    for epoch in (config.small_epochs, config.small_epochs + 1):  # whole images; the first one warms up
        batches = data.batches.Batches(pixels, labels, batch_size=batch, seed=0, epoch=epoch, augment=augment)
        start = time.perf_counter()
        model.fit(batches, shuffle=False, verbose=0)
        seconds = time.perf_counter() - start
    return {"epoch_seconds": seconds, "peak_gigabytes": peak_megabytes() / 1000}


def main(argv: list[str] | None = None) -> int:
    """Measure the rows in turn, print and write them."""
    config = parse(Config, argv, about=__doc__)
    if config.row is not None:
        print(json.dumps(measure(*ROWS[config.row])))
        return 0
    if not hasattr(os, "sched_setaffinity"):
        raise UserError("this benchmark chooses its processor cores as Linux does; run it there")
    measured = [[] for _ in ROWS]
    for turn in range(config.rounds):
        for number, (images, batch, cores) in enumerate(ROWS):
            measured[number].append(measured_in_another(f"row {number}", __file__, ["--row", str(number)]))
            speed = images / measured[number][-1]["epoch_seconds"]
            row = f"{images:,} images, batch {batch}, {cores or 'all'} cores"
            print(f"round {turn + 1} of {config.rounds}  {row}: {speed:,.0f} images/s", flush=True)
    all_cores = backend.describe()["cores"]
    rows = [
        {
            "images": images,
            "batch": batch,
            "cores": cores or all_cores,
            "epoch_seconds": float(np.median([run["epoch_seconds"] for run in runs])),
            "peak_gigabytes": max(run["peak_gigabytes"] for run in runs),
        }
        for (images, batch, cores), runs in zip(ROWS, measured, strict=True)
    ]
    results.write("benchmark_scaling.json", config, {"rows": rows, "rounds": config.rounds})
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
