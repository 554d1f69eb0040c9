"""Inference with a saved or exported model on the CPU: Keras, ONNX Runtime or LiteRT, all by the same interface.

Nothing heavy is imported before a model is opened, and TensorFlow only for .h5, so that a program
which runs an exported model starts at once.
"""

import dataclasses
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline.atomic_io import sha256
from pipeline.console import counter
from pipeline.errors import UserError
from pipeline.system import cores, silence

# Export format -> what follows the saved model's name in the export's.
SUFFIXES = {
    "onnx": ".onnx",
    "float32": "_float32.tflite",
    "float16": "_float16.tflite",
    "int8": "_int8.tflite",
    "saved_model": "_saved_model",
}
# Runtime -> suffix of the file that it runs, and the package that it needs.
RUNTIMES = {
    "Keras predict": (".h5", "keras"),
    "Keras call": (".h5", "keras"),
    "ONNX Runtime": (SUFFIXES["onnx"], "onnxruntime"),
    "LiteRT float32": (SUFFIXES["float32"], "ai_edge_litert"),
    "LiteRT int8": (SUFFIXES["int8"], "ai_edge_litert"),
}
# An export runs larger batches in parts whose activations fit the cache: measured against 256 at once, in
# int8 and ONNX Runtime a tenth to a fifth faster on the two CNNs, on ResNet50 up to a tenth slower.
BATCH = 32
PROGRESS = 80  # batches between two lines of progress
ABOUT = "pipeline"  # metadata entry of an export: the saved model's metadata and source_sha256, as JSON


@dataclass(frozen=True)
class Opened:
    """A model in its runtime.

    predict: raw pixels (n, h, w, c) float32 in [0, 255] -> probabilities (n, classes) float32.
    image_shape: (h, w, c).
    about: its metadata: class_names, and dataset, title and more where this project made it.
    novelty: the same pixels -> novelty score (n,), above 1 where an image is unlike the training images (see
        pipeline.models.novelty); None where the model's file has none.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    image_shape: tuple[int, int, int]
    about: dict
    novelty: Callable[[np.ndarray], np.ndarray] | None = None


def installed(runtime: str) -> bool:
    """Whether the package that a runtime of RUNTIMES needs can be imported."""
    return find_spec(RUNTIMES[runtime][1]) is not None


def missing(package: str) -> UserError:
    """The line that says what to install."""
    return UserError(f"this needs {package}, which is not installed; run: pip install -e .[export]")


def is_outdated(path: Path, about: dict) -> bool:
    """Whether an export was made from another model than the .h5 file beside it is now, by SHA-256.

    False where there is no such file, MODEL.h5 for MODEL.onnx or MODEL_int8.tflite; then nothing is hashed.

    Args:
        about: the export's metadata, see Opened.
    """
    saved = source_path(path)
    return saved is not None and saved.is_file() and about.get("source_sha256") != sha256(saved)


def source_path(path: Path) -> Path | None:
    """Where the saved model of an export lies by the export's name; None where the name is not an export's."""
    for suffix in SUFFIXES.values():
        if path.name.endswith(suffix):
            return path.with_name(path.name.removesuffix(suffix) + ".h5")
    return None


def exact_export(saved: Path, threads: int = 1) -> Opened | None:
    """The ONNX export beside a saved model, if it was made from this very file (SHA-256); else None.

    It gives the probabilities that Keras gives, up to rounding, without TensorFlow's seconds of import. None also where
    ONNX Runtime is not installed or the export is damaged: the saved model can answer by itself.

    Args:
        saved: .h5 file; another one has no export.
        threads: as in open_model().
    """
    export = saved.with_name(f"{saved.stem}{SUFFIXES['onnx']}")
    if saved.suffix != ".h5" or not (saved.is_file() and export.is_file() and installed("ONNX Runtime")):
        return None
    try:
        opened = open_model(export, threads)
    except UserError:
        return None
    return None if is_outdated(export, opened.about) else opened


def open_model(path: str | Path, threads: int = 1, call: bool = False) -> Opened:
    """Open a model file by its suffix.

    Args:
        path: .h5, .onnx or .tflite.
        threads: processor threads of one call. Keras takes TF_NUM_INTRAOP_THREADS instead.
        call: for .h5, call the model itself instead of its predict().
    Raises:
        UserError: no such file, damaged, another suffix, or the runtime is not installed.
    """
    path = Path(path)
    if path.suffix not in (".h5", ".onnx", ".tflite"):
        raise UserError(f"{path} is no model file: .h5, .onnx or .tflite")
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    if path.suffix == ".h5":
        return _keras(path, call)
    return _onnx(path, threads) if path.suffix == ".onnx" else _litert(path, threads)


def predict(path: Path, images: np.ndarray, what: str) -> np.ndarray:
    """Probabilities (n, classes) float32 of an export for raw pixels (n, h, w, c), in the runtime it is made for.

    Args:
        path: .onnx, .tflite or the folder of a SavedModel.
        what: name of the images, in the lines of progress.
    """
    answer = _saved_model(path) if path.is_dir() else open_model(path, threads=cores()).predict
    return _in_batches(answer, images, BATCH, f"{what} through {path.name}")


def _in_batches(answer: Callable, images: np.ndarray, size: int, what: str = "") -> np.ndarray:
    """Answers to all images, asked for `size` at a time; with a name for the images, progress is printed."""
    parts = []
    for start in range(0, len(images), size):
        parts.append(answer(images[start : start + size].astype(np.float32, copy=False)))
        done = min(start + size, len(images))
        if what and (len(parts) % PROGRESS == 0 or done == len(images)):
            counter(done, len(images), what)
    return np.concatenate(parts)


def _saved_model(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images: loaded.serve(images).numpy()


def _keras(path: Path, call: bool) -> Opened:
    from pipeline.models import novelty, saved_model

    saved = saved_model.open_model(path)
    model = saved.model

    def answer(images):
        if call:
            return np.asarray(model(images, training=False), np.float32)
        return np.asarray(model.predict(images, batch_size=len(images), verbose=0), np.float32)

    opened = _checked(path, answer, model.input_shape, model.output_shape, saved.metadata)
    scorer = novelty.scorer(saved)
    if scorer is None:
        return opened
    return dataclasses.replace(opened, novelty=lambda images: saved_model.predict(scorer, images))


def _onnx(path: Path, threads: int) -> Opened:
    try:
        with silence():
            import onnxruntime
    except ImportError as error:
        raise missing("onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each kind of damage has an exception class of its own
        raise UserError(f"{path} is damaged or not an ONNX model") from error
    about = _decoded(session.get_modelmeta().custom_metadata_map.get(ABOUT, "{}"), path)
    outputs, novelty = session.get_outputs(), None
    if about.get("novelty") is True and len(outputs) == 2 and len(outputs[1].shape) == 1:
        novelty = outputs.pop().name
    pixels, scores = _one_each(path, session.get_inputs(), outputs)
    if pixels.type != "tensor(float)":
        raise UserError(f"{path} takes {pixels.type}; an image classifier here takes raw pixels as float32")

    def output(name: str):
        return _batched(lambda images: session.run([name], {pixels.name: images})[0], pixels.shape)

    opened = _checked(path, output(scores.name), pixels.shape, scores.shape, about)
    return dataclasses.replace(opened, novelty=output(novelty)) if novelty else opened


def _litert(path: Path, threads: int) -> Opened:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise missing("ai-edge-litert") from error
    try:
        with silence():  # it announces its delegate
            # Its content, because Windows' own open() in there knows no umlauts in a path.
            interpreter = Interpreter(model_content=path.read_bytes(), num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        operator = re.search(r"unresolved custom op: ([\w-]+)|builtin opcode '(\w+)'", str(error))
        if operator:
            name = operator[1] or operator[2]
            raise UserError(f"{path} is for other hardware: this runtime lacks its operator {name}") from error
        raise UserError(f"{path} is damaged or not a LiteRT model") from error
    source, target = _one_each(path, interpreter.get_input_details(), interpreter.get_output_details())
    if source["dtype"] is not np.float32:
        name = source["dtype"].__name__
        raise UserError(f"{path} takes {name}; an image classifier here takes raw pixels as float32")
    shape = source["shape_signature"]
    size = [1]

    def answer(images):
        if len(images) != size[0]:
            interpreter.resize_tensor_input(source["index"], [len(images), *shape[1:]])
            with silence():
                interpreter.allocate_tensors()
            size[0] = len(images)
        interpreter.set_tensor(source["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    about = {}
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                if f"{ABOUT}.json" in archive.namelist():
                    about = _decoded(archive.read(f"{ABOUT}.json"), path)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
            raise UserError(f"{path} carries metadata that are damaged; export the model again") from error
    return _checked(path, _batched(answer, shape), shape, target["shape_signature"], about)


def _one_each(path: Path, inputs: list, outputs: list) -> tuple:
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(f"{path} has not exactly one input and one output; an image classifier has one of each")
    return inputs[0], outputs[0]


def _batched(answer: Callable, input_shape) -> Callable[[np.ndarray], np.ndarray]:
    """The same for any number of images; one by one where the model was made for single images."""
    size = 1 if list(input_shape[:1]) == [1] else BATCH
    return lambda images: _in_batches(answer, images, size)


def _decoded(text: str | bytes, path: Path) -> dict:
    try:
        about = json.loads(text)
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise UserError(f"{path} carries metadata that are damaged; export the model again")
    return about


def _checked(path: Path, predict, input_shape, output_shape, about: dict) -> Opened:
    """The opened model; classes without names get their numbers. UserError where it is no image classifier."""
    shape = tuple(input_shape[1:])
    if len(shape) != 3 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape) or shape[2] not in (1, 3):
        raise UserError(f"{path} takes {list(input_shape)}; an image classifier here takes (n, height, width, 1 or 3)")
    classes = output_shape[1] if len(output_shape) == 2 else None
    if not isinstance(classes, (int, np.integer)) or classes < 1:
        raise UserError(f"{path} gives {list(output_shape)}; an image classifier gives (n, classes)")
    names = about.get("class_names", [str(number) for number in range(classes)])
    if not isinstance(names, list) or {type(name) for name in names} != {str} or len(names) != classes:
        raise UserError(f"{path} carries metadata that are damaged; export the model again")
    about = {**about, "class_names": names}
    return Opened(predict, tuple(int(n) for n in shape), about)
