"""What a heat map supports saying in words: where the evidence lies, and on how much of the image."""

import numpy as np

OFF_CENTER = 0.12  # of a side: how far from the middle the evidence's center has to lie to be named
WIDE = 0.3  # fraction of the pixels beyond which half of the evidence is spread out


def _half(heat: np.ndarray) -> np.ndarray:
    """Flat indices of the fewest pixels that hold half of the sum of a heat map (h, w) >= 0, not all zero."""
    order = np.argsort(-heat, axis=None, kind="stable")
    cumulative = np.cumsum(heat.ravel()[order])
    return order[: np.searchsorted(cumulative, cumulative[-1] / 2) + 1]


def extent(heat: np.ndarray) -> float:
    """Fraction of the image, in (0, 1], that holds half of the evidence of a heat map (h, w) >= 0, not all zero."""
    return len(_half(heat)) / heat.size


def where(heat: np.ndarray) -> str:
    """Place and extent of the evidence of one heat map (h, w) >= 0, for example "top left, half of it on 8 % of the
    image".

    Both describe the fewest pixels that hold half of the map's sum: their center, weighted by the map, and how many
    they are. No part of an object is named: a map knows none.
    """
    if not heat.any():
        return "none"
    half, fraction = _half(heat), extent(heat)
    if fraction > WIDE:
        return f"spread out, half of it on {fraction:.0%} of the image"
    weights = heat.ravel()[half]
    center = [np.average(place + 0.5, weights=weights) for place in np.unravel_index(half, heat.shape)]
    vertical, horizontal = (place / side - 0.5 for place, side in zip(center, heat.shape, strict=True))
    names = []
    if abs(vertical) > OFF_CENTER:
        names.append("top" if vertical < 0 else "bottom")
    if abs(horizontal) > OFF_CENTER:
        names.append("left" if horizontal < 0 else "right")
    return f"{' '.join(names) or 'center'}, half of it on {fraction:.0%} of the image"
