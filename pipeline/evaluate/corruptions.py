"""Corruptions of test images at five severities, and a few everyday changes: whether a model survives a bad picture.

Color images get the 19 kinds of CIFAR-10-C (Hendrycks and Dietterich 2019, arXiv 1903.12261) at the published
strengths; frost is made of noise, as pipeline.evaluate.changes says. Gray images get the 15 kinds of MNIST-C (Mu and
Gilmer 2019, arXiv 1906.02337), which has one strength of each: that is the third severity here, the others are ours.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.evaluate import changes

CHUNK = 50  # images at a time: fog's maps of them fit a cache


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption.

    name: in tables and plots.
    change: function of pipeline.evaluate.changes.
    strengths: of each severity, from 1 on; an everyday change has one.
    """

    name: str
    change: Callable
    strengths: tuple

    def __call__(self, images: np.ndarray, severity: int = 1) -> np.ndarray:
        """Corrupted images (n, h, w, c) uint8, the same ones in every call; an image's depends on no other image.

        Args:
            images: (n, h, w, c) uint8.
            severity: from 1 to the number of strengths.
        """
        seed = zlib.crc32(self.name.encode()), severity
        strength, corrupted = self.strengths[severity - 1], np.empty_like(images)
        for start in range(0, len(images), CHUNK):
            part = images[start : start + CHUNK]
            changed = self.change(part.astype(np.float32) / 255, strength, changes.Draws(part, seed))
            corrupted[start : start + CHUNK] = np.rint(255 * np.clip(changed, 0, 1))
        return corrupted


CIFAR10_C = (
    Corruption("Gaussian noise", changes.gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    Corruption("shot noise", changes.shot_noise, (500, 250, 100, 75, 50)),
    Corruption("impulse noise", changes.impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    Corruption("speckle noise", changes.speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2)),
    Corruption("Gaussian blur", changes.gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1)),
    Corruption("defocus blur", changes.defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    Corruption(
        "glass blur",
        changes.glass_blur,
        ((0.05, 1, 1, 1.0), (0.25, 1, 1, 1.0), (0.4, 1, 1, 1.0), (0.25, 1, 2, 1.0), (0.4, 1, 2, 1.0)),
    ),
    Corruption("motion blur", changes.motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    Corruption("zoom blur", changes.zoom_blur, (1.06, 1.11, 1.16, 1.21, 1.26)),
    Corruption(
        "snow",
        changes.snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    Corruption("frost", changes.frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    Corruption("fog", changes.fog, ((0.2, 3, 32), (0.5, 3, 32), (0.75, 2.5, 32), (1, 2, 32), (1.5, 1.75, 32))),
    Corruption(
        "spatter",
        changes.spatter,
        (
            (changes.water, 0.62, 0.1, 0.7, 0.7, 0.5),
            (changes.water, 0.65, 0.1, 0.8, 0.7, 0.5),
            (changes.water, 0.65, 0.3, 1, 0.69, 0.5),
            (changes.mud, 0.65, 0.1, 0.7, 0.69, 0.6),
            (changes.mud, 0.65, 0.1, 0.5, 0.68, 0.6),
        ),
    ),
    Corruption("brightness", changes.brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    Corruption("contrast", changes.contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    Corruption("saturation", changes.saturation, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
    Corruption(
        "elastic transform",
        changes.elastic,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    Corruption("pixelate", changes.pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    Corruption("JPEG compression", changes.jpeg, (80, 65, 58, 50, 40)),
)

MNIST_C = (
    Corruption("shot noise", changes.shot_noise, (12, 5, 3, 2, 1.5)),
    Corruption("impulse noise", changes.impulse_noise, (0.06, 0.09, 0.17, 0.27, 0.4)),
    Corruption(
        "glass blur",
        changes.glass_blur,
        ((0.4, 1, 1, 0.5), (0.55, 1, 1, 0.5), (0.7, 1, 2, 0.5), (0.9, 2, 1, 0.5), (1, 2, 3, 0.5)),
    ),
    Corruption("motion blur", changes.motion_blur, ((10, 1), (10, 2), (10, 3), (15, 5), (15, 8))),
    Corruption("shear", changes.shear, (0.2, 0.3, 0.4, 0.5, 0.6)),
    Corruption("scale", changes.scale, (0.9, 0.8, 0.7, 0.6, 0.5)),
    Corruption("rotation", changes.rotate, (0.2, 0.3, 0.4, 0.5, 0.6)),
    Corruption("brightness", changes.brightness, (0.3, 0.4, 0.5, 0.6, 0.7)),
    Corruption("translation", changes.translate, (1, 2, 3, 4, 5)),
    Corruption("stripe", changes.stripe, (3, 5, 7, 9, 11)),
    Corruption("fog", changes.fog, ((2, 2, 256), (2.5, 1.7, 256), (3, 1.4, 256), (4, 1.4, 256), (5, 1.4, 256))),
    Corruption(
        "spatter", changes.mud, tuple((0.65, 0.3, 1, lowest, 1.5) for lowest in (0.68, 0.665, 0.65, 0.635, 0.62))
    ),
    Corruption("dotted line", changes.dotted_line, (1, 1.6, 2.3, 3.2, 4.5)),
    Corruption("zigzag", changes.zigzag, (1, 1.6, 2.3, 3.2, 4.5)),
    Corruption("Canny edges", changes.edges, ((0.5, 1), (0.75, 1), (1, 1), (1, 1.5), (1, 2))),
)


EVERYDAY = (  # changes that leave a picture good to the eye; contrast is halved toward 128
    Corruption("Gaussian noise of sd 16", changes.gaussian_noise, (16 / 255,)),
    Corruption("JPEG of quality 30", changes.jpeg, (30,)),
    Corruption("Gaussian blur of sd 0.8", changes.gaussian_blur, (0.8,)),
    Corruption("brightness + 40", changes.lighter, (40 / 255,)),
    Corruption("half the contrast", changes.contrast_around, ((0.5, 128 / 255),)),
    Corruption("rotation by 12°", changes.rotate, (np.radians(12),)),
)


def kinds(channels: int) -> tuple[Corruption, ...]:
    """The published kinds for images of one or three channels."""
    return MNIST_C if channels == 1 else CIFAR10_C
