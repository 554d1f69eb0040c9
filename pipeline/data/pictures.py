"""A user's own picture files, made into what a model takes."""

import glob
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.data.registry import SOURCES
from pipeline.errors import UserError

# Pillow knows more formats, and some of those start programs.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
SPECK = 0.05  # of the largest stroke's ink: what has less is dirt on the paper, and would shrink the digit
MEGAPIXELS = 64  # of one picture, so that no small file unpacks to more than a laptop's memory
DIGITS = tuple(name for name, source in SOURCES.items() if source.digits)  # white digits on black, centered


def for_model(path: str | Path, dataset: str | None, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, bool]:
    """One picture as a model that was trained on `dataset` takes it, and whether it was inverted for that.

    Returns and raises what `read_digit` does for a data set of digits, else what `read` does.
    """
    if dataset in DIGITS:
        return read_digit(path)
    return read(path, image_shape), False


def read(path: str | Path, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Read one picture: upright by its EXIF note, center square, scaled, gray or RGB.

    Args:
        path: a file in one of FORMATS, at most MEGAPIXELS large; transparent parts become white.
        image_shape: (height, width, channels) of the model's input; 1 channel is gray.
    Returns:
        image_shape uint8.
    Raises:
        UserError: missing, broken or enormous picture.
    """
    picture = opened(path).convert("L" if image_shape[2] == 1 else "RGB")
    picture = ImageOps.fit(picture, (image_shape[1], image_shape[0]), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.uint8).reshape(image_shape)


def read_digit(path: str | Path) -> tuple[np.ndarray, bool]:
    """Read one picture of a digit, anywhere in it, and lay it out as MNIST's digits are.

    A 28x28 picture with a black edge is taken as it is. Otherwise the ink is what differs from the
    background, scaled with its proportions into 20x20 and moved so that its center of mass is at
    pixel (14, 14) of 28x28 (LeCun et al. 1998, Gradient-based learning applied to document recognition,
    section III A).

    Args:
        path: a file in one of FORMATS, at most MEGAPIXELS large; transparent parts become white.
    Returns:
        (28, 28, 1) uint8, white on black; whether it was dark on light and had to be inverted.
    Raises:
        UserError: missing, broken or enormous picture, or one with nothing on it but specks.
    """
    picture = opened(path).convert("L")
    gray = np.asarray(picture, np.float32)
    if gray.shape == (28, 28) and _edge(gray).max() == 0 and gray.max() > 0:
        return gray.astype(np.uint8)[..., None], False
    picture.thumbnail((400, 400), Image.Resampling.BOX)  # enough for strokes, and little to compute
    gray = np.asarray(picture, np.float32)
    difference = gray - _background(gray)
    dark_on_light = -difference.min() > difference.max()
    if dark_on_light:
        difference = -difference
    ink = np.maximum(difference, 0)
    if ink.max() < 16:
        raise UserError(f"{path} shows one even colour, no digit")
    threshold = _otsu(ink)
    ink = _without_specks(ink, threshold)
    strokes = ink > threshold
    rows, columns = np.flatnonzero(strokes.any(axis=1)), np.flatnonzero(strokes.any(axis=0))
    full_ink = np.percentile(ink[strokes], 90)
    ink = np.clip((ink - threshold / 2) / (full_ink - threshold / 2), 0, 1)
    digit = _centered(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    if digit is None:
        raise UserError(f"{path} shows a few specks, no digit")
    return digit[..., None], bool(dark_on_light)


def listed(places: tuple[str, ...]) -> list[Path]:
    """The files themselves, and the pictures in the folders in natural order of name; an empty folder stays.

    Patterns (*.png), which Windows leaves to the program, become the files that they fit.
    """
    found = []
    for place in places:
        for path in _fitting(place):
            inside = [file for file in path.glob("*") if file.suffix.lower() in SUFFIXES]
            found += sorted(inside, key=_natural_order) or [path]
    return found


def _fitting(place: str) -> list[Path]:
    """The file or folder of that name, else what fits the pattern, else the name that nothing fits."""
    if Path(place).exists():
        return [Path(place)]
    fitting = sorted(map(Path, glob.glob(place)), key=_natural_order)
    return fitting or [Path(place)]


def _natural_order(path: Path) -> tuple:
    """A sort key by which digit2.png comes before digit10.png."""
    parts = re.split(r"(\d+)", str(path))
    parts[1::2] = map(int, parts[1::2])  # what the group matched is at the odd places
    return parts, str(path)


def opened(path: str | Path, side: int | None = None, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """The first frame, upright, without transparency, eight bits per channel, RGB.

    Args:
        path: a file in one of these formats, at most MEGAPIXELS large; transparent parts become white.
        side: pixels of each side that are enough: a JPEG is decoded at a fraction of its size then.
        formats: of Pillow's.
    Raises:
        UserError: missing, broken or enormous picture.
    """
    if Path(path).is_dir():
        raise UserError(f"{path} is a folder without pictures ({' '.join(SUFFIXES)})")
    if Path(path).exists() and not Path(path).is_file():
        raise UserError(f"{path} is not a file")
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            file = Image.open(path, formats=formats)
        with file:
            if file.width * file.height > MEGAPIXELS * 1e6:
                raise UserError(f"{path} has {file.width:,} x {file.height:,} pixels; at most {MEGAPIXELS} million")
            if side:
                file.draft(None, (2 * side, 2 * side))
            picture = ImageOps.exif_transpose(file)
            if picture.mode.startswith(("I", "F")):
                picture = _eight_bits(picture)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{path} has far too many pixels; at most {MEGAPIXELS} million") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{path} is not a picture that can be read; use {', '.join(FORMATS)}") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error})") from error
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """A picture with 16 bits or more per pixel, or floats, which Pillow would clip at 255.

    Raises:
        ValueError: some pixels are infinite or NaN.
    """
    levels = np.asarray(picture, np.float64)
    if not np.isfinite(levels).all():
        raise ValueError("some pixels are not numbers")
    if levels.max() > 255:
        white = 65535
    elif levels.max() <= 1 and picture.mode == "F":
        white = 1
    else:
        white = 255
    return Image.fromarray((np.clip(levels / white, 0, 1) * 255).astype(np.uint8))


def _edge(gray: np.ndarray) -> np.ndarray:
    """The outermost pixels of (h, w), in one row."""
    return np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])


def _background(gray: np.ndarray) -> np.ndarray:
    """Brightness (h, w) of the paper: a plane through the edge, but for strokes that touch it."""
    y, x = np.mgrid[0 : gray.shape[0], 0 : gray.shape[1]].astype(np.float32)
    plane = np.stack([np.ones_like(gray), x / gray.shape[1], y / gray.shape[0]], axis=-1)
    edge, where = _edge(gray), np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])
    paper = np.abs(edge - np.median(edge)) < 40
    coefficients, *_ = np.linalg.lstsq(where[paper], edge[paper], rcond=None)
    return plane @ coefficients


def _otsu(values: np.ndarray) -> float:
    """The threshold that separates values into two groups best (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=128)
    centers = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * centers)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + np.nanargmax(between)])


def _without_specks(ink: np.ndarray, threshold: float) -> np.ndarray:
    """Ink (h, w) without the connected parts that have less than SPECK of the largest part's ink."""
    from scipy import ndimage  # here: other pictures are read sooner without it

    parts, n = ndimage.label(ink > threshold, structure=np.ones((3, 3)))
    amounts = ndimage.sum_labels(ink, parts, np.arange(n + 1))
    amounts[0] = np.inf  # what lies below the threshold: paper, and the strokes' soft edges
    return np.where(amounts[parts] < SPECK * amounts[1:].max(), 0, ink)


def _centered(ink: np.ndarray) -> np.ndarray | None:
    """Ink (h, w) in [0, 1], scaled into 20x20, its center of mass at pixel (14, 14) of (28, 28) uint8.

    None where nothing of it is left at that size.
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
