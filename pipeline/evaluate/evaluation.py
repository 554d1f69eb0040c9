"""Evaluation of a finished model: metrics on validation and test images, their plots, test-time augmentation."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.backend import keras
from pipeline.evaluate import metrics, plots
from pipeline.models import saved_model


def measure(model, dataset) -> tuple[dict, np.ndarray]:
    """The figures of a model as it was saved; reads the test images once.

    Args:
        model: Keras model, raw pixels to probabilities.
        dataset: data.Dataset with a validation part.
    Returns:
        entries of metrics.json (accuracies and F1 in [0, 1], loss in nats per image, milliseconds per image on
        this processor in batches of 32); probabilities on the test images, (n, classes) float32.
    """
    probabilities = saved_model.predict(model, dataset.x_test, what="test images evaluated")
    held_out = saved_model.predict(model, dataset.x_validation).argmax(axis=1)
    matrix = metrics.confusion_matrix(dataset.y_test, probabilities.argmax(axis=1), len(dataset.class_names))
    found = {
        "validation_accuracy": float(np.mean(held_out == dataset.y_validation)),
        "test_accuracy": metrics.accuracy(matrix),
        "test_loss": metrics.cross_entropy(probabilities, dataset.y_test),
        "macro_f1": metrics.macro_f1(matrix),
        "weighted_f1": metrics.weighted_f1(matrix),
        "cpu_ms_per_sample": milliseconds_per_sample(model, dataset.x_test, batch_size=32),
        "class_names": list(dataset.class_names),
        "confusion_matrix": matrix.tolist(),
    }
    return found, probabilities


def milliseconds_per_sample(model, images: np.ndarray, batch_size: int) -> float:
    """Median milliseconds per image of a loaded Keras model at one batch size, CPU: 20 calls after three to warm up.

    The call is Keras' compiled predict_on_batch: the graph without the loop that predict() adds. It is a copy that is
    timed, whose weights are the CPU's: those of a model that was loaded beside a GPU lie there.
    """
    batch = np.resize(images, (batch_size, *images.shape[1:])).astype(np.float32)
    seconds = []
    with keras.device("cpu:0"):
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        saved_model.without_xla(copy)
        for _ in range(23):
            start = time.perf_counter()
            keras.ops.convert_to_numpy(copy.predict_on_batch(batch))
            seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[3:]) * 1000 / batch_size)


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


Views = Callable[[np.ndarray], list[np.ndarray]]


def flip_views(images: np.ndarray) -> list[np.ndarray]:
    """Each image (n, h, w, c) and its mirror image."""
    return [images, images[:, :, ::-1]]


def flip_and_shift_views(images: np.ndarray) -> list[np.ndarray]:
    """Six views: as it is and moved by a pixel along the diagonal, both ways, each with its mirror image.

    After airbench (Jordan 2024, arXiv 2404.00498, section 3.5), with equal weights.
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    moved = (images, padded[:, :-2, :-2], padded[:, 2:, 2:])
    return [view for images in moved for view in flip_views(images)]


TTA = {"flip": flip_views, "flip and shift": flip_and_shift_views}


def predict_with_tta(model, images: np.ndarray, views: Views, what: str = "") -> np.ndarray:
    """Mean probabilities (n, classes) over the views of raw pixels (n, h, w, c) in [0, 255]."""
    return np.mean([saved_model.predict(model, view, what=what) for view in views(images)], axis=0)


def measure_tta(model, dataset, candidates: dict[str, Views]) -> dict:
    """Accuracy with the views that do best on the validation images; only those ever see the test images.

    Args:
        model: finished model, raw pixels to probabilities.
        dataset: with a validation part.
        candidates: name -> function that makes the views; "none" is tried as well.
    Returns:
        chosen (name), validation_accuracy (name -> share), test_accuracy.
    """
    candidates = {"none": lambda images: [images], **candidates}
    validation = {
        name: _accuracy(predict_with_tta(model, dataset.x_validation, views), dataset.y_validation)
        for name, views in candidates.items()
    }
    chosen = max(validation, key=validation.get)
    probabilities = predict_with_tta(model, dataset.x_test, candidates[chosen], f"test images, views: {chosen}")
    return {
        "chosen": chosen,
        "validation_accuracy": validation,
        "test_accuracy": _accuracy(probabilities, dataset.y_test),
    }


def _accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == labels))
