"""Pretrained weights, layer by layer: what a file covers is loaded, the rest starts fresh."""

from functools import partial
from pathlib import Path

import h5py
import numpy as np

from pipeline.atomic_io import sha256
from pipeline.backend import keras
from pipeline.data.sources import download
from pipeline.errors import UserError
from pipeline.models import untrusted

CACHED = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"  # the name in Keras' cache
ORIGIN = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/" + CACHED


def find(weights: str) -> Path | None:
    """The file behind a --weights value: None for "none", Keras' cached or downloaded one for "imagenet".

    Raises:
        UserError: no such file, or no network for the download.
    """
    if weights == "none":
        return None
    if weights != "imagenet":
        if not Path(weights).is_file():
            raise UserError(f"the weights file {weights} does not exist; give a file, imagenet or none")
        return Path(weights)
    fetch = partial(keras.utils.get_file, CACHED, ORIGIN, cache_subdir="models")
    absent = f"ImageNet weights are not in Keras' cache (models/{CACHED})"
    return Path(download(fetch, absent, "put the file there, give one with --weights FILE, or use --weights none"))


def fingerprint(path: Path | None) -> dict[str, str]:
    """{file name: SHA-256}, empty for no file."""
    return {path.name: sha256(path)} if path else {}


def load_weights(model, path: Path | None) -> dict:
    """Load the layers that a legacy Keras weights file has, by name.

    Args:
        model: its layers are named as in keras.applications.
        path: weights file, or None for a random start.
    Returns:
        {"file", "loaded", "fresh"}: file name (or "none") and layer names with weights of each kind.
    Raises:
        UserError: not such a file, no layer in common, or a layer of another shape (by name).
    """
    own = {layer.name: layer for layer in model.layers if layer.weights}
    if path is None:
        return {"file": "none", "loaded": [], "fresh": list(own)}
    untrusted.check(path)
    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)
            shapes = {
                name: [group[name][weight].shape for weight in group[name].attrs["weight_names"]]
                for name in (n.decode() if isinstance(n, bytes) else n for n in group.attrs["layer_names"])
            }
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


def summary(loaded: dict) -> str:
    """One or two lines that say which layers came from the file."""
    if not loaded["loaded"]:
        return "weights: none, every layer starts fresh"
    first, last = loaded["loaded"][0], loaded["loaded"][-1]
    text = f"weights: {len(loaded['loaded'])} layers from {loaded['file']} ({first} to {last})"
    fresh = loaded["fresh"]
    return f"{text}; {len(fresh)} start fresh: {fresh[0]} to {fresh[-1]}" if fresh else text


def stages(loaded: dict) -> str:
    """The ResNet stages that came whole from the file, first to last: "conv1-conv4".

    Raises:
        UserError: none did.
    """
    first = {kind: {name.split("_")[0] for name in loaded[kind]} for kind in ("loaded", "fresh")}
    whole = sorted(first["loaded"] - first["fresh"])
    if not whole:
        raise UserError(f"{loaded['file']} covers no whole stage of ResNet50")
    return whole[0] if len(whole) == 1 else f"{whole[0]}-{whole[-1]}"


def calibrate(model, images: np.ndarray, fresh: list[str]) -> None:
    """Give BatchNorm layers that start fresh the statistics of one batch; loaded ones keep theirs.

    Fine-tuning freezes all statistics, and a fresh layer's initial ones (mean 0, variance 1) say
    nothing about its inputs. In one pass in training mode each fresh layer normalizes by this
    batch, so that the layers after it see what they will see later (data-dependent start,
    Krähenbühl et al. 2016, arXiv 1511.06856).

    Afterwards the other BatchNorm layers are not trainable; fine-tuning says anew what is.

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
