"""Pretrained weights, layer by layer: what a file covers is loaded, the rest keeps its random initialization."""

from pathlib import Path

import h5py
import numpy as np

from pipeline.atomic_io import sha256
from pipeline.backend import keras
from pipeline.data import download
from pipeline.errors import UserError
from pipeline.models import untrusted

# The file that keras.applications.ResNet50 loads, with the MD5 that it checks (WEIGHTS_HASHES in
# keras/src/applications/resnet.py, which is no public name).
CACHED = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
ORIGIN = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/" + CACHED
MD5 = "4d473c1dd8becc155b73f8504c6f6626"


def find(weights: str) -> Path | None:
    """The file behind a --weights value: None for "none", Keras' cached or downloaded one for "imagenet".

    Raises:
        UserError: no such file; or Keras' cache has none with the published hash, and the download failed.
    """
    if weights == "none":
        return None
    if weights != "imagenet":
        if not Path(weights).is_file():
            raise UserError(f"the weights file {weights} does not exist; give a file, imagenet or none")
        return Path(weights)
    absent = f"ImageNet weights are not in Keras' cache (models/{CACHED})"
    remedy = "put the whole file there, give one under its own name with --weights FILE, or use --weights none"
    return download.cached(ORIGIN, MD5, "models", absent, remedy)


def fingerprint(path: Path | None) -> dict[str, str]:
    """{file name: SHA-256}, empty for no file."""
    return {path.name: sha256(path)} if path else {}


def load_weights(model, path: Path | None) -> dict:
    """Load the layers that a legacy Keras weights file has, by name.

    Args:
        model: its layers are named as in keras.applications.
        path: weights file, or None for random initialization.
    Returns:
        {"file", "loaded", "fresh"}: file name (or "none"), names of the layers whose weights came from the file, and
        of those that keep their random initialization.
    Raises:
        UserError: not such a file, no layer in common, or a layer of another shape (by name).
    """
    own = {layer.name: layer for layer in model.layers if layer.weights}
    if path is None:
        return {"file": "none", "loaded": [], "fresh": list(own)}
    untrusted.check(path)
    try:
        shapes = _shapes(path)
    except (OSError, KeyError) as error:
        raise UserError(f"{path} is damaged or not a Keras .h5 weights file with layer names") from error
    loaded = [name for name in own if shapes.get(name)]
    if not loaded:
        raise UserError(f"{path} has no layer of {model.name}; it is for another network")
    for name in loaded:
        expected = [tuple(weight.shape) for weight in own[name].weights]
        if expected != shapes[name]:
            raise UserError(f"{path}: layer {name} has shapes {shapes[name]}, the model needs {expected}")
    try:
        model.load_weights(path, by_name=True)
    except ValueError as error:  # Keras goes by the file's name
        raise UserError(f"{path} cannot be read as a legacy Keras weights file; its name must end in .h5") from error
    return {"file": path.name, "loaded": loaded, "fresh": [name for name in own if name not in loaded]}


def _shapes(path: Path) -> dict[str, list[tuple[int, ...]]]:
    """Layer name -> shapes of its weights in a legacy Keras weights file, or in a model's .h5 file."""
    shapes = {}
    with h5py.File(path, "r") as file:
        group = file.get("model_weights", file)
        for name in group.attrs["layer_names"]:
            layer = group[name]
            if isinstance(name, bytes):
                name = name.decode()
            shapes[name] = [layer[weight].shape for weight in layer.attrs["weight_names"]]
    return shapes


def summary(loaded: dict) -> str:
    """One or two lines that say which layers came from the file."""
    if not loaded["loaded"]:
        return "weights: none, every layer starts fresh"
    first, last = loaded["loaded"][0], loaded["loaded"][-1]
    text = f"weights: {len(loaded['loaded'])} layers from {loaded['file']} ({first} to {last})"
    fresh = loaded["fresh"]
    if fresh:
        text += f"; {len(fresh)} start fresh: {fresh[0]} to {fresh[-1]}"
    return text


def stages(loaded: dict) -> str:
    """The ResNet stages that came whole from the file, first to last: "conv1-conv4".

    Raises:
        UserError: none did.
    """
    covered = {name.split("_")[0] for name in loaded["loaded"]}
    incomplete = {name.split("_")[0] for name in loaded["fresh"]}
    whole = sorted(covered - incomplete)
    if not whole:
        raise UserError(f"{loaded['file']} covers no whole stage of ResNet50")
    if len(whole) == 1:
        return whole[0]
    return f"{whole[0]}-{whole[-1]}"


def calibrate(model, images: np.ndarray, fresh: list[str]) -> None:
    """Data-dependent initialization of BatchNorm layers (Krähenbühl et al. 2016, arXiv 1511.06856).

    Fine-tuning freezes all statistics, and a fresh layer's initial ones (mean 0, variance 1) say
    nothing about its inputs. In one pass in training mode each fresh layer normalizes by this
    batch, so that the layers after it see what they will see later. Loaded layers keep their statistics.

    Afterwards the other BatchNorm layers are not trainable; fine-tuning sets again which layers are.

    Args:
        images: raw pixels (n, h, w, c), a few hundred; of large ones fewer, as all maps are in memory at once.
        fresh: names of the layers without loaded weights.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    chosen = [layer for layer in norms if layer.name in fresh]
    momentum = [layer.momentum for layer in chosen]
    for layer in norms:
        layer.trainable = layer in chosen  # one that is not trainable uses its own statistics
    for layer in chosen:
        layer.momentum = 0.0  # the batch replaces what was there
    model(images.astype(np.float32), training=True)
    for layer, value in zip(chosen, momentum, strict=True):
        layer.momentum = value
