"""Random corruptions of training images, such as cameras, scanners and file formats make.

A network that has seen clean images only is confidently wrong on slightly changed ones (Hendrycks & Dietterich 2019,
arXiv 1903.12261). Images are (n, h, w, c), pixels in [0, 255]; results are float32 in the same range.
"""

import numpy as np

# JPEG's standard quantization tables of luminance and chrominance (ITU-T T.81, Annex K).
LUMINANCE = np.float32(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMINANCE = np.full((8, 8), 99, np.float32)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
YCBCR = np.float32([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_FREQUENCY, _PLACE = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
DCT = np.float32(0.5 * np.cos(np.pi * (2 * _PLACE + 1) * _FREQUENCY / 16))  # orthonormal DCT-II
DCT[0] /= np.sqrt(2, dtype=np.float32)


def corrupt(images: np.ndarray, rng: np.random.Generator, fraction: float) -> np.ndarray:
    """One corruption in a fraction of the images: noise, blur, JPEG, or contrast and brightness, a quarter each.

    Args:
        images: (n, h, w, c) uint8 or float; c is 1 or 3.
        rng: generator of this step.
        fraction: of the images that are corrupted, in [0, 1].
    Returns:
        (n, h, w, c) float32.
    """
    images = np.array(images, np.float32)
    n = len(images)
    parts = np.array_split(rng.permutation(n)[: round(fraction * n)], 4)
    for change, chosen in zip((noise, blur, jpeg, tone), parts, strict=True):
        if len(chosen):
            images[chosen] = change(images[chosen], rng)
    return np.clip(images, 0, 255)


def noise(images: np.ndarray, rng: np.random.Generator, largest: float = 28.0) -> np.ndarray:
    """Gaussian noise; its standard deviation is uniform in [2, largest] gray levels, drawn for each image."""
    deviation = rng.uniform(2, largest, (len(images), 1, 1, 1)).astype(np.float32)
    return images + deviation * rng.standard_normal(images.shape, np.float32)


def blur(images: np.ndarray, rng: np.random.Generator, largest: float = 1.2) -> np.ndarray:
    """Gaussian blur; its standard deviation is uniform in [0.4, largest] pixels, drawn for each image."""
    deviation = rng.uniform(0.4, largest, (len(images), 1)).astype(np.float32)
    taps = np.exp(-0.5 * (np.arange(-3, 4, dtype=np.float32) / deviation) ** 2)
    taps /= taps.sum(axis=1, keepdims=True)
    for axis in (1, 2):
        margin = [(0, 0)] * 4
        margin[axis] = (3, 3)
        padded = np.pad(images, margin, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 7, axis=axis)
        images = np.einsum("nhwck,nk->nhwc", windows, taps)
    return images


def tone(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Contrast times 0.35 to 1.3 around a random gray level, then brightness by up to 50 levels, per image."""
    shape = (len(images), 1, 1, 1)
    gain = rng.uniform(0.35, 1.3, shape).astype(np.float32)
    level = rng.uniform(0, 255, shape).astype(np.float32)
    offset = rng.uniform(-50, 50, shape).astype(np.float32)
    return gain * (images - level) + level + offset


def jpeg(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """JPEG compression of a quality in 15 to 80, drawn for each image; color at half the resolution (4:2:0)."""
    quality = rng.integers(15, 81, len(images))
    return jpeg_compressed(images, quality)


def jpeg_compressed(images: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """What JPEG of a quality leaves of images: quantized DCT coefficients of 8x8 blocks (ITU-T T.81).

    Args:
        images: (n, h, w, 1 or 3) float32, gray or RGB.
        quality: (n,) in 1 to 100, as libjpeg scales the standard tables by it.
    """
    scale = np.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None, None, None]

    def table(standard):
        return np.clip(np.floor((standard * scale + 50) / 100), 1, 255).astype(np.float32)

    if images.shape[3] == 1:
        return _quantized(images[..., 0] - 128, table(LUMINANCE))[..., None] + 128
    planes = images @ YCBCR.T
    luminance = _quantized(planes[..., 0] - 128, table(LUMINANCE)) + 128
    colors = [_quantized_at_half(planes[..., channel], table(CHROMINANCE)) for channel in (1, 2)]
    return np.stack([luminance, *colors], axis=-1) @ np.linalg.inv(YCBCR).T


def _quantized_at_half(plane: np.ndarray, table: np.ndarray) -> np.ndarray:
    """A plane (n, h, w) quantized at half the resolution, each value then standing for four pixels."""
    _, height, width = plane.shape
    even = np.pad(plane, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    half = (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4
    back = _quantized(half, table).repeat(2, axis=1).repeat(2, axis=2)
    return back[:, :height, :width]


def _quantized(plane: np.ndarray, table: np.ndarray) -> np.ndarray:
    """A plane (n, h, w) around 0 after quantization of its blocks' coefficients by a table (n, 1, 1, 8, 8)."""
    n, height, width = plane.shape
    padded = np.pad(plane, ((0, 0), (0, -height % 8), (0, -width % 8)), mode="edge")
    rows, columns = padded.shape[1] // 8, padded.shape[2] // 8
    blocks = padded.reshape(n, rows, 8, columns, 8).transpose(0, 1, 3, 2, 4)
    coefficients = np.round(DCT @ blocks @ DCT.T / table) * table
    blocks = DCT.T @ coefficients @ DCT
    return blocks.transpose(0, 1, 3, 2, 4).reshape(padded.shape)[:, :height, :width]
