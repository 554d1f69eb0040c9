"""What a run is made on: processor, accelerator, arithmetic, versions, commit."""

import importlib.metadata
import os
import platform

from pipeline import PROJECT, processor
from pipeline.errors import BadInput
from pipeline.process import cores, output_of
from pipeline.quiet import keras

PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "scikit-learn", "onnxruntime", "ai-edge-litert")


def _gpu() -> tuple[str, float] | None:
    """Name and compute capability of the GPU that the backend uses, or None."""
    if keras.backend.backend() == "torch":  # for which Keras lists no devices
        import torch

        there = torch.cuda.is_available()
    else:
        there = any("gpu" in device or "cuda" in device for device in keras.distribution.list_devices())
    if not there:
        return None
    answer = output_of("nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader")
    name, _, capability = answer.splitlines()[0].rpartition(",") if answer else ("GPU", "", "0")
    return name.strip(), float(capability)


def has_bfloat16() -> bool:
    """Whether the GPU does, from compute capability 8.0 (Ampere) on; where there is none, the processor."""
    gpu = _gpu()
    return gpu[1] >= 8.0 if gpu else processor.has_bfloat16()


def use_precision(precision: str) -> str:
    """Set Keras' dtype policy from a --precision value, float32 in full, and return the arithmetic chosen."""
    chosen = ("bfloat16" if has_bfloat16() else "float32") if precision == "auto" else precision
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
        BadInput: on the JAX backend, which takes it from its own environment variable.
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
        raise BadInput(
            "--deterministic on JAX: set the environment variable XLA_FLAGS=--xla_gpu_deterministic_ops=true"
        )


def describe() -> dict:
    """{"processor", "cores", "accelerator"} of this machine."""
    gpu = _gpu()
    return {
        "processor": processor.name(),
        "cores": cores(),
        "accelerator": gpu[0] if gpu else "none",
    }


def versions() -> dict[str, str]:
    """Python, the Keras backend in use, and the installed packages a result depends on."""
    found = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def provenance() -> dict:
    """{"hardware", "versions", "commit"}: what a file of results was made on."""
    return {"hardware": describe(), "versions": versions(), "commit": commit()}


def commit() -> str:
    """The project's commit, with a + when a Python file differs from it; "unknown" outside git."""
    if not (PROJECT / ".git").exists():  # git would look for a repository around the project
        return "unknown"
    identifier = output_of("git", "-C", str(PROJECT), "rev-parse", "--short=12", "HEAD")
    changed = output_of("git", "-C", str(PROJECT), "status", "--porcelain", "--", "*.py")
    return identifier + ("+" if changed else "") if identifier else "unknown"
