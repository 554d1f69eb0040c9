"""Test probabilities of a saved model, stored beside it: the scripts that analyze a model predict its test set once."""

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from pipeline.atomic_io import replacing
from pipeline.data import rows
from pipeline.data.arrays import DAMAGE
from pipeline.errors import UserError
from pipeline.models import saved_model


def on_test_images(saved: saved_model.SavedModel, dataset) -> np.ndarray:
    """Probabilities (n_test, n_classes) float32 of a saved model in Keras, in the order of the test images.

    They are read from MODEL_test_probabilities.npz beside the model where that was made with this very file and these
    very images (SHA-256 of both); else they are computed, and stored where the folder can be written to.

    Args:
        dataset: data.datasets.Dataset that the model is for.
    """
    probabilities = stored(saved, dataset)
    if probabilities is None:
        what = f"test images through {saved.path.name}"
        probabilities = saved_model.predict(saved.model, dataset.x_test, what=what)
        _store(_path(saved), _key(saved, dataset), probabilities)
    return probabilities


def stored(saved: saved_model.SavedModel, dataset) -> np.ndarray | None:
    """What on_test_images() stored of this very file and these very images; None where there is nothing of them."""
    key = _key(saved, dataset)
    try:
        with np.load(_path(saved), allow_pickle=False) as archive:
            if all(str(archive[name]) == value for name, value in key.items()):
                return archive["probabilities"]
    except (OSError, *DAMAGE):
        pass
    return None


def _path(saved: saved_model.SavedModel) -> Path:
    return saved.path.with_name(f"{saved.path.stem}_test_probabilities.npz")


def _key(saved: saved_model.SavedModel, dataset) -> dict[str, str]:
    return {"model_sha256": saved.sha256, "images_sha256": _digest(dataset.x_test)}


def _digest(images: np.ndarray) -> str:
    whole = hashlib.sha256()
    for part in rows.chunks(images):
        whole.update(part)
    return whole.hexdigest()


def _store(path: Path, key: dict[str, str], probabilities: np.ndarray) -> None:
    with contextlib.suppress(UserError), replacing(path) as temporary:  # a read-only folder or a full disk is no error
        np.savez(temporary, probabilities=probabilities, **key)
