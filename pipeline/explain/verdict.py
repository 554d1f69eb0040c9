"""What a heat map supports saying in words: where the evidence peaks, and on how much of the image half of it lies."""

import numpy as np


def extent(heat: np.ndarray) -> float:
    """Fraction of the image, in (0, 1], that holds half of the evidence: of the fewest pixels with half of the sum.

    Args:
        heat: (h, w) >= 0, not all zero.
    """
    cumulative = np.cumsum(np.sort(heat, axis=None)[::-1])
    return (np.searchsorted(cumulative, cumulative[-1] / 2) + 1) / heat.size


def where(heat: np.ndarray) -> str:
    """Place of the maximum in a grid of thirds, and extent: "peak at the top left, half on 8% of the image".

    No part of an object is named: a map knows none.

    Args:
        heat: (h, w) >= 0.
    """
    if not heat.any():
        return "none"
    if heat.min() == heat.max():
        return "the same everywhere"
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    height, width = heat.shape
    vertical = ("top", "", "bottom")[3 * row // height]
    horizontal = ("left", "", "right")[3 * column // width]
    place = " ".join(name for name in (vertical, horizontal) if name)
    peak = f"at the {place}" if place else "in the center"
    return f"peak {peak}, half on {extent(heat):.0%} of the image"
