"""Whether training waits for its input, from memory and from the disk.

    python benchmarks/input_pipeline.py            # about four minutes on two idle cores; seconds on a GPU

The network of recipe fast with SGD, at both of its image sizes:

    input alone   images per second that shuffling and augmentation deliver, with nobody training
    ready         training steps on ready batches in memory
    pipeline      the same steps with shuffling and augmentation, as the script trains
    disk          the same as pipeline, of the images copied into one file until it holds two million (6 GB)

The three kinds of steps run in processes of their own, in turn, so that a machine that drifts favors none; medians of
single steps. The input's speed must be well above the steps', or a fast device waits. Where memory is large, the system
keeps the file of `disk` in it; a limit on memory (a cgroup) keeps it from that. Writes benchmark_input_pipeline.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cifar100_cnn
from benchmarks import results
from pipeline import backend, data, train
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.errors import exit_code
from pipeline.system import cores, measured_in_another, peak_megabytes
from pipeline.train import identity

SIDES = (24, 32)
SETUPS = ("ready", "pipeline", "disk")
WARM_UP = 4  # steps


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    dataset: str = flag("cifar100", "images to train on", choices=("cifar100", "synthetic"))
    steps: int = flag(14, f"timed steps of each process, after {WARM_UP} that warm up", minimum=4)
    rounds: int = flag(2, "processes of each setup, in turn", minimum=1)
    setup: str = flag("", "measure one in this process (used by the benchmark itself)", choices=("", "input", *SETUPS))
    side: int = flag(32, "of the images in this process", choices=SIDES)
    disk_images: int = flag(2_000_000, "images in the file of `disk`", minimum=1_000)
    pixels: str = flag("", "the file of `disk` (used by the benchmark itself)", recorded=False)
    data_dir: str | None = flag(None, recorded=False)
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def batches(config: Config, steps: int) -> data.batches.Batches:
    """Shuffled and augmented batches of so many steps, as the script draws them in an epoch of that image size."""
    training = cifar100_cnn.Config()
    dataset = training_images(config)
    images, labels = dataset.x_train, dataset.y_train
    n = steps * training.batch_size
    if config.pixels:
        shape = images.shape[1:]
        places = np.random.default_rng(0).integers(0, config.disk_images, n)
        images, labels = data.rows.Rows(Path(config.pixels), shape, places), labels[places % len(labels)]
    else:
        chosen = np.arange(n) % len(labels)
        images, labels = images[chosen], labels[chosen]
    return data.batches.Batches(
        images,
        labels,
        batch_size=training.batch_size,
        seed=0,
        epoch=0 if config.side == 24 else training.epochs - 1,
        augment=cifar100_cnn.augmentation(training),
    )


def training_images(config: Config) -> data.datasets.Dataset:
    """The data set, without its validation images."""
    return data.datasets.split(data.datasets.load(config.dataset, config.data_dir))


def write_pixels(config: Config, path: Path) -> None:
    """The training images into a file, again and again until it holds as many as were asked for."""
    images = training_images(config).x_train
    with open(path, "wb") as file:
        for first in range(0, config.disk_images, len(images)):
            file.write(images[: config.disk_images - first].tobytes())


def input_rate(config: Config) -> dict:
    """Images per second that as many threads deliver as prepare batches in training."""
    found = batches(config, 100)
    with ThreadPoolExecutor(data.batches.THREADS["workers"]) as pool:
        list(pool.map(found.__getitem__, range(10)))  # warm-up
        start = time.perf_counter()
        n = sum(len(labels) for _, labels in pool.map(found.__getitem__, range(10, 100)))
        return {"images_per_second": n / (time.perf_counter() - start)}


def training_rate(config: Config) -> dict:
    """Images per second of the steps of one setup, and the peak memory of this process."""
    training = cifar100_cnn.Config()
    backend.use_precision("auto")
    keras.utils.set_random_seed(0)
    model = cifar100_cnn.build_model(training)
    optimizer = keras.optimizers.SGD(0.01, 0.85, nesterov=True)
    loss = train.recipe.SmoothedCrossEntropy(training.label_smoothing)
    train.recipe.compile_model(model, optimizer, loss)
    ends = []

    def note_end(batch, logs):
        float(logs["loss"])  # wait until the step is done
        ends.append(time.perf_counter())

    callbacks = [keras.callbacks.LambdaCallback(on_train_batch_end=note_end)]
    found = batches(config, WARM_UP + config.steps)
    if config.setup != "ready":
        model.fit(found, shuffle=False, verbose=0, callbacks=callbacks)
    else:
        parts = [found[step] for step in range(len(found))]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        model.fit(images, labels, batch_size=training.batch_size, shuffle=False, verbose=0, callbacks=callbacks)
    seconds = np.diff(ends)[WARM_UP - 1 :]  # from the end of a step to the end of the next, waiting for input included
    peak = (peak_megabytes() or np.nan) / 1000
    return {"images_per_second": training.batch_size / float(np.median(seconds)), "peak_gigabytes": peak}


def main(argv: list[str] | None = None) -> int:
    """The speeds at each image size."""
    config = parse(Config, argv, about=__doc__)
    if config.setup:
        print(json.dumps(input_rate(config) if config.setup == "input" else training_rate(config)))
        return 0

    with tempfile.TemporaryDirectory() as folder:
        pixels = Path(folder, "images.pixels")
        write_pixels(config, pixels)
        rows = [measure_at(side, config, pixels) for side in SIDES]
    result = {"rows": rows, "cores": cores(), "config": identity.recorded(config)}
    results.write("benchmark_input_pipeline.json", config, result)
    return 0


def measure_at(side: int, config: Config, pixels: Path) -> dict:
    """Speeds at one image size: the input alone, then the steps of all setups in turn."""

    def measured(setup: str) -> dict:
        flags = ["--setup", setup, "--side", str(side), "--dataset", config.dataset, "--steps", str(config.steps)]
        flags += ["--data-dir", config.data_dir] if config.data_dir else []
        flags += ["--pixels", str(pixels), "--disk-images", str(config.disk_images)] if setup == "disk" else []
        found = measured_in_another(setup, __file__, flags)
        print(f"{side}x{side}  {setup:<9} {found['images_per_second']:9,.0f} images/s", flush=True)
        return found

    alone = measured("input")["images_per_second"]
    runs = {setup: [] for setup in SETUPS}
    for _ in range(config.rounds):
        for setup in SETUPS:
            runs[setup].append(measured(setup))
    speeds = {setup: float(np.median([run["images_per_second"] for run in runs[setup]])) for setup in SETUPS}
    waiting = 1 - speeds["pipeline"] / speeds["ready"]
    print(
        f"{side}x{side}: the input alone is {alone / speeds['ready']:.0f} times as fast as the steps; "
        f"they wait for it {waiting:.1%} of the time; "
        f"from the disk they run at {speeds['disk'] / speeds['pipeline']:.0%} of the speed from memory"
    )
    peaks = {setup: max(run["peak_gigabytes"] for run in runs[setup]) for setup in SETUPS}
    return {"side": side, "input_alone": alone, **speeds, "waiting_fraction": waiting, "peak_gigabytes": peaks}


if __name__ == "__main__":
    sys.exit(exit_code(main))
