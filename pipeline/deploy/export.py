"""Export of saved models to ONNX, LiteRT and SavedModel, with BatchNorm folding and a check against Keras.

The converters are Keras' own `Model.export` with tf2onnx and TensorFlow's LiteRT converter. Raw
pixels float32 in [0, 255] go in, probabilities come out, as in the .h5; int8 files do the same and
quantize inside, so that every format is used alike. Class names are stored in each file.
"""

import dataclasses
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
from pipeline.backend import keras, layers
from pipeline.deploy import runtimes
from pipeline.errors import UserError
from pipeline.models import novelty
from pipeline.system import silence

LITERT = ("float32", "float16", "int8")
LOSSY = ("float16", "int8")
# An export is kept by what it answers on the validation images. Exact formats may differ from Keras by rounding alone.
LARGEST_DIFFERENCE = 1e-4  # of a probability
# Lossy formats must mostly give the same class, at nearly the same accuracy. On CIFAR-100 int8 agrees with Keras on 96
# to 98 % of the validation images and loses 0.1 to 0.7 points, where 1,000 images tell accuracies apart by about 1.
LEAST_AGREEMENT = 0.95  # fraction of the images
LARGEST_LOSS = 0.01  # of accuracy


@dataclass(frozen=True)
class Reference:
    """Labeled images with the answers of the saved model in Keras.

    images: raw pixels (n, h, w, c).
    labels: (n,) integers.
    probabilities: (n, classes) float32.
    """

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Check:
    """What was measured on one export; None where it could not be measured.

    path: name of the export.
    megabytes: size of the file, or of all files of a folder.
    validation_accuracy_before, validation_accuracy_after: of Keras and of the export, in [0, 1].
    agreement: fraction of the validation images that both give the same class.
    difference: largest difference of a probability on the validation images.
    accuracy_before, accuracy_after: on the test images; no export is kept or refused by them.
    failure: why it was not kept; None if it was.
    """

    path: Path
    megabytes: float | None = None
    validation_accuracy_before: float | None = None
    validation_accuracy_after: float | None = None
    agreement: float | None = None
    difference: float | None = None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    failure: str | None = None


def refuse_missing(forms: Iterable[str]) -> None:
    """Raise UserError where a package that one of the formats needs is not installed."""
    for form in forms:
        needed = {"onnx": ("onnx", "tf2onnx", "onnxruntime"), "saved_model": ()}.get(form, ("ai_edge_litert",))
        for package in needed:
            if find_spec(package) is None:
                raise runtimes.missing(package.replace("_", "-"))


def convert(graph, form: str, path: Path, calibration: np.ndarray) -> None:
    """Write a model in one format with Keras' exporter.

    Args:
        graph: float32 Keras model for inference.
        form: key of runtimes.SUFFIXES.
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
    """Store `about`, class names among it, in an export, where its format keeps metadata.

    ONNX: metadata entries. LiteRT: a zip archive behind the model, as TensorFlow's metadata tools
    append one (`unzip -p FILE labels.txt` shows it). SavedModel: its folder assets.extra.
    """
    labels, everything = "\n".join(about["class_names"]) + "\n", json.dumps(about)
    if form == "onnx":
        import onnx

        model = onnx.load(path)
        properties = {"class_names": json.dumps(about["class_names"]), runtimes.ABOUT: everything}
        onnx.helper.set_model_props(model, properties)
        onnx.save(model, path)
    elif form in LITERT:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("labels.txt", labels)
            archive.writestr(f"{runtimes.ABOUT}.json", everything)
    else:
        (path / "assets.extra").mkdir(exist_ok=True)
        (path / "assets.extra" / "labels.txt").write_text(labels, encoding="utf-8")
        (path / "assets.extra" / f"{runtimes.ABOUT}.json").write_text(everything, encoding="utf-8")


def export(
    graph,
    form: str,
    path: Path,
    calibration: np.ndarray,
    about: dict,
    validation: Reference,
    test: Reference,
    statistics: novelty.Statistics | None = None,
) -> Check:
    """Convert, describe and check; the export takes its name only if it passed, else an earlier one stays.

    Args:
        graph: float32 Keras model for inference.
        form: key of runtimes.SUFFIXES.
        path: final name of the export.
        calibration: raw training pixels for int8.
        about: plain data with class_names, stored in the export.
        validation: decides whether the export is kept.
        test: is measured as well, for the record.
        statistics: of the novelty score, which becomes a second output of ONNX files; None or {} for none.
    """
    if form == "onnx" and statistics:
        graph, about = novelty.with_score(graph, statistics), {**about, "novelty": True}
    with tempfile.TemporaryDirectory(prefix=".export_", dir=path.parent) as folder:
        made = Path(folder) / path.name
        try:
            convert(graph, form, made, calibration)
            describe(made, form, about)
            found = runtimes.predict(made, validation.images, "validation images")
            found_test = runtimes.predict(made, test.images, "test images")
        except Exception as error:  # converters and runtimes raise whatever they like
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return Check(path, failure=f"cannot be converted or run: {reason}")
        difference = float(np.abs(found - validation.probabilities).max())
        check = Check(
            path=path,
            megabytes=_megabytes(made),
            validation_accuracy_before=_accuracy(validation.probabilities, validation.labels),
            validation_accuracy_after=_accuracy(found, validation.labels),
            agreement=_accuracy(found, validation.probabilities.argmax(axis=1)),
            difference=difference if math.isfinite(difference) else None,
            accuracy_before=_accuracy(test.probabilities, test.labels),
            accuracy_after=_accuracy(found_test, test.labels),
        )
        check = dataclasses.replace(check, failure=failure_of(form, check))
        if not check.failure:
            if path.is_dir():
                shutil.rmtree(path)
            atomic_io.rename(made, path)
    return check


def _megabytes(path: Path) -> float:
    """Size of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [part for part in path.rglob("*") if part.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def _accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def failure_of(form: str, check: Check) -> str | None:
    """Why an export that was measured may not be kept, by the validation images alone; None if it may."""
    if check.difference is None:
        return "gives values that are not numbers"
    if form not in LOSSY:
        if check.difference > LARGEST_DIFFERENCE:
            return f"differs from Keras by {check.difference:.2g}, more than {LARGEST_DIFFERENCE:g}"
        return None
    if check.agreement < LEAST_AGREEMENT:
        return f"gives the class that Keras gives for {check.agreement:.1%} of the images, under {LEAST_AGREEMENT:.0%}"
    lost = check.validation_accuracy_before - check.validation_accuracy_after
    if lost > LARGEST_LOSS + 1e-9:
        return f"loses {100 * lost:.2f} points of validation accuracy, more than {100 * LARGEST_LOSS:g}"
    return None


def _sources(model) -> dict[str, list]:
    """Layer name -> the layers that its inputs come from; UserError where a layer is called twice or is a model."""
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
    """A BatchNorm layer in inference as factor and offset of each channel, (channels,) float64 each."""
    factor = 1 / np.sqrt(np.float64(norm.moving_variance) + norm.epsilon)
    factor = factor * np.float64(norm.gamma) if norm.scale else factor
    offset = -np.float64(norm.moving_mean) * factor
    return factor, offset + np.float64(norm.beta) if norm.center else offset


def fold_batch_norm(model):
    """BatchNorm folding: a copy whose layers before a BatchNorm have its factors in their weights, in its place.

    BatchNorm stays where the layer before it is not linear or is used elsewhere, too. Normalization becomes Rescaling,
    the same function: its constants are outside the graph, where the ONNX exporter takes them for inputs.

    Args:
        model: functional Keras model for inference, as saved_model.load() returns it.
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
