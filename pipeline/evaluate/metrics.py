"""Classification metrics, their confidence intervals and significance tests, from plain arrays alone."""

import numpy as np
from scipy.stats import binomtest, t


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


def wilson(right: int, n: int) -> tuple[float, float]:
    """95 % interval of an accuracy, both ends in [0, 1], from `right` right answers out of n (Wilson 1927)."""
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> tuple[int, int, float]:
    """Whether two models that answered the same questions differ (McNemar 1947, exact form).

    Args:
        right_a, right_b: (n,) bool, whether each model was right on each image.
    Returns:
        Images that only a got right, those that only b got right, and the two-sided p-value: how often
        two equally good models would disagree as unevenly as this or more so; 1 where they never do.
    """
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(~right_a & right_b))
    disagree = only_a + only_b
    return only_a, only_b, float(binomtest(only_a, disagree).pvalue) if disagree else 1.0


def single_run_band(deviation: float, n: int) -> float:
    """How far from the mean of n seeds one more run falls at most, in 95 of 100 cases, if its seed alone is another.

    Student's prediction interval: it holds what n runs leave unknown of the mean and of the deviation.
    """
    return float(t.ppf(0.975, n - 1) * np.sqrt(1 + 1 / n) * deviation)


def over_seeds(values: list[float]) -> dict:
    """Mean, sample standard deviation (None for a single run), n."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": deviation, "n": len(values)}
