"""A saved or exported model as a function of images: Keras, ONNX Runtime or LiteRT on the CPU.

Nothing heavy is imported before a model is opened, and TensorFlow only for .h5, so that a program
which runs an exported model starts at once.
"""

import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipeline.console import counter
from pipeline.errors import UserError
from pipeline.system import cores, silence

# What runs a model -> its file's name after the model's own, and the package that it needs.
RUNTIMES = {
    "Keras predict": (".h5", "keras"),
    "Keras call": (".h5", "keras"),
    "ONNX Runtime": (".onnx", "onnxruntime"),
    "LiteRT float32": ("_float32.tflite", "ai_edge_litert"),
    "LiteRT int8": ("_int8.tflite", "ai_edge_litert"),
}
# A larger batch goes through in parts whose activations fit the cache: measured against 256 at once, in
# int8 and ONNX Runtime a tenth to a fifth faster on the two CNNs, on ResNet50 up to a tenth slower.
CHUNK = 32
AT_A_TIME = 2500  # images between two lines of progress
ABOUT = "pipeline"  # metadata entry with what save_model stored beside the weights, as JSON


@dataclass(frozen=True)
class Opened:
    """A model that is ready to answer.

    predict: raw pixels (n, h, w, c) float32 in [0, 255] -> probabilities (n, classes) float32.
    image_shape: (h, w, c).
    about: class_names, dataset, title and more; class_names is always there.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    image_shape: tuple[int, int, int]
    about: dict


def installed(runtime: str) -> bool:
    """Whether the package that a runtime of RUNTIMES needs can be imported."""
    return find_spec(RUNTIMES[runtime][1]) is not None


def missing(package: str) -> UserError:
    """The line that says what to install."""
    return UserError(f"this needs {package}, which is not installed; run: pip install -r requirements-export.txt")


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


def predict(path: Path, images: np.ndarray) -> np.ndarray:
    """Probabilities (n, classes) float32 of an export for raw pixels, in the runtime it is made for."""
    if path.is_dir():
        import tensorflow as tf

        loaded = tf.saved_model.load(str(path))

        def answer(part):
            return loaded.serve(part).numpy()

    else:
        answer = open_model(path, threads=cores()).predict
    parts = []
    for start in range(0, len(images), AT_A_TIME):
        parts.append(answer(images[start : start + AT_A_TIME].astype(np.float32)))
        counter(min(start + AT_A_TIME, len(images)), len(images), f"test images through {path.name}")
    return np.concatenate(parts)


def _keras(path: Path, call: bool) -> Opened:
    from pipeline.models import saved_model

    model, about = saved_model.load(path), saved_model.metadata(path)

    def predict(images):
        if call:
            return np.asarray(model(images, training=False), np.float32)
        return np.asarray(model.predict(images, batch_size=len(images), verbose=0), np.float32)

    return _checked(path, predict, model.input_shape, model.output_shape, about)


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
    pixels, scores = _one_each(path, session.get_inputs(), session.get_outputs())
    if pixels.type != "tensor(float)":
        raise UserError(f"{path} takes {pixels.type}; an image classifier here takes raw pixels as float32")
    stored = session.get_modelmeta().custom_metadata_map.get(ABOUT, "{}")

    def predict(images):
        return _in_parts(lambda part: session.run(None, {pixels.name: part})[0], images)

    return _checked(path, predict, pixels.shape, scores.shape, _decoded(stored, path))


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
        raise UserError(f"{path} is damaged or not a LiteRT model") from error
    source, target = _one_each(path, interpreter.get_input_details(), interpreter.get_output_details())
    if source["dtype"] is not np.float32:
        name = source["dtype"].__name__
        raise UserError(f"{path} takes {name}; an image classifier here takes raw pixels as float32")
    shape = source["shape_signature"]
    size = [1]

    def run(part):
        if len(part) != size[0]:
            interpreter.resize_tensor_input(source["index"], [len(part), *shape[1:]])
            with silence():
                interpreter.allocate_tensors()
            size[0] = len(part)
        interpreter.set_tensor(source["index"], part)
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
    return _checked(path, lambda images: _in_parts(run, images), shape, target["shape_signature"], about)


def _one_each(path: Path, inputs: list, outputs: list) -> tuple:
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(f"{path} has not exactly one input and one output; an image classifier has one of each")
    return inputs[0], outputs[0]


def _in_parts(run: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    if len(images) <= CHUNK:
        return run(images)
    return np.concatenate([run(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)])


def _decoded(text: str | bytes, path: Path) -> dict:
    try:
        about = json.loads(text)
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise UserError(f"{path} carries metadata that are damaged; export the model again")
    return about


def _checked(path: Path, predict, input_shape, output_shape, about: dict) -> Opened:
    """Refuse what is no image classifier; classes without names are called by their number."""
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
