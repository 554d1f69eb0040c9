"""What a finished model is worth: its figures on validation and test images, and their pictures."""

from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import artifacts, latency, metrics, plots


def figures(model, dataset) -> tuple[dict, np.ndarray]:
    """The figures of a model as it was saved; reads the test images once.

    Args:
        model: Keras model, raw pixels to probabilities.
        dataset: data.Dataset with a validation part.
    Returns:
        entries of metrics.json (accuracies and F1 in [0, 1], loss in nats per image, milliseconds per image on
        this processor in batches of 32); probabilities on the test images, (n, classes) float32.
    """
    probabilities = artifacts.predict(model, dataset.x_test, what="test images evaluated")
    held_out = artifacts.predict(model, dataset.x_validation).argmax(axis=1)
    matrix = metrics.confusion_matrix(dataset.y_test, probabilities.argmax(axis=1), len(dataset.class_names))
    found = {
        "validation_accuracy": float(np.mean(held_out == dataset.y_validation)),
        "test_accuracy": metrics.accuracy(matrix),
        "test_loss": metrics.cross_entropy(probabilities, dataset.y_test),
        "macro_f1": metrics.macro_f1(matrix),
        "weighted_f1": metrics.weighted_f1(matrix),
        "cpu_ms_per_sample": latency.milliseconds_per_sample(model, dataset.x_test, batch_size=32),
        "class_names": list(dataset.class_names),
        "confusion_matrix": matrix.tolist(),
    }
    return found, probabilities


def by_class(matrix: np.ndarray, class_names) -> pd.DataFrame:
    """Precision, recall, F1 and test images of each class, from the confusion matrix (true, predicted)."""
    precision, recall, f1 = metrics.precision_recall_f1(matrix)
    return pd.DataFrame(
        {"class": class_names, "precision": precision, "recall": recall, "f1": f1, "images": matrix.sum(axis=1)}
    )


def draw(dataset, probabilities: np.ndarray, matrix: np.ndarray, title: str, confusion: Path, examples: Path) -> None:
    """The confusion matrix, and the first ten test images that are right and the first ten that are wrong."""
    names, right = dataset.class_names, probabilities.argmax(axis=1) == dataset.y_test
    plots.confusion_matrix(matrix, names, title, confusion)
    first = (np.flatnonzero(which)[:10] for which in (right, ~right))
    plots.examples(dataset.x_test, dataset.y_test, probabilities, *first, names, title, examples)
