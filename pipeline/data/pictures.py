"""A user's own picture files, made into what a model takes."""

import functools
import glob
import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from pipeline.data import digits
from pipeline.data.registry import is_digits
from pipeline.errors import UserError

# Pillow knows more formats, and some of those start programs.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
HEIF = (".heic", ".heif", ".avif")  # of phones; read where pillow-heif is installed, see formats()
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", *HEIF)
LITTER = ("thumbs.db", "desktop.ini")
FRAME = "darkorange"  # of a digit that was found
LIGHT = 192  # brightness of 255, on average, above which ink cannot be seen on white
MEGAPIXELS = 64  # of one picture, so that no small file unpacks to more than a laptop's memory


def are_digits(about: dict) -> bool:
    """Whether a model takes white digits on black, centered as MNIST's are.

    Args:
        about: the metadata of its file; "digits" says so, in earlier files the name of the data set.
    """
    return about.get("digits", is_digits(about.get("dataset")))


def for_model(path: str | Path, about: dict, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, bool]:
    """One picture as the model with the metadata `about` takes it, and whether it was inverted for that.

    Returns and raises what `read_digit` does for a model of digits, else what `read` does.
    """
    if are_digits(about):
        return read_digit(path)
    return read(path, image_shape), False


def read(path: str | Path, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Read one picture: upright by its EXIF note, center square, scaled, gray or RGB.

    Args:
        path: a file in one of formats(), at most MEGAPIXELS large; transparent parts become white, or black behind
            light ink.
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
    """The largest digit of a picture, see read_digits: (28, 28, 1) uint8, and whether it was dark on light."""
    digit = digits.largest(read_digits(path))
    return digit.pixels, digit.inverted


def read_digits(path: str | Path) -> list[digits.Digit]:
    """Read one picture of digits, anywhere in it, in reading order; each laid out as MNIST's digits are.

    A 28x28 picture with a black edge is taken as it is.

    Args:
        path: a file in one of formats(), at most MEGAPIXELS large; transparent parts become white, or black behind
            light ink.
    Raises:
        UserError: missing, broken or enormous picture, or one in which there is no digit to find.
    """
    gray = np.asarray(opened(path).convert("L"))
    if gray.shape == (28, 28) and _edge(gray).max() == 0 and gray.max() > 0:
        return [digits.Digit(gray[..., None], (0, 0, 28, 28), inverted=False)]
    found = digits.find(gray)
    if not found:
        raise UserError(f"{path}: cannot find a digit in it; photograph it closer, dark on light or light on dark")
    return found


def foreign(about: dict) -> str:
    """What to say of a picture that is unlike the images that the model with these metadata was trained on."""
    return "this does not look like a digit" if are_digits(about) else "this looks like none of the classes"


def outlined(path: str | Path, boxes: list[tuple[int, int, int, int]], side: int = 480) -> Image.Image:
    """A picture, upright, at most `side` pixels wide and high, with a frame around each box (see digits.Digit)."""
    picture = opened(path)
    scale = min(1, side / max(picture.size))
    picture = picture.resize([max(1, round(scale * length)) for length in picture.size])
    draw = ImageDraw.Draw(picture)
    for left, top, right, bottom in boxes:
        draw.rectangle(
            [scale * left - 2, scale * top - 2, scale * right + 1, scale * bottom + 1], outline=FRAME, width=2
        )
    return picture


def listed(places: tuple[str, ...]) -> list[Path]:
    """The files themselves, and the pictures in the folders in natural order of name; an empty folder stays.

    Hidden files of a folder are no pictures: a Mac keeps notes on a.jpg in ._a.jpg.
    Patterns (*.png), which Windows leaves to the program, become the files that they fit.
    """
    found = []
    for place in places:
        for path in _fitting(place):
            inside = [file for file in path.glob("*") if file.suffix.lower() in SUFFIXES and not is_litter(file.name)]
            found += sorted(inside, key=natural_order) or [path]
    return found


def is_litter(name: str) -> bool:
    """Whether a file in a folder of pictures is hidden, or one that a system keeps for itself."""
    return name.startswith(".") or name.lower() in LITTER


def _fitting(place: str) -> list[Path]:
    """The file or folder of that name, else what fits the pattern, else the name that nothing fits."""
    if Path(place).exists():
        return [Path(place)]
    fitting = sorted(map(Path, glob.glob(place)), key=natural_order)
    return fitting or [Path(place)]


def natural_order(path: str | Path) -> tuple:
    """A sort key by which digit2.png comes before digit10.png."""
    parts = re.split(r"(\d+)", str(path))
    parts[1::2] = map(int, parts[1::2])  # what the group matched is at the odd places
    return parts, str(path)


@functools.cache
def formats() -> tuple[str, ...]:
    """FORMATS, and HEIF and AVIF where pillow-heif, or for AVIF Pillow itself, can read them."""
    found = list(FORMATS)
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
        found.append("HEIF")
    Image.init()
    if "AVIF" in Image.OPEN:
        found.append("AVIF")
    return tuple(found)


def opened(path: str | Path, side: int | None = None) -> Image.Image:
    """The first frame, upright, without transparency, eight bits per channel, RGB.

    Args:
        path: a file in one of formats(), at most MEGAPIXELS large; transparent parts become white, or black behind
            light ink.
        side: pixels of each side that are enough: a JPEG is decoded at a fraction of its size then.
    Raises:
        UserError: missing, broken or enormous picture.
    """
    if Path(path).is_dir():
        raise UserError(f"{path} is a folder without pictures ({' '.join(SUFFIXES)})")
    if Path(path).exists() and not Path(path).is_file():
        raise UserError(f"{path} is not a file")
    suffix = Path(path).suffix.lower()
    if suffix in HEIF and ("AVIF" if suffix == ".avif" else "HEIF") not in formats():
        raise UserError(f"{suffix} files need the package pillow-heif: pip install pillow-heif")
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow warns of damaged notes, in lines of its own code
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats()) as file:
                picture = _upright(file, path, side)
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
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, _paper(picture)), picture)
    return picture.convert("RGB")


def _upright(file: Image.Image, path: str | Path, side: int | None) -> Image.Image:
    """The first frame of an open file, upright, eight bits per channel. UserError where it is enormous."""
    if file.width * file.height > MEGAPIXELS * 1e6:
        raise UserError(f"{path} has {file.width:,} x {file.height:,} pixels; at most {MEGAPIXELS} million")
    if side:
        file.draft(None, (2 * side, 2 * side))
    picture = ImageOps.exif_transpose(file)
    if picture.mode.startswith(("I", "F")):
        return _eight_bits(picture)
    return picture


def _paper(picture: Image.Image) -> str:
    """The color behind an RGBA picture: white, but black where all it has is light ink on transparent paper."""
    alpha = np.asarray(picture.getchannel("A"), np.float64)
    levels = np.asarray(picture.convert("RGB").convert("L"), np.float64)
    light = (levels * alpha).sum() > LIGHT * alpha.sum()
    return "black" if light and alpha.mean() < 255 / 2 else "white"


def _eight_bits(picture: Image.Image) -> Image.Image:
    """A picture with 16 bits or more per pixel, or floats, which Pillow would clip at 255.

    Raises:
        ValueError: some pixels are infinite or NaN.
    """
    levels = np.asarray(picture, np.float64)
    if not np.isfinite(levels).all():
        raise ValueError("some pixels are not numbers")
    if levels.max() > 4095:
        white = 65535
    elif levels.max() > 255:
        white = 4095  # twelve bits, as of scanners and cameras
    elif levels.max() <= 1 and picture.mode == "F":
        white = 1
    else:
        white = 255
    return Image.fromarray((np.clip(levels / white, 0, 1) * 255).astype(np.uint8))


def _edge(gray: np.ndarray) -> np.ndarray:
    """The outermost pixels of (h, w), in one row."""
    return np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
