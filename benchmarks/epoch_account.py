"""Where the time of a training epoch goes, beside what the machine's own matrix product would take.

    python benchmarks/epoch_account.py            # about ten minutes on two idle cores

For each network of CASES, each of its image sizes and each arithmetic of the hardware, a process of its own trains a
short epoch as the script does (input, steps, validation, checkpoint), twice: once timed as a whole, once under
TensorFlow's profiler, which says when each operation ran. Where several ran at once, the moment is divided among them,
so the parts add up to the second epoch; how far that is from the first, which nobody watched, is in the result. A short
epoch has its fraction of the validation images. Also how long whole runs of the recipes take at these speeds. Writes
benchmark_epoch_account.json.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cifar100_cnn
import mnist_classification
from benchmarks import results
from pipeline import backend, data, models, train
from pipeline.backend import keras, layers
from pipeline.config import flag, parse
from pipeline.console import clock
from pipeline.errors import exit_code
from pipeline.system import cores, measured_in_another
from pipeline.train import identity

SIDE = 3072  # of the matrix product
WARM_UP = 4  # steps
CONVOLUTIONS = ("convolutions, forward", "convolutions, by data", "convolutions, by weights")
# Part -> pattern of an operation's "name:type"; the first that fits counts.
PARTS = {
    "optimizer": r"/(sgd|adamw?|muon)/|(Assign|Apply)\w*$",
    "convolutions, by data": r":\w*Conv[23]DBackpropInput",
    "convolutions, by weights": r":\w*Conv[23]DBackpropFilter",
    "convolutions, forward": r":\w*Conv[23]D",
    "BatchNorm": r"BatchNorm|_bn\d?_?\d*/",
    "ReLU": r":\w*Relu",
    "pooling": r"Pool|/maximum",
    "casts to and from bfloat16": r":Cast$",
    "other operations": r"",
}
# The rest of an epoch, in which no operation of the step runs.
REST = ("waiting for input", "Keras and Python", "validation", "checkpoint")


@dataclass(frozen=True)
class Case:
    """A network whose epochs are taken apart.

    script: the module that trains it.
    recipe: of the script.
    sides: of its images, in pixels.
    toy: the data set that stands in for the real one.
    same_steps: recipes whose steps cost the same, the recipe itself among them.
    """

    script: types.ModuleType
    recipe: str
    sides: tuple[int, ...]
    toy: str
    same_steps: tuple[str, ...]


CASES = {
    "cifar100_cnn.py": Case(cifar100_cnn, "fast", (24, 32), "synthetic", ("sprint", "fast")),
    "cifar100_cnn.py --recipe best": Case(cifar100_cnn, "best", (24, 32), "synthetic", ("best",)),
    "mnist_classification.py": Case(mnist_classification, "default", (28,), "digits", ("default",)),
}


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    toy: bool = flag(False, "toy data in place of the real ones")
    steps: int = flag(24, f"of the short epoch, after {WARM_UP} that warm up", minimum=2)
    data_dir: str | None = flag(None, recorded=False)
    case: str = flag("", "measure one in this process (used by the benchmark itself)", choices=("", *CASES))
    precision: str = flag("float32", "of that one", choices=("float32", "bfloat16"))
    side: int = flag(32, "of its images", minimum=8)
    output_dir: str | None = flag(None, "folder for the result; else output/, for trials output/demo/", recorded=False)


def matrix_product_rate(precision: str) -> float:
    """Operations per second (2 n³ for n = SIDE) of the fastest of eight matrix products in TensorFlow."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal((SIDE, SIDE)), precision)
    product = tf.function(tf.matmul)
    product(matrix, matrix)
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        product(matrix, matrix)[0, 0].numpy()  # waits until it is done
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(seconds)


def step_operations(model: keras.Model, image_shape: tuple[int, int, int], batch_size: int) -> dict[str, float]:
    """Operations (2 per multiply-accumulate) of a step's convolutions, by direction; the first has none by data."""
    copy = models.saved_model.inference_copy(model, image_shape)
    forward = {layer.name: 2.0 * batch_size * models.macs.of_layer(layer) for layer in copy.layers}
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    trained = [layer for layer in convolutions if layer.kernel.trainable]
    return {
        "convolutions, forward": sum(forward[layer.name] for layer in convolutions),
        "convolutions, by data": sum(forward[layer.name] for layer in convolutions[1:]),
        "convolutions, by weights": sum(forward[layer.name] for layer in trained),
    }


def part_of(operation: str) -> str:
    """The part that an operation's "name:type" belongs to."""
    return next(part for part, pattern in PARTS.items() if re.search(pattern, operation))


def divided_among(spans: Iterable[tuple[float, float, str]]) -> dict[str, float]:
    """Time in which at least one span of each part ran, divided equally among all that ran at that moment.

    Args:
        spans: (start, end, part), in any unit and order.
    Returns:
        part -> time; they sum to the length of the spans' union.
    """
    edges = []
    for number, (start, end, part) in enumerate(spans):
        edges += [(start, True, number, part), (end, False, number, part)]
    running, before, times = {}, 0.0, {}
    for moment, begins, number, part in sorted(edges):
        for one in running.values():
            times[one] = times.get(one, 0.0) + (moment - before) / len(running)
        if begins:
            running[number] = part
        else:
            running.pop(number, None)
        before = moment
    return times


def traced(folder: Path) -> Iterator[tuple[float, float, str, str]]:
    """(start, end, name, thread) in seconds of everything in the trace that TensorFlow's profiler left in a folder."""
    # TensorFlow ships the format's description, but no reader.
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(next(folder.glob("**/*.xplane.pb")).read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                start = line.timestamp_ns / 1e9 + event.offset_ps / 1e12
                name = plane.event_metadata[event.metadata_id].name
                yield start, start + event.duration_ps / 1e12, name, line.name


def seconds_by_part(folder: Path, wall: float) -> dict[str, float]:
    """Seconds of each part in a traced fit() that took `wall` seconds; they sum to it."""
    operations, input_spans = [], []
    for start, end, name, thread in traced(folder):
        if thread.startswith("tf_Compute") and re.fullmatch(r"[^\s:]+:\w+", name) and end > start:
            operations.append((start, end, part_of(name)))
        elif name == "IteratorGetNextOp::DoCompute":
            input_spans.append((start, end, "waiting for input"))
    computing = sum(divided_among([(start, end, "") for start, end, _ in operations]).values())
    with_input = [(start, end, "") for start, end, _ in [*operations, *input_spans]]
    waiting = sum(divided_among(with_input).values()) - computing
    found = divided_among(operations)
    parts = {part: found.get(part, 0.0) for part in (*CONVOLUTIONS, *PARTS)}
    return parts | {"waiting for input": waiting, "Keras and Python": wall - computing - waiting}


def training_config(case: Case, recipe: str, toy: bool = False):
    """The script's Config of a recipe."""
    settings = dict(case.script.RECIPES[recipe])
    if toy:
        settings["dataset"] = case.toy
    return case.script.Config(recipe=recipe, **settings)


def compiled_model(case: Case, training, dataset) -> keras.Model:
    """The network, made ready for training as its script does."""
    keras.utils.set_random_seed(0)
    model = case.script.build_model(training)
    if case.script is cifar100_cnn:
        cifar100_cnn.prepare_fast(model, training, dataset)
    else:
        steps = training.epochs * train.recipe.steps_per_epoch(dataset, training)
        mnist_classification.compile_model(model, training, steps)
    return model


def measure(config: Config) -> dict:
    """The account of one short epoch in this process."""
    import tensorflow as tf

    backend.use_precision(config.precision)
    case = CASES[config.case]
    training = training_config(case, case.recipe, config.toy)
    dataset = data.datasets.split(data.datasets.load(training.dataset, config.data_dir), training.validation)
    model = compiled_model(case, training, dataset)
    augment = case.script.augmentation(training)
    epoch = 0 if config.side == 24 else training.epochs - 1  # what the augmentation takes the images' size from
    size = training.batch_size
    n = config.steps * size
    validation = round(len(dataset.y_validation) * n / len(dataset.y_train))

    def fit(steps: int) -> float:
        chosen = np.arange(steps * size) % len(dataset.y_train)
        images, labels = dataset.x_train[chosen], dataset.y_train[chosen]
        batches = data.batches.Batches(images, labels, batch_size=size, seed=0, epoch=epoch, augment=augment)
        progress = train.loop.Progress(0, 1, steps)
        start = time.perf_counter()
        train.loop.one_epoch(model, batches, None, progress)
        return time.perf_counter() - start

    def validate() -> float:
        images = data.batches.InOrder(dataset.x_validation[:validation], dataset.y_validation[:validation])
        start = time.perf_counter()
        model.evaluate(images, verbose=0)
        return time.perf_counter() - start

    def save() -> float:
        start = time.perf_counter()
        train.checkpoint.save(Path(folder, "checkpoint.npz"), model, {"history": []}, None)
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory() as folder:
        fit(WARM_UP), validate(), save()
        rates = [matrix_product_rate(config.precision)]
        unwatched = fit(config.steps) + validate() + save()
        tf.profiler.experimental.start(folder, tf.profiler.experimental.ProfilerOptions(host_tracer_level=3))
        wall = fit(config.steps)
        tf.profiler.experimental.stop()
        parts = seconds_by_part(Path(folder), wall) | {"validation": validate(), "checkpoint": save()}
    rates.append(matrix_product_rate(config.precision))
    shape = (config.side, config.side, dataset.image_shape[2])
    rate, operations = max(rates), step_operations(model, shape, size)
    at_the_rate = {part: config.steps * operations[part] / rate for part in CONVOLUTIONS}
    total = sum(parts.values())
    return {
        "case": config.case,
        "precision": config.precision,
        "side": config.side,
        "images": n,
        "steps": config.steps,
        "matrix_product_gflops": rate / 1e9,
        "seconds": parts,
        "seconds_at_the_matrix_product_rate": at_the_rate,
        "seconds_in_all": total,
        "seconds_unwatched": unwatched,
        "watched_over_unwatched": total / unwatched,
        "images_per_second": n / unwatched,
        "training_images": len(dataset.y_train),
        "of_the_matrix_product": sum(at_the_rate.values()) / unwatched,
    }


def convolution_fraction(row: dict) -> float:
    """Speed of an account's convolutions as a fraction of the matrix product's."""
    spent = sum(row["seconds"][part] for part in CONVOLUTIONS)
    return sum(row["seconds_at_the_matrix_product_rate"].values()) / spent


def whole_runs(rows: list[dict]) -> list[dict]:
    """Seconds that all epochs of each recipe take at the measured speeds, in each arithmetic."""
    found, precisions = [], dict.fromkeys(row["precision"] for row in rows)
    for name, case in CASES.items():
        for recipe in case.same_steps:
            training = training_config(case, recipe)
            small = cifar100_cnn.small_epochs(training) if 24 in case.sides else 0
            seconds = {}
            for precision in precisions:
                of_side = {row["side"]: row for row in rows if row["case"] == name and row["precision"] == precision}
                full = of_side[max(case.sides)]
                whole = (training.epochs - small) * full["training_images"] / full["images_per_second"]
                if small:
                    whole += small * full["training_images"] / of_side[24]["images_per_second"]
                seconds[precision] = whole
            found.append({"case": name, "recipe": recipe, "epochs": training.epochs, "seconds": seconds})
    return found


def lines(rows: list[dict]) -> list[str]:
    """The account as a table: a column per arithmetic and image size, each part in percent of the epoch."""
    heads = [f"{row['precision']} {row['side']}" for row in rows]
    shown = [f"{'percent of an epoch':<34}" + "".join(f"{head:>14}" for head in heads)]
    for part in rows[0]["seconds"]:
        cells = "".join(f"{100 * row['seconds'][part] / row['seconds_in_all']:14.1f}" for row in rows)
        shown.append(f"{part:<34}{cells}")
    measured = {
        "convolutions, of the matrix product": [convolution_fraction(row) for row in rows],
        "epoch, of the matrix product": [row["of_the_matrix_product"] for row in rows],
        "sum of the parts / epoch": [row["watched_over_unwatched"] for row in rows],
    }
    for name, values in measured.items():
        shown.append(f"{name:<34}" + "".join(f"{100 * value:14.1f}" for value in values))
    return shown


def main(argv: list[str] | None = None) -> int:
    """All networks, image sizes and arithmetics in turn."""
    config = parse(Config, argv, about=__doc__)
    if config.case:
        print(json.dumps(measure(config)))
        return 0
    rows, precisions = [], backend.precisions()
    for name, case in CASES.items():
        for side in case.sides:
            for precision in precisions:
                print(f"{name}, {side}x{side} pixels, {precision}", flush=True)
                flags = ["--case", name, "--precision", precision, "--side", str(side), "--steps", str(config.steps)]
                flags += ["--toy"] if config.toy else []
                flags += ["--data-dir", config.data_dir] if config.data_dir else []
                rows.append(measured_in_another(name, __file__, flags))
        print("\n".join(lines(rows[-len(precisions) * len(case.sides) :])))
    runs = whole_runs(rows)
    for run in runs:
        times = ", ".join(f"{clock(seconds)} {precision}" for precision, seconds in run["seconds"].items())
        print(f"{run['case']}, recipe {run['recipe']}, {run['epochs']} epochs: {times}")
    result = {"rows": rows, "runs": runs, "cores": cores(), "config": identity.recorded(config)}
    results.write("benchmark_epoch_account.json", config, result)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
