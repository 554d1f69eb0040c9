"""Classification metrics from plain arrays. NumPy only; never touches a model."""

import numpy as np


def confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts (n_classes, n_classes): row is the true class, column the predicted one."""
    flat = np.bincount(y_true * n_classes + y_pred, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def accuracy(matrix: np.ndarray) -> float:
    """Share of right predictions, in [0, 1]."""
    return float(np.trace(matrix) / matrix.sum())


def precision_recall_f1(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per class, each (n_classes,) in [0, 1]; 0 where a class was never predicted or never there."""
    right = np.diag(matrix).astype(float)
    predicted, actual = matrix.sum(axis=0), matrix.sum(axis=1)
    precision = np.divide(right, predicted, out=np.zeros_like(right), where=predicted > 0)
    recall = np.divide(right, actual, out=np.zeros_like(right), where=actual > 0)
    total = predicted + actual
    f1 = np.divide(2 * right, total, out=np.zeros_like(right), where=total > 0)
    return precision, recall, f1


def macro_f1(matrix: np.ndarray) -> float:
    """Mean of the classes' F1, every class counting the same."""
    return float(precision_recall_f1(matrix)[2].mean())


def weighted_f1(matrix: np.ndarray) -> float:
    """Mean of the classes' F1, weighted by how often each class occurs."""
    return float(np.average(precision_recall_f1(matrix)[2], weights=matrix.sum(axis=1)))


def cross_entropy(probabilities: np.ndarray, y_true: np.ndarray) -> float:
    """Mean negative log-likelihood in nats; probabilities (n, classes) are clipped to [1e-7, 1]."""
    chosen = probabilities[np.arange(len(y_true)), y_true]
    return float(-np.log(np.clip(chosen, 1e-7, 1)).mean())


def confused_pairs(matrix: np.ndarray, k: int) -> list[tuple[int, int]]:
    """The k pairs of classes (a, b), a < b, that are taken for each other most often, most often first."""
    both = np.triu(matrix + matrix.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:k]
    return [(int(a), int(b)) for a, b in zip(*np.unravel_index(order, both.shape), strict=True) if both[a, b]]


def reliability(probabilities: np.ndarray, y_true: np.ndarray, bins: int = 15) -> tuple[np.ndarray, ...]:
    """How often the model is right where it says it is sure (Guo et al. 2017, arXiv 1706.04599, section 2).

    Args:
        probabilities: (n, classes); the largest one of an image is its confidence.
        bins: number of equally wide ranges of confidence between 0 and 1.
    Returns:
        count, mean confidence and accuracy per range, each (bins,); 0 where a range is empty.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == y_true
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = (np.bincount(place, weights=values, minlength=bins) for values in (confidence, right))
    return count, *(sum_ / np.maximum(count, 1) for sum_ in sums)


def expected_calibration_error(probabilities: np.ndarray, y_true: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over the ranges, weighted by their images (Guo et al., equation 3)."""
    count, confidence, accuracy = reliability(probabilities, y_true, bins)
    return float(np.average(np.abs(confidence - accuracy), weights=count))
