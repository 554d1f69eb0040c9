"""Classification metrics, confidence intervals and significance tests, from plain arrays.

SciPy is imported where it is used: most metrics do without, and its import is slow.
"""

import numpy as np


def accuracy(probabilities: np.ndarray, y_true: np.ndarray) -> float:
    """Accuracy: fraction of images whose most probable class is the true one, in [0, 1].

    Args:
        probabilities: (n, n_classes).
        y_true: (n,) int labels.
    """
    return float(np.mean(probabilities.argmax(axis=1) == y_true))


def cross_entropy(probabilities: np.ndarray, y_true: np.ndarray) -> float:
    """Cross-entropy: mean negative log-likelihood in nats; probabilities are clipped to [1e-7, 1].

    Args:
        probabilities: (n, n_classes).
        y_true: (n,) int labels.
    """
    of_truth = probabilities[np.arange(len(y_true)), y_true]
    return float(-np.log(np.clip(of_truth, 1e-7, 1)).mean())


def confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray, n_classes: int) -> np.ndarray:
    """Confusion matrix, counts (n_classes, n_classes) int: row is the true class, column the predicted one.

    Args:
        y_true, y_pred: (n,) int labels.
    """
    flat = np.bincount(y_true * n_classes + y_pred, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def precision_recall_f1(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 score of each class, each (n_classes,) in [0, 1], from a confusion matrix.

    0 where a class was never predicted or never occurs.
    """
    right = np.diag(matrix).astype(float)
    predicted, actual = matrix.sum(axis=0), matrix.sum(axis=1)
    precision = np.divide(right, predicted, out=np.zeros_like(right), where=predicted > 0)
    recall = np.divide(right, actual, out=np.zeros_like(right), where=actual > 0)
    total = predicted + actual
    f1 = np.divide(2 * right, total, out=np.zeros_like(right), where=total > 0)
    return precision, recall, f1


def macro_f1(matrix: np.ndarray) -> float:
    """Macro F1: unweighted mean of the classes' F1 scores, in [0, 1]."""
    return float(precision_recall_f1(matrix)[2].mean())


def weighted_f1(matrix: np.ndarray) -> float:
    """Weighted F1: mean of the classes' F1 scores weighted by the classes' true counts, in [0, 1]."""
    return float(np.average(precision_recall_f1(matrix)[2], weights=matrix.sum(axis=1)))


def confused_pairs(matrix: np.ndarray, k: int) -> list[tuple[int, int]]:
    """The k most confused pairs of classes (a, b), a < b, most often first; both directions of a confusion matrix."""
    both = np.triu(matrix + matrix.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:k]
    rows, columns = np.unravel_index(order, both.shape)
    return [(int(a), int(b)) for a, b in zip(rows, columns, strict=True) if both[a, b]]


def similarity_order(matrix: np.ndarray) -> np.ndarray:
    """Order of the classes (n_classes,) int in which those often taken for each other stand side by side.

    Leaves of a hierarchical clustering with average linkage, of the distance that falls with the mean of both
    directions' confusion rates; adjacent leaves are as near as the tree allows (Bar-Joseph et al. 2001).

    Args:
        matrix: confusion matrix, counts (n_classes, n_classes).
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if len(matrix) < 3:
        return np.arange(len(matrix))
    rates = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    both = (rates + rates.T) / 2
    np.fill_diagonal(both, 0)
    distance = 1 - both
    np.fill_diagonal(distance, 0)
    return leaves_list(linkage(squareform(distance), "average", optimal_ordering=True))


def reliability(probabilities: np.ndarray, y_true: np.ndarray, bins: int = 15) -> tuple[np.ndarray, ...]:
    """Reliability diagram (Guo et al. 2017, arXiv 1706.04599, section 2): count, mean confidence, accuracy per bin.

    Args:
        probabilities: (n, n_classes); the largest one of an image is its confidence.
        y_true: (n,) int labels.
        bins: number of bins of equal width, of the confidence in [0, 1].
    Returns:
        count, confidence, accuracy: each (bins,); 0 where a bin is empty.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == y_true
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    sums = (np.bincount(bin_of, weights=values, minlength=bins) for values in (confidence, right))
    return count, *(total / np.maximum(count, 1) for total in sums)


def expected_calibration_error(probabilities: np.ndarray, y_true: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: mean |confidence - accuracy| over bins, weighted by count (Guo et al., eq. 3)."""
    count, confidence, accuracy = reliability(probabilities, y_true, bins)
    return float(np.average(np.abs(confidence - accuracy), weights=count))


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson score interval, 95 %, of an accuracy with `right` of n images correct: ends in [0, 1] (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> tuple[int, int, float]:
    """McNemar's test, exact and two-sided, of two models on the same images (McNemar 1947).

    Args:
        right_a, right_b: (n,) bool, whether each model is right on each image.
    Returns:
        Images that only a has right, images that only b has right, and the p-value: the probability that two equally
        good models disagree as unevenly as this or more so; 1 where they never disagree.
    """
    from scipy.stats import binomtest

    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(~right_a & right_b))
    disagree = only_a + only_b
    return only_a, only_b, float(binomtest(only_a, disagree).pvalue) if disagree else 1.0


def over_seeds(values: list[float]) -> dict:
    """Mean, sample standard deviation (None for a single run) and number of runs: {"mean", "std", "n"}."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "std": deviation, "n": len(values)}


def pooled_deviation(groups: list[list[float]]) -> tuple[float, int]:
    """Standard deviation within groups that share it, and its degrees of freedom; (nan, 0) of single values alone."""
    freedom = sum(len(group) - 1 for group in groups)
    squares = sum(np.sum((np.array(group) - np.mean(group)) ** 2) for group in groups)
    return (float(np.sqrt(squares / freedom)), freedom) if freedom else (float("nan"), 0)


def single_run_band(deviation: float, freedom: int, n: int) -> float:
    """Half the width of Student's 95 % prediction interval for one more run, about the mean of n runs.

    It includes the uncertainty of both mean and deviation. Only the seed of the new run differs.

    Args:
        deviation: standard deviation of runs that differ in their seed alone.
        freedom: its degrees of freedom.
    """
    from scipy.stats import t

    return float(t.ppf(0.975, freedom) * np.sqrt(1 + 1 / n) * deviation)
