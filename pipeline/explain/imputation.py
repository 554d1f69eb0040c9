"""Imputation: what stands in place of the pixels that are taken away from an image."""

import numpy as np

NOISE = 0.01 * 255  # standard deviation of the noise on imputed pixels
TOLERANCE = 1e-3  # of the imputed values' residual, relative to the right-hand side
MOST_ITERATIONS = 200


def blank(images: np.ndarray) -> np.ndarray:
    """Baseline that replaces a removed pixel: the mean color of its image, (n, 1, 1, c) float32.

    It has no structure, is as bright as the image (black would be a new edge), and needs no training set, so that a
    user's own picture is treated alike. A blurred copy could still be recognized: a digit can be told from its blur.
    """
    return images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)


def masked(images: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Images (n, h, w, c) under masks (n, h, w) in [0, 1]: 1 keeps a pixel, 0 blanks it; float32."""
    empty = blank(images)
    return empty + keep[..., None].astype(np.float32) * (images - empty)


def noisy_linear(images: np.ndarray, keep: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noisy linear imputation: each removed pixel is the weighted mean of its neighbors, plus noise; float32.

    Rong et al. 2022, arXiv 2202.00449, section 4 (ROAD). Unlike blanking, it leaves no edge that tells the network
    which pixels are gone. An image without any pixel left takes its mean color.

    Args:
        images: (n, h, w, c) raw pixels.
        keep: (n, h, w) bool, False for the pixels to impute.
        rng: draws the noise.
    """
    start = np.where(keep[..., None], images, blank(images)).astype(np.float32)
    missing = (~keep & keep.any(axis=(1, 2), keepdims=True))[..., None].astype(np.float32)
    imputed = start + _solution(missing, missing * (_of_neighbors(start) - _degree(start) * start))
    imputed[~keep] += rng.normal(0, NOISE, (np.count_nonzero(~keep), images.shape[-1]))
    return imputed


def _of_neighbors(values: np.ndarray) -> np.ndarray:
    """Sum of the eight neighbors of each pixel (n, h, w, c): a sixth of those beside it, a twelfth of the diagonal."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    square = rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    return (square - 4 * values) / 12


def _degree(values: np.ndarray) -> np.ndarray:
    """Sum of the weights of each pixel's neighbors, (1, h, w, 1): 1, less along the edge of the image."""
    return _of_neighbors(np.ones((1, *values.shape[1:3], 1), np.float32))


def _solution(missing: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solution x (n, h, w, c) of degree x - of_neighbors(x) = right on the missing pixels, 0 elsewhere.

    By conjugate gradients, for all images at once: the system is sparse, symmetric and positive definite.
    """

    def dot(a, b):
        return (a * b).sum(axis=(1, 2), keepdims=True)

    degree = _degree(right)
    solution, residual = np.zeros_like(right), right
    direction, power = residual, dot(residual, residual)
    enough = TOLERANCE**2 * power
    for _ in range(MOST_ITERATIONS):
        if (power <= enough).all():
            break
        image = missing * (degree * direction - _of_neighbors(direction))
        curvature = dot(direction, image)
        step = np.divide(power, curvature, out=np.zeros_like(power), where=curvature > 0)
        solution = solution + step * direction
        residual = residual - step * image
        before, power = power, dot(residual, residual)
        direction = residual + direction * np.divide(power, before, out=np.zeros_like(power), where=before > 0)
    return solution
