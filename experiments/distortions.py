"""Augmentations that the recipes do not use: RandAugment, colour jitter, cutout, MixUp.

Whole batches of raw pixels in, (n, h, w, 3) in [0, 255]; the same shape and range out, float32. Every
draw comes from the generator `rng`. Strengths are one number per image, (n,).
"""

import numpy as np

from pipeline.backend import keras

BEYOND = 125.0  # grey for what lies outside the image
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma, as in Pillow


def each(values: np.ndarray) -> np.ndarray:
    """One number per image (n,), shaped to be multiplied with images."""
    return np.asarray(values, np.float32)[:, None, None, None]


def blend(other: np.ndarray, images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """The way from `other` (factor 0) to the images (1) and beyond, cut to [0, 255]; Pillow's ImageEnhance."""
    return np.clip(other + each(factor) * (images - other), 0, 255)


def brightness(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Factor 0 is black, 1 the image."""
    return blend(np.zeros_like(images), images, factor)


def contrast(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Factor 0 is the image's mean grey, 1 the image."""
    return blend(each((images @ GREY).mean(axis=(1, 2))), images, factor)


def saturation(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Factor 0 is the image in grey, 1 the image."""
    return blend((images @ GREY)[..., None], images, factor)


def sharpness(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Factor 0 is the image smoothed by a 3x3 filter (its edge pixels stay), 1 the image."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    smooth = images.copy()
    smooth[:, 1:-1, 1:-1] = (windows.sum(axis=(-2, -1)) + 4 * images[:, 1:-1, 1:-1]) / 13
    return blend(smooth, images, factor)


def posterize(images: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Only the highest `bits` of each pixel's eight."""
    step = 2.0 ** (8 - each(bits))
    return np.floor(images / step) * step


def solarize(images: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Pixels from the threshold on are turned into their negative."""
    return np.where(images >= each(threshold), 255 - images, images)


def autocontrast(images: np.ndarray) -> np.ndarray:
    """Each channel stretched to the whole range; a channel of one value stays."""
    low, high = images.min(axis=(1, 2), keepdims=True), images.max(axis=(1, 2), keepdims=True)
    stretched = (images - low) * (255 / np.maximum(high - low, 1))
    return np.where(high > low, stretched, images)


def equalize(images: np.ndarray) -> np.ndarray:
    """Each channel with a flat histogram, as Pillow does it; pixels are rounded first."""
    n, height, width, channels = images.shape
    planes = np.rint(images).astype(np.int64).transpose(0, 3, 1, 2).reshape(n * channels, -1)
    places = planes + 256 * np.arange(len(planes))[:, None]
    counts = np.bincount(places.ravel(), minlength=256 * len(planes)).reshape(-1, 256)
    last = counts[np.arange(len(planes)), planes.max(axis=1)]
    step = (height * width - last) // 255
    below = np.cumsum(counts, axis=1) - counts
    table = np.minimum((step[:, None] // 2 + below) // np.maximum(step, 1)[:, None], 255)
    table = np.where(step[:, None] == 0, np.arange(256), table)
    flat = np.take_along_axis(table, planes, axis=1)
    return flat.reshape(n, channels, height, width).transpose(0, 2, 3, 1).astype(np.float32)


def warp(images, *, turn=0.0, slant_x=0.0, slant_y=0.0, right=0.0, down=0.0) -> np.ndarray:
    """Turn (radians), slant (pixels per pixel) and move (pixels) about the centre, bilinear; numbers or (n,).

    An output pixel (x, y) from the centre shows the input at (cos x - sin y + slant_x y + right, ...).
    """
    n, height, width, _ = images.shape
    x, y = (width - 1) / 2, (height - 1) / 2
    a0, a1, b0, b1 = np.cos(turn), slant_x - np.sin(turn), slant_y + np.sin(turn), np.cos(turn)
    rows = (a0, a1, x - a0 * x - a1 * y + right, b0, b1, y - b0 * x - b1 * y + down, 0, 0)
    rows = np.stack([np.broadcast_to(value, n) for value in rows], axis=1).astype(np.float32)
    warped = keras.ops.image.affine_transform(
        images, rows, interpolation="bilinear", fill_mode="constant", fill_value=BEYOND
    )
    return keras.ops.convert_to_numpy(warped)


# The 14 operations and their largest strengths (Cubuk et al. 2019, arXiv 1909.13719; ranges of AutoAugment,
# arXiv 1805.09501, table 6). Each takes images and a strength in [-1, 1].
OPERATIONS = {
    "identity": lambda images, s: images,
    "autocontrast": lambda images, s: autocontrast(images),
    "equalize": lambda images, s: equalize(images),
    "posterize": lambda images, s: posterize(images, 8 - np.rint(4 * np.abs(s))),
    "solarize": lambda images, s: solarize(images, 256 * (1 - np.abs(s))),
    "brightness": lambda images, s: brightness(images, 1 + 0.9 * s),
    "contrast": lambda images, s: contrast(images, 1 + 0.9 * s),
    "saturation": lambda images, s: saturation(images, 1 + 0.9 * s),
    "sharpness": lambda images, s: sharpness(images, 1 + 0.9 * s),
    "rotate": lambda images, s: warp(images, turn=np.pi / 6 * s),
    "shear x": lambda images, s: warp(images, slant_x=0.3 * s),
    "shear y": lambda images, s: warp(images, slant_y=0.3 * s),
    "translate x": lambda images, s: warp(images, right=0.45 * images.shape[2] * s),
    "translate y": lambda images, s: warp(images, down=0.45 * images.shape[1] * s),
}


def rand_augment(images: np.ndarray, rng: np.random.Generator, *, operations: int, level: float) -> np.ndarray:
    """RandAugment (Cubuk et al. 2019): some operations per image, drawn evenly, all of one strength.

    Args:
        operations: per image, one after the other; the paper's N.
        level: strength in [0, 1] of the largest, its sign drawn.
    """
    images = images.astype(np.float32)  # a copy
    for _ in range(operations):
        drawn = rng.integers(len(OPERATIONS), size=len(images))
        strength = level * rng.choice([-1.0, 1.0], len(images))
        for index, operation in enumerate(OPERATIONS.values()):
            chosen = np.flatnonzero(drawn == index)
            if len(chosen):
                images[chosen] = operation(images[chosen], strength[chosen])
    return images


def colour_jitter(images: np.ndarray, rng: np.random.Generator, *, strength: float) -> np.ndarray:
    """Brightness, contrast and saturation, each by a factor from [1 - strength, 1 + strength]."""
    images = images.astype(np.float32)
    for change in (brightness, contrast, saturation):
        images = change(images, rng.uniform(1 - strength, 1 + strength, len(images)))
    return images


def cutout(images: np.ndarray, rng: np.random.Generator, *, side: int, fill=(129, 124, 112)) -> np.ndarray:
    """One square per image painted over with the mean colour (DeVries & Taylor 2017, arXiv 1708.04552).

    Args:
        side: of the square in pixels; its centre is any pixel, so that it may reach over the edge.
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
    """Weighted mean of two images and of their labels (Zhang et al. 2018, arXiv 1710.09412).

    Args:
        labels: shares (n, classes) float32 whose rows sum to 1.
        alpha: the batch's share is drawn from Beta(alpha, alpha); small: mostly near 0 or 1.
    """
    share, partner = np.float32(rng.beta(alpha, alpha)), rng.permutation(len(images))
    return share * images + (1 - share) * images[partner], share * labels + (1 - share) * labels[partner]
