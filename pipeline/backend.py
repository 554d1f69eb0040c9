"""Keras and the machine it computes on: backend, arithmetic, determinism, devices, and a record of all that.

`keras` and `layers` stand for Keras' modules of these names, which are imported when one of their names is used for
the first time: a script's --help and a refused flag need neither Keras nor TensorFlow, whose import takes seconds.
"""

import contextlib
import functools
import importlib
import importlib.metadata
import logging
import os
import platform
import sys
import threading
import types

from pipeline import PROJECT, system
from pipeline.errors import UserError
from pipeline.system import cores, output_of, silence

# Keras and TensorFlow import these where they are installed, for wrappers and plots of their own that nothing here
# calls: a second and a half of their start.
OPTIONAL = ("sklearn", "matplotlib", "pandas", "jax")
COMMIT_FILE = "COMMIT"  # of a copy that was sent to another machine
PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "scikit-learn", "onnxruntime", "ai-edge-litert")


@contextlib.contextmanager
def _without(packages: list[str]):
    """Context in which this thread cannot import packages, as if they were not installed; other threads can."""
    thread = threading.get_ident()

    class Refuse:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name in packages and threading.get_ident() == thread:
                raise ModuleNotFoundError(f"{name} is left out of Keras' import", name=name)

    sys.meta_path.insert(0, Refuse)
    try:
        yield
    finally:
        sys.meta_path.remove(Refuse)


@functools.cache
def import_keras() -> None:
    """Import Keras and its backend without TensorFlow's start-up noise and with its faster kernels.

    TensorFlow's C++ code prints about ten lines to file descriptor 2 while it is imported, before any
    log level applies, so the descriptor points at the null device for that moment.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # On an x86 processor without VNNI, AVX-512 BF16 or AMX (AMD before Zen 4, Intel before Cascade Lake) TensorFlow
    # would leave oneDNN's kernels off, though they are faster there as well: benchmarks/kernels.py.
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        needed = os.environ.get("KERAS_BACKEND", "tensorflow")
        hidden = [package for package in OPTIONAL if package != needed]
        if needed == "torch":  # PyTorch looks whether pandas is there, and takes a refusal for a fault
            hidden = []
        with silence(), _without(hidden):
            import keras

            with contextlib.suppress(ImportError):
                import tensorflow  # noqa: F401  on another backend Keras would import it later, as loudly
    except (ImportError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"Keras cannot start ({reason}); set the environment variable KERAS_BACKEND to tensorflow, jax or torch, "
            "and install that package"
        ) from error
    keras.config.set_image_data_format("channels_last")  # whatever an old keras.json says
    # Keras advises against .h5 at every save; here it is the format that was chosen.
    logging.getLogger("absl").setLevel(logging.ERROR)
    # Several models in one process are several graphs; TensorFlow takes that for an accident.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


class _Lazy(types.ModuleType):
    """A module of Keras, imported at the first use of one of its names."""

    def __getattr__(self, name: str):
        import_keras()
        return getattr(importlib.import_module(self.__name__), name)


keras, layers = _Lazy("keras"), _Lazy("keras.layers")


def gpu() -> tuple[str, float] | None:
    """Name and compute capability of the GPU that the backend uses first, or None."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        if not torch.cuda.is_available():
            return None
        major, minor = torch.cuda.get_device_capability()
        return torch.cuda.get_device_name(), float(f"{major}.{minor}")
    if backend == "jax":
        import jax

        gpus = [device for device in jax.devices() if device.platform == "gpu"]
        return (gpus[0].device_kind, float(getattr(gpus[0], "compute_capability", 0))) if gpus else None
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        return None
    details = tf.config.experimental.get_device_details(gpus[0])
    major, minor = details.get("compute_capability", (0, 0))
    return details.get("device_name", "GPU"), float(f"{major}.{minor}")


def has_bfloat16() -> bool:
    """Whether the GPU computes in bfloat16, from capability 8.0 (Ampere) on; where there is none, the processor."""
    found = gpu()
    return found[1] >= 8.0 if found else system.cpu_has_bfloat16()


def precisions() -> tuple[str, ...]:
    """The arithmetics that the hardware computes in, for benchmarks; bfloat16 in others is several times as slow."""
    return ("float32", "bfloat16") if has_bfloat16() else ("float32",)


def use_precision(precision: str) -> str:
    """Set Keras' dtype policy from a --precision value, float32 in full, and return the arithmetic chosen."""
    chosen = precision
    if precision == "auto":
        chosen = "bfloat16" if has_bfloat16() else "float32"
    keras.config.set_dtype_policy({"bfloat16": "mixed_bfloat16", "float32": "float32"}[chosen])
    full_float32()
    return chosen


def full_float32() -> None:
    """Keep a GPU from rounding the factors of float32 products to ten bits (TF32), as all backends let it."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    elif backend == "torch":
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def fresh_session(seed: int) -> None:
    """Forget the models so far, but not the precision; seed every random number."""
    policy = keras.config.dtype_policy()
    keras.utils.clear_session(free_memory=True)  # forgets the policy as well
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(seed)


def use_determinism(asked: bool) -> None:
    """On a GPU, take kernels that add in a fixed order; a CPU's do so anyway (benchmarks/kernels.py).

    Raises:
        UserError: on the JAX backend, which takes it from its own environment variable.
    """
    backend = keras.backend.backend()
    if not asked:
        return
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
    elif "deterministic" not in os.environ.get("XLA_FLAGS", ""):
        raise UserError(
            "--deterministic on JAX: set the environment variable XLA_FLAGS=--xla_gpu_deterministic_ops=true"
        )


def use_devices(devices: str, batch_size: int) -> int:
    """Data-parallel training by Keras' DataParallel on JAX, for every later fit(); call it before a model is built.

    Every device holds all weights and takes an equal part of each batch; the gradients are averaged over the whole
    batch, so the numbers are those of one device, up to rounding. Only training is distributed: evaluation puts every
    image through every device, because n images need not be a multiple of them (see without_distribution).

    Args:
        devices: "1", another number, or "all".
        batch_size: images per step over all devices.
    Returns:
        The number of devices.
    Raises:
        UserError: not a number, not that many devices, a backend that cannot do it, or a batch that
            cannot be divided evenly.
    """
    if devices == "1":
        return 1
    if devices != "all" and not (devices.isascii() and devices.isdigit() and int(devices)):
        raise UserError(f"--devices must be a number from 1 on, or all, got {devices}")
    if keras.backend.backend() != "jax":
        raise UserError(
            f"--devices {devices} needs the JAX backend, this is {keras.backend.backend()}; "
            "install jax and set the environment variable KERAS_BACKEND=jax"
        )
    found = keras.distribution.list_devices()
    number = len(found) if devices == "all" else int(devices)
    if number > len(found):
        raise UserError(f"--devices {number}: there are {len(found)} ({', '.join(found)})")
    if batch_size % number:
        raise UserError(f"--batch-size {batch_size} cannot be divided among {number} devices; use a multiple")
    if number > 1:
        distribution = keras.distribution.DataParallel(devices=found[:number], auto_shard_dataset=False)
        keras.distribution.set_distribution(distribution)
    return number


@contextlib.contextmanager
def without_distribution():
    """A block in which every device sees whole batches, of any size."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def describe() -> dict:
    """{"processor", "cores", "accelerator", "bfloat16" (whether it computes in it)} of this machine."""
    found = gpu()
    return {
        "processor": system.processor_name(),
        "cores": cores(),
        "accelerator": found[0] if found else "none",
        "bfloat16": has_bfloat16(),
    }


def versions() -> dict[str, str]:
    """Python, the Keras backend in use, and the installed packages a result depends on."""
    found = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def provenance() -> dict:
    """{"hardware", "versions", "commit"}: what a file of results was made on."""
    return {"hardware": describe(), "versions": versions(), "commit": commit()}


def commit() -> str:
    """The project's commit, with a + when a Python file differs from it; "unknown" outside git.

    A copy of the project without git may have it in COMMIT_FILE.
    """
    if (PROJECT / COMMIT_FILE).exists():
        return (PROJECT / COMMIT_FILE).read_text()
    if not (PROJECT / ".git").exists():  # git would look for a repository around the project
        return "unknown"
    identifier = output_of("git", "-C", str(PROJECT), "rev-parse", "--short=12", "HEAD")
    if not identifier:
        return "unknown"
    changed = output_of("git", "-C", str(PROJECT), "status", "--porcelain", "--", "*.py")
    return identifier + ("+" if changed else "")
