"""Augmentations that the recipes do not use: RandAugment, color jitter, cutout, MixUp.

Batches of raw pixels (n, h, w, 3) in [0, 255] in; float32 of the same shape and range out. Every draw comes from the
generator `rng`. Strengths are one number per image, (n,).
"""

import numpy as np

from pipeline.backend import keras

OUTSIDE = 125.0  # gray for what lies outside the image
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601 luma, as in Pillow


def per_image(values: np.ndarray) -> np.ndarray:
    """One number per image (n,), shaped (n, 1, 1, 1) to be multiplied with images."""
    return np.asarray(values, np.float32)[:, None, None, None]


def blend(other: np.ndarray, images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Linear blend of `other` (factor 0) and the images (1), clipped to [0, 255]; as Pillow's ImageEnhance."""
    return np.clip(other + per_image(factor) * (images - other), 0, 255)


def brightness(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Brightness: factor 0 is black, 1 the image."""
    return blend(np.zeros_like(images), images, factor)


def contrast(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Contrast: factor 0 is the image's mean gray, 1 the image."""
    return blend(per_image((images @ LUMA).mean(axis=(1, 2))), images, factor)


def saturation(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Saturation: factor 0 is the image in gray, 1 the image."""
    return blend((images @ LUMA)[..., None], images, factor)


def sharpness(images: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Sharpness: factor 0 is the image smoothed by a 3x3 filter (its edge pixels stay), 1 the image."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    smooth = images.copy()
    smooth[:, 1:-1, 1:-1] = (windows.sum(axis=(-2, -1)) + 4 * images[:, 1:-1, 1:-1]) / 13
    return blend(smooth, images, factor)


def posterize(images: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Posterization: only the highest `bits` of each pixel's eight."""
    step = 2.0 ** (8 - per_image(bits))
    return np.floor(images / step) * step


def solarize(images: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Solarization: pixels from the threshold on are inverted."""
    return np.where(images >= per_image(threshold), 255 - images, images)


def autocontrast(images: np.ndarray) -> np.ndarray:
    """Each channel stretched to [0, 255]; a channel of one value stays."""
    low, high = images.min(axis=(1, 2), keepdims=True), images.max(axis=(1, 2), keepdims=True)
    stretched = (images - low) * (255 / np.maximum(high - low, 1))
    return np.where(high > low, stretched, images)


def equalize(images: np.ndarray) -> np.ndarray:
    """Histogram equalization of each channel, as in Pillow; pixels are rounded first."""
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


def warp(images, *, rotation=0.0, shear_x=0.0, shear_y=0.0, right=0.0, down=0.0) -> np.ndarray:
    """Rotation (radians), shear (pixels per pixel) and shift (pixels) about the center, bilinear; numbers or (n,).

    An output pixel (x, y) from the center shows the input at (cos x - sin y + shear_x y + right, ...).
    """
    n, height, width, _ = images.shape
    x, y = (width - 1) / 2, (height - 1) / 2
    a0, a1, b0, b1 = np.cos(rotation), shear_x - np.sin(rotation), shear_y + np.sin(rotation), np.cos(rotation)
    rows = (a0, a1, x - a0 * x - a1 * y + right, b0, b1, y - b0 * x - b1 * y + down, 0, 0)
    rows = np.stack([np.broadcast_to(value, n) for value in rows], axis=1).astype(np.float32)
    warped = keras.ops.image.affine_transform(
        images, rows, interpolation="bilinear", fill_mode="constant", fill_value=OUTSIDE
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
    "rotate": lambda images, s: warp(images, rotation=np.pi / 6 * s),
    "shear x": lambda images, s: warp(images, shear_x=0.3 * s),
    "shear y": lambda images, s: warp(images, shear_y=0.3 * s),
    "translate x": lambda images, s: warp(images, right=0.45 * images.shape[2] * s),
    "translate y": lambda images, s: warp(images, down=0.45 * images.shape[1] * s),
}


def rand_augment(images: np.ndarray, rng: np.random.Generator, *, operations: int, level: float) -> np.ndarray:
    """RandAugment (Cubuk et al. 2019): random operations per image, all of one strength.

    Args:
        operations: per image, one after the other; N in the paper.
        level: strength as a fraction of the largest, in [0, 1]; its sign is random.
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


def color_jitter(images: np.ndarray, rng: np.random.Generator, *, strength: float) -> np.ndarray:
    """Color jitter: brightness, contrast and saturation, each by a factor from [1 - strength, 1 + strength]."""
    images = images.astype(np.float32)
    for change in (brightness, contrast, saturation):
        images = change(images, rng.uniform(1 - strength, 1 + strength, len(images)))
    return images


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


def mixup(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, *, alpha: float):
    """MixUp: weighted mean of two images and of their labels (Zhang et al. 2018, arXiv 1710.09412).

    Args:
        labels: soft labels (n, n_classes) float32 whose rows sum to 1.
        alpha: the batch's weight is drawn from Beta(alpha, alpha); small: mostly near 0 or 1.
    """
    weight, partner = np.float32(rng.beta(alpha, alpha)), rng.permutation(len(images))
    mixed_images = weight * images + (1 - weight) * images[partner]
    mixed_labels = weight * labels + (1 - weight) * labels[partner]
    return mixed_images, mixed_labels
