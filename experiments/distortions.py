"""Augmentations that the recipes do not use: cutout, MixUp.

Batches of raw pixels (n, h, w, 3) in [0, 255] in; float32 of the same shape and range out. Every draw comes from the
generator `rng`.
"""

import numpy as np


def cutout(images: np.ndarray, rng: np.random.Generator, *, side: int, fill=(129, 124, 112)) -> np.ndarray:
    """Cutout: one square per image filled with the mean color (DeVries & Taylor 2017, arXiv 1708.04552).

    Args:
        side: of the square in pixels; its center is any pixel, so that it may reach over the edge.
    """
    n, height, width, _ = images.shape
    top = rng.integers(height, size=n) - side // 2
    left = rng.integers(width, size=n) - side // 2
    row, column = np.arange(height), np.arange(width)
    in_rows = (row >= top[:, None]) & (row < top[:, None] + side)
    in_columns = (column >= left[:, None]) & (column < left[:, None] + side)
    hole = in_rows[:, :, None, None] & in_columns[:, None, :, None]
    return np.where(hole, np.float32(fill), images.astype(np.float32))


def mixup(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, *, alpha: float):
    """MixUp: weighted mean of two images and of their labels (Zhang et al. 2018, arXiv 1710.09412).

    Args:
        labels: soft labels (n, n_classes) float32 whose rows sum to 1.
        alpha: the batch's weight is drawn from Beta(alpha, alpha); small: mostly near 0 or 1.
    """
    weight, partner = np.float32(rng.beta(alpha, alpha)), rng.permutation(len(images))
    mixed_images = weight * images + (1 - weight) * images[partner]
    mixed_labels = weight * labels + (1 - weight) * labels[partner]
    return mixed_images, mixed_labels
