"""Pretrained weights, layer by layer: what a file covers is loaded, the rest starts fresh."""

from pathlib import Path

import h5py

from pipeline.data import sha256
from pipeline.errors import BadInput
from pipeline.quiet import keras

CACHED = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"  # the name in Keras' cache
ORIGIN = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/" + CACHED


def find(weights: str) -> Path | None:
    """The file behind a --weights value: None for "none", Keras' cached or downloaded one for "imagenet".

    Raises:
        BadInput: no such file, or no network for the download.
    """
    if weights == "none":
        return None
    if weights != "imagenet":
        if not Path(weights).is_file():
            raise BadInput(f"the weights file {weights} does not exist; give a file, imagenet or none")
        return Path(weights)
    try:
        return Path(keras.utils.get_file(CACHED, ORIGIN, cache_subdir="models"))
    except Exception as error:  # Keras wraps whatever went wrong in a bare Exception
        raise BadInput(
            f"ImageNet weights are not in Keras' cache (models/{CACHED}) and the download failed; "
            "put the file there, give one with --weights FILE, or use --weights none"
        ) from error


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
        BadInput: not such a file, no layer in common, or a layer of another shape (by name).
    """
    own = {layer.name: layer for layer in model.layers if layer.weights}
    if path is None:
        return {"file": "none", "loaded": [], "fresh": list(own)}
    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)
            shapes = {
                name: [group[name][weight].shape for weight in group[name].attrs["weight_names"]]
                for name in (n.decode() if isinstance(n, bytes) else n for n in group.attrs["layer_names"])
            }
    except (OSError, KeyError) as error:
        raise BadInput(f"{path} is damaged or not a Keras .h5 weights file with layer names") from error
    loaded = [name for name in own if shapes.get(name)]
    if not loaded:
        raise BadInput(f"{path} has no layer of {model.name}; it is for another network")
    for name in loaded:
        expected = [tuple(weight.shape) for weight in own[name].weights]
        if expected != shapes[name]:
            raise BadInput(f"{path}: layer {name} has shapes {shapes[name]}, the model needs {expected}")
    model.load_weights(path, by_name=True)
    return {"file": path.name, "loaded": loaded, "fresh": [name for name in own if name not in loaded]}


def summary(loaded: dict) -> str:
    """One or two lines that say which layers came from the file."""
    if not loaded["loaded"]:
        return "weights: none, every layer starts fresh"
    first, last = loaded["loaded"][0], loaded["loaded"][-1]
    fresh = f"{len(loaded['fresh'])} start fresh: {loaded['fresh'][0]} to {loaded['fresh'][-1]}"
    return f"weights: {len(loaded['loaded'])} layers from {loaded['file']} ({first} to {last}); {fresh}"
