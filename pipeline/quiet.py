"""Keras, imported without TensorFlow's start-up noise.

TensorFlow's C++ code prints about ten lines to file descriptor 2 while it is imported, before any
log level applies, so the descriptor points at the null device for that moment. A failed import
still shows its traceback: the descriptor is back by then.
"""

import contextlib
import logging
import os

from pipeline.process import silence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with silence():
    import keras

    with contextlib.suppress(ImportError):
        import tensorflow  # noqa: F401  on another backend Keras would import it later, as loudly

# Keras advises against .h5 at every save; here it is the format that was chosen.
logging.getLogger("absl").setLevel(logging.ERROR)
# Several models in one process are several graphs; TensorFlow takes that for an accident.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

__all__ = ["keras"]
