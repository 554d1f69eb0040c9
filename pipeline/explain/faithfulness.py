"""Faithfulness of heat maps: deletion, insertion, average drop, random controls, model randomization test.

A model is here a function from images to probabilities; randomize() alone takes a Keras layer.
"""

from collections.abc import Callable

import numpy as np

from pipeline.explain import imputation
from pipeline.explain.cam import enlarge

Predict = Callable[[np.ndarray], np.ndarray]  # images (m, h, w, c) -> probabilities (m, classes)
# Images (n, h, w, c) and which pixels to keep (n, h, w) bool -> images without the others, see imputation.py
Removal = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Rank correlation below which, in absolute value, maps must fall once all layers are randomized.
ALIKE = 0.3
# What an explanation is compared with, and ways to remove pixels, with what each puts in their place.
# Maps that know nothing of the image -> their names in plots.
CONTROLS = {"random": "smooth random map", "random pixels": "random pixels", "gaussian": "centered Gaussian"}
REMOVALS = {"blank": "blanked by the mean color", "road": "imputed from their neighbors (ROAD)"}
Z_95 = 1.96  # standard errors on either side: 95 % of a normal distribution


def ranks(heat: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Rank of each pixel within its image, (n, h, w) int: 0 for the least heat, h w - 1 for the most.

    Args:
        heat: (n, h, w), any scale.
        ties: (n, h, w), decides between equal values, so that an all-zero map ranks as this one does.
    """
    n = len(heat)
    order = np.lexsort((ties.reshape(n, -1), heat.reshape(n, -1)), axis=1)
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None], axis=1)
    return places.reshape(heat.shape)


def curves(predict: Predict, remove: Removal, images, classes, heat, ties, ends, steps: int) -> tuple:
    """Deletion and insertion curves, each (n, steps + 1): probability at 0, 1/steps, ... 1 of the pixels changed.

    Petsiuk et al. 2018, arXiv 1806.07421. Deletion removes the most important pixels first, so a faithful map's curve
    falls early; insertion starts from a blank image and restores them first, so its curve rises early.

    Args:
        remove: what a removal puts in place of pixels.
        images: (n, h, w, c) raw pixels.
        classes: (n,) int, whose probability is followed.
        heat, ties: (n, h, w), see ranks().
        ends: (whole, empty), each (n,): that probability for the unchanged and for the blank image, which all maps of
            a model have in common.
        steps: number of equal parts that the pixels are divided into.
    """
    whole, empty = ends
    order, pixels = ranks(heat, ties), heat[0].size
    counts = [round(pixels * step / steps) for step in range(1, steps)]
    changed = [remove(images, order < pixels - count) for count in counts]
    changed += [remove(images, order >= pixels - count) for count in counts]
    found = of_class(predict(np.concatenate(changed)), np.tile(classes, len(changed))).reshape(2, steps - 1, -1)
    deletion = np.vstack([whole, found[0], empty]).T
    insertion = np.vstack([empty, found[1], whole]).T
    return deletion, insertion


def removal(name: str, seed: int) -> Removal:
    """One of REMOVALS by name; the seed is that of the noise."""
    if name == "blank":
        return imputation.masked
    rng = np.random.default_rng(seed)
    return lambda images, keep: imputation.noisy_linear(images, keep, rng)


def of_class(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Probability of each image's class, (n,), from probabilities (n, n_classes) and classes (n,)."""
    return probabilities[np.arange(len(classes)), classes]


def area(curve: np.ndarray) -> np.ndarray:
    """Area under each curve (n, points) over [0, 1] by the trapezoidal rule, (n,); a mean probability."""
    return np.trapezoid(curve, axis=1) / (curve.shape[1] - 1)


def average_drop(whole: np.ndarray, seen: np.ndarray) -> float:
    """Average drop in percent: 100 mean(max(0, Y - O) / Y) (Chattopadhay et al. 2018, arXiv 1710.11063, 4.1.1).

    Args:
        whole: (n,) Y, probability of the class for the image.
        seen: (n,) O, for the image masked with its heat map.
    """
    return float(100 * np.mean(np.maximum(whole - seen, 0) / whole))


def increase_in_confidence(whole: np.ndarray, seen: np.ndarray) -> float:
    """Increase in confidence: percentage of images whose class is more probable under the mask (same paper, 4.1.2)."""
    return float(100 * np.mean(seen > whole))


def mean_and_error(differences: np.ndarray) -> tuple[float, float]:
    """Mean of paired differences (n,) and half the width of its 95 % confidence interval."""
    return float(differences.mean()), float(Z_95 * differences.std(ddof=1) / np.sqrt(len(differences)))


def random_maps(n: int, height: int, width: int, seed: int) -> np.ndarray:
    """Control: uniform noise on 5x5 cells, upsampled bilinearly, (n, height, width) float32 in [0, 1].

    As smooth as the methods' maps. Deleting single random pixels is noise all over the image, which hurts a network
    more than a missing part does.
    """
    return enlarge(np.random.default_rng(seed).random((n, 5, 5), np.float32), height, width)


def random_pixels(n: int, height: int, width: int, seed: int) -> np.ndarray:
    """Control: uniform noise, each pixel drawn independently, (n, height, width) float32 in [0, 1)."""
    return np.random.default_rng(seed).random((n, height, width), np.float32)


def centered_gaussian(n: int, height: int, width: int) -> np.ndarray:
    """Control: Gaussian at the center, its standard deviation a quarter of each side, (n, height, width) in [0, 1]."""
    y, x = (np.exp(-8 * ((np.arange(length) + 0.5) / length - 0.5) ** 2) for length in (height, width))
    return np.tile((y[:, None] * x).astype(np.float32), (n, 1, 1))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each pair of maps, (n,), from maps (n, h, w).

    NaN where the map of `one` is constant; 0 where only that of `other` is.
    """
    from scipy.stats import rankdata  # slow to import, and only this needs it

    def centered_ranks(maps):
        ranked = rankdata(maps.reshape(len(maps), -1), axis=1)
        return ranked - ranked.mean(axis=1, keepdims=True)

    a, b = centered_ranks(one), centered_ranks(other)
    spread_a, spread_b = np.sqrt((a**2).sum(axis=1)), np.sqrt((b**2).sum(axis=1))
    found = np.divide((a * b).sum(axis=1), spread_a * spread_b, out=np.zeros(len(a)), where=spread_a * spread_b > 0)
    return np.where(spread_a > 0, found, np.nan)


def randomize(layer, seed: int) -> None:
    """Permute each weight tensor of a Keras layer in place, for the model randomization test.

    Adebayo et al. 2018, arXiv 1810.03292, section 3, who draw new weights. A permutation keeps scale and sign, so that
    a deep network's signal neither vanishes nor explodes, as it would with new weights under old BatchNorm statistics.
    """
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.permutation(weight.ravel()).reshape(weight.shape) for weight in layer.get_weights()])
