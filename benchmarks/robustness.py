"""What corrupted images cost the saved models: accuracy and calibration by kind and severity, on the test images.

    python benchmarks/robustness.py                                 # all models in output/: two cores take hours
    python benchmarks/robustness.py output/custom_cnn_model.h5      # one; what is known of others stays
    python benchmarks/robustness.py --limit 500                     # a first look

Color images get the corruptions of CIFAR-10-C, gray ones those of MNIST-C, at five severities, and both a few everyday
changes (see pipeline/evaluate/corruptions.py). Each model answers through its ONNX export where that is current, else
in Keras. Writes robustness.json and robustness.png; trials, or models of another folder, to output/demo/. Nothing is
chosen by these numbers.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import results
from pipeline import atomic_io, backend, data, deploy, evaluate, models
from pipeline.config import flag, parse
from pipeline.console import clock, counter
from pipeline.errors import exit_code
from pipeline.system import cores
from pipeline.train.identity import OUTPUT

BATCH = 250  # images that a model is given at once
METRICS = ("accuracy", "expected_calibration_error")


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    models: tuple[str, ...] = flag(
        (), "saved .h5 models; default: all in the output folder", positional="MODEL", recorded=False
    )
    limit: int | None = flag(None, "use only so many test images; default: all", minimum=1)
    data_dir: str | None = flag(None, recorded=False)
    output_dir: str | None = flag(
        None, "folder with the models, and for the results; else output/, trials: output/demo/", recorded=False
    )


def open_model(path: Path) -> deploy.runtimes.Opened:
    """The model in its fastest exact runtime; UserError where it is none of this project."""
    models.saved_model.metadata(path)
    return deploy.runtimes.exact_export(path, cores()) or deploy.runtimes.open_model(path)


def metrics(opened: deploy.runtimes.Opened, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy and expected calibration error of a model on images (n, h, w, c) uint8 with labels (n,)."""
    parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    probabilities = np.concatenate([opened.predict(part.astype(np.float32)) for part in parts])
    return {
        "accuracy": evaluate.metrics.accuracy(probabilities, labels),
        "expected_calibration_error": evaluate.metrics.expected_calibration_error(probabilities, labels),
    }


def measure(subjects: dict[Path, deploy.runtimes.Opened], dataset, limit: int | None, destination: Path) -> list[dict]:
    """Results of models for one data set; each corrupted image is made once for all of them.

    Args:
        destination: folder of the results.

    Returns:
        One dict per model: clean and mean (over kinds and severities), each a dict as metrics() returns; kinds, a list
        with name, accuracy and expected_calibration_error of each severity; worst, the kind with the lowest mean
        accuracy; everyday, a list with name and the metrics of each everyday change.
    """
    images, labels = dataset.x_test[:limit], dataset.y_test[:limit]
    kinds = evaluate.corruptions.kinds(images.shape[-1])
    everyday = evaluate.corruptions.EVERYDAY
    conditions = [(kind, severity) for kind in kinds + everyday for severity in range(1, len(kind.strengths) + 1)]
    found = {path: {} for path in subjects}  # (name, severity) -> metrics
    clean = {path: metrics(opened, images, labels) for path, opened in subjects.items()}
    for done, (kind, severity) in enumerate(conditions, 1):
        corrupted = kind(images, severity)
        for path, opened in subjects.items():
            found[path][kind.name, severity] = metrics(opened, corrupted, labels)
        accuracies = ", ".join(f"{of_model[kind.name, severity]['accuracy']:.3f}" for of_model in found.values())
        counter(done, len(conditions), f"corruptions of {dataset.title}: {kind.name}, {severity}: {accuracies}")
    return [
        {
            **about(path, opened, dataset, destination),
            "images": len(images),
            "clean": clean[path],
            **summary([row(kind, found[path]) for kind in kinds]),
            "everyday": [{"kind": kind.name, **found[path][kind.name, 1]} for kind in everyday],
        }
        for path, opened in subjects.items()
    ]


def about(path: Path, opened: deploy.runtimes.Opened, dataset, destination: Path) -> dict:
    """What a result says of its model: file, title, the network's name in tables and plots, and its data.

    File and network name the model's folder where that is not the results' own, as models there may be called alike.
    """
    known = models.saved_model.MODELS.get(opened.about["prefix"])
    network = known.network if known and known.file == path.name else path.stem
    file, folder = path.name, path.resolve().parent
    if folder != destination.resolve():
        file, network = f"{folder.name}/{file}", f"{network} in {folder.name}/"
    return {"file": file, "title": opened.about["title"], "network": network, "dataset": dataset.title}


def row(kind: evaluate.corruptions.Corruption, found: dict) -> dict:
    """A kind's metrics, a list over severities each."""
    severities = range(1, len(kind.strengths) + 1)
    lists = {name: [found[kind.name, severity][name] for severity in severities] for name in METRICS}
    return {"kind": kind.name, **lists}


def summary(kinds: list[dict]) -> dict:
    """The kinds, their mean and the worst of them."""
    mean = {name: float(np.mean([kind[name] for kind in kinds])) for name in METRICS}
    worst = min(kinds, key=lambda kind: np.mean(kind["accuracy"]))
    return {
        "mean": mean,
        "worst": {"kind": worst["kind"], "accuracy": float(np.mean(worst["accuracy"]))},
        "kinds": kinds,
    }


def merged(path: Path, measured: list[dict]) -> list[dict]:
    """These results, and those of other models that are in the file already."""
    earlier = atomic_io.read_json(path)["models"] if path.exists() else []
    by_file = {entry["file"]: entry for entry in [*earlier, *measured]}
    return list(by_file.values())


def main(argv: list[str] | None = None) -> int:
    """Measure the models that are named or all; what is measured is written after each data set."""
    config = parse(Config, argv, about=__doc__)
    started, folder = time.monotonic(), Path(config.output_dir or OUTPUT)
    paths = [Path(model) for model in config.models] or models.saved_model.finished(folder)
    destination = results.folder(config, trial=any(path.resolve().parent != folder.resolve() for path in paths))
    by_data = {}  # data set and image shape -> path -> opened model
    for path in paths:
        opened = open_model(path)
        by_data.setdefault((opened.about["dataset"], opened.image_shape), {})[path] = opened
    result_path, plot_path = destination / "robustness.json", destination / "robustness.png"
    for (name, shape), subjects in by_data.items():
        dataset = data.datasets.load(name, config.data_dir, shape)
        entries = merged(result_path, measure(subjects, dataset, config.limit, destination))
        atomic_io.write_json(result_path, {"schema": 1, "models": entries, **backend.provenance()})
        evaluate.robustness_plot.draw(entries, plot_path)
        print(f"{result_path}, {plot_path}: {clock(time.monotonic() - started)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
