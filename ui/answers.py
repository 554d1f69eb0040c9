"""The answer of a saved model to a picture: probabilities, heat map, latency. Knows nothing of the page."""

import contextlib
import functools
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data import digits, pictures
from pipeline.deploy import runtimes
from pipeline.errors import UserError
from pipeline.explain import explainer
from pipeline.models import novelty, saved_model

MODELS_KEPT = 8  # in memory
PICTURES_KEPT = 32  # their digits, in memory
COVERED = 0.9  # of the probability, which is calibrated on validation images: an answer names classes up to this
# One answer at a time: TensorFlow uses all cores for one picture, and the milliseconds are the model's alone.
_turn = threading.Lock()


@dataclass(frozen=True)
class Answer:
    """Answer of one model to one picture."""

    title: str
    dataset: str  # that the model was trained on
    class_names: tuple[str, ...]
    probabilities: np.ndarray  # (classes,) float32, sum 1
    seen: np.ndarray  # (h, w, c) uint8, the picture as the model takes it
    digit: bool  # the picture was laid out as MNIST's digits are
    inverted: bool  # and was dark on light before
    # (h, w) float32 in [0, 1], evidence for the most probable class (Eigen-CAM: for none); None where no method
    # explains such a model
    heat: np.ndarray | None
    milliseconds: float  # latency of the model alone, one picture
    foreign: bool = False  # the picture is unlike the training images
    # Several digits in one picture: the number they make, and the picture (h, w, 3) uint8 with a frame around each.
    # All else is about the largest of them.
    number: str = ""
    found: np.ndarray | None = None

    def likely(self) -> list[str]:
        """The fewest classes that hold COVERED of the probability, best first: one where the model is sure."""
        order = np.argsort(-self.probabilities, kind="stable")
        count = 1 + np.searchsorted(np.cumsum(self.probabilities[order]), COVERED)
        return [self.class_names[k] for k in order[:count]]

    def top(self, n: int = 5) -> dict[str, float]:
        """The n most probable classes, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:n]
        return {self.class_names[k]: float(self.probabilities[k]) for k in order}


class Classifier:
    """One saved model, warmed up, with the metadata of its file.

    Its probabilities come from its exact export where there is one, which answers many times as fast as Keras; heat
    maps come from Keras.

    Raises:
        UserError: missing, damaged or foreign file, or metadata that do not fit the model.
    """

    def __init__(self, path: Path):
        saved = saved_model.open_model(path)
        self.model, about = saved.model, saved.metadata
        self.title, self.dataset, self.class_names = about["title"], about["dataset"], tuple(about["class_names"])
        self.digits = pictures.are_digits(about)
        _, *self.image_shape = self.model.input_shape
        if len(self.image_shape) != 3 or self.model.output_shape != (None, len(self.class_names)):
            raise UserError(f"{path} does not turn one picture into a probability per class; train it again")
        try:
            self.explainer = explainer.Explainer(self.model)
        except UserError:  # an ensemble, or fine labels added up, has no logits; or another backend
            self.explainer = None
        # One thread: others would wait in a loop for their next picture, while TensorFlow needs the cores.
        self.export = runtimes.exact_export(path)
        self.scorer = None if self.export else novelty.scorer(saved)
        self.predict(np.zeros((1, *self.image_shape), np.uint8))

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes) float32 for raw pixels (n, h, w, c) uint8."""
        return self.export.predict(images) if self.export else saved_model.predict(self.model, images)

    def is_foreign(self, images: np.ndarray) -> bool:
        """Whether the first of these images is unlike the training images; False where the model has no score."""
        if self.export:
            return bool(self.export.novelty) and self.export.novelty(images[:1])[0] > 1
        return bool(self.scorer) and saved_model.predict(self.scorer, images[:1])[0] > 1

    def maps(self, images: np.ndarray, method: str) -> np.ndarray | None:
        """Heat maps (n, h, w) float32 for raw pixels (n, h, w, c); None where the method explains no such model."""
        if self.explainer:
            with contextlib.suppress(UserError):  # all its maps are too coarse
                return self.explainer(images, method=method)
        return None

    def answer(self, picture: str | Path, method: str | None) -> Answer:
        digit, number, found = self.digits, "", None
        if digit:
            every = _read_digits(Path(picture), Path(picture).stat().st_mtime_ns)
            largest = digits.largest(every)
            seen, inverted = largest.pixels, largest.inverted
            if len(every) > 1:
                rows = self.predict(np.stack([one.pixels for one in every]))
                number = "".join(self.class_names[best] for best in rows.argmax(axis=1))
                found = np.asarray(pictures.outlined(picture, [one.box for one in every]))
        else:
            seen, inverted = pictures.read(picture, self.image_shape), False
        start = time.perf_counter()
        probabilities = self.predict(seen[None])[0]
        milliseconds = 1000 * (time.perf_counter() - start)
        maps = self.maps(seen[None], method) if method else None
        heat = None if maps is None else maps[0]
        about = {"seen": seen, "digit": digit, "inverted": inverted, "number": number, "found": found}
        about["foreign"] = self.is_foreign(seen[None])
        return Answer(
            self.title, self.dataset, self.class_names, probabilities, heat=heat, milliseconds=milliseconds, **about
        )


def answer(model: Path, picture: str | Path, name: str = "", method: str | None = explainer.DEFAULT_METHOD) -> Answer:
    """Ask one model about one picture. Models are loaded once; any number of threads may ask.

    Args:
        model: a saved .h5 model.
        picture: a picture file.
        name: what messages call the picture; "" takes the file's name.
        method: one of explainer.METHODS; None leaves out the heat map, which takes most of the time.
    Raises:
        UserError: a missing, damaged or foreign model, a picture that is broken, too large or blank.
            The message names the files without their folders, which are nobody's business.
    """
    with _turn:
        try:
            changed = model.stat().st_mtime_ns
        except FileNotFoundError as error:
            raise UserError(f"the model {model.name} is no longer there; train it again, or choose another") from error
        try:
            return _classifier(model, changed).answer(picture, method)
        except FileNotFoundError as error:
            raise UserError("the picture is no longer there; show it again") from error
        except UserError as error:
            text = str(error).replace(str(model), model.name).replace(str(picture), name or Path(picture).name)
            raise UserError(text) from error


def maps(model: Path, images: np.ndarray, method: str) -> np.ndarray | None:
    """Heat maps (n, h, w) float32 in [0, 1] for raw pixels (n, h, w, c); None where the method explains no such model.

    Raises:
        UserError: a missing, damaged or foreign model.
    """
    with _turn:
        return _classifier(model, model.stat().st_mtime_ns).maps(images, method)


# Finding the digits takes longer than all the rest; every model that is asked about a picture needs the same ones.
@functools.lru_cache(PICTURES_KEPT)
def _read_digits(picture: Path, changed: int) -> list:
    return pictures.read_digits(picture)


@functools.lru_cache(MODELS_KEPT)
def _classifier(model: Path, changed: int) -> Classifier:
    return Classifier(model)
