"""Saved models in other formats, BatchNorm folded, each checked against Keras before it takes its name.

The converters are Keras' own `Model.export` with tf2onnx and TensorFlow's LiteRT converter. Raw
pixels float32 in [0, 255] go in, probabilities come out, as in the .h5; int8 files do the same and
quantize inside, so that a user feeds every format alike. Class names travel with each file.
"""

import json
import logging
import math
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline import atomic_io
from pipeline.backend import keras
from pipeline.deploy import runtimes
from pipeline.errors import UserError
from pipeline.system import silence

SUFFIXES = {
    "onnx": ".onnx",
    "float32": "_float32.tflite",
    "float16": "_float16.tflite",
    "int8": "_int8.tflite",
    "saved_model": "_saved_model",
}
LITERT = ("float32", "float16", "int8")
# Largest difference of a probability from Keras; for int8 the lost accuracy counts instead.
LARGEST_DIFFERENCE = {"onnx": 1e-4, "float32": 1e-4, "float16": 1e-2, "saved_model": 1e-4}
LARGEST_LOSS = 0.003  # of the share of right answers: 0.3 points


@dataclass(frozen=True)
class Check:
    """What was measured on one export: largest difference of a probability from Keras, accuracies in [0, 1].

    What could not be measured is NaN; failure says why it was not kept, None if it was.
    """

    path: Path
    megabytes: float
    difference: float
    accuracy_before: float
    accuracy_after: float
    failure: str | None


def refuse_missing(forms: Iterable[str]) -> None:
    """UserError that names the package which one of the formats needs and which is not installed."""
    for form in forms:
        needed = {"onnx": ("onnx", "tf2onnx", "onnxruntime"), "saved_model": ()}.get(form, ("ai_edge_litert",))
        for package in needed:
            if find_spec(package) is None:
                raise runtimes.missing(package.replace("_", "-"))


def convert(graph, form: str, path: Path, calibration: np.ndarray) -> None:
    """Write one format with Keras' exporter.

    Args:
        graph: float32 Keras model for inference.
        form: key of SUFFIXES.
        path: file to write (saved_model: folder), with the format's suffix.
        calibration: raw training pixels (n, h, w, c); int8 takes its value ranges from them.
    """
    import tensorflow as tf

    graph(np.zeros((1, *graph.input_shape[1:]), np.float32))  # the ONNX exporter wants a model that was called
    options = {}
    if form in LITERT:
        options["target_spec"] = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    if form == "float16":
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
        options["target_spec"]["supported_types"] = [tf.float16]
    if form == "int8":
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
        options["target_spec"]["supported_ops"] = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        options["representative_dataset"] = lambda: ([image[None].astype(np.float32)] for image in calibration)
    kind = {"onnx": "onnx", "saved_model": "tf_saved_model"}.get(form, "litert")
    level = logging.getLogger().level
    with warnings.catch_warnings(), silence():
        warnings.simplefilter("ignore")
        logging.getLogger().setLevel(logging.ERROR)  # tf2onnx logs through the root logger
        try:
            graph.export(str(path), format=kind, verbose=False, **options)
        finally:
            logging.getLogger().setLevel(level)


def describe(path: Path, form: str, about: dict) -> None:
    """Put class names and the rest of `about` into an export, where its format keeps such things.

    ONNX: metadata entries. LiteRT: a zip archive behind the model, as TensorFlow's metadata tools
    append one (`unzip -p FILE labels.txt` shows it). SavedModel: its folder assets.extra.
    """
    labels, everything = "\n".join(about["class_names"]) + "\n", json.dumps(about)
    if form == "onnx":
        import onnx

        model = onnx.load(path)
        onnx.helper.set_model_props(
            model, {"class_names": json.dumps(about["class_names"]), runtimes.ABOUT: everything}
        )
        onnx.save(model, path)
    elif form in LITERT:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("labels.txt", labels)
            archive.writestr(f"{runtimes.ABOUT}.json", everything)
    else:
        (path / "assets.extra").mkdir(exist_ok=True)
        (path / "assets.extra" / "labels.txt").write_text(labels, encoding="utf-8")
        (path / "assets.extra" / f"{runtimes.ABOUT}.json").write_text(everything, encoding="utf-8")


def failure_of(form: str, difference: float, before: float, after: float) -> str | None:
    """Why an export may not be kept, or None; what is not a number is no small difference."""
    if form == "int8":
        lost = before - after
        too_much = not lost <= LARGEST_LOSS + 1e-9
        return f"loses {100 * lost:.2f} points of accuracy, more than {100 * LARGEST_LOSS:g}" if too_much else None
    limit = LARGEST_DIFFERENCE[form]
    return None if difference <= limit else f"differs from Keras by {difference:.2g}, more than {limit:g}"


def export(graph, form: str, path: Path, calibration: np.ndarray, about: dict, test) -> Check:
    """Convert, describe, check; the file takes its name only if it passed, else an earlier one stays.

    Args:
        graph: float32 Keras model for inference.
        form: key of SUFFIXES.
        path: final name of the export.
        calibration: raw training pixels for int8.
        about: plain data with class_names, to travel with the file.
        test: (images, labels, probabilities that Keras gives them).
    """
    images, labels, expected = test
    before = float(np.mean(expected.argmax(axis=1) == labels))
    with tempfile.TemporaryDirectory(prefix=".export_", dir=path.parent) as folder:
        made = Path(folder) / path.name
        try:
            convert(graph, form, made, calibration)
            describe(made, form, about)
            found = runtimes.predict(made, images)
        except Exception as error:  # converters and runtimes raise whatever they like
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return Check(path, math.nan, math.nan, before, math.nan, f"cannot be converted or run: {reason}")
        difference = float(np.abs(found - expected).max())
        after = float(np.mean(found.argmax(axis=1) == labels))
        failure = failure_of(form, difference, before, after)
        files = [made] if made.is_file() else [part for part in made.rglob("*") if part.is_file()]
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        if not failure:
            if path.is_dir():
                shutil.rmtree(path)
            atomic_io.rename(made, path)
    return Check(path, megabytes, difference, before, after, failure)


layers = keras.layers


def _sources(model) -> dict[str, list]:
    """Layer name -> the layers that its inputs come from; UserError where one is called twice or is a model itself."""
    maker = {id(layer.output): layer for layer in model.layers}
    try:
        return {
            layer.name: [maker[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
            for layer in model.layers
            if not isinstance(layer, layers.InputLayer)
        }
    except (KeyError, AttributeError) as error:  # Keras has no single input or output for it
        raise UserError("a model with a model in it, or a layer that is called twice, cannot be exported") from error


def _factor_and_offset(norm) -> tuple[np.ndarray, np.ndarray]:
    """What a BatchNorm layer does to each channel, (channels,) float64 each."""
    factor = 1 / np.sqrt(np.float64(norm.moving_variance) + norm.epsilon)
    factor = factor * np.float64(norm.gamma) if norm.scale else factor
    offset = -np.float64(norm.moving_mean) * factor
    return factor, offset + np.float64(norm.beta) if norm.center else offset


def fold_batch_norm(model):
    """A copy without the BatchNorm layers that can be folded, and with Rescaling for Normalization.

    Normalization keeps its constants outside the graph, where the ONNX exporter takes them for
    further inputs of the model; Rescaling by the same numbers is the same function.

    Args:
        model: functional Keras model for inference, as artifacts.load_model returns it.
    Returns:
        Keras model; its outputs differ by float32 rounding alone.
    Raises:
        UserError: it is not a flat graph of layers that are called once.
    """
    sources = _sources(model)
    users = [source.name for made_from in sources.values() for source in made_from]
    weights, dropped = {}, set()
    for norm in model.layers:
        if type(norm) is not layers.BatchNormalization:
            continue
        factor, offset = _factor_and_offset(norm)
        before = sources[norm.name][0]
        if type(before) is layers.MaxPooling2D and users.count(before.name) == 1 and (factor > 0).all():
            before = sources[before.name][0]
        linear = type(before) in (layers.Conv2D, layers.Dense) and before.activation is keras.activations.linear
        if not linear or users.count(before.name) != 1:
            continue
        bias = np.float64(before.bias) if before.use_bias else 0
        weights[before.name] = [np.float32(np.float64(before.kernel) * factor), np.float32(bias * factor + offset)]
        dropped.add(norm.name)

    def clone(layer):
        if type(layer) is layers.Normalization:
            deviation = np.sqrt(np.float64(layer.variance).ravel())
            mean = np.float64(layer.mean).ravel()
            return layers.Rescaling((1 / deviation).tolist(), (-mean / deviation).tolist(), name=layer.name)
        bias = {"use_bias": True} if layer.name in weights else {}
        return type(layer).from_config({**layer.get_config(), **bias})

    def call(layer, *args, **kwargs):
        return args[0] if layer.name in dropped else layer(*args, **kwargs)

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in copy.layers:
        if layer.name in weights:
            layer.set_weights(weights[layer.name])
        elif layer.variables:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return copy
