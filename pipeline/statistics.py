"""How sure a measured accuracy is, and whether two models really differ."""

import numpy as np
from scipy.stats import binomtest, t


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
