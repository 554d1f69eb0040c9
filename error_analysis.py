"""Where the saved models go wrong, and whether they know it.

    python error_analysis.py                            # every model in output/
    python error_analysis.py --output-dir output/demo   # those of the demo

Writes, with each model's prefix: reliability.png; for CIFAR-100 confused_pairs.png, fine_accuracy.png
and .csv; for digits every_wrong.png; and errors.json with the figures behind them. Where both digit
models are there: <data set>_both_wrong.json, and .png with the test digits that both get wrong.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import atomic_io
from pipeline.config import flag, parse
from pipeline.data import datasets
from pipeline.data.cifar100_labels import CIFAR100_FINE
from pipeline.errors import exit_code
from pipeline.evaluate import metrics, plots
from pipeline.models import saved_model
from pipeline.models.saved_model import MODELS

MOST = 60  # wrong images that still fit one picture


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    pairs: int = flag(10, "pairs of classes to show", minimum=1)
    data_dir: str | None = flag(None)
    output_dir: str = flag("output", "folder with the models, and for the results")


def fine_classes(dataset: datasets.Dataset, predicted: np.ndarray) -> pd.DataFrame:
    """One row per fine class: its superclass, its test images, the share right, where the others went."""
    rows = []
    for fine, superclass in enumerate(dataset.superclasses):
        votes = np.bincount(predicted[dataset.fine_test == fine], minlength=len(dataset.class_names))
        right, images = votes[superclass], votes.sum()
        votes[superclass] = 0
        rows.append(
            {
                "superclass": dataset.class_names[superclass],
                "fine_class": CIFAR100_FINE[fine],
                "images": images,
                "accuracy": right / max(images, 1),
                "most_often_taken_for": dataset.class_names[votes.argmax()] if votes.any() else "",
            }
        )
    return pd.DataFrame(rows).sort_values(["superclass", "accuracy"], kind="stable")


def analyse(path: Path, config: Config) -> tuple[str, datasets.Dataset, np.ndarray]:
    """The pictures and figures of one model; returns its prefix, its data and the test images' probabilities."""
    about, model = saved_model.metadata(path), saved_model.load(path)
    dataset = datasets.load(about["dataset"], config.data_dir)
    probabilities = saved_model.predict(model, dataset.x_test, what=f"test images through {path.name}")
    names, title, y_true = dataset.class_names, about["title"], dataset.y_test
    predicted = probabilities.argmax(axis=1)

    def file(name: str) -> Path:
        return path.parent / f"{about['prefix']}_{name}"

    matrix = metrics.confusion_matrix(y_true, predicted, len(names))
    pairs = metrics.confused_pairs(matrix, config.pairs)
    error = metrics.expected_calibration_error(probabilities, y_true)
    count, _, accuracy = metrics.reliability(probabilities, y_true)
    plots.reliability(count, accuracy, error, title, file("reliability.png"))
    wrong = np.flatnonzero(predicted != y_true)
    file("every_wrong.png").unlink(missing_ok=True)  # an earlier model's, where this one has none to show
    if len(names) > 10 and pairs:
        plots.confused_pairs(dataset.x_test, y_true, predicted, pairs, names, title, file("confused_pairs.png"))
    elif len(names) <= 10 and 0 < len(wrong) <= MOST:
        captions = [
            f"true: {names[label]} ({row[label]:.0%})\npredicted: {names[row.argmax()]} ({row.max():.0%})"
            for label, row in zip(y_true[wrong], probabilities[wrong], strict=True)
        ]
        what = f"All {len(wrong)} test images that the model gets wrong"
        plots.captioned(dataset.x_test[wrong], captions, what, title, file("every_wrong.png"))
    if dataset.fine_test is not None:
        table = fine_classes(dataset, predicted)
        atomic_io.write_csv(file("fine_accuracy.csv"), table)
        groups = [table[table["superclass"] == name] for name in names]
        plots.fine_accuracy(
            [list(group["fine_class"]) for group in groups],
            np.array([group["accuracy"] for group in groups]),
            names,
            title,
            file("fine_accuracy.png"),
        )
    figures = {
        "title": title,
        "expected_calibration_error": error,
        "mean_confidence": float(probabilities.max(axis=1).mean()),
        "wrong": len(wrong),
        "confused_pairs": [
            {"classes": [names[a], names[b]], "taken_for_each_other": int(matrix[a, b] + matrix[b, a])}
            for a, b in pairs
        ],
    }
    atomic_io.write_json(file("errors.json"), figures)
    print(f"{file('errors.json')}: {len(wrong)} wrong, expected calibration error {error:.3f}")
    return about["prefix"], dataset, probabilities


def guesses(probabilities: dict[str, np.ndarray], index: int, class_names) -> list[str]:
    """What each model takes one test image for."""
    rows = {name: of_model[index] for name, of_model in probabilities.items()}
    return [f"{name}: {class_names[row.argmax()]} ({row.max():.0%})" for name, row in rows.items()]


def both_wrong(dataset: datasets.Dataset, probabilities: dict[str, np.ndarray], folder: Path) -> None:
    """The test digits that two models get wrong, with both predictions.

    Args:
        probabilities: name of the model -> (n, classes) on the test images.
    """
    y = dataset.y_test
    predicted = {name: rows.argmax(axis=1) for name, rows in probabilities.items()}
    one, other = predicted.values()
    found = np.flatnonzero((one != y) & (other != y))
    path = folder / f"{dataset.name}_both_wrong.json"
    figures = {
        "wrong": {name: int(np.sum(guess != y)) for name, guess in predicted.items()},
        "both_wrong": len(found),
        "same_prediction": int(np.sum(one[found] == other[found])),
        "test_images": found.tolist(),
    }
    atomic_io.write_json(path, figures)
    path.with_suffix(".png").unlink(missing_ok=True)
    if 0 < len(found) <= MOST:
        names = dataset.class_names
        captions = ["\n".join([f"true: {names[y[index]]}", *guesses(probabilities, index, names)]) for index in found]
        count = "The test image" if len(found) == 1 else f"The {len(found)} test images"
        what = f"{count} that {' and '.join(probabilities)} both get wrong"
        plots.captioned(dataset.x_test[found], captions, what, dataset.title, path.with_suffix(".png"))
    print(f"{path}: {' and '.join(predicted)} are both wrong on {len(found)} of {len(y):,} test images")


def main(argv: list[str] | None = None) -> int:
    """Every finished model in a folder."""
    config = parse(Config, argv, about=__doc__)
    digits: dict[str, tuple[datasets.Dataset, dict[str, np.ndarray]]] = {}
    for path in saved_model.finished(Path(config.output_dir)):
        prefix, dataset, probabilities = analyse(path, config)
        if (known := MODELS.get(prefix)) and known.task == "MNIST":
            digits.setdefault(dataset.name, (dataset, {}))[1][known.network] = probabilities
    for dataset, of_model in digits.values():
        if len(of_model) == 2:
            both_wrong(dataset, of_model, Path(config.output_dir))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
