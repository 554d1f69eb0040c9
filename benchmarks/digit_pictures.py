"""Synthetic photographs, scans and screenshots of digits, of every kind that people send; the same seed, the same one.

`draw(KIND, digits, labels, seed)` returns a picture and the digits on it, `strokes` one without any. Nothing here is
shared with the code that reads them. Reading was tuned on pictures of the setting TUNED; HELD_OUT has other sizes,
papers and desks, to measure it by.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont


def upscaled(digit: np.ndarray, height: int) -> np.ndarray:
    """Ink (h, w) in [0, 1] of a digit (n, n) uint8, cut to its strokes and scaled smoothly to a height."""
    rows, columns = np.flatnonzero((digit > 60).any(axis=1)), np.flatnonzero((digit > 60).any(axis=0))
    cut = digit[max(0, rows[0] - 1) : rows[-1] + 2, max(0, columns[0] - 1) : columns[-1] + 2]
    width = max(1, round(height * cut.shape[1] / cut.shape[0]))
    large = Image.fromarray(cut).resize((width, height), Image.Resampling.BICUBIC)
    large = large.filter(ImageFilter.GaussianBlur(height / 60))
    return np.clip((np.asarray(large, float) / 255 - 0.3) / 0.3, 0, 1)


def smooth_noise(random: np.random.Generator, size: tuple[int, int], cells: tuple[int, int]) -> np.ndarray:
    """Random values in [-1, 1] of (rows, columns) cells, blended smoothly, (h, w)."""
    values = Image.fromarray(random.uniform(-1, 1, cells).astype(np.float32))
    return np.asarray(values.resize(size[::-1], Image.Resampling.BICUBIC), float)


def smooth_paper(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Brightness (h, w) of a paper without any texture, as a factor."""
    return np.ones(size)


def rough_paper(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Brightness (h, w) of a paper with creases and fibers, as a factor: noise of many sizes, the finer the weaker."""
    factor = np.ones(size)
    for cells, strength in ((3, 0.04), (12, 0.015), (60, 0.01)):
        factor += strength * smooth_noise(random, size, (cells, cells))
    return factor


def wood(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A desk (h, w, 3) with some grain."""
    grain = np.asarray(
        Image.fromarray(random.integers(0, 255, (60, 4), np.uint8)).resize(size[::-1], Image.BICUBIC), float
    )
    return np.array([120, 85, 55]) * random.uniform(0.4, 1.3) + (grain[..., None] - 128) / 12


def cloth_or_stone(random: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A tablecloth with its weave, or a speckled stone, (h, w, 3)."""
    y, x = np.mgrid[: size[0], : size[1]]
    if random.random() < 0.5:
        period = random.uniform(5, 11)
        texture = 12 * np.sin(2 * np.pi * x / period) * np.sin(2 * np.pi * y / period)
    else:
        texture = 14 * smooth_noise(random, size, (size[0] // 6, size[1] // 6))
    color = random.uniform(30, 130) * random.uniform(0.7, 1.2, 3)
    return color + (texture + 6 * smooth_noise(random, size, (4, 4)))[..., None]


@dataclass(frozen=True)
class Setting:
    """What papers and desks are like.

    sides: pixels, lowest and highest; levels: brightness of the paper, lowest and highest; tint: lowest factor of a
    color of the paper; paper, desk: what they are made by.
    """

    sides: tuple[int, int]
    levels: tuple[float, float]
    tint: float
    paper: Callable
    desk: Callable


TUNED = Setting((360, 900), (200, 250), 0.95, smooth_paper, wood)
HELD_OUT = Setting((600, 1300), (175, 252), 0.88, rough_paper, cloth_or_stone)


class Sheet:
    """A sheet of paper (h, w, 3) float in [0, 255], and a random generator for all that varies."""

    def __init__(self, random: np.random.Generator, setting: Setting = TUNED, size: tuple[int, int] | None = None):
        self.random, self.setting = random, setting
        if size is None:
            size = (int(random.integers(*setting.sides)), int(random.integers(*setting.sides)))
        level = random.uniform(*setting.levels)
        tint = random.uniform(setting.tint, 1, 3)
        self.pixels = np.full((*size, 3), level) * tint
        self.noise = random.uniform(1, 5)
        self.light(setting.paper(random, size))

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[:2]

    def ink(self, mask: np.ndarray, color, top: int, left: int) -> None:
        """Lay ink (h, w) in [0, 1] of a color over the paper."""
        part = self.pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
        mask = mask[: part.shape[0], : part.shape[1], None]
        part[...] = part * (1 - mask) + np.asarray(color, float) * mask

    def digit(self, digit: np.ndarray, color=None, height: float | None = None) -> tuple[int, int, int, int]:
        """Write a digit anywhere, but whole; returns left, top, right, bottom."""
        height = height or self.random.uniform(0.35, 0.65) * min(self.size)
        mask = upscaled(digit, int(height))
        if mask.shape[1] > 0.8 * self.size[1]:
            mask = upscaled(digit, int(height / 2))
        margin = max(4, int(0.08 * min(self.size)))
        top = int(self.random.integers(margin, max(margin + 1, self.size[0] - mask.shape[0] - margin)))
        left = int(self.random.integers(margin, max(margin + 1, self.size[1] - mask.shape[1] - margin)))
        if color is None:
            color = np.full(3, self.random.uniform(10, 80))
        self.ink(mask, color, top, left)
        return left, top, left + mask.shape[1], top + mask.shape[0]

    def lines(self, gap: float, color, thickness: int, upright: bool = False, start: float = 0) -> None:
        pixels = self.pixels.transpose(1, 0, 2) if upright else self.pixels
        for place in np.arange(start or gap * self.random.uniform(0.3, 1), len(pixels) - thickness, gap):
            pixels[int(place) : int(place) + thickness] = color

    def light(self, factor: np.ndarray) -> None:
        self.pixels *= factor[..., None]

    def picture(self) -> Image.Image:
        noise = self.random.normal(0, self.noise, self.size)[..., None]
        pixels = np.clip(self.pixels + noise, 0, 255).astype(np.uint8)
        picture = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(self.random.uniform(0.3, 1.2)))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(self.random.integers(70, 95)))
        return Image.open(file).convert("RGB")


def plain(sheet: Sheet, digit: np.ndarray) -> None:
    sheet.digit(digit)


def pale_lines(sheet: Sheet, digit: np.ndarray) -> None:
    sheet.lines(sheet.random.uniform(30, 70), sheet.pixels[0, 0] * sheet.random.uniform(0.8, 0.92), 2)
    sheet.digit(digit)


def grid(sheet: Sheet, digit: np.ndarray) -> None:
    gap, color = sheet.random.uniform(20, 50), sheet.pixels[0, 0] * np.array([0.75, 0.85, 0.95])
    sheet.lines(gap, color, 2)
    sheet.lines(gap, color, 2, upright=True)
    sheet.digit(digit)


def chalk(sheet: Sheet, digit: np.ndarray) -> None:
    sheet.pixels[:] = np.array([50, 80, 60]) * sheet.random.uniform(0.7, 1.2)
    clouds = Image.fromarray(sheet.random.integers(0, 255, (8, 8), np.uint8)).resize(sheet.size[::-1], Image.BICUBIC)
    sheet.pixels += np.asarray(clouds, float)[..., None] / 25
    sheet.digit(digit, np.full(3, sheet.random.uniform(190, 240)))


def pencil(sheet: Sheet, digit: np.ndarray) -> None:
    sheet.digit(digit, np.full(3, sheet.random.uniform(120, 165)))


def small(sheet: Sheet, digit: np.ndarray) -> None:
    sheet.digit(digit, height=0.1 * min(sheet.size))


def colored_pen(sheet: Sheet, digit: np.ndarray) -> None:
    colors = [(190, 30, 40), (30, 60, 180), (20, 120, 60), (120, 40, 140), (210, 90, 20)]
    sheet.digit(digit, colors[sheet.random.integers(len(colors))])


def form_box(sheet: Sheet, digit: np.ndarray) -> None:
    left, top, right, bottom = sheet.digit(digit, height=sheet.random.uniform(0.25, 0.5) * min(sheet.size))
    side = int(max(right - left, bottom - top) * sheet.random.uniform(1.15, 1.6))
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    x, y = max(2, min(x, sheet.size[1] - side - 8)), max(2, min(y, sheet.size[0] - side - 8))
    thickness = int(sheet.random.integers(2, 6))
    frame = np.ones((side, side))
    frame[thickness:-thickness, thickness:-thickness] = 0
    sheet.ink(frame, np.full(3, sheet.random.uniform(20, 110)), y, x)


def dark_lines(sheet: Sheet, digit: np.ndarray) -> None:
    color = np.array([70, 90, 150]) * sheet.random.uniform(0.6, 1.3)
    sheet.lines(sheet.random.uniform(35, 80), color, int(sheet.random.integers(2, 4)))
    place = int(sheet.random.uniform(0.06, 0.16) * sheet.size[1])
    sheet.pixels[:, place : place + 3] = [190, 60, 60]
    sheet.digit(digit)


def between_lines(sheet: Sheet, digit: np.ndarray) -> None:
    gap = sheet.random.uniform(0.12, 0.2) * min(sheet.size)
    start = gap * 0.7
    sheet.lines(gap, np.full(3, sheet.random.uniform(60, 140)), int(sheet.random.integers(2, 4)), start=start)
    mask = upscaled(digit, int(0.7 * gap))
    row = sheet.random.integers(1, int((sheet.size[0] - start) / gap) - 1)
    left = int(sheet.random.uniform(0.1, 0.8) * (sheet.size[1] - mask.shape[1]))
    sheet.ink(mask, np.full(3, sheet.random.uniform(10, 70)), int(start + row * gap + 0.18 * gap), left)


def soft_shadow(sheet: Sheet, digit: np.ndarray) -> None:
    sheet.digit(digit)
    y, x = np.mgrid[: sheet.size[0], : sheet.size[1]]
    angle = sheet.random.uniform(0, 2 * np.pi)
    center = (np.array(sheet.size) * sheet.random.uniform(0.25, 0.75, 2))[:, None, None]
    across = (x - center[1]) * np.cos(angle) + (y - center[0]) * np.sin(angle)
    softness = sheet.random.uniform(0.03, 0.12) * max(sheet.size)
    sheet.light(1 - sheet.random.uniform(0.35, 0.6) / (1 + np.exp(-across / softness)))


def strong_gradient(sheet: Sheet, digit: np.ndarray) -> None:
    sheet.digit(digit)
    y, x = np.mgrid[: sheet.size[0], : sheet.size[1]]
    angle = sheet.random.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x / sheet.size[1] + np.sin(angle) * y / sheet.size[0]
    along = (along - along.min()) / np.ptp(along)
    sheet.light(1 - sheet.random.uniform(0.6, 0.8) * along ** sheet.random.uniform(0.7, 1.6))


def desk_at_two_edges(sheet: Sheet, digit: np.ndarray) -> None:
    sheet.digit(digit)
    on_desk(sheet, [0, sheet.random.uniform(0.06, 0.2), 0, sheet.random.uniform(0.06, 0.2)])


def desk_all_round(sheet: Sheet, digit: np.ndarray) -> None:
    sheet.digit(digit)
    on_desk(sheet, sheet.random.uniform(0.08, 0.25, 4))


def on_desk(sheet: Sheet, margins) -> None:
    """Put the sheet on a larger desk, a little turned; margins left, top, right, bottom as parts of its size."""
    height, width = sheet.size
    left, top, right, bottom = (int(part * max(height, width)) for part in margins)
    desk = sheet.setting.desk(sheet.random, (height + top + bottom, width + left + right))
    angle = sheet.random.uniform(-4, 4)
    where = np.zeros(desk.shape[:2])
    y0, x0 = (0 if top == 0 else top), (0 if left == 0 else left)
    paper = np.zeros_like(desk)
    paper[y0 : y0 + height, x0 : x0 + width] = sheet.pixels
    where[y0 : y0 + height, x0 : x0 + width] = 255
    if top == 0:
        where[:1] = where[1:2]
    place = (x0 + width / 2, y0 + height / 2)
    if all(side > 0 for side in (left, top, right, bottom)):
        turned = [
            Image.fromarray(layer.astype(np.uint8)).rotate(angle, Image.BICUBIC, center=place)
            for layer in (paper, where)
        ]
        paper, where = (np.asarray(layer, float) for layer in turned)
    alpha = where[..., None] / 255
    sheet.pixels = desk * (1 - alpha) + paper * alpha


def scanner_edge(sheet: Sheet, digit: np.ndarray) -> None:
    sheet.digit(digit)
    width, dark = int(sheet.random.integers(3, 14)), sheet.random.uniform(0, 70)
    for turns in sheet.random.choice(4, sheet.random.integers(1, 4), replace=False):
        np.rot90(sheet.pixels, turns)[:width] = dark


def screenshot(sheet: Sheet, digit: np.ndarray) -> None:
    dark = sheet.random.random() < 0.4
    size = [(1600, 740), (1280, 720), (2340, 1080)][sheet.random.integers(3)]
    sheet.pixels = np.full((*size, 3), 18.0 if dark else 255.0)
    sheet.noise = 0
    picture = Image.fromarray(sheet.pixels.astype(np.uint8))
    pen, color = ImageDraw.Draw(picture), (230, 230, 230) if dark else (30, 30, 30)
    font = ImageFont.load_default(size[1] // 28)
    pen.text((0.04 * size[1], 12), "09:41", fill=color, font=font)
    pen.text((0.72 * size[1], 12), "LTE 87%", fill=color, font=font)
    pen.rectangle((0.93 * size[1], 16, 0.97 * size[1], 16 + size[1] // 40), outline=color, width=2)
    pen.rectangle((0.35 * size[1], size[0] - 24, 0.65 * size[1], size[0] - 18), fill=color)
    sheet.pixels = np.asarray(picture, float).copy()
    mask = upscaled(digit, int(sheet.random.uniform(0.35, 0.6) * size[1]))
    top = int(sheet.random.uniform(0.15, 0.5) * size[0])
    sheet.ink(mask, color, top, max(20, int(sheet.random.uniform(0.1, 0.9) * (size[1] - mask.shape[1] - 40))))


def tiny_on_a4(sheet: Sheet, digit: np.ndarray) -> None:
    level = sheet.random.uniform(225, 252)
    sheet.pixels = np.full((3508, 2480, 3), level)
    sheet.digit(digit, height=60)


ON_PAPER: dict[str, Callable] = {
    "plain": plain,
    "pale lines": pale_lines,
    "grid": grid,
    "chalk": chalk,
    "pencil": pencil,
    "small": small,
    "colored pen": colored_pen,
    "form box": form_box,
    "dark lines with a margin": dark_lines,
    "small between lines": between_lines,
    "soft shadow": soft_shadow,
    "strong gradient": strong_gradient,
    "desk at two edges": desk_at_two_edges,
    "desk all round": desk_all_round,
    "scanner edge": scanner_edge,
    "screenshot": screenshot,
    "60 pixels on A4": tiny_on_a4,
}
PLOTTED = {
    "imshow gray": ("gray", True),
    "imshow gray without axes": ("gray", False),
    "imshow viridis": ("viridis", True),
    "imshow viridis without axes": ("viridis", False),
}
CLEAN = ("plain", "pale lines", "grid", "chalk", "pencil", "small", "colored pen")  # with nothing but paper around
KINDS = (*ON_PAPER, *PLOTTED, "several")


def plot(random: np.random.Generator, digit: np.ndarray, colors: str, axes: bool) -> Image.Image:
    """What plt.imshow and savefig make of a digit."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(random.uniform(3, 7), random.uniform(3, 5.5)), dpi=100)
    axis = figure.subplots()
    axis.imshow(digit, cmap=colors)
    if not axes:
        axis.axis("off")
    file = io.BytesIO()
    figure.savefig(file, bbox_inches="tight" if random.random() < 0.3 else None)
    return Image.open(file).convert("RGB")


def several(random: np.random.Generator, digits: np.ndarray, picked: np.ndarray, setting: Setting) -> Image.Image:
    """Up to three lines of digits side by side."""
    height = int(random.integers(50, 110))
    rows = np.array_split(picked, -(-len(picked) // 5))
    sheet = Sheet(random, setting, (int(height * (1.7 * len(rows) + 1)), int(height * 7)))
    for row, places in enumerate(rows):
        left = int(random.uniform(0.3, 0.8) * height)
        for place in places:
            mask = upscaled(digits[place], int(height * random.uniform(0.85, 1)))
            top = int(height * (0.6 + 1.7 * row + random.uniform(-0.08, 0.08)))
            sheet.ink(mask, np.full(3, random.uniform(10, 70)), top, left)
            left += mask.shape[1] + int(height * random.uniform(0.2, 0.4))
    return sheet.picture()


def strokes(random: np.random.Generator) -> Image.Image:
    """A scribble: two to five curves through three to six random places each, dark on white."""
    side = int(random.integers(120, 400))
    picture = Image.new("L", (side, side), 255)
    pen, width = ImageDraw.Draw(picture), max(2, int(side * random.uniform(0.03, 0.1)))
    for _ in range(int(random.integers(2, 6))):
        places = random.uniform(0.1 * side, 0.9 * side, (int(random.integers(3, 7)), 2))
        pen.line(_curve(places), fill=0, width=width, joint="curve")
    return picture.filter(ImageFilter.GaussianBlur(1))


def _curve(places: np.ndarray) -> list[tuple[float, float]]:
    """A Catmull-Rom spline through places (n, 2)."""
    around = np.vstack([2 * places[0] - places[1], places, 2 * places[-1] - places[-2]])
    curve = []
    for before, start, end, after in zip(around, around[1:], around[2:], around[3:], strict=False):
        for t in np.linspace(0, 1, 40):
            linear, square, cube = end - before, 2 * before - 5 * start + 4 * end - after, 3 * (start - end) + after
            curve.append(tuple(start + 0.5 * (linear * t + square * t**2 + (cube - before) * t**3)))
    return curve


def draw(
    kind: str, digits: np.ndarray, labels: np.ndarray, seed: int, setting: Setting = TUNED
) -> tuple[Image.Image, str]:
    """A picture of one of KINDS, and the number on it.

    Args:
        digits: (n, h, w) uint8, white on black; the seed picks among them.
        labels: (n,).
    """
    random = np.random.default_rng([KINDS.index(kind), seed])
    picked = random.choice(len(digits), int(random.integers(2, 9)), replace=False)
    if kind == "several":
        return several(random, digits, picked, setting), "".join(str(labels[place]) for place in picked)
    digit, label = digits[picked[0]], str(labels[picked[0]])
    if kind in PLOTTED:
        return plot(random, digit, *PLOTTED[kind]), label
    sheet = Sheet(random, setting)
    ON_PAPER[kind](sheet, digit)
    return sheet.picture(), label
