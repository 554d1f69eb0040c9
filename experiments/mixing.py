"""Two images in one, and their labels with them: MixUp and CutMix, and batches that are mixed.

Whole batches: images (n, h, w, c) float32, label shares (n, classes) float32 whose rows sum to 1; each
image's partner is another one of its batch.
"""

from collections.abc import Callable

import numpy as np

from pipeline import augment, training

MIXING = 5  # purpose of a stream, after those of pipeline.augment


def mixup(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, *, alpha: float):
    """Weighted mean of two images and of their labels (Zhang et al. 2018, arXiv 1710.09412).

    Args:
        alpha: the batch's share is drawn from Beta(alpha, alpha); small: mostly near 0 or 1.
    """
    share, partner = np.float32(rng.beta(alpha, alpha)), rng.permutation(len(images))
    return share * images + (1 - share) * images[partner], share * labels + (1 - share) * labels[partner]


def cutmix(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, *, alpha: float, probability: float):
    """A rectangle of one image in the other, labels by area (Yun et al. 2019, arXiv 1905.04899).

    Args:
        alpha: the batch's share of area is drawn from Beta(alpha, alpha).
        probability: share of the batches that are mixed; 0.5 in the paper's CIFAR experiments.
    """
    if rng.random() >= probability:
        return images, labels
    _, height, width, _ = images.shape
    cut, partner = np.sqrt(1 - rng.beta(alpha, alpha)), rng.permutation(len(images))
    rows = _span(rng.integers(height), int(height * cut), height)
    columns = _span(rng.integers(width), int(width * cut), width)
    mixed = images.copy()
    mixed[:, rows, columns] = images[partner, rows, columns]
    # The rectangle may reach over the edge, so its share is what was really pasted.
    pasted = np.float32((rows.stop - rows.start) * (columns.stop - columns.start) / (height * width))
    return mixed, (1 - pasted) * labels + pasted * labels[partner]


def _span(centre: int, length: int, end: int) -> slice:
    """`length` places around a centre, as far as they lie in [0, end)."""
    start = centre - length // 2
    return slice(max(0, start), min(end, start + length))


class MixedBatches(training.Batches):
    """training.Batches with mixed images and label shares (n, classes) in place of labels (n,).

    Args:
        mix: function of (images, labels, rng), as above.
        classes: number of classes.
    """

    def __init__(self, *args, mix: Callable, classes: int, **kwargs):
        super().__init__(*args, **kwargs)
        self.mix, self.classes = mix, classes

    def __getitem__(self, index):
        images, labels = super().__getitem__(index)
        rng = augment.stream(MIXING, self.seed, self.epoch, self.first + index)
        return self.mix(images, np.eye(self.classes, dtype=np.float32)[labels], rng)
