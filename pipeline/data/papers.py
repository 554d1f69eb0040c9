"""The paper in a photograph, scan, screenshot or plot: where it is, and how bright it is at each place.

Paper is a region of smoothly changing brightness, so that a desk, a scanner's edge or the margin of a plot are none.
"""

from collections.abc import Iterator

import numpy as np

# OpenCV is imported where it is used: a picture that is a digit already is read without it.

COARSE = 320  # pixels, long side of the picture in which the paper is looked for
SMOOTH = 14  # levels of 255 by which paper changes at most between neighbors in it: soft shadows, but no edges
STROKE = 8  # levels of 255 by which a stroke differs at least from the paper on both its sides


def candidates(gray: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What may be the paper, the innermost first: its mask (h, w) bool, and its brightness (h, w) float32.

    A sheet on a desk or a plot in its margin is a rectangle of its own; after these comes the largest region, and at
    last the whole picture, for a digit that leaves no even paper around it.
    """
    import cv2

    height, width = gray.shape
    scale = COARSE / max(height, width)
    small = cv2.resize(
        gray, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    small = cv2.medianBlur(small, 11)  # thin lines and strokes are gone
    change = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    _, regions, stats, _ = cv2.connectedComponentsWithStats((change <= SMOOTH).astype(np.uint8), connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA].astype(float)
    areas[0] = 0  # the edges between the regions
    inner = []
    for number in np.flatnonzero(areas >= 0.1 * small.size):
        region = (regions == number).astype(np.uint8)
        outline = _outline(region)
        (_, sides, _) = cv2.minAreaRect(outline)
        rectangle = cv2.contourArea(outline) >= 0.85 * sides[0] * sides[1]
        filled = areas[number] >= 0.6 * cv2.contourArea(outline)
        if rectangle and filled and min(sides) >= 0.3 * min(small.shape):
            inner.append(number)
    inner.sort(key=lambda number: areas[number])
    largest_region = [int(np.argmax(areas))] if areas.any() else []
    for number in dict.fromkeys([*inner, *largest_region]):
        region = (regions == number).astype(np.uint8)
        paper = cv2.fillConvexPoly(np.zeros_like(region), _outline(region), 1)
        continued = np.where(paper, small, _filled(small, region)).astype(np.uint8)  # a margin is no stroke
        # The change at an edge reaches two pixels into the paper, at the picture's own edge none.
        paper = cv2.resize(paper, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
        background = cv2.resize(
            _filled(small, _without_strokes(continued, region)), (width, height), interpolation=cv2.INTER_LINEAR
        )
        yield paper, background
    yield np.ones(gray.shape, bool), _plane_through_edge(gray)


def _plane_through_edge(gray: np.ndarray) -> np.ndarray:
    """Brightness (h, w) float32 of a plane through the picture's outermost pixels, but for strokes that touch them."""
    height, width = gray.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    plane = np.stack([np.ones_like(x), x / width, y / height], axis=-1)
    border = np.ones(gray.shape, bool)
    border[1:-1, 1:-1] = False
    edge, where = gray[border].astype(np.float32), plane[border]
    paper = np.abs(edge - np.median(edge)) < 40
    coefficients, *_ = np.linalg.lstsq(where[paper], edge[paper], rcond=None)
    return (plane @ coefficients).astype(np.float32)


def _without_strokes(brightness: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The region without what is darker or lighter than all around within a stroke's width: a soft stroke's middle."""
    import cv2

    kernel = np.ones((COARSE // 5, COARSE // 5), np.uint8)
    darker = cv2.subtract(cv2.morphologyEx(brightness, cv2.MORPH_CLOSE, kernel), brightness)
    lighter = cv2.subtract(brightness, cv2.morphologyEx(brightness, cv2.MORPH_OPEN, kernel))
    even = ((darker <= STROKE) & (lighter <= STROKE)).astype(np.uint8)
    paper = cv2.erode(region & even, np.ones((3, 3), np.uint8))
    return paper if paper.any() else region


def _outline(region: np.ndarray) -> np.ndarray:
    """Convex hull of a region (h, w) uint8: a sheet of paper is convex, and ink may cut it into parts."""
    import cv2

    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.convexHull(np.concatenate(contours))


def _filled(brightness: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Brightness (h, w) float32 where it is known; elsewhere an average of what is known, as near as there is any."""
    import cv2

    known = known.astype(np.float32)
    values = brightness * known
    mean, size = values.sum() / known.sum(), values.shape[::-1]
    filled = np.zeros_like(values)
    missing = np.ones(values.shape, bool)
    known, values = cv2.pyrDown(known), cv2.pyrDown(values)
    while min(known.shape) > 1 and missing.any():
        known, values = cv2.pyrDown(known), cv2.pyrDown(values)  # averages over twice the width each time
        weight, total = (cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in (known, values))
        enough = missing & (weight > 0.1)
        filled[enough] = total[enough] / weight[enough]
        missing &= ~enough
    filled[missing] = mean
    return cv2.GaussianBlur(filled, (0, 0), 2)
