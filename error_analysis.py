"""Errors of the saved models on the test images: confusions, calibration, and the images themselves.

    python error_analysis.py                            # every model in output/
    python error_analysis.py --output-dir output/demo   # those of the demo
    python error_analysis.py my_model.h5 other.h5       # these: results beside each

Writes, with each model's prefix: reliability.png; for more than ten classes confused_pairs.png, for CIFAR-100
fine_accuracy.png and .csv; for up to ten classes every_wrong.png; and errors.json with the metrics behind them. Draws
a training run's confusion_matrix.png, examples.png and network.png again, from the model and its predictions. Of two
models of one data set: <data set>_both_wrong.json, and .png with the test images that both get wrong.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import atomic_io, data, evaluate, models
from pipeline.config import flag, parse
from pipeline.errors import exit_code

MOST = 60  # wrong images that still fit one plot


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    models: tuple[str, ...] = flag((), "saved .h5 models; default: all in the output folder", positional="MODEL")
    pairs: int = flag(10, "pairs of classes to show", minimum=1)
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None, "folder with the models [output], and for the results; default: beside each")


@dataclass(frozen=True)
class Analyzed:
    """A saved model with its data set and its probabilities (n_test, n_classes) on the test images."""

    saved: "models.saved_model.SavedModel"
    dataset: "data.datasets.Dataset"
    probabilities: np.ndarray


def fine_classes(dataset, predicted: np.ndarray):
    """Table with a row per fine class: superclass, test images, accuracy, class most often predicted instead.

    Args:
        dataset: CIFAR-100 with its fine labels.
        predicted: (n_test,) coarse labels.
    """
    import pandas as pd

    rows = []
    for fine, superclass in enumerate(dataset.superclasses):
        votes = np.bincount(predicted[dataset.fine_test == fine], minlength=len(dataset.class_names))
        right, images = votes[superclass], votes.sum()
        votes[superclass] = 0
        rows.append(
            {
                "superclass": dataset.class_names[superclass],
                "fine_class": data.cifar100_labels.CIFAR100_FINE[fine],
                "images": images,
                "accuracy": right / max(images, 1),
                "most_often_taken_for": dataset.class_names[votes.argmax()] if votes.any() else "",
            }
        )
    return pd.DataFrame(rows).sort_values(["superclass", "accuracy"], kind="stable")


def analyze(path: Path, config: Config) -> Analyzed:
    """Plot and record the errors of one model."""
    saved = models.saved_model.open_model(path)
    dataset = data.datasets.of_model(saved, config.data_dir)
    probabilities = models.probabilities.on_test_images(saved, dataset)
    names, title, y_true = dataset.class_names, saved.metadata["title"], dataset.y_test
    predicted = probabilities.argmax(axis=1)
    metrics, plots = evaluate.metrics, evaluate.plots

    folder = Path(config.output_dir) if config.output_dir else path.parent
    folder.mkdir(parents=True, exist_ok=True)

    def file(name: str) -> Path:
        return folder / f"{saved.metadata['prefix']}_{name}"

    recorded = path.parent / f"{saved.metadata['prefix']}_metrics.json"
    measured = metrics.accuracy(probabilities, y_true)
    contradiction = evaluate.evaluation.contradiction(recorded, title, measured, len(y_true))
    if contradiction:
        print(f"warning: {contradiction}", file=sys.stderr)
    matrix = metrics.confusion_matrix(y_true, predicted, len(names))
    evaluate.evaluation.draw(dataset, probabilities, matrix, title, file("confusion_matrix.png"), file("examples.png"))
    models.network_plot.draw(saved.model, title, file("network.png"))
    pairs = metrics.confused_pairs(matrix, config.pairs)
    error = metrics.expected_calibration_error(probabilities, y_true)
    count, _, accuracy = metrics.reliability(probabilities, y_true)
    plots.reliability(count, accuracy, error, title, file("reliability.png"))
    wrong = np.flatnonzero(predicted != y_true)
    for drawn in ("every_wrong.png", "confused_pairs.png"):  # an earlier model's, where this one has none to show
        file(drawn).unlink(missing_ok=True)
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
    result = {
        "schema": 1,
        "title": title,
        "expected_calibration_error": error,
        "mean_confidence": float(probabilities.max(axis=1).mean()),
        "wrong": len(wrong),
        "confused_pairs": [
            {"classes": [names[a], names[b]], "taken_for_each_other": int(matrix[a, b] + matrix[b, a])}
            for a, b in pairs
        ],
    }
    atomic_io.write_json(file("errors.json"), result)
    print(f"{file('errors.json')}: {len(wrong)} wrong, expected calibration error {error:.3f}")
    return Analyzed(saved, dataset, probabilities)


def predicted_classes(probabilities: dict[str, np.ndarray], index: int, class_names) -> list[str]:
    """Each model's prediction for one test image, with its probability."""
    rows = {name: of_model[index] for name, of_model in probabilities.items()}
    return [f"{name}: {class_names[row.argmax()]} ({row.max():.0%})" for name, row in rows.items()]


def both_wrong(dataset, probabilities: dict[str, np.ndarray], provenance: str, folder: Path) -> None:
    """Plot and record the test images that two models both get wrong.

    Args:
        probabilities: name of the model -> (n_test, n_classes).
        provenance: the plot's footer.
    """
    y = dataset.y_test
    predicted = {name: rows.argmax(axis=1) for name, rows in probabilities.items()}
    one, other = predicted.values()
    found = np.flatnonzero((one != y) & (other != y))
    path = folder / f"{dataset.name}_both_wrong.json"
    result = {
        "schema": 1,
        "wrong": {name: int(np.sum(labels != y)) for name, labels in predicted.items()},
        "both_wrong": len(found),
        "same_prediction": int(np.sum(one[found] == other[found])),
        "test_images": found.tolist(),
    }
    atomic_io.write_json(path, result)
    path.with_suffix(".png").unlink(missing_ok=True)
    if 0 < len(found) <= MOST:
        names = dataset.class_names
        captions = []
        for index in found:
            captions.append("\n".join([f"true: {names[y[index]]}", *predicted_classes(probabilities, index, names)]))
        count = "The test image" if len(found) == 1 else f"The {len(found)} test images"
        what = f"{count} that {' and '.join(probabilities)} both get wrong"
        evaluate.plots.captioned(dataset.x_test[found], captions, what, provenance, path.with_suffix(".png"))
    print(f"{path}: {' and '.join(predicted)} are both wrong on {len(found)} of {len(y):,} test images")


def main(argv: list[str] | None = None) -> int:
    """Every model that is named, or every finished one in a folder."""
    config = parse(Config, argv, about=__doc__)
    finished = models.saved_model.finished
    paths = [Path(model) for model in config.models] or finished(Path(config.output_dir or "output"))
    by_dataset = {}  # name of the data set -> path -> Analyzed
    for path in paths:
        analyzed = analyze(path, config)
        by_dataset.setdefault(analyzed.dataset.name, {})[path] = analyzed
    for found in by_dataset.values():
        if len(found) == 2:
            names = [network(path, analyzed.saved) for path, analyzed in found.items()]
            if names[0] == names[1]:
                names = [str(path) for path in found]
            probabilities = {name: analyzed.probabilities for name, analyzed in zip(names, found.values(), strict=True)}
            folder = Path(config.output_dir) if config.output_dir else next(iter(found)).parent
            provenance = "; ".join(analyzed.saved.metadata["title"] for analyzed in found.values())
            both_wrong(next(iter(found.values())).dataset, probabilities, provenance, folder)
    return 0


def network(path: Path, saved: "models.saved_model.SavedModel") -> str:
    """What a plot calls a model: its network where it is one of this project's own, else its file."""
    known = models.saved_model.MODELS.get(saved.metadata["prefix"])
    return known.network if known and known.file == path.name else path.stem


if __name__ == "__main__":
    sys.exit(exit_code(main))
