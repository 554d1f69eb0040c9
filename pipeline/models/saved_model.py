"""Saved models: written with their metadata, loaded back with care, and the list of this project's own.

The contract of a saved model: raw pixels float32 in [0, 255] in, probabilities in label order out,
float32, uncompiled, stock Keras layers only; class names, data set and recipe are in the file.
"""

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline import backend
from pipeline.atomic_io import replacing, sha256
from pipeline.backend import keras
from pipeline.console import counter
from pipeline.data import registry
from pipeline.data.rows import at_once
from pipeline.errors import UserError
from pipeline.models import h5_scan, untrusted
from pipeline.models.flat import inference_copy

ATTRIBUTE = "pipeline"
MODELS_KEPT = 8  # open in one process


@dataclass(frozen=True)
class SavedModel:
    """A saved model, opened: all that a script needs of it.

    path: its .h5 file.
    model: uncompiled Keras model, as load() returns it. It is shared within the process: nobody changes its weights.
    metadata: as metadata() returns it.
    sha256: of the file, hex.
    """

    path: Path
    model: Any
    metadata: dict
    sha256: str


def save(model, path: Path, *, image_shape, **about) -> None:
    """Save an inference copy as .h5, atomically; `about` is stored in the file.

    Args:
        image_shape: (h, w, c) of the pixels that it takes.
        about: plain data; prefix, dataset, title and class_names at least.
    """
    copy = inference_copy(model, image_shape)
    with replacing(path) as temporary:
        copy.save(temporary)
        with h5py.File(temporary, "a") as file:
            file.attrs[ATTRIBUTE] = json.dumps(about)
            file.attrs[h5_scan.DIGEST] = h5_scan.digest(file)


def open_model(path: str | Path) -> SavedModel:
    """Open a saved model; a file that has not changed is opened once in a process.

    Raises:
        UserError: as metadata() and load() do.
    """
    path = Path(path)
    while True:
        metadata(path)  # refuses what is no file of this project before Keras is imported
        before = path.stat()
        found = _opened(path, before.st_mtime_ns, before.st_size)
        after = path.stat()
        if (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size):
            return found  # else a training replaced the file meanwhile, and it may be half of one and half of the other


@functools.lru_cache(MODELS_KEPT)
def _opened(path: Path, modified: int, size: int) -> SavedModel:
    return SavedModel(path, load(path), metadata(path), sha256(path))


def metadata(path: Path) -> dict:
    """What save() stored beside the weights: prefix, dataset, title, class_names; of newer files more.

    These are recipe; seed; validation, the fraction of the training images that was held out (data.datasets.split());
    data_sha256, the digest of the data set (data.datasets.Dataset.sha256); digits, whether its images are digits.

    Raises:
        UserError: missing, damaged or foreign file, or an export.
    """
    if Path(path).suffix != ".h5":
        raise UserError(f"{path} is no .h5 file; name the saved Keras model")
    untrusted.check(Path(path))
    try:
        with h5py.File(path, "r") as file:
            about = json.loads(file.attrs[ATTRIBUTE])
    except KeyError as error:
        raise UserError(
            f"{path} was not saved by this project: it names no data set and classes; import_model.py adopts it"
        ) from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged or not a Keras .h5 file") from error
    names = about.get("class_names") if isinstance(about, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{path} was not saved by this project: it names no classes")
    named = all(isinstance(about.get(key), str) for key in ("prefix", "dataset", "title"))
    fraction = about.get("validation", 0.1)
    if not named or not isinstance(fraction, float) or not 0 < fraction < 1:
        raise UserError(f"{path} was not saved by this project: it does not say what it was trained on")
    if Path(about["dataset"]).name != about["dataset"]:  # a name is looked up in the data folder, and nowhere else
        raise UserError(f"{path} was not saved by this project: its data set is no name")
    if not re.fullmatch(r"[\w-]+", about["prefix"]):  # it becomes part of file names
        raise UserError(f"{path} was not saved by this project: its prefix is no name")
    return about


def finished(folder: Path) -> list[Path]:
    """Paths of the finished models in a folder; prints which script makes one that is missing.

    Raises:
        UserError: there is none.
    """
    there = []
    for model in MODELS.values():
        path = folder / model.file
        if path.is_file():
            there.append(path)
        elif model.recipe != "best":  # which is for those who have hours
            print(f"{path} is missing; {model.script} makes it", flush=True)
    if not there:
        first = next(iter(MODELS.values())).script
        raise UserError(f"no saved model in {folder}; run {first} first, or choose another --output-dir")
    return there


def load(path: Path):
    """Uncompiled Keras model from an .h5 file, which pipeline.models.untrusted checks first.

    Raises:
        UserError: missing, damaged or changed file, a Lambda layer, or a class that is not Keras' own. The
            architecture is read as plain JSON before, so no code in the file has run by then.
    """
    return without_xla(untrusted.load(Path(path)))


def without_xla(model):
    """The same model, never compiled by XLA: beside a GPU Keras would do so by default, again for each batch size."""
    if keras.backend.backend() == "tensorflow" and not model.compiled:
        model.jit_compile = False
    return model


def predict(model, images: np.ndarray, batch_size: int | None = None, what: str = "") -> np.ndarray:
    """Outputs (n, ...) float32 of a Keras model for raw pixels (n, h, w, c) in [0, 255] of any dtype.

    Args:
        batch_size: images at a time; None: 250, or as many large ones as at_once() says.
        what: name of the images; if given, progress is printed.
    """
    # Batch by batch: predict() turns the whole array into one tensor, and its tf.data pipeline ends late
    # (see pipeline.data.batches).
    without_xla(model)
    batch_size = batch_size or at_once(250, images.shape[1:])
    parts = []
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size].astype(np.float32)
        n = len(part)
        if n < batch_size < 2 * len(images):
            part = np.resize(part, (batch_size, *part.shape[1:]))  # for another size the model would be traced again
        with backend.without_distribution():
            parts.append(np.asarray(model.predict_on_batch(part), np.float32)[:n])
        if what and (len(parts) % 10 == 0 or start + n == len(images)):
            counter(start + n, len(images), what)
    return np.concatenate(parts)


@dataclass(frozen=True)
class Model:
    """A finished model of this project, by its file in the output folder.

    prefix: of the files beside it.
    file: name of its file.
    script: the training script that makes it.
    network: its name in tables.
    dataset: what it is trained on, see pipeline.data.registry.
    recipe: the recipe whose seeds are counted; None where there is a single run.
    """

    prefix: str
    file: str
    script: str
    network: str
    dataset: str
    recipe: str | None

    @property
    def task(self) -> str:
        """The data set's title."""
        return registry.title(self.dataset)


# Prefix -> model, in the order in which the scripts run.
MODELS = {
    model.prefix: model
    for model in (
        Model("cifar100", "cifar100_cnn_scratch.h5", "cifar100_cnn.py", "CNN from scratch", "cifar100", "fast"),
        Model("cifar100-best", "cifar100_cnn_best.h5", "cifar100_cnn.py", "CNN trained longer", "cifar100", "best"),
        Model("custom_cnn", "custom_cnn_model.h5", "mnist_classification.py", "custom CNN", "mnist", "default"),
        Model("resnet50", "resnet50_model.h5", "resnet50_transfer_learning.py", "ResNet50", "mnist", None),
    )
}
