"""Keras, imported without TensorFlow's start-up noise and with its faster kernels.

TensorFlow's C++ code prints about ten lines to file descriptor 2 while it is imported, before any
log level applies, so the descriptor points at the null device for that moment. A failed import
still shows its traceback: the descriptor is back by then.
"""

import contextlib
import logging
import os
import platform

from pipeline.process import silence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On an x86 processor without VNNI, AVX-512 BF16 or AMX (AMD before Zen 4, Intel before Cascade Lake) TensorFlow would
# leave oneDNN's kernels off, though they are faster there as well: benchmarks/kernels.py.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

with silence():
    import keras

    with contextlib.suppress(ImportError):
        import tensorflow  # noqa: F401  on another backend Keras would import it later, as loudly

# Keras advises against .h5 at every save; here it is the format that was chosen.
logging.getLogger("absl").setLevel(logging.ERROR)
# Several models in one process are several graphs; TensorFlow takes that for an accident.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

__all__ = ["keras"]
