"""Confusion matrix of a saved model on the test images, and the images behind each of its cells. No Gradio here."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data import datasets
from pipeline.evaluate import metrics
from pipeline.models import probabilities, saved_model
from ui import examples

MODELS_KEPT = 4  # with their test images, in memory


@dataclass(frozen=True)
class Confusions:
    """Test images of a data set and a model's probabilities for them.

    matrix: (classes, classes) counts, a row per true class, a column per predicted one.
    """

    class_names: tuple[str, ...]
    images: np.ndarray  # (n, h, w, c) uint8
    labels: np.ndarray  # (n,)
    probabilities: np.ndarray  # (n, classes)
    matrix: np.ndarray

    def cell(self, truth: int, predicted: int) -> np.ndarray:
        """Indices of the test images of one true and one predicted class.

        The surest errors come first; of right answers the least sure.
        """
        found = np.flatnonzero((self.labels == truth) & (self.probabilities.argmax(axis=1) == predicted))
        sureness = self.probabilities[found, predicted]
        return found[np.argsort(sureness if truth == predicted else -sureness, kind="stable")]


class Missing(Exception):
    """There is no confusion matrix; the message is a key of ui.texts that says why."""


def of_model(model: Path, data_dir: str | None) -> Confusions:
    """Confusions of a saved model, from its stored test probabilities; nothing is predicted or downloaded.

    Raises:
        Missing: the data set is not on this computer, or no probabilities are stored for this model and these images.
        UserError: a damaged data file, or a missing, damaged or foreign model.
    """
    dataset = str(saved_model.metadata(model).get("dataset"))
    if not examples.is_here(dataset, data_dir):
        raise Missing("matrix_no_data")
    return _loaded(model, model.stat().st_mtime_ns, dataset, data_dir)


@functools.lru_cache(MODELS_KEPT)
def _loaded(model: Path, changed: int, dataset: str, data_dir: str | None) -> Confusions:
    saved = saved_model.open_model(model)
    loaded = datasets.load(dataset, data_dir, saved.model.input_shape[1:])
    stored = probabilities.stored(saved, loaded)
    if stored is None:
        raise Missing("matrix_no_probabilities")
    matrix = metrics.confusion_matrix(loaded.y_test, stored.argmax(axis=1), len(loaded.class_names))
    return Confusions(loaded.class_names, loaded.x_test, loaded.y_test, stored, matrix)
