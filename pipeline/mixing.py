"""Two images in one, and their labels with them.

Whole batches: images (n, h, w, c) of any dtype, label shares (n, classes) float32 whose rows sum to 1; each
image's partner is drawn from its batch.
"""

import dataclasses

import numpy as np

from pipeline.data import Dataset

WHOLE = 10  # last epochs without CutMix, at most half


def with_shares(dataset: Dataset) -> Dataset:
    """The same images; labels (n,) of training and validation become shares (n, classes), one class each."""
    one_hot = np.eye(len(dataset.class_names), dtype=np.float32)
    labels = {name: getattr(dataset, name) for name in ("y_train", "y_validation")}
    return dataclasses.replace(dataset, **{name: one_hot[y] for name, y in labels.items()})


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


def cutmix_rule(epochs: int, probability: float):
    """The rule for pipeline.batches: CutMix in all but the last ten of so many epochs, or the last half.

    These belong to whole images so that the batch statistics that are kept are theirs.
    """
    end = epochs - min(WHOLE, epochs // 2)

    def mix(images: np.ndarray, labels: np.ndarray, rng: np.random.Generator, epoch: int):
        return cutmix(images, labels, rng, alpha=1.0, probability=probability if epoch < end else 0.0)

    return mix


def _span(centre: int, length: int, end: int) -> slice:
    """`length` places around a centre, as far as they lie in [0, end)."""
    start = centre - length // 2
    return slice(max(0, start), min(end, start + length))
