"""Digits in a photograph, scan or screenshot: found, separated, and laid out as MNIST's are.

The paper is found first (pipeline.data.papers). Ink is what differs from the paper's own brightness at each place;
straight lines (ruled paper, grids, form boxes) are removed from it, and what is left is grouped into digits.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.data import papers

# OpenCV is imported where it is used: a picture that is a digit already is read without it.

LONGEST, SHORTEST = 2000, 240  # pixels: a picture is scaled to a long side of at most, a short side of at least this
FAINT = 0.06  # contrast in [0, 1] below which nothing is ink
NOISIEST = 10  # levels of 255, standard deviation: more is no noise, but ink on half of the paper
LINE = 16  # a straight line is at least this many times as long as it is thick; so are a thin pen's straight strokes
SPAN = 0.8  # of the picture's side: what is longer is a ruled line, no stroke
THIN = 9  # a digit's strokes are drawn at least as wide as its longer side divided by this; MNIST's are wider
SMALLEST = 0.008  # height of a digit, of the picture's long side
SIMILAR = 0.35  # of the tallest digit's height: what is lower is no digit beside it


@dataclass(frozen=True)
class Digit:
    """A digit and where it stands.

    pixels: (28, 28, 1) uint8, white on black, laid out as in MNIST.
    box: left, top, right, bottom in pixels of the upright picture; right and bottom lie outside.
    inverted: it was dark on light.
    """

    pixels: np.ndarray
    box: tuple[int, int, int, int]
    inverted: bool


def find(gray: np.ndarray) -> list[Digit]:
    """Digits in a picture in reading order: line by line, each from left to right; [] where there are none.

    Args:
        gray: (h, w) uint8.
    """
    import cv2

    height, width = gray.shape
    scale = min(LONGEST / max(height, width), max(1, SHORTEST / min(height, width)))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    for paper, background in papers.candidates(gray):
        found = _on_paper(gray, paper, background)
        if found:
            return [_in_original(digit, scale, (height, width)) for digit in _reading_order(found)]
    return []


def largest(digits: list[Digit]) -> Digit:
    """The digit with the largest box."""
    return max(digits, key=lambda digit: area(digit.box))


def area(box: tuple[int, int, int, int]) -> int:
    """Pixels in a box left, top, right, bottom."""
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def center(ink: np.ndarray) -> np.ndarray | None:
    """Ink (h, w) in [0, 1], scaled with its proportions into 20x20 and moved so that its center of mass is at
    pixel (14, 14) of (28, 28) uint8; None where nothing of it is left at that size.

    LeCun et al. 1998, Gradient-based learning applied to document recognition, section III A.
    """
    scale = 20 / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    small = Image.fromarray((255 * ink).astype(np.uint8)).resize((width, height), Image.Resampling.LANCZOS)
    digit = np.asarray(small, np.float32)
    if not digit.any():
        return None
    digit = digit * (255 / digit.max())
    top = _start(digit.sum(axis=1))
    left = _start(digit.sum(axis=0))
    canvas = np.zeros((28, 28), np.uint8)
    canvas[top : top + height, left : left + width] = digit.round()
    return canvas


def _start(mass: np.ndarray) -> int:
    """The place among 28 at which these sums along one axis must begin to have their center of mass at 14."""
    middle = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return int(np.clip(round(14 - middle), 0, 28 - len(mass)))


def _on_paper(gray: np.ndarray, paper: np.ndarray, background: np.ndarray) -> list[Digit]:
    """Digits on a paper, boxes in pixels of this picture; dark on light or light on dark, whichever has more ink."""
    import cv2

    difference = background - cv2.GaussianBlur(gray, (3, 3), 0)
    noise = min(1.48 * float(np.median(np.abs(difference[paper]))), NOISIEST)
    candidates = []
    for inverted in (True, False):
        room = np.maximum(background if inverted else 255 - background, 32)
        ink = np.clip((difference if inverted else -difference) / room, 0, 1)
        parts = _parts(np.where(paper, ink, 0), paper, max(FAINT, 5 * noise / float(room[paper].mean())))
        if parts is not None:
            candidates.append((parts.weight, inverted, parts))
    if not candidates:
        return []
    _, inverted, parts = max(candidates, key=lambda candidate: candidate[0])
    found = []
    for group in _groups(parts.boxes):
        left, top, right, bottom = _around(parts.boxes[group])
        mine = np.isin(parts.labels[top:bottom, left:right], parts.numbers[group])
        pixels = center(_thickened(_soft(parts.ink[top:bottom, left:right], mine, parts.threshold)))
        if pixels is not None:
            found.append(Digit(pixels[..., None], (left, top, right, bottom), inverted))
    return found


@dataclass(frozen=True)
class _Parts:
    """Connected parts of ink that may be digits or pieces of them.

    ink: (h, w) float32 in [0, 1]; labels: (h, w) of the parts; numbers, boxes: of each part; weight: their ink in all.
    """

    ink: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray
    boxes: np.ndarray
    threshold: float
    weight: float


def _parts(ink: np.ndarray, paper: np.ndarray, faint: float) -> _Parts | None:
    """The parts of one polarity with more than a faint contrast; None where there is none that is large enough."""
    import cv2

    ink = np.where(_edge_bands(ink > faint), 0, ink)
    for _ in range(2):  # pale lines hide the level of the ink, dark ones are seen at that level
        above = ink > faint
        if np.count_nonzero(above) < 8:
            return None
        lines = _lines(above)
        ink = np.where(lines, 0, ink)
        above &= ~lines
        if np.count_nonzero(above) < 8:
            return None
        strong = ink[above] >= _otsu(ink[above])
        faint = max(faint, 0.5 * float(ink[above][strong].mean()))
    mask = cv2.morphologyEx((ink > faint).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes = stats[:, :4].copy()
    boxes[:, 2:] += boxes[:, :2]
    heights, widths = stats[:, 3], stats[:, 2]
    sizes = np.maximum(heights, widths)
    large = sizes >= _smallest(ink)
    large[0] = False
    touching = _touching(labels, paper, len(stats))
    free = large & ~touching
    if free.any() and sizes[free].max() >= 0.3 * sizes[large].max():
        large = free  # a digit that is cut off is none
    if not large.any():
        return None
    keep = large & (sizes >= 0.1 * sizes[large].max())
    numbers = np.flatnonzero(keep)
    weight = float(ink[np.isin(labels, numbers)].sum())
    return _Parts(ink, labels, numbers, boxes[numbers], faint, weight)


def _smallest(picture: np.ndarray) -> float:
    """Pixels that the longer side of a digit's largest part has at least, in a picture (h, w)."""
    return max(6, SMALLEST * max(picture.shape))


def _touching(labels: np.ndarray, paper: np.ndarray, count: int) -> np.ndarray:
    """Whether each part reaches the paper's edge, (count,) bool."""
    import cv2

    inside = cv2.erode(paper.astype(np.uint8), np.ones((5, 5), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    touching = np.zeros(count, bool)
    touching[np.unique(labels[inside == 0])] = True
    return touching


def _edge_bands(mask: np.ndarray) -> np.ndarray:
    """Ink along most of a side of the picture, down to its usual depth: a desk, a scanner's lid."""
    bands = np.zeros_like(mask)
    for turns in range(4):
        side, band = np.rot90(mask, turns), np.rot90(bands, turns)
        depths = np.where(side.all(axis=0), len(side), np.argmin(side, axis=0))
        if np.mean(depths > 0) > 0.5:
            usual = np.percentile(depths[depths > 0], 75) + 4
            band |= np.arange(len(side))[:, None] < np.minimum(depths + 2, usual)
    return bands


def _lines(mask: np.ndarray) -> np.ndarray:
    """Pixels of straight thin lines, nearly level or upright, without the strokes that cross them."""
    lines = _level_lines(mask) | _level_lines(mask.T).T
    return lines & ~_strokes(mask, lines)


def _strokes(mask: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Pixels of those lines that are a digit's straight strokes, drawn with a thin pen.

    Ruled lines cross the picture, and a box has lines on all sides: others in a smaller piece of ink are strokes. A
    piece that is a line and nothing else is an underline or a 1: it is a stroke if it is upright, and all there is.
    """
    import cv2

    strokes = np.zeros_like(mask)
    if not lines.any():
        return strokes
    _, labels, stats, _ = cv2.connectedComponentsWithStats((mask | lines).astype(np.uint8), connectivity=8)
    with_lines = np.unique(labels[lines])
    others = np.setdiff1d(labels[mask & ~lines], with_lines)
    alone = not (stats[others, 2:4].max(axis=1) >= _smallest(mask)).any()
    for number in with_lines:
        left, top, width, height, _ = stats[number]
        box = (slice(top, top + height), slice(left, left + width))
        mine = (labels[box] == number) & lines[box]
        one_line = max(width, height) > 4 * min(width, height)
        if width > SPAN * mask.shape[1] or height > SPAN * mask.shape[0]:
            continue
        if one_line and not (alone and height > width):
            continue
        if not one_line and _sides(mine) >= 3:
            continue
        strokes[box] |= mine
    return strokes


def _level_lines(mask: np.ndarray) -> np.ndarray:
    import cv2

    mask = np.ascontiguousarray(mask)
    thickness = _run_lengths(mask)
    length = max(12, round(0.05 * min(mask.shape)))
    bridged = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((1, 5), np.uint8))
    straight = cv2.morphologyEx(bridged, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    thin = (straight > 0) & (thickness * LINE / 2 <= mask.shape[1])
    joined = cv2.morphologyEx(thin.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, length), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    lines = np.zeros_like(mask)
    for number in range(1, count):
        left, top, width, height, _ = stats[number]
        box = (slice(top, top + height), slice(left, left + width))
        mine = (labels[box] == number) & mask[box]
        # One thickness for each place along it: a stroke that crosses or follows it for a while is thicker.
        along = np.where(mine, thickness[box], np.iinfo(np.int32).max).min(axis=0)[mine.any(axis=0)]
        if len(along) < 0.5 * width:
            continue
        limit = 1.6 * np.percentile(along, 30) + 1
        if width < LINE * np.percentile(along, 30) or np.mean(along <= limit) < 0.5:
            continue
        lines[box] |= mine & (thickness[box] <= limit)
    if not lines.any():
        return lines
    # The soft edges of a line go with it.
    halo = cv2.dilate(lines.astype(np.uint8), np.ones((5, 3), np.uint8)) > 0
    return lines | (halo & ~mask)


def _run_lengths(mask: np.ndarray) -> np.ndarray:
    """Of each pixel of a mask (h, w), the number of pixels in one column that hang together with it; 0 elsewhere."""
    columns = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
    columns[:, 1:-1] = mask.T
    flat = columns.ravel()
    steps = np.diff(flat)
    starts, ends = np.flatnonzero(steps == 1) + 1, np.flatnonzero(steps == -1) + 1
    lengths = np.zeros(flat.shape, np.int32)
    lengths[flat > 0] = np.repeat(ends - starts, ends - starts)
    return lengths.reshape(columns.shape)[:, 1:-1].T


def _groups(boxes: np.ndarray) -> list[np.ndarray]:
    """Indices of the parts of each digit: a small part belongs to the large one that it is close to.

    Args:
        boxes: (n, 4) left, top, right, bottom.
    """
    heights, widths = boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]
    order = np.argsort(-np.maximum(heights, widths), kind="stable")
    groups = []
    for part in order:
        best, nearest = None, 0.25
        for group in groups:
            around = _around(boxes[group])
            size = max(around[3] - around[1], around[2] - around[0])
            distance = _distance(around, boxes[part], heights[part] < 0.6 * size) / size
            if distance < nearest:
                best, nearest = group, distance
        if best is None:
            groups.append([part])
        else:
            best.append(part)
    sizes = [_around(boxes[group]) for group in groups]
    tallest = max(max(box[3] - box[1], (box[2] - box[0]) / 2) for box in sizes)
    tall = [box[3] - box[1] >= SIMILAR * tallest for box in sizes]
    return [np.array(group) for group, kept in zip(groups, tall, strict=True) if kept]


def _distance(large: tuple, part: np.ndarray, small: bool) -> float:
    """Pixels between a digit's box and a part of it; infinite where the part is a digit of its own beside it."""
    across = max(part[0] - large[2], large[0] - part[2])
    down = max(part[1] - large[3], large[1] - part[3], 0)
    overlap = -across / max(1, min(part[2] - part[0], large[2] - large[0]))
    if overlap >= 0.5 or (small and overlap > 0.2):
        return down
    if small and across < 0.1 * (large[3] - large[1]):
        return max(across, down, 0)
    return np.inf


def _around(boxes: np.ndarray) -> tuple[int, int, int, int]:
    """The box around boxes (n, 4)."""
    left, top = boxes[:, :2].min(axis=0)
    right, bottom = boxes[:, 2:].max(axis=0)
    return int(left), int(top), int(right), int(bottom)


def _soft(ink: np.ndarray, mine: np.ndarray, threshold: float) -> np.ndarray:
    """Ink in [0, 1] of one digit, its full strokes 1, its edges as soft as they are, and nothing of its neighbors."""
    import cv2

    near = cv2.dilate(mine.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    full = float(np.percentile(ink[mine], 90))
    strength = np.clip((ink - threshold / 2) / max(full - threshold / 2, 1e-3), 0, 1)
    return np.where(near, strength, 0)


def _sides(lines: np.ndarray) -> int:
    """Along how many sides of its box (h, w) a mask of lines runs for the most part."""
    found = 0
    for turns in range(4):
        side = np.rot90(lines, turns)
        edge = side[: max(3, len(side) // 8)]
        if edge.any(axis=0).mean() > 0.6:
            found += 1
    return found


def _thickened(ink: np.ndarray) -> np.ndarray:
    """Ink (h, w) in [0, 1] of a digit, its strokes widened to what a digit of this size has at least in MNIST.

    A thin pen's stroke is less than a pixel wide at 28x28, where the network has seen two or three.
    """
    import cv2

    full = ink > 0.5
    if not full.any():
        return ink
    inside = cv2.distanceTransform(np.pad(full, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    ridge = full & (inside >= cv2.dilate(inside, np.ones((3, 3), np.uint8)))
    lacking = round(max(ink.shape) / THIN - 2 * float(np.median(inside[ridge])))
    if lacking < 1:
        return ink
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (lacking + 1, lacking + 1))
    return cv2.dilate(np.pad(ink, lacking).astype(np.float32), pen)


def _otsu(values: np.ndarray) -> float:
    """The threshold that separates values in [0, 1] into two groups best (Otsu 1979)."""
    import cv2

    levels = np.round(255 * values).astype(np.uint8)
    threshold, _ = cv2.threshold(levels.reshape(1, -1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return threshold / 255


def _reading_order(digits: list[Digit]) -> list[Digit]:
    """Line by line: a digit whose middle lies within the height of a line's first one belongs to that line."""
    lines = []
    for digit in sorted(digits, key=lambda digit: digit.box[1]):
        middle = (digit.box[1] + digit.box[3]) / 2
        for line in lines:
            if line[0].box[1] <= middle < line[0].box[3]:
                line.append(digit)
                break
        else:
            lines.append([digit])
    return [digit for line in lines for digit in sorted(line, key=lambda digit: digit.box[0])]


def _in_original(digit: Digit, scale: float, size: tuple[int, int]) -> Digit:
    """The same digit, its box in pixels of the picture of this (height, width) before it was scaled."""
    left, top = (int(edge / scale) for edge in digit.box[:2])
    right = min(size[1], int(np.ceil(digit.box[2] / scale)))
    bottom = min(size[0], int(np.ceil(digit.box[3] / scale)))
    return Digit(digit.pixels, (left, top, right, bottom), digit.inverted)
