"""Toy data, two data sets that need no file and no network: real 8x8 digits, and synthetic shapes."""

import numpy as np
from PIL import Image

FORMS = ("disc", "ellipse", "triangle", "square", "hexagon", "star", "cross", "flower", "drop", "half disc")
SYNTHETIC_NAMES = tuple(f"{fill} {form}" for form in FORMS for fill in ("full", "hollow"))


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits, scaled to MNIST's layout.

    The 8x8 image becomes 20x20 (bilinear) and is centered in 28x28, as MNIST's digits are.

    Returns:
        x_train (1347, 28, 28, 1) uint8, y_train, x_test (450, ...), y_test.
    """
    from sklearn.datasets import load_digits  # here: the import of scikit-learn takes a second
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.zeros((len(bunch.images), 28, 28, 1), np.uint8)
    for target, small in zip(images, bunch.images, strict=True):
        scaled = Image.fromarray((small * (255 / 16)).astype(np.uint8)).resize((20, 20), Image.Resampling.BILINEAR)
        target[4:24, 4:24, 0] = scaled
    x_train, x_test, y_train, y_test = train_test_split(
        images, bunch.target.astype(np.int64), test_size=450, random_state=0, stratify=bunch.target
    )
    return x_train, y_train, x_test, y_test


def _outline(form: str, angle: np.ndarray) -> np.ndarray:
    """Radius of a form's edge at each angle (radians), 1 at its farthest point."""

    def polygon(sides):
        sector = 2 * np.pi / sides
        return np.cos(sector / 2) / np.cos((angle % sector) - sector / 2)

    cos, sin = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    bar = np.minimum(1 / np.maximum(cos, 1e-6), 0.3 / np.maximum(sin, 1e-6))
    return {
        "disc": lambda: np.full_like(angle, 0.85),
        "ellipse": lambda: 0.5 / np.sqrt((0.5 * cos) ** 2 + sin**2),
        "triangle": lambda: polygon(3),
        "square": lambda: polygon(4),
        "hexagon": lambda: 0.95 * polygon(6),
        "star": lambda: 0.45 / (1 - 0.55 * np.abs(1 - (angle * 5 / np.pi) % 2)),
        "cross": lambda: np.maximum(bar, np.minimum(0.3 / np.maximum(cos, 1e-6), 1 / np.maximum(sin, 1e-6))),
        "flower": lambda: 0.7 + 0.3 * np.cos(3 * angle),
        "drop": lambda: 0.55 + 0.45 * np.cos(angle) ** 3,
        "half disc": lambda: np.where(np.cos(angle) > 0, 1.0, 0.12 / np.maximum(cos, 0.12)),
    }[form]()


def synthetic(n_train: int = 4000, n_test: int = 1000, seed: int = 0):
    """20 classes of 32x32 RGB images: ten forms, full or hollow, anywhere, at any angle and size.

    Colors, position, rotation, size, gradient background and noise are random and carry no label,
    so a linear classifier stays near chance while a small CNN learns the outlines.

    Returns:
        x_train (n_train, 32, 32, 3) uint8, y_train (n_train,) int64, x_test, y_test.
    """
    rng = np.random.default_rng(seed)
    n = n_train + n_test
    labels = rng.permutation(np.arange(n) % len(SYNTHETIC_NAMES))

    def per_image(low, high):
        return rng.uniform(low, high, (n, 1, 1))

    size = per_image(6.0, 12.5)  # pixels from the center to the farthest point
    slack = 15.5 - size
    row = np.arange(32)[None, :, None] - 15.5 - per_image(-1, 1) * slack
    column = np.arange(32)[None, None, :] - 15.5 - per_image(-1, 1) * slack
    radius = np.hypot(row, column)
    angle = (np.arctan2(row, column) + per_image(0, 2 * np.pi)) % (2 * np.pi)
    inside = np.zeros((n, 32, 32))
    for index, form in enumerate(FORMS):
        for hollow in (0, 1):
            chosen = labels == 2 * index + hollow
            edge = size[chosen] * _outline(form, angle[chosen])
            soft = np.clip(edge - radius[chosen] + 0.5, 0, 1)
            hole = np.clip(0.62 * edge - radius[chosen] + 0.5, 0, 1)
            inside[chosen] = soft - hollow * hole
    foreground, background = rng.uniform(0, 255, (2, n, 1, 1, 3))
    # Every form must be visible: push the background away where the two colors are too close.
    close = np.linalg.norm(foreground - background, axis=-1, keepdims=True) < 90
    background = np.where(close, (foreground + 127.5) % 255, background)
    slope = per_image(-1.5, 1.5) * np.arange(-16, 16)[None, :, None] + per_image(-1.5, 1.5) * np.arange(-16, 16)
    images = background + (foreground - background) * inside[..., None] + slope[..., None]
    images = np.clip(images + rng.normal(0, 28, images.shape), 0, 255).astype(np.uint8)
    return images[:n_train], labels[:n_train], images[n_train:], labels[n_train:]
