"""Expected gradients: what each pixel adds to a score, over images of which parts are already gone.

At the whole image a confident network's score hardly depends on any one pixel. So gradients are taken at images between
the whole and an empty one (Erion et al. 2019, arXiv 1906.10670), here under smooth random masks: they pass through the
kind of image that is left where parts are removed. Half of the masks blank what they remove, half blur it: a blank
pixel is evidence where it stands out, a blurred one where the image has detail.
"""

from collections.abc import Callable

import numpy as np

from pipeline.explain import cam, imputation

# Images (n, h, w, c) -> gradients of each image's score with respect to its pixels, of the same shape.
Gradient = Callable[[np.ndarray], np.ndarray]

MASKS = 8  # gradients per image, each as long as two to three forward passes
THOROUGH_MASKS = 160
CELLS = 4  # of a mask, per side
BLUR, BELL = 4 / 32, 1.5 / 32  # standard deviations, as fractions of the image's shorter side


def expected_gradients(gradient: Gradient, images: np.ndarray, n_masks: int = MASKS) -> np.ndarray:
    """Map (n, h, w) float32 >= 0: positive evidence of each pixel, summed over the blank and the blurred empty image.

    The evidence under a mask is the gradient times the pixel's difference from the empty image, summed over the
    channels. Its mean over the masks is smoothed by a bell and clipped below zero.

    Args:
        images: (n, h, w, c) raw pixels.
        n_masks: a multiple of 4; half of them go to each empty image, see masks().
    """
    _, height, width, channels = images.shape
    side = min(height, width)
    blurred = np.stack([smooth(images[..., k], BLUR * side) for k in range(channels)], axis=-1)
    total = np.zeros(images.shape[:3], np.float32)
    halves = np.split(masks(n_masks, height, width), 2)
    for empty, half in zip((imputation.blank(images), blurred), halves, strict=True):
        difference = images - empty
        evidence = np.zeros_like(total)
        for mask in half:
            evidence += (gradient(empty + mask[:, :, None] * difference) * difference).sum(axis=-1)
        total += np.maximum(smooth(evidence / len(half), BELL * side), 0)
    return total


def masks(n: int, height: int, width: int) -> np.ndarray:
    """Masks (n, height, width) float32 in [0, 1], always the same: smooth noise, then its negative, in turn."""
    noise = np.random.default_rng(0).random((n // 2, CELLS, CELLS), np.float32)
    smooth_noise = cam.enlarge(noise, height, width)
    return np.stack([smooth_noise, 1 - smooth_noise], axis=1).reshape(n, height, width)


def smooth(maps: np.ndarray, deviation: float) -> np.ndarray:
    """Maps (n, h, w) averaged under a Gaussian of this standard deviation in pixels; the image's edge does not fade."""

    def weights(pixels: int) -> np.ndarray:
        """Weight of each pixel (columns) in the mean at each pixel (rows)."""
        place = np.arange(pixels)
        bell = np.exp(-(((place[:, None] - place) / deviation) ** 2) / 2)
        return (bell / bell.sum(axis=1, keepdims=True)).astype(np.float32)

    _, height, width = maps.shape
    return weights(height) @ maps @ weights(width).T
