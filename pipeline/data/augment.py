"""Whole-batch augmentation: pixels in [0, 255] in, the same range out, every draw from a generator.

Images are (n, h, w, c) of any dtype. CutMix changes labels with them: soft labels (n, classes) float32 whose rows
sum to 1. Evaluation never imports this.
"""

import dataclasses

import numpy as np

from pipeline.backend import keras
from pipeline.data.datasets import Dataset

# What a generator is for comes first in its seed: NumPy takes (1, 2) and (1, 2, 0) for the same.
ORDER, AUGMENTATION, FLIPS, DROPOUT, MIXING = 1, 2, 3, 4, 5


def stream(purpose: int, seed: int, *place: int) -> np.random.Generator:
    """The generator of one purpose at one place (epoch, step) of a run.

    Derived from these alone, so a resumed run draws what the uninterrupted one drew.
    """
    return np.random.default_rng((purpose, seed, *place))


def flip(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror each image left to right with probability 1/2. Any shape (n, h, w, c) and dtype."""
    chosen = rng.random(len(images)) < 0.5
    return np.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def alternating_flip(images: np.ndarray, indices: np.ndarray, epoch: int, seed: int) -> np.ndarray:
    """Mirror each image every other epoch, starting at random (Jordan 2024, arXiv 2404.00498, 3.6).

    Two epochs in a row then always show both mirror images, where independent flips repeat one of
    them half of the time.

    Args:
        images: (n, h, w, c).
        indices: (n,) each image's place in the training set, which decides where it starts.
    """
    starts = stream(FLIPS, seed).random(indices.max() + 1) < 0.5
    chosen = starts[indices] ^ bool(epoch % 2)
    return np.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def shift(images: np.ndarray, rng: np.random.Generator, pixels: int, mode: str = "reflect") -> np.ndarray:
    """Move each image by up to `pixels` whole pixels in each direction; numpy.pad's mode fills the border."""
    n, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode=mode)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    down, right = rng.integers(0, 2 * pixels + 1, (2, n))
    return windows[np.arange(n), down, right].transpose(0, 2, 3, 1)


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """Images (n, h, w, c) scaled to (n, side, side, c) float32, bilinear with a filter against aliasing."""
    return keras.ops.convert_to_numpy(keras.ops.image.resize(images.astype(np.float32), (side, side), antialias=True))


def affine(
    images: np.ndarray,
    rng: np.random.Generator,
    *,
    flip: bool = False,
    rotation: float = 0.0,
    zoom: float = 0.0,
    shift: float = 0.0,
    shear: float = 0.0,
    fill_mode: str = "reflect",
) -> np.ndarray:
    """Random flip, rotation, zoom, shear and shift as one bilinear interpolation per image.

    One matrix for all of them blurs once, where a chain of Keras layers blurs at every layer.

    Args:
        images: (n, h, w, c) uint8 or float in [0, 255].
        rng: generator of this step.
        flip: mirror left to right with probability 1/2.
        rotation: largest angle, as a fraction of a full turn (0.1 is 36 degrees), either way.
        zoom: largest relative change of scale (0.1: 0.9 to 1.1).
        shift: largest move in each direction, as a fraction of the image's side.
        shear: largest horizontal shear, in pixels per pixel of height.
        fill_mode: what lies beyond the border: "reflect", "constant" (0) or "nearest".
    Returns:
        (n, h, w, c) float32 in [0, 255].
    """
    transforms = affine_parameters(images.shape, rng, flip, rotation, zoom, shift, shear)
    warped = keras.ops.image.affine_transform(
        images.astype(np.float32), transforms, interpolation="bilinear", fill_mode=fill_mode
    )
    return keras.ops.convert_to_numpy(warped)


def affine_parameters(shape, rng, flip, rotation, zoom, shift, shear) -> np.ndarray:
    """Rows (a0, a1, a2, b0, b1, b2, 0, 0) as keras.ops.image.affine_transform takes them, (n, 8) float32.

    They map an output pixel (x, y) to the input pixel (a0 x + a1 y + a2, b0 x + b1 y + b2).
    """
    n, height, width, _ = shape
    angle = 2 * np.pi * rng.uniform(-rotation, rotation, n)
    scale = rng.uniform(1 - zoom, 1 + zoom, n)
    slant = rng.uniform(-shear, shear, n)
    down, right = rng.uniform(-shift, shift, (2, n)) * [[height], [width]]
    mirror = np.where(rng.random(n) < 0.5, -1.0, 1.0) if flip else np.ones(n)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    a0, a1 = cos * mirror, (slant * cos - sin) * mirror
    b0, b1 = sin, slant * sin + cos
    x, y = (width - 1) / 2, (height - 1) / 2  # the center stays where it is, but for the shift
    a2 = x - a0 * x - a1 * y + right
    b2 = y - b0 * x - b1 * y + down
    zero = np.zeros(n)
    return np.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1).astype(np.float32)


WITHOUT_CUTMIX = 10  # most last epochs without CutMix


def with_soft_labels(dataset: Dataset) -> Dataset:
    """The same images; labels (n,) of training and validation become one-hot soft labels (n, classes) float32."""
    one_hot = np.eye(len(dataset.class_names), dtype=np.float32)
    return dataclasses.replace(dataset, y_train=one_hot[dataset.y_train], y_validation=one_hot[dataset.y_validation])


def cutmix(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, *, alpha: float, probability: float):
    """CutMix: a rectangle of another image in each image, labels mixed by area (Yun et al. 2019, arXiv 1905.04899).

    Args:
        images: (n, h, w, c).
        labels: soft labels (n, classes) float32.
        rng: generator of this step.
        alpha: the fraction of the area that stays is drawn from Beta(alpha, alpha), once per batch.
        probability: of mixing a batch at all; 0.5 in the paper's CIFAR experiments.
    Returns:
        images and labels of the same shapes; those of a batch that is not mixed are the ones given.
    """
    if rng.random() >= probability:
        return images, labels
    _, height, width, _ = images.shape
    cut = np.sqrt(1 - rng.beta(alpha, alpha))  # the rectangle's sides, as fractions of the image's
    partner = rng.permutation(len(images))
    rows = _span(rng.integers(height), int(height * cut), height)
    columns = _span(rng.integers(width), int(width * cut), width)
    mixed = images.copy()
    mixed[:, rows, columns] = images[partner, rows, columns]
    # The rectangle may reach over the edge, so the fraction is that of what was really pasted.
    pasted = np.float32((rows.stop - rows.start) * (columns.stop - columns.start) / (height * width))
    return mixed, (1 - pasted) * labels + pasted * labels[partner]


def cutmix_epochs(epochs: int) -> int:
    """Epochs with CutMix: all but the last sixth of a number of epochs, which is at least one and at most ten.

    The last epochs see whole images, so that the batch statistics that are kept are theirs.
    """
    return epochs - min(WITHOUT_CUTMIX, max(1, epochs // 6))


def cutmix_schedule(epochs: int, probability: float):
    """CutMix of that probability in the epochs of cutmix_epochs().

    Returns:
        The function `mix` of pipeline.data.batches.Batches.
    """
    end = cutmix_epochs(epochs)

    def mix(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, epoch: int):
        if epoch >= end:
            return images, labels
        return cutmix(images, labels, rng, alpha=1.0, probability=probability)

    return mix


def _span(center: int, length: int, end: int) -> slice:
    """`length` places around a center, as far as they lie in [0, end)."""
    start = center - length // 2
    return slice(max(0, start), min(end, start + length))
