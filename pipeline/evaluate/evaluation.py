"""Evaluation of a finished model: metrics on validation and test images, their plots, test-time augmentation."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import atomic_io
from pipeline.backend import keras
from pipeline.errors import UserError
from pipeline.evaluate import metrics
from pipeline.models import contract, saved_model


def measure(model, dataset, test: np.ndarray) -> dict:
    """Metrics of a finished model on validation and test images.

    Args:
        model: Keras model, raw pixels to probabilities.
        dataset: data.datasets.Dataset with a validation part.
        test: its probabilities on the test images, (n_test, n_classes) float32.
    Returns:
        entries of metrics.json: accuracies and F1 scores in [0, 1]; losses are plain cross-entropy in nats per image;
        milliseconds per image on the CPU in batches of 32.
    """
    validation = saved_model.predict(model, dataset.x_validation, what="validation images")
    return {
        "validation_accuracy": metrics.accuracy(validation, dataset.y_validation),
        "validation_loss": metrics.cross_entropy(validation, dataset.y_validation),
        **measure_test(model, dataset, test),
    }


def measure_test(model, dataset, test: np.ndarray) -> dict:
    """The same of the test images alone, for a model of which nobody knows what it was trained on."""
    matrix = metrics.confusion_matrix(dataset.y_test, test.argmax(axis=1), len(dataset.class_names))
    return {
        "test_accuracy": metrics.accuracy(test, dataset.y_test),
        "test_loss": metrics.cross_entropy(test, dataset.y_test),
        "macro_f1": metrics.macro_f1(matrix),
        "weighted_f1": metrics.weighted_f1(matrix),
        "cpu_ms_per_sample": milliseconds_per_sample(model, dataset.x_test, batch_size=32),
        "class_names": list(dataset.class_names),
        "confusion_matrix": matrix.tolist(),
    }


def doubt(measured: dict, n_validation: int, n_test: int) -> str:
    """One line where validation and test accuracy differ by more than chance, "" where they do not.

    So it is where labels were shifted against their images, or the metrics of one part are those of another. The bound
    is six standard errors of the difference of two fractions, and 0.1 at least.

    Args:
        measured: as measure() returns it.
    """
    validation, test = measured["validation_accuracy"], measured["test_accuracy"]
    pooled = (validation * n_validation + test * n_test) / (n_validation + n_test)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n_validation + 1 / n_test))
    if abs(validation - test) <= max(0.1, 6 * error):
        return ""
    return (
        f"test accuracy {test:.3f} is far from validation accuracy {validation:.3f}; "
        "look whether the labels of both parts belong to their images"
    )


def contradiction(metrics_file: Path, title: str, accuracy: float, images: int) -> str:
    """One line where a model's metrics.json records another test accuracy than the one measured now; else "".

    Args:
        metrics_file: the file beside the model; missing, damaged, or of another model or another number of test
            images (a dry run), it says nothing.
        title: of the model.
        accuracy: on the test images.
        images: how many they are.
    """
    try:
        recorded = atomic_io.read_json(metrics_file)
        if (recorded["title"], recorded["n_test"]) != (title, images):
            return ""
        then = float(recorded["test_accuracy"])
    except (OSError, UserError, ArithmeticError, ValueError, KeyError, TypeError):
        return ""
    if abs(then - accuracy) <= 0.01:  # other arithmetic changes a few images
        return ""
    return (
        f"{metrics_file} records test accuracy {then:.3f}, and these test images give {accuracy:.3f}; "
        "the data or their labels are others, or the file was changed"
    )


def milliseconds_per_sample(model, images: np.ndarray, batch_size: int) -> float:
    """Latency of a Keras model on the CPU: median milliseconds per image of 20 batches, after three to warm up.

    A batch is one call of predict_on_batch: the compiled graph without the loop that predict() adds.

    Args:
        model: a saved model, or any other of stock layers. A copy is timed where its weights lie elsewhere: those of a
            model that was loaded beside a GPU lie on the GPU.
        images: (n, h, w, c) raw pixels, any dtype; repeated where they are fewer than a batch.
    """
    batch = np.resize(images[:batch_size], (batch_size, *images.shape[1:])).astype(np.float32)
    seconds = []
    with keras.device("cpu:0"):
        if not _lies_on_the_cpu(model):
            original, model = model, contract.with_stock_layers(model)
            model.set_weights(original.get_weights())
        saved_model.without_xla(model)
        for _ in range(23):
            start = time.perf_counter()
            keras.ops.convert_to_numpy(model.predict_on_batch(batch))
            seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[3:]) * 1000 / batch_size)


def _lies_on_the_cpu(model) -> bool:
    """Whether TensorFlow holds all weights on its first CPU device; other backends: False."""
    return all(str(getattr(weight.value, "device", "")).endswith("device:CPU:0") for weight in model.weights)


def by_class(matrix: np.ndarray, class_names) -> pd.DataFrame:
    """Precision, recall, F1 score and number of test images of each class, from the confusion matrix."""
    precision, recall, f1 = metrics.precision_recall_f1(matrix)
    return pd.DataFrame(
        {"class": class_names, "precision": precision, "recall": recall, "f1": f1, "images": matrix.sum(axis=1)}
    )


def draw(dataset, probabilities: np.ndarray, matrix: np.ndarray, title: str, confusion: Path, examples: Path) -> None:
    """Plots of the test images: confusion matrix, and the first ten classified correctly and the first ten wrongly.

    Args:
        probabilities: (n, n_classes) on the test images; matrix: their confusion matrix.
        title: what the plots were made on.
        confusion, examples: the PNG files.
    """
    from pipeline.evaluate import plots  # here: Matplotlib's import would delay a training's first epoch

    names, correct = dataset.class_names, probabilities.argmax(axis=1) == dataset.y_test
    plots.confusion_matrix(matrix, names, title, confusion)
    first, first_wrong = (np.flatnonzero(which)[:10] for which in (correct, ~correct))
    plots.examples(dataset.x_test, dataset.y_test, probabilities, first, first_wrong, names, title, examples)


# Test-time augmentation: images (n, h, w, c) -> augmented copies of all of them, each (n, h, w, c).
Augmentations = Callable[[np.ndarray], list[np.ndarray]]


def mirrored(images: np.ndarray) -> list[np.ndarray]:
    """Each image (n, h, w, c) and its mirror image."""
    return [images, images[:, :, ::-1]]


def mirrored_and_shifted(images: np.ndarray) -> list[np.ndarray]:
    """Each image unchanged and shifted by one pixel along the diagonal, both ways; each of these mirrored, too.

    After airbench (Jordan 2024, arXiv 2404.00498, section 3.5), with equal weights.
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    shifted = (images, padded[:, :-2, :-2], padded[:, 2:, 2:])
    return [copy for images in shifted for copy in mirrored(images)]


TTA: dict[str, Augmentations] = {"flip": mirrored, "flip and shift": mirrored_and_shifted}


def tta_predict(model, images: np.ndarray, augmentations: Augmentations, what: str = "") -> np.ndarray:
    """Probabilities with test-time augmentation: mean over the augmented copies, (n, n_classes) float32.

    Args:
        images: raw pixels (n, h, w, c) in [0, 255].
        what: name of the images; if given, progress is printed.
    """
    return np.mean([saved_model.predict(model, copy, what=what) for copy in augmentations(images)], axis=0)


def choose_tta(model, dataset, candidates: dict[str, Augmentations]) -> dict:
    """Test accuracy with the test-time augmentation of best validation accuracy; no other sees the test images.

    Args:
        model: finished model, raw pixels to probabilities.
        dataset: with a validation part.
        candidates: name -> augmentations; "none" is a candidate as well.
    Returns:
        {"chosen": name, "validation_accuracy": {name: accuracy}, "test_accuracy": accuracy}
    """
    candidates = {"none": lambda images: [images], **candidates}
    validation = {}
    for name, augmentations in candidates.items():
        what = f"validation images, augmentation: {name}"
        probabilities = tta_predict(model, dataset.x_validation, augmentations, what)
        validation[name] = metrics.accuracy(probabilities, dataset.y_validation)
    chosen = max(validation, key=validation.get)
    probabilities = tta_predict(model, dataset.x_test, candidates[chosen], f"test images, augmentation: {chosen}")
    test = metrics.accuracy(probabilities, dataset.y_test)
    return {"chosen": chosen, "validation_accuracy": validation, "test_accuracy": test}
