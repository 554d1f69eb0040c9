"""Explanations from changed images alone: occlusion and Score-CAM; and what a missing pixel looks like."""

from collections.abc import Callable

import numpy as np

from pipeline.cam import enlarge

CHANNELS = 32  # of Score-CAM
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]


def blank(images: np.ndarray) -> np.ndarray:
    """What replaces a pixel that is taken away: its image's mean colour, (n, 1, 1, c) float32.

    It holds no place and no form, is as bright as the image (black would be a new edge), and needs
    no training set, so that a user's own picture is treated alike. A blurred copy would still be read by
    networks for small images: a digit can be told from its blur.
    """
    return images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)


def masked(images: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Images (n, h, w, c) seen through masks (n, h, w) in [0, 1]: 1 keeps a pixel, 0 blanks it; float32."""
    empty = blank(images)
    return empty + keep[..., None].astype(np.float32) * (images - empty)


def occlusion(score: Score, images: np.ndarray) -> np.ndarray:
    """How much the score falls when a square is blanked (Zeiler and Fergus 2014, arXiv 1311.2901).

    The square's side is a quarter of the image's, it moves by half its side, and a pixel's value is
    the mean fall over the squares on it. No gradient is used, so any model can be asked.

    Args:
        score: function of (changed images (m, h, w, c), rows (m,) of the images they were made from)
            to scores (m,).
        images: (n, h, w, c) raw pixels.
    Returns:
        (n, h, w) float32.
    """
    n, height, width, _ = images.shape
    side = max(min(height, width) // 4, 1)

    def places(length):
        return sorted({*range(0, length - side, max(side // 2, 1)), length - side})

    everything, rows = np.ones((n, height, width), np.float32), np.arange(n)
    before = score(images, rows)
    fall, times = np.zeros((n, height, width), np.float32), np.zeros((height, width), np.float32)
    for top in places(height):
        keep = []
        for left in places(width):
            keep.append(everything.copy())
            keep[-1][:, top : top + side, left : left + side] = 0
        changed = np.concatenate([masked(images, one) for one in keep])
        falls = before - score(changed, np.tile(rows, len(keep))).reshape(len(keep), n)
        for left, one in zip(places(width), falls, strict=True):
            fall[:, top : top + side, left : left + side] += one[:, None, None]
            times[top : top + side, left : left + side] += 1
    return fall / times


def score_cam(score: Score, images: np.ndarray, activations: np.ndarray, axes=None) -> np.ndarray:
    """Each channel weighs the score of the image seen through it (Wang et al. 2020, arXiv 1910.01279).

    A channel's map, scaled to [0, 1] and enlarged, is the mask; the softmax of the scores over the
    channels gives the weights. Only each image's CHANNELS channels that vary most over the map are asked,
    a shortcut that the paper does not take: it asks all.

    Args:
        score: see occlusion().
        activations: (n, h, w, channels).
        axes: where their cells look, see cam.enlarge().
    Returns:
        (n, h, w) at the activations' size.
    """
    n = len(images)
    chosen = np.argsort(-activations.std(axis=(1, 2)), axis=1, kind="stable")[:, :CHANNELS]
    channels = np.take_along_axis(activations, chosen[:, None, None, :], axis=3).transpose(3, 0, 1, 2)
    low = channels.min(axis=(2, 3), keepdims=True)
    span = channels.max(axis=(2, 3), keepdims=True) - low
    masks = np.divide(channels - low, span, out=np.zeros_like(channels), where=span > 0)
    changed = np.concatenate([masked(images, enlarge(one, *images.shape[1:3], axes)) for one in masks])
    scores = score(changed, np.tile(np.arange(n), len(masks))).reshape(len(masks), n)
    weights = np.exp(scores - scores.max(axis=0))
    weights /= weights.sum(axis=0)
    return np.einsum("knhw,kn->nhw", channels, weights)
