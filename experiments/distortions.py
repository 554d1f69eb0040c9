"""An augmentation that the recipes do not use: cutout.

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
