"""How long a model takes to answer on the CPU."""

import time

import numpy as np

from pipeline.quiet import keras


def timings(model, images: np.ndarray, batch_size: int, repetitions: int = 20) -> np.ndarray:
    """Seconds of single calls, (repetitions,), after three that warm up.

    The call is Keras' compiled predict_on_batch: the graph without the loop that predict() adds.

    Args:
        model: saved model, loaded.
        images: raw pixels (n, h, w, c); repeated where n is smaller than the batch.
        batch_size: images per call.
    """
    batch = np.resize(images, (batch_size, *images.shape[1:])).astype(np.float32)
    seconds = []
    with keras.device("cpu:0"):
        for _ in range(3 + repetitions):
            start = time.perf_counter()
            keras.ops.convert_to_numpy(model.predict_on_batch(batch))
            seconds.append(time.perf_counter() - start)
    return np.array(seconds[3:])


def milliseconds_per_sample(model, images: np.ndarray, batch_size: int) -> float:
    """Median milliseconds per image at one batch size, CPU."""
    return float(np.median(timings(model, images, batch_size)) * 1000 / batch_size)
