"""Pretrained weights, layer by layer: what a file covers is loaded, the rest keeps its random initialization."""

import contextlib
import re
import tempfile
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np

from pipeline.atomic_io import sha256
from pipeline.backend import keras
from pipeline.data import download
from pipeline.errors import UserError
from pipeline.models import h5_scan, untrusted

# The file that keras.applications.ResNet50 loads, with the MD5 that it checks (WEIGHTS_HASHES in
# keras/src/applications/resnet.py, which is no public name).
CACHED = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
ORIGIN = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/" + CACHED
IN_ARCHIVE = "model.weights.h5"  # of a .keras file
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
    """Load the layers that a file of weights or of a whole model has, by name.

    It may be Keras' legacy .h5 file, also with the names that ResNet50's layers had until 2018, a .weights.h5 file of
    Keras 3, or a whole model as .h5 or .keras in which ResNet50 may be a nested one.

    Args:
        model: its layers are named as in keras.applications.
        path: weights file, or None for random initialization.
    Returns:
        {"file", "loaded", "fresh"}: file name (or "none"), names of the layers whose weights came from the file, and
        of those that keep their random initialization, among them a Dense layer for other classes than the file's.
    Raises:
        UserError: not such a file, or one of another network: no layer in common, a layer of another shape (by name),
            or stages that this network lacks.
    """
    own = {layer.name: layer for layer in model.layers if layer.weights}
    if path is None:
        return {"file": "none", "loaded": [], "fresh": list(own)}
    with _hdf5_of(path) as unpacked:
        untrusted.check(unpacked)
        try:
            with h5py.File(unpacked, "r") as file:
                found = _arrays(file, model)
                chosen = _of_this_network(found, own, model.name, path)
                weights = {name: [array[()] for array in arrays] for name, arrays in chosen.items()}
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} holds no Keras weights with layer names; name a file that does") from error
    for name, values in weights.items():
        own[name].set_weights(values)
    return {"file": path.name, "loaded": list(weights), "fresh": [name for name in own if name not in weights]}


@contextlib.contextmanager
def _hdf5_of(path: Path):
    """The HDF5 file of the weights: the file itself, or a temporary copy of the one in a .keras archive."""
    if not zipfile.is_zipfile(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo(IN_ARCHIVE).file_size > h5_scan.ARRAYS:
                    raise UserError(f"{path} holds more numbers than a model of small images has")
                unpacked = Path(archive.extract(IN_ARCHIVE, folder))
        except KeyError as error:
            raise UserError(f"{path} is no .keras file, but an archive without {IN_ARCHIVE}") from error
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
            raise UserError(f"{path} is damaged or no .keras file") from error
        yield unpacked


def _arrays(file: h5py.File, model) -> dict[str, list[h5py.Dataset]]:
    """Layer name, as today -> its arrays in the order of Layer.weights; those of nested models among them.

    Raises:
        KeyError: neither Keras' legacy layout nor that of Keras 3.
    """
    group = file.get("model_weights", file)
    if "layer_names" in group.attrs:
        found = _legacy(group)
    else:
        found = _keras3(file, model)
        if not found:
            raise KeyError("layer_names")
    return {_name_of_today(name): arrays for name, arrays in found.items()}


def _legacy(group: h5py.Group) -> dict[str, list[h5py.Dataset]]:
    """Layer name -> arrays of a legacy file, whose groups are layers or nested models."""
    found = {}
    for name in map(_text, group.attrs["layer_names"]):
        paths = [_text(weight) for weight in group[name].attrs["weight_names"]]
        parents = [path.split("/")[-2] if "/" in path else name for path in paths]
        is_nested = len(set(parents)) > 1
        for path, parent in zip(paths, parents, strict=True):
            found.setdefault(parent if is_nested else name, []).append(group[name][path])
    return found


def _keras3(file: h5py.File, model) -> dict[str, list[h5py.Dataset]]:
    """Layer name -> arrays of a .weights.h5 file; where it has no names, layers of a kind are taken in their order."""
    in_order = {
        "conv2d": [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)],
        "batch_normalization": [
            layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
        ],
    }
    found = {}

    def visit(path, node):
        if not path.endswith("/vars") or not isinstance(node, h5py.Group) or not len(node):
            return
        place = path.split("/")[-2]
        name = node.attrs.get("name")
        if name is None:
            kind, number = re.fullmatch(r"(.*?)(?:_(\d+))?", place).groups()
            names, number = in_order.get(kind, []), int(number or 0)
            name = names[number] if number < len(names) else place
        found[_text(name)] = [node[str(i)] for i in range(len(node))]

    file.visititems(visit)
    return found


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _name_of_today(name: str) -> str:
    """A layer's name since keras-applications 1.0.7 for the one before: res2a_branch2b -> conv2_block1_2_conv."""
    if name in ("conv1", "bn_conv1"):
        return "conv1_conv" if name == "conv1" else "conv1_bn"
    old = re.fullmatch(r"(res|bn)(\d)([a-z])_branch(1|2[abc])", name)
    if old is None:
        return name
    kind, stage, block, branch = old.groups()
    place = {"1": 0, "2a": 1, "2b": 2, "2c": 3}[branch]
    return f"conv{stage}_block{ord(block) - ord('a') + 1}_{place}_{'conv' if kind == 'res' else 'bn'}"


def _of_this_network(found: dict, own: dict, network: str, path: Path) -> dict[str, list[h5py.Dataset]]:
    """The layers in a file that the network has, in its order; UserError where the file is of another network."""
    stages = sorted(name for name in found if re.match(r"conv\d_", name) and name not in own)
    if stages:
        raise UserError(f"{path} is a sound file of another network: {network} has no layer {stages[0]}")
    chosen = {}
    for name, layer in own.items():
        if name not in found:
            continue
        shapes, expected = [array.shape for array in found[name]], [tuple(weight.shape) for weight in layer.weights]
        if shapes == expected:
            chosen[name] = found[name]
        elif not isinstance(layer, keras.layers.Dense):
            raise UserError(
                f"{path} is a file of another network: layer {name} has shapes {shapes}, {network} needs {expected}"
            )
    if not chosen:
        raise UserError(f"{path} is a file of another network: it has no layer of {network}")
    return chosen


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

    def stages_of(names: list[str]) -> set[str]:
        return {name.split("_")[0] for name in names if re.match(r"conv\d", name)}

    whole = sorted(stages_of(loaded["loaded"]) - stages_of(loaded["fresh"]))
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
