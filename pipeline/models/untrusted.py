"""Keras model files of unknown origin: no code in them runs, and none can crash the process."""

import contextlib
import functools
import json
import math
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
import zipfile
import zlib
from pathlib import Path

import h5py

from pipeline import PROJECT
from pipeline.backend import keras
from pipeline.errors import UserError
from pipeline.models import arithmetic, keras2

# The classes that a saved model may name are Keras' own in these modules of Keras, but for FORBIDDEN.
ALLOWED = ("layers", "initializers", "regularizers", "constraints", "dtype_policies")
MODELS = {"Functional", "Model", "Sequential", "Policy"}  # Policy: Keras 2's DTypePolicy
PLAIN = {"__keras_tensor__", "__tensor__", "__numpy__"}  # how Keras writes constants
FORBIDDEN = {
    *("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),  # run code from the file
    *("StringLookup", "IntegerLookup", "TextVectorization"),  # read a file that the config names
}
LARGEST_CONFIG = 4 << 20  # characters; ResNet50 has 0.15 million
LARGEST_WEIGHTS = 1 << 30  # bytes of a .keras archive's weights, unpacked
LARGEST_OUTPUT = 10**8  # values of one layer for one image
# What a .keras archive is made of; it may hold more, which is not read.
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# What zipfile raises of a damaged or encrypted archive; a RecursionError of JSON is a RuntimeError.
DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
_loading = threading.Lock()


def check(path: Path) -> None:
    """Read an HDF5 file in a process of its own (pipeline.models.h5_scan) before this one opens it.

    Raises:
        UserError: missing, damaged, changed since it was saved, or it leads to other files.
    """
    status = _status(path)
    try:
        wrong = _probed(str(path.resolve()), status.st_mtime_ns, status.st_size)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{path} takes too long to read; it is damaged or made to") from error
    except subprocess.CalledProcessError as error:
        raise UserError(f"{path} is damaged: reading it ends the reader") from error
    if wrong:
        raise UserError(f"{path} {wrong}")


def _status(path: Path):
    """What stat() says of a file; UserError where it is missing or no regular file."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is not a file")
    return status


@functools.lru_cache(maxsize=64)
def _probed(path: str, modified: int, size: int) -> str:
    """What is wrong with a file, empty for nothing; the same file is read only once.

    Raises:
        subprocess.SubprocessError: it took too long or ended the reader, which is not remembered.
    """
    command = [sys.executable, "-m", "pipeline.models.h5_scan", path]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


def read_config(path: Path) -> dict:
    """The architecture of a checked .h5 file as plain JSON, in the form of Keras 3.

    Raises:
        UserError: there is none, or it names a class that is not Keras' own.
    """
    try:
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs and ("layer_names" in file.attrs or "layers" in file):
                raise UserError(f"{path} holds weights alone, without their network; save the whole model")
            text, version = file.attrs["model_config"], file.attrs.get("keras_version")
        return _architecture(text, version, path)
    except (OSError, KeyError) as error:
        raise UserError(f"{path} is damaged or holds no Keras model") from error


def _architecture(text: str | bytes, version, path: Path) -> dict:
    """A model's JSON, checked; that of Keras 2 in the form of Keras 3."""
    if len(text) > LARGEST_CONFIG:
        raise UserError(f"{path} holds a model too large to be one for small images")
    try:
        config = arithmetic.as_layers(_without_training(json.loads(text)))
        if keras2.wrote(version):
            config = keras2.translated(config)
        _refuse_foreign(config, path)
    except (ArithmeticError, AttributeError, LookupError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged or holds no Keras model") from error
    return config


def _without_training(node):
    """A model's JSON without optimizers, losses and metrics, which may be anybody's."""
    if isinstance(node, list):
        return [_without_training(item) for item in node]
    if isinstance(node, dict):
        return {key: _without_training(item) for key, item in node.items() if key != "compile_config"}
    return node


def _read_archive(path: Path, folder: Path) -> tuple[dict, Path, str]:
    """Take a .keras file apart: its architecture, a file with its weights in a folder, and its Keras version.

    Raises:
        UserError: missing, damaged, too large, or the architecture names a class that is not Keras' own.
    """
    _status(path)
    weights = folder / WEIGHTS
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(CONFIG).file_size > LARGEST_CONFIG or archive.getinfo(METADATA).file_size > 10_000:
                raise UserError(f"{path} holds a model too large to be one for small images")
            if archive.getinfo(WEIGHTS).file_size > LARGEST_WEIGHTS:
                raise UserError(f"{path} holds more numbers than a model of small images has")
            text = archive.read(CONFIG)
            version = json.loads(archive.read(METADATA))["keras_version"]
            with archive.open(WEIGHTS) as source, open(weights, "wb") as target:
                shutil.copyfileobj(source, target)
    except (*DAMAGED_ZIP, OSError, LookupError, ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged or not a Keras .keras file") from error
    try:
        check(weights)
    except UserError as error:
        raise UserError(str(error).replace(str(weights), f"{WEIGHTS} in {path}")) from error
    return _architecture(text, version, path), weights, str(version)


def is_known(name: str) -> bool:
    """Whether a saved model may name this class of Keras."""
    if name in FORBIDDEN:
        return False
    if name in MODELS | PLAIN:
        return True
    return any(isinstance(getattr(getattr(keras, module), name, None), type) for module in ALLOWED)


def _refuse_foreign(node, path: Path) -> None:
    """Raise UserError where a model's JSON names a class that is not Keras' own."""
    if isinstance(node, list):
        for item in node:
            _refuse_foreign(item, path)
    elif isinstance(node, dict):
        if "class_name" in node:
            name, module = node["class_name"], node.get("module") or "keras.layers"
            own = isinstance(module, str) and module.split(".")[0] == "keras"
            registered = node.get("registered_name")
            if own and (module.startswith("keras.src.ops") or name in ("TFOpLambda", "SlicingOpLambda")):
                raise UserError(f"{path} computes with {name} outside of its layers; only stock layers are loaded")
            if not isinstance(name, str) or not own or not is_known(name) or registered not in (None, name):
                raise UserError(
                    f"{path} holds a {name} ({registered or module}), which can run code; only stock layers are loaded"
                )
        for key, item in node.items():
            # Keras stores an activation's lambda as its bare byte code, without a class name.
            if key.endswith("activation") and isinstance(item, dict) and "class_name" not in item:
                raise UserError(f"{path} holds a lambda as {key}, which can run code; only stock layers are loaded")
            _refuse_foreign(item, path)


@contextlib.contextmanager
def weights_at_most(numbers: int, path: Path):
    """Context in which layers can make only so many weights in all, as zeros: their values come from the file.

    Raises:
        UserError: a layer wants more, before memory for them is taken.
    """
    original, left = keras.Layer.add_weight, [numbers]

    def counted(self, shape=None, initializer=None, *args, **kwargs):
        left[0] -= math.prod(shape or ())
        if left[0] < 0:
            raise MemoryError
        return original(self, shape, "zeros", *args, **kwargs)

    with _loading:
        keras.Layer.add_weight = counted
        try:
            yield
        except Exception as error:
            if left[0] < 0:  # Keras has wrapped our error into one of its own
                raise UserError(f"{path} has layers that want more weights than it holds") from error
            raise
        finally:
            keras.Layer.add_weight = original


def load(path: Path):
    """Keras model, uncompiled, of an .h5 or .keras file that was checked first; Keras' warnings are dropped.

    Raises:
        UserError: as check() and read_config() do, or Keras cannot build it, or it takes too much memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        if path.suffix == ".keras":
            file, size = _clean_archive(path, Path(folder))
        else:
            file, size = _clean_h5(path, Path(folder))
        try:
            with weights_at_most(size // 2, path), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = keras.models.load_model(file, compile=False, safe_mode=True)
        except UserError:
            raise
        except Exception as error:  # Keras has no class of its own for them
            reason = (str(error).replace(str(file), str(path)).splitlines() or [type(error).__name__])[0]
            raise UserError(f"{path} cannot be loaded: {reason}") from error
    refuse_huge_outputs(model, path)
    return model


def _clean_h5(path: Path, folder: Path) -> tuple[Path, int]:
    """A checked .h5 file, or where its architecture was changed a copy in a folder, and its size in bytes."""
    check(path)
    config = read_config(path)
    with h5py.File(path, "r") as file:
        if config == json.loads(file.attrs["model_config"]):
            return path, path.stat().st_size
    copy = folder / "model.h5"
    shutil.copyfile(path, copy)
    copy.chmod(0o600)
    with h5py.File(copy, "a") as file:
        file.attrs["model_config"] = json.dumps(config)
    return copy, path.stat().st_size


def _clean_archive(path: Path, folder: Path) -> tuple[Path, int]:
    """A copy of a .keras file in a folder, of what was checked alone, and the size of its weights in bytes."""
    config, weights, version = _read_archive(path, folder)
    copy = folder / "model.keras"
    with zipfile.ZipFile(copy, "w") as archive:
        archive.writestr(CONFIG, json.dumps(config))
        archive.writestr(METADATA, json.dumps({"keras_version": version}))
        archive.write(weights, WEIGHTS)
    return copy, weights.stat().st_size


def refuse_huge_outputs(model, path: Path) -> None:
    """Raise UserError where a layer's output, of one image, would take all memory."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            refuse_huge_outputs(layer, path)
            continue
        for output in keras.tree.flatten(getattr(layer, "output", [])):
            if math.prod(n or 1 for n in output.shape[1:]) > LARGEST_OUTPUT:
                raise UserError(f"{path} has a layer, {layer.name}, with an output too large for small images")
