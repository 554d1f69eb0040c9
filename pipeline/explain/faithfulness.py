"""Whether heat maps show what a model uses: deletion, insertion, average drop, controls, sanity check.

A model is a function of images that gives probabilities; only randomize() knows Keras.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from pipeline.explain.cam import enlarge, masked

Predict = Callable[[np.ndarray], np.ndarray]
ALIKE = 0.5  # a rank correlation that maps must fall below once all layers are randomized; inverted is alike, too
Z_95 = 1.96  # standard errors on either side: 95 % of a normal distribution


def ranks(heat: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Place of each pixel among its image's, (n, h, w) int: 0 for the least heat, h w - 1 for the most.

    Args:
        heat: (n, h, w), any scale; ties: (n, h, w) decides between equal values, so that a map that is
            zero everywhere ranks as this second map does.
    """
    n = len(heat)
    order = np.lexsort((ties.reshape(n, -1), heat.reshape(n, -1)), axis=1)
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None], axis=1)
    return places.reshape(heat.shape)


def curves(predict: Predict, images, classes, heat, ties, ends, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Deletion and insertion (Petsiuk et al. 2018, arXiv 1806.07421): probability against share of pixels.

    Deletion blanks the most important pixels first, so a faithful map's curve falls early; insertion
    starts with a blank image and brings them back first, so its curve rises early.

    Args:
        predict: images (m, h, w, c) to probabilities (m, classes).
        images: (n, h, w, c); classes: (n,) whose probability is followed; heat, ties: see ranks().
        ends: (whole, empty), each (n,): that probability for the untouched and the blank image, which
            all maps of a model have in common.
        steps: equal parts that the pixels are taken in.
    Returns:
        deletion, insertion: (n, steps + 1) at shares 0, 1/steps, ... 1 of pixels deleted or inserted.
    """
    whole, empty = ends
    order, pixels = ranks(heat, ties), heat[0].size
    counts = [round(pixels * step / steps) for step in range(1, steps)]
    changed = [masked(images, order < pixels - count) for count in counts]
    changed += [masked(images, order >= pixels - count) for count in counts]
    found = of_class(predict(np.concatenate(changed)), np.tile(classes, len(changed))).reshape(2, steps - 1, -1)
    deletion = np.vstack([whole, found[0], empty]).T
    insertion = np.vstack([empty, found[1], whole]).T
    return deletion, insertion


def of_class(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(n,) probability of each image's own class, from (n, classes)."""
    return probabilities[np.arange(len(classes)), classes]


def area(curve: np.ndarray) -> np.ndarray:
    """(n,) area under each curve (n, points) over [0, 1], trapezoids; a mean probability."""
    return np.trapezoid(curve, axis=1) / (curve.shape[1] - 1)


def average_drop(whole: np.ndarray, seen: np.ndarray) -> float:
    """100 mean(max(0, Y - O) / Y) in percent (Chattopadhay et al. 2018, arXiv 1710.11063, 4.1.1).

    Args:
        whole: (n,) Y, probability of the class for the image; seen: (n,) O, for the image seen through its map.
    """
    return float(100 * np.mean(np.maximum(whole - seen, 0) / whole))


def increase_in_confidence(whole: np.ndarray, seen: np.ndarray) -> float:
    """Percentage of images whose class becomes more probable when seen through the map (same paper, 4.1.2)."""
    return float(100 * np.mean(seen > whole))


def mean_and_error(differences: np.ndarray) -> tuple[float, float]:
    """Mean of paired differences (n,) and half the width of its 95 % confidence interval."""
    return float(differences.mean()), float(Z_95 * differences.std(ddof=1) / np.sqrt(len(differences)))


def random_maps(n: int, height: int, width: int, seed: int) -> np.ndarray:
    """Control: uniform noise on 5x5 cells, bilinearly enlarged, (n, height, width) in [0, 1].

    As smooth as the methods' maps. Pixels at random would be another matter: to delete them one by
    one is noise all over the image, which hurts a network more than a missing part does.
    """
    return enlarge(np.random.default_rng(seed).random((n, 5, 5), np.float32), height, width)


def random_pixels(n: int, height: int, width: int, seed: int) -> np.ndarray:
    """Control: every pixel's heat drawn by itself, uniform, (n, height, width) in [0, 1)."""
    return np.random.default_rng(seed).random((n, height, width), np.float32)


def centred_gaussian(n: int, height: int, width: int) -> np.ndarray:
    """Control: "it is in the middle", with a standard deviation of a quarter of each side; maximum near 1."""
    y, x = (np.exp(-8 * ((np.arange(length) + 0.5) / length - 0.5) ** 2) for length in (height, width))
    return np.tile((y[:, None] * x).astype(np.float32), (n, 1, 1))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's rho of each pair of maps, (n,); nan where `one` is constant, 0 where `other` alone is."""

    def centred_ranks(maps):
        ranked = rankdata(maps.reshape(len(maps), -1), axis=1)
        return ranked - ranked.mean(axis=1, keepdims=True)

    a, b = centred_ranks(one), centred_ranks(other)
    spread_a, spread_b = np.sqrt((a**2).sum(axis=1)), np.sqrt((b**2).sum(axis=1))
    found = np.divide((a * b).sum(axis=1), spread_a * spread_b, out=np.zeros(len(a)), where=spread_a * spread_b > 0)
    return np.where(spread_a > 0, found, np.nan)


def randomize(layer, seed: int) -> None:
    """Shuffle each weight tensor of a Keras layer in itself.

    What was learned is gone, while scale and sign stay as they were, so that a deep network's signal
    neither dies out nor grows, which fresh weights under old BatchNorm statistics would bring about.
    """
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.permutation(weight.ravel()).reshape(weight.shape) for weight in layer.get_weights()])
