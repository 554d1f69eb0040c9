"""Class activation maps: how much each cell of a layer's map speaks for a class.

A method is a function of a layer's activations and of the score's gradients at them, both
(n, h, w, channels), and gives (n, h, w) maps of any scale. Where these come from, and what becomes of
the maps, is explainer.py's business.
"""

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
        axes: where the cells' centres lie, from pipeline.receptive; None: they share the picture evenly. A pixel
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
