"""Keras model files of unknown origin: no code in them runs, and none can crash the process."""

import contextlib
import functools
import json
import math
import stat
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import h5py

from pipeline import PROJECT
from pipeline.backend import keras
from pipeline.errors import UserError

# The classes that a saved model may name are Keras' own in these modules of Keras, but for FORBIDDEN.
ALLOWED = ("layers", "initializers", "regularizers", "constraints", "dtype_policies")
MODELS = {"Functional", "Model", "Sequential", "Policy"}  # Policy: Keras 2's DTypePolicy
PLAIN = {"__keras_tensor__", "__tensor__", "__numpy__"}  # how Keras writes constants
FORBIDDEN = {
    *("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),  # run code from the file
    *("StringLookup", "IntegerLookup", "TextVectorization"),  # read a file that the config names
}
LARGEST_CONFIG = 4 << 20  # characters; ResNet50 has 0.15 million
LARGEST_OUTPUT = 10**8  # values of one layer for one image
_loading = threading.Lock()


def check(path: Path) -> None:
    """Read an HDF5 file in a process of its own (pipeline.models.h5_scan) before this one opens it.

    Raises:
        UserError: missing, damaged, changed since it was saved, or it leads to other files.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is not a file")
    try:
        wrong = _probed(str(path.resolve()), status.st_mtime_ns, status.st_size)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{path} takes too long to read; it is damaged or made to") from error
    except subprocess.CalledProcessError as error:
        raise UserError(f"{path} is damaged: reading it ends the reader") from error
    if wrong:
        raise UserError(f"{path} {wrong}")


@functools.lru_cache(maxsize=64)
def _probed(path: str, modified: int, size: int) -> str:
    """What is wrong with a file, empty for nothing; the same file is read only once.

    Raises:
        subprocess.SubprocessError: it took too long or ended the reader, which is not remembered.
    """
    command = [sys.executable, "-m", "pipeline.models.h5_scan", path]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


def read_config(path: Path) -> dict:
    """The architecture of a checked .h5 file as plain JSON.

    Raises:
        UserError: there is none, or it names a class that is not Keras' own.
    """
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs["model_config"]
        if len(text) > LARGEST_CONFIG:
            raise UserError(f"{path} holds a model too large to be one for small images")
        config = json.loads(text)
    except (OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged or holds no Keras model") from error
    try:
        _refuse_foreign(config, path)
    except RecursionError as error:
        raise UserError(f"{path} is damaged or holds no Keras model") from error
    return config


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
    """Keras model, uncompiled, of a file that was checked first; Keras' warnings of old formats are dropped.

    Raises:
        UserError: as check() and read_config() do, or Keras cannot build it, or it takes too much memory.
    """
    check(path)
    read_config(path)
    try:
        with weights_at_most(path.stat().st_size // 2, path), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = keras.models.load_model(path, compile=False, safe_mode=True)
    except UserError:
        raise
    except Exception as error:  # Keras has no class of its own for them
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be loaded: {reason}") from error
    for layer in model.layers:
        for output in keras.tree.flatten(getattr(layer, "output", [])):
            if math.prod(n or 1 for n in output.shape[1:]) > LARGEST_OUTPUT:
                raise UserError(f"{path} has a layer, {layer.name}, with an output too large for small images")
    return model
