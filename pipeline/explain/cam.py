"""Class activation maps, occlusion and Score-CAM: how much each place of an image speaks for a class.

A CAM method is a function of a layer's activations and of the score's gradients at them, both
(n, h, w, channels), and gives (n, h, w) maps of any scale. Perturbation methods ask for the score of changed images.
Where these come from, and what becomes of the maps, is explainer.py's business.
"""

from collections.abc import Callable

import numpy as np

SHARPNESS = 2.0  # of the fusion; LayerCAM's gamma
# Where a map's cells look along one side of the picture: cell i at pixel start + i * step, the first pixel is 0.
Axis = tuple[float, float]


def grad_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Each channel weighs its mean gradient (Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2)."""
    return np.einsum("nhwc,nc->nhw", activations, gradients.mean(axis=(1, 2)))


def grad_cam_plus_plus(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Each channel weighs its positive gradients, each divided by 2 + gradient x sum of the channel.

    Chattopadhay et al. 2018, arXiv 1710.11063: their alpha g^2 / (2 g^2 + sum(A) g^3), reduced by g^2.
    Their score is exp(logit), a factor that is the same for all channels and falls out of the scaled map.
    """
    positive = np.maximum(gradients, 0)
    divisor = 2 + activations.sum(axis=(1, 2), keepdims=True) * positive
    weights = np.divide(positive, divisor, out=np.zeros_like(positive), where=divisor != 0)
    return np.einsum("nhwc,nc->nhw", activations, weights.sum(axis=(1, 2)))


def hires_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Gradient times activation, cell by cell (Draelos and Carin 2020, arXiv 2011.08891)."""
    return np.einsum("nhwc,nhwc->nhw", activations, gradients)


def layer_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Positive gradient times activation, cell by cell (Jiang et al. 2021, doi 10.1109/TIP.2021.3089943)."""
    return np.einsum("nhwc,nhwc->nhw", activations, np.maximum(gradients, 0))


def eigen_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Activations along their first principal direction (Muhammad and Yeasin 2020, arXiv 2008.00299).

    No gradient and no class is in it. A singular vector's sign is arbitrary; here the map's sum is positive.
    """
    n, height, width, channels = activations.shape
    left, values, _ = np.linalg.svd(activations.reshape(n, height * width, channels), full_matrices=False)
    first = left[:, :, 0] * values[:, :1]
    return (first * np.where(first.sum(axis=1, keepdims=True) < 0, -1, 1)).reshape(n, height, width)


METHODS = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "hires-cam": hires_cam,
    "layer-cam": layer_cam,
    "eigen-cam": eigen_cam,
}


def fuse(maps: list[np.ndarray]) -> np.ndarray:
    """The largest of tanh(2 map / maximum) over stages (Jiang et al. 2021): detail and place together."""
    return np.max([np.tanh(SHARPNESS * scale(one)) for one in maps], axis=0)


def scale(maps: np.ndarray) -> np.ndarray:
    """Cut off below 0, and divided by each map's maximum; a map that is zero everywhere stays zero."""
    maps = np.maximum(maps, 0).astype(np.float32)
    peak = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, peak, out=np.zeros_like(maps), where=peak > 0)


def tiling(cells: int, pixels: int) -> Axis:
    """Axis of cells that share the pixels evenly."""
    return (pixels / cells - 1) / 2, pixels / cells


def enlarge(maps: np.ndarray, height: int, width: int, axes: tuple[Axis, Axis] | None = None) -> np.ndarray:
    """Maps (..., h, w) enlarged bilinearly to (..., height, width) float32.

    Args:
        axes: where the cells' centres lie, from receptive_field; None: they share the picture evenly. A pixel
            beyond the outermost centre has that cell's value up to half a step away; from there, where less and
            less of what the cell sees lies, it falls to zero within a step.
    """

    def shares(cells: int, pixels: int, axis: Axis) -> np.ndarray:
        start, step = axis
        place = (np.arange(pixels) - start) / step
        near = np.maximum(0, 1 - np.abs(np.clip(place, 0, cells - 1)[:, None] - np.arange(cells)))
        beyond = np.maximum(0, np.maximum(-0.5 - place, place - (cells - 0.5)))
        return (near * np.maximum(0, 1 - beyond)[:, None]).astype(np.float32)

    rows, columns = maps.shape[-2:]
    vertical, horizontal = axes or (tiling(rows, height), tiling(columns, width))
    return shares(rows, height, vertical) @ maps.astype(np.float32) @ shares(columns, width, horizontal).T


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
