"""Changes to batches of images: noise, blur, weather, color, compression, geometry, and lines drawn over them.

Every function here takes images (n, h, w, c) float32 in [0, 1], how strong the change is, and the images' Draws; it
returns images of that shape, whose values may leave [0, 1]. They follow the code of Hendrycks and Dietterich (2019,
arXiv 1903.12261; github.com/hendrycks/robustness, make_cifar_c.py) and of Mu and Gilmer (2019, arXiv 1906.02337;
github.com/google-research/mnist-c, corruptions.py); where one differs, it says so.
"""

import functools
import io
import itertools
import zlib

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, as OpenCV's gray
WATER, MUD = np.array([[175, 238, 238], [63, 42, 20]], np.float32) / 255  # pale turquoise, brown


class Draws:
    """Random numbers for images, an array (n, ...) at a time, the first axis the images'.

    What an image gets depends on its pixels and on the seed alone: neither on the others nor on their order.
    """

    def __init__(self, images: np.ndarray, seed: tuple[int, ...]):
        self.images, self.seed = images, seed

    @functools.cached_property
    def generators(self) -> list[np.random.Generator]:
        """One per image; many changes need none."""
        return [np.random.default_rng([zlib.crc32(image.tobytes()), *self.seed]) for image in self.images]

    def normal(self, *shape: int) -> np.ndarray:
        """Of mean 0 and standard deviation 1, float32."""
        return np.stack([generator.standard_normal(shape, np.float32) for generator in self.generators])

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        """Between low and high, float32."""
        drawn = np.stack([generator.random(shape, np.float32) for generator in self.generators])
        return low + (high - low) * drawn

    def integers(self, low: int, high: int, *shape: int) -> np.ndarray:
        """From low up to, but not including, high."""
        return np.stack([generator.integers(low, high, shape) for generator in self.generators])

    def signs(self, *shape: int) -> np.ndarray:
        """-1 or 1."""
        return 2 * self.integers(0, 2, *shape) - 1

    def poisson(self, means: np.ndarray) -> np.ndarray:
        """Counts of these means (n, ...)."""
        drawn = [generator.poisson(mean) for generator, mean in zip(self.generators, means, strict=True)]
        return np.stack(drawn).astype(np.float32)


# Noise


def gaussian_noise(images, deviation: float, draws: Draws):
    """Gaussian noise of a standard deviation."""
    return images + deviation * draws.normal(*images.shape[1:])


def shot_noise(images, photons: float, draws: Draws):
    """Poisson noise of light: `photons` are counted where the image is white."""
    return draws.poisson(images * photons) / photons


def impulse_noise(images, fraction: float, draws: Draws):
    """Salt and pepper: a fraction of all values becomes 0 or 1."""
    drawn = draws.uniform(0, 1, *images.shape[1:])
    peppered = np.where(drawn < fraction / 2, 0, images)
    return np.where(drawn > 1 - fraction / 2, 1, peppered)


def speckle_noise(images, deviation: float, draws: Draws):
    """Gaussian noise in proportion to the brightness."""
    return images * (1 + deviation * draws.normal(*images.shape[1:]))


# Blur


def gaussian_blur(images, deviation: float, draws: Draws):
    """Gaussian blur of a standard deviation in pixels."""
    return _blurred(images, deviation)


def _blurred(images, deviation: float, mode: str = "nearest", truncate: float = 4.0):
    return ndimage.gaussian_filter(images, (0, deviation, deviation, 0), mode=mode, truncate=truncate)


def defocus_blur(images, strength: tuple[float, float], draws: Draws):
    """A lens out of focus: blur by a disk of a radius in pixels, itself blurred a little."""
    radius, softness = strength
    reach = int(radius) + 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (3, 3), softness)
    return _each(images, lambda image: cv2.filter2D(image, -1, kernel))


def glass_blur(images, strength: tuple[float, int, int, float], draws: Draws):
    """Frosted glass: pixels change places with others near them, between two Gaussian blurs.

    On color images a pixel takes the other's color and the other keeps it, as the published code does there.

    Args:
        strength: standard deviation of the blurs, largest distance, rounds, fraction of the pixels that move.
    """
    deviation, reach, rounds, fraction = strength
    n, height, width, _ = images.shape
    shuffled, every = _blurred(images, deviation), np.arange(n)
    for _ in range(rounds):
        moves = draws.integers(-reach, reach, height, width, 2)
        moves[draws.uniform(0, 1, height, width) >= fraction] = 0
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                other = every, row + moves[:, row, column, 0], column + moves[:, row, column, 1]
                here = shuffled[:, row, column].copy()
                shuffled[:, row, column] = shuffled[other]
                if images.shape[-1] == 1:
                    shuffled[other] = here
    return _blurred(shuffled, deviation)


def motion_blur(images, strength: tuple[int, float], draws: Draws):
    """Motion in a direction up to 45° off the horizontal, for a radius and a standard deviation in pixels."""
    return _moved(images, *strength, draws.uniform(-45, 45))


def _moved(images, radius: int, deviation: float, degrees: np.ndarray):
    """Each image moved in its own direction: half a Gaussian, as ImageMagick's motion blur."""
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))

    def move(image, angle):
        kernel = np.zeros((2 * len(steps) - 1,) * 2, np.float32)
        rows, columns = (np.rint(steps * along).astype(int) for along in (np.sin(angle), np.cos(angle)))
        np.add.at(kernel, (2 * radius + rows, 2 * radius + columns), weights / weights.sum())
        return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)

    return _each(images, move, np.radians(degrees))


def zoom_blur(images, last: float, draws: Draws):
    """Motion toward the image: the mean over zooms in steps of a hundredth, up to but not including `last`."""
    factors = np.arange(1, last, 0.01)
    return (images + sum(_zoomed(images, factor) for factor in factors)) / (len(factors) + 1)


def _zoomed(images, factor: float):
    """The middle of each image, enlarged linearly to the whole."""
    rows, columns = (_zoom_weights(side, factor) for side in images.shape[1:3])
    zoomed = rows @ np.moveaxis(images, -1, 1) @ columns.T
    return np.moveaxis(zoomed, 1, -1)


@functools.lru_cache(100)
def _zoom_weights(side: int, factor: float) -> np.ndarray:
    """Row i holds what each pixel of a line of pixels adds to pixel i of the line when it is zoomed."""
    cut = int(np.ceil(side / factor))
    top = (side - cut) // 2
    zoomed = ndimage.zoom(np.eye(side, dtype=np.float32)[top : top + cut], (factor, 1), order=1)
    trimmed = (len(zoomed) - side) // 2
    return zoomed[trimmed : trimmed + side]


# Weather


def snow(images, strength: tuple[float, ...], draws: Draws):
    """Falling snow before a paler color image.

    Args:
        strength: mean and standard deviation of the flakes' brightness, their zoom, the lowest brightness that shows,
            radius and standard deviation of their motion, and how much of the image's color stays.
    """
    mean, deviation, zoom, lowest, radius, blur, kept = strength
    flakes = _zoomed(mean + deviation * draws.normal(*images.shape[1:3], 1), zoom)
    flakes = np.clip(np.where(flakes < lowest, 0, flakes), 0, 1)
    flakes = _moved(flakes, radius, blur, draws.uniform(-135, -45))
    pale = np.maximum(images, (images @ LUMA)[..., None] * 1.5 + 0.5)
    return kept * images + (1 - kept) * pale + flakes + np.rot90(flakes, 2, axes=(1, 2))


def frost(images, strength: tuple[float, float], draws: Draws):
    """Frost over a color image: fractal noise of about the published photographs' mean, color and contrast.

    The published code lays crops of photographs of frost over the image.

    Args:
        strength: how much of the image and of the frost is added up.
    """
    image_part, frost_part = strength
    heights = _plasma(32, 1.5, draws, images.shape[1:3])
    crystals = (heights - heights.mean(axis=(1, 2, 3), keepdims=True)) / heights.std(axis=(1, 2, 3), keepdims=True)
    level = draws.uniform(110, 215)[:, None, None, None]
    layer = level + np.array([-18, 3, 15], np.float32) + 22 * crystals
    return image_part * images + frost_part * layer / 255


def fog(images, strength: tuple[float, float, int], draws: Draws):
    """Fog: fractal noise of a strength, the smoother the larger its decay, on a map of so many pixels a side."""
    amount, decay, side = strength
    brightest = images.max(axis=(1, 2, 3), keepdims=True)
    fogged = images + amount * _plasma(side, decay, draws, images.shape[1:3])
    return fogged * brightest / (brightest + amount)


def _plasma(side: int, decay: float, draws: Draws, shape: tuple[int, int]):
    """A corner (n, *shape, 1) of fractal noise from 0 to 1 on square maps, by the diamond-square algorithm.

    Args:
        side: of the maps, a power of two; it is doubled until the corner fits.
        decay: by how much displacements shrink from one size to the half of it.
    """
    while side < max(shape):
        side *= 2
    heights = np.zeros((len(draws.images), side, side), np.float32)
    step, wibble = side, 100.0
    while step >= 2:
        half = step // 2
        corners, centers = heights[:, ::step, ::step], heights[:, half::step, half::step]
        down, right = corners + np.roll(corners, -1, 1), corners + np.roll(corners, -1, 2)
        centers[:] = _displaced(down + np.roll(down, -1, 2), wibble, draws)
        heights[:, ::step, half::step] = _displaced(centers + np.roll(centers, 1, 1) + right, wibble, draws)
        heights[:, half::step, ::step] = _displaced(centers + np.roll(centers, 1, 2) + down, wibble, draws)
        step, wibble = half, wibble / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    heights /= heights.max(axis=(1, 2), keepdims=True)
    return heights[:, : shape[0], : shape[1], None]


def _displaced(sums: np.ndarray, wibble: float, draws: Draws) -> np.ndarray:
    """The mean of four neighbors from their sum, moved up or down at random."""
    return sums / 4 + wibble * draws.uniform(-wibble, wibble, *sums.shape[1:])


def water(images, strength: tuple[float, ...], draws: Draws):
    """Drops of water.

    Args:
        strength: mean, standard deviation and blur of the liquid, its lowest height that shows, the drops' brightness.
    """
    *liquid, brightness = strength
    color = WATER[: images.shape[-1]]
    drops = np.stack([_drops(np.uint8(np.clip(layer, 0, 1) * 255)) for layer in _liquid(images, liquid, draws)])
    return images + brightness * drops[..., None] * color


def _drops(liquid: np.ndarray) -> np.ndarray:
    """Light (h, w) in [0, 1] on the drops of a layer (h, w) uint8, brightest at their edges toward it."""
    distance = cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    light = cv2.filter2D(cv2.equalizeHist(distance), cv2.CV_8U, emboss)
    light = liquid * cv2.blur(light, (3, 3)).astype(np.float32)
    return light / max(light.max(), 1)


def mud(images, strength: tuple[float, ...], draws: Draws):
    """Splashes of mud, gray ones on a gray image.

    Args:
        strength: mean, standard deviation and blur of the liquid, its lowest height that shows, blur of the splashes.
    """
    *liquid, blur = strength
    splashes = _blurred((_liquid(images, liquid, draws)[..., None] > 0).astype(np.float32), blur)
    splashes[splashes < 0.8] = 0
    return images * (1 - splashes) + splashes * MUD[: images.shape[-1]]


def _liquid(images, strength: list[float], draws: Draws) -> np.ndarray:
    """Heights (n, h, w), 0 where they are below the lowest one that shows."""
    mean, deviation, blur, lowest = strength
    heights = _blurred(mean + deviation * draws.normal(*images.shape[1:3], 1), blur)[..., 0]
    return np.where(heights < lowest, 0, heights)


def spatter(images, strength: tuple, draws: Draws):
    """Drops of water or splashes of mud: one of these two functions, and its strength."""
    change, *values = strength
    return change(images, tuple(values), draws)


# Color, compression


def contrast(images, factor: float, draws: Draws):
    """Each channel's contrast around its mean, times a factor."""
    means = images.mean(axis=(1, 2), keepdims=True)
    return means + factor * (images - means)


def contrast_around(images, strength: tuple[float, float], draws: Draws):
    """Contrast around a value, times a factor."""
    factor, middle = strength
    return middle + factor * (images - middle)


def brightness(images, amount: float, draws: Draws):
    """Brightness as in HSV's value: color keeps its hue and saturation."""
    value = images.max(axis=-1, keepdims=True)
    brighter = np.minimum(value + amount, 1)
    return np.where(value > 0, images * brighter / np.maximum(value, 1e-6), brighter)


def lighter(images, amount: float, draws: Draws):
    """The same amount added to every value."""
    return images + amount


def saturation(images, strength: tuple[float, float], draws: Draws):
    """HSV's saturation of color images, times a factor and plus a constant; gray is taken for a pale red, as in HSV."""
    factor, added = strength
    value = images.max(axis=-1, keepdims=True)
    spread = value - images.min(axis=-1, keepdims=True)
    saturated = np.clip(factor * spread / np.maximum(value, 1e-6) + added, 0, 1)
    missing = np.where(spread > 0, (value - images) / np.maximum(spread, 1e-6), np.array([0, 1, 1], np.float32))
    return value * (1 - saturated * missing)


def jpeg(images, quality: int, draws: Draws):
    """JPEG of a quality, by Pillow."""

    def compress(picture):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)

    return _each_picture(images, compress)


def pixelate(images, factor: float, draws: Draws):
    """Shrunk by a factor, and enlarged without smoothing."""

    def shrink(picture):
        small = picture.resize((int(picture.width * factor), int(picture.height * factor)), Image.Resampling.BOX)
        return small.resize(picture.size, Image.Resampling.BOX)

    return _each_picture(images, shrink)


# Geometry


def elastic(images, strength: tuple[float, float, float], draws: Draws):
    """A random affine map, and a random displacement of each pixel, smoothed.

    Args:
        strength: largest displacement before smoothing, standard deviation of the smoothing, and how far the affine
            map moves three points, as fractions of the image's height.
    """
    height, width = images.shape[1:3]
    largest, smoothing, tilt = (value * height for value in strength)
    middle, third = np.array([width // 2, height // 2], np.float32), min(height, width) // 3
    points = middle + third * np.array([[1, 1], [1, -1], [-1, -1]], np.float32)
    targets = points + draws.uniform(-tilt, tilt, 3, 2)
    by = _blurred(draws.uniform(-1, 1, height, width, 2), smoothing, mode="reflect", truncate=3.0)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)

    def bend(image, target, displacement):
        affine = cv2.getAffineTransform(points, target)
        moved = cv2.warpAffine(image, affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        x, y = columns + displacement[..., 0], rows + displacement[..., 1]
        return cv2.remap(moved, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

    return _each(images, bend, targets, largest * by)


def rotate(images, radians: float, draws: Draws):
    """Rotated around the middle, to either side."""
    angles = radians * draws.signs()
    return _around_the_middle(images, [[[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in angles])


def shear(images, radians: float, draws: Draws):
    """Sheared around the middle, to either side."""
    angles = radians * draws.signs()
    return _around_the_middle(images, [[[1, -np.sin(a)], [0, np.cos(a)]] for a in angles])


def scale(images, factor: float, draws: Draws):
    """Shrunk around the middle by a factor."""
    return _around_the_middle(images, [np.eye(2) / factor] * len(images))


def translate(images, pixels: int, draws: Draws):
    """Moved along both axes, to either side."""
    return _around_the_middle(images, [np.eye(2)] * len(images), pixels * draws.signs(2))


def _around_the_middle(images, maps, offsets=None):
    """Affine maps from the new image's (x, y) to the old one's; outside, gray images are black, color is mirrored.

    Args:
        maps: (n, 2, 2), around the middle; offsets: (n, 2) pixels.
    """
    height, width, channels = images.shape[1:]
    border = cv2.BORDER_CONSTANT if channels == 1 else cv2.BORDER_REFLECT_101
    middle, maps = np.array([width - 1, height - 1]) / 2, np.asarray(maps)
    shifts = middle - maps @ middle
    if offsets is not None:
        shifts = shifts + offsets
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def warp(image, affine):
        return cv2.warpAffine(image, affine, (width, height), None, flags, border)

    return _each(images, warp, np.concatenate([maps, shifts[..., None]], axis=2))


# Gray images alone


def stripe(images, columns: int, draws: Draws):
    """Inverted in so many columns at the left and at the right."""
    striped = images.copy()
    striped[:, :, :columns] = 1 - images[:, :, :columns]
    striped[:, :, -columns:] = 1 - images[:, :, -columns:]
    return striped


def dotted_line(images, reach: float, draws: Draws):
    """A dotted line from the left to the right edge, whose brightness ends at `reach` pixels above and below it."""
    height, width = images.shape[1:3]
    drawn = np.arange(width) % 4 >= 2
    ends = draws.integers(0, height - 1, 2)
    lines = np.stack([_line((0, left), (width - 1, right), reach, (height, width)) for left, right in ends])
    return images + np.where(drawn, lines, 0.0)[..., None]


def zigzag(images, reach: float, draws: Draws):
    """A zigzag line from the left to the right, with teeth of two pixels, as thick as a dotted line."""
    height, width = images.shape[1:3]
    starts, rises = draws.integers(0, height - 1), draws.integers(-5, 5)
    begin, end, tooth = 2, width - 3, 2.0
    lines = []
    for start, rise in zip(starts, rises, strict=True):
        angle = np.arctan(rise / (end - begin))
        length = (end - begin) / np.cos(angle)
        along = np.array([0, *np.arange(tooth, length, 2 * tooth), length])
        across = tooth * (-1.0) ** np.arange(len(along) - 2)
        across = np.array([0, *across, 0])
        columns = begin + along * np.cos(angle) - across * np.sin(angle)
        rows = start + along * np.sin(angle) + across * np.cos(angle)
        corners = list(zip(columns, rows, strict=True))
        segments = [_line(a, b, reach, (height, width)) for a, b in itertools.pairwise(corners)]
        lines.append(np.clip(sum(segments), 0, 1))
    return images + np.stack(lines)[..., None]


def _line(start, end, reach: float, shape: tuple[int, int]) -> np.ndarray:
    """Brightness (h, w) in [0, 1] of a line between two points (column, row), the first to the left."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    (left, top), (right, bottom) = start, end
    slope = (bottom - top) / (right - left)
    distance = np.abs(rows - (top + slope * (columns - left)))
    brightness = np.clip(1 + np.log(np.maximum(1 - distance / reach, 1e-10)), 0, 1)
    between = (columns >= np.floor(left)) & (columns < np.ceil(right))
    return np.where(between, brightness, 0.0)


def edges(images, strength: tuple[float, float], draws: Draws):
    """The image's edges (Canny 1986, with scikit-image's usual thresholds) in its place, or mixed with it.

    Args:
        strength: fraction of the edges, standard deviation of the blur before they are looked for.
    """
    fraction, deviation = strength
    blurred = np.rint(255 * _blurred(images, deviation)).astype(np.uint8)
    found = _each(blurred, lambda image: cv2.Canny(image, 0.1 * 255, 0.2 * 255, L2gradient=True))
    return (1 - fraction) * images + fraction * found.astype(np.float32) / 255


def _each(images: np.ndarray, change, *values) -> np.ndarray:
    """A function of one image (h, w, c), and of its own of some values (n, ...), for each image."""
    changed = [change(image, *own) for image, *own in zip(images, *values, strict=True)]
    return np.stack(changed).reshape(images.shape)  # OpenCV drops the axis of a single channel


def _each_picture(images: np.ndarray, change) -> np.ndarray:
    """A function of one Pillow image for each."""
    pixels = np.rint(255 * images).astype(np.uint8)
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    changed = np.stack([np.asarray(change(Image.fromarray(image))) for image in pixels])
    return changed.reshape(images.shape).astype(np.float32) / 255
