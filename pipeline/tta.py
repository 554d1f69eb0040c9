"""Test-time augmentation: mean probabilities over several views of each image."""

from collections.abc import Callable

import numpy as np

from pipeline import artifacts

Views = Callable[[np.ndarray], list[np.ndarray]]


def mirrored(images: np.ndarray) -> list[np.ndarray]:
    """Each image (n, h, w, c) and its mirror image."""
    return [images, images[:, :, ::-1]]


def mirrored_and_shifted(images: np.ndarray) -> list[np.ndarray]:
    """Six views: as it is and moved by a pixel along the diagonal, both ways, each with its mirror image.

    After airbench (Jordan 2024, arXiv 2404.00498, section 3.5), with equal weights.
    """
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    moved = (images, padded[:, :-2, :-2], padded[:, 2:, 2:])
    return [view for images in moved for view in mirrored(images)]


VIEWS = {"flip": mirrored, "flip and shift": mirrored_and_shifted}


def predict(model, images: np.ndarray, views: Views, what: str = "") -> np.ndarray:
    """Mean probabilities (n, classes) over the views of raw pixels (n, h, w, c) in [0, 255]."""
    return np.mean([artifacts.predict(model, view, what=what) for view in views(images)], axis=0)


def measure(model, dataset, candidates: dict[str, Views]) -> dict:
    """Accuracy with the views that do best on the validation images; only those ever see the test images.

    Args:
        model: finished model, raw pixels to probabilities.
        dataset: with a validation part.
        candidates: name -> function that makes the views; "none" is tried as well.
    Returns:
        chosen (name), validation_accuracy (name -> share), test_accuracy.
    """
    candidates = {"none": lambda images: [images], **candidates}
    validation = {
        name: _accuracy(predict(model, dataset.x_validation, views), dataset.y_validation)
        for name, views in candidates.items()
    }
    chosen = max(validation, key=validation.get)
    probabilities = predict(model, dataset.x_test, candidates[chosen], f"test images, views: {chosen}")
    return {
        "chosen": chosen,
        "validation_accuracy": validation,
        "test_accuracy": _accuracy(probabilities, dataset.y_test),
    }


def _accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == labels))
