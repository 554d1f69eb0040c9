"""Heat maps by formula: class activation maps (CAM), occlusion and Score-CAM, and how a map becomes a heat map.

A CAM method takes a layer's activations and the gradients of the score with respect to them, both
(n, h, w, channels), and gives maps (n, h, w) on any scale. Occlusion and Score-CAM take the score of changed images.
explainer.py captures activations and gradients, and applies scale() and enlarge() to the maps.
"""

from collections.abc import Callable

import numpy as np

from pipeline.explain.imputation import masked

# Score of changed images: (images (m, h, w, c), rows (m,) of the images that they were made from) -> scores (m,).
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Centers of a map's cells along one side of the image: cell i lies at pixel start + i * step, the first pixel is 0.
Axis = tuple[float, float]

FUSION_GAMMA = 2.0  # of LayerCAM's fusion
SCORE_CAM_CHANNELS = 32


def grad_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Grad-CAM: each channel weighted by its mean gradient (Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2)."""
    return np.einsum("nhwc,nc->nhw", activations, gradients.mean(axis=(1, 2)))


def grad_cam_plus_plus(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Grad-CAM++: each channel weighted by the sum of its positive gradients, each over 2 + gradient x channel sum.

    Chattopadhay et al. 2018, arXiv 1710.11063: their alpha g^2 / (2 g^2 + sum(A) g^3), reduced by g^2.
    Their score is exp(logit), a factor that all channels have in common and that cancels in the scaled map.
    """
    positive = np.maximum(gradients, 0)
    divisor = 2 + activations.sum(axis=(1, 2), keepdims=True) * positive
    weights = np.divide(positive, divisor, out=np.zeros_like(positive), where=divisor != 0)
    return np.einsum("nhwc,nc->nhw", activations, weights.sum(axis=(1, 2)))


def hires_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """HiResCAM: gradient times activation, cell by cell (Draelos and Carin 2020, arXiv 2011.08891)."""
    return np.einsum("nhwc,nhwc->nhw", activations, gradients)


def layer_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """LayerCAM: positive gradient times activation, cell by cell (Jiang et al. 2021, doi 10.1109/TIP.2021.3089943)."""
    return np.einsum("nhwc,nhwc->nhw", activations, np.maximum(gradients, 0))


def eigen_cam(activations: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Eigen-CAM: activations along their first principal direction (Muhammad and Yeasin 2020, arXiv 2008.00299).

    Neither gradient nor class enters. The sign of a singular vector is arbitrary; here the map's sum is positive.
    """
    n, height, width, channels = activations.shape
    left, values, _ = np.linalg.svd(activations.reshape(n, height * width, channels), full_matrices=False)
    first = left[:, :, 0] * values[:, :1]
    sign = np.where(first.sum(axis=1, keepdims=True) < 0, -1, 1)
    return (first * sign).reshape(n, height, width)


METHODS = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "hires-cam": hires_cam,
    "layer-cam": layer_cam,
    "eigen-cam": eigen_cam,
}


def occlusion(score: Score, images: np.ndarray) -> np.ndarray:
    """Occlusion: mean drop of the score over the blanked squares that cover a pixel, (n, h, w) float32.

    Zeiler and Fergus 2014, arXiv 1311.2901. The square's side is a quarter of the image's shorter one, and it moves by
    half its side. No gradient is used, so any model can be explained.

    Args:
        images: (n, h, w, c) raw pixels.
    """
    n, height, width, _ = images.shape
    side = max(min(height, width) // 4, 1)

    def positions(length: int) -> list[int]:
        """First pixel of each square along a side; the last square ends with the image."""
        return sorted({*range(0, length - side, max(side // 2, 1)), length - side})

    rows = np.arange(n)
    before = score(images, rows)
    drop, squares = np.zeros((n, height, width), np.float32), np.zeros((height, width), np.float32)
    for top in positions(height):
        masks = []
        for left in positions(width):
            mask = np.ones((n, height, width), np.float32)
            mask[:, top : top + side, left : left + side] = 0
            masks.append(mask)
        changed = np.concatenate([masked(images, mask) for mask in masks])
        drops = before - score(changed, np.tile(rows, len(masks))).reshape(len(masks), n)
        for left, of_square in zip(positions(width), drops, strict=True):
            drop[:, top : top + side, left : left + side] += of_square[:, None, None]
            squares[top : top + side, left : left + side] += 1
    return drop / squares


def score_cam(
    score: Score, images: np.ndarray, activations: np.ndarray, axes: tuple[Axis, Axis] | None = None
) -> np.ndarray:
    """Score-CAM: channels weighted by the score of the image masked with each (Wang et al. 2020, arXiv 1910.01279).

    A channel's map, scaled to [0, 1] and enlarged, is the mask; the softmax of the scores over the channels gives the
    weights. The paper takes all channels; here it is SCORE_CAM_CHANNELS of each image, those of largest deviation.

    Args:
        images: (n, h, w, c) raw pixels.
        activations: (n, rows, columns, channels).
        axes: centers of their cells, see enlarge().
    Returns:
        (n, rows, columns).
    """
    n = len(images)
    by_deviation = np.argsort(-activations.std(axis=(1, 2)), axis=1, kind="stable")
    chosen = by_deviation[:, None, None, :SCORE_CAM_CHANNELS]
    channels = np.take_along_axis(activations, chosen, axis=3).transpose(3, 0, 1, 2)
    low = channels.min(axis=(2, 3), keepdims=True)
    span = channels.max(axis=(2, 3), keepdims=True) - low
    masks = np.divide(channels - low, span, out=np.zeros_like(channels), where=span > 0)
    changed = np.concatenate([masked(images, enlarge(mask, *images.shape[1:3], axes)) for mask in masks])
    scores = score(changed, np.tile(np.arange(n), len(masks))).reshape(len(masks), n)
    weights = np.exp(scores - scores.max(axis=0))
    weights /= weights.sum(axis=0)
    return np.einsum("knhw,kn->nhw", channels, weights)


def scale(maps: np.ndarray) -> np.ndarray:
    """Maps (n, h, w) clipped below 0 and divided by each map's maximum, float32 in [0, 1]; all-zero maps stay zero."""
    maps = np.maximum(maps, 0).astype(np.float32)
    peak = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, peak, out=np.zeros_like(maps), where=peak > 0)


def fuse(maps: list[np.ndarray]) -> np.ndarray:
    """LayerCAM's fusion of the stages of a network: maximum of tanh(gamma map / its maximum) (Jiang et al. 2021)."""
    return np.max([np.tanh(FUSION_GAMMA * scale(of_stage)) for of_stage in maps], axis=0)


def tiling(cells: int, pixels: int) -> Axis:
    """Axis of cells that divide the pixels evenly."""
    return (pixels / cells - 1) / 2, pixels / cells


def enlarge(maps: np.ndarray, height: int, width: int, axes: tuple[Axis, Axis] | None = None) -> np.ndarray:
    """Maps (..., h, w) upsampled bilinearly to (..., height, width) float32.

    Args:
        axes: centers of the cells along height and width, from receptive_field; None: the cells tile the image. A
            pixel beyond the outermost center has that cell's value up to half a step away; from there, where less and
            less of what the cell sees lies, it falls to zero within a step.
    """

    def interpolation(cells: int, pixels: int, axis: Axis) -> np.ndarray:
        """Weight of each cell for each pixel, (pixels, cells)."""
        start, step = axis
        place = (np.arange(pixels) - start) / step
        weights = np.maximum(0, 1 - np.abs(np.clip(place, 0, cells - 1)[:, None] - np.arange(cells)))
        beyond = np.maximum(0, np.maximum(-0.5 - place, place - (cells - 0.5)))
        return (weights * np.maximum(0, 1 - beyond)[:, None]).astype(np.float32)

    rows, columns = maps.shape[-2:]
    vertical, horizontal = axes or (tiling(rows, height), tiling(columns, width))
    return interpolation(rows, height, vertical) @ maps.astype(np.float32) @ interpolation(columns, width, horizontal).T
