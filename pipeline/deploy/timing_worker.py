"""A runtime in a process of its own, timed on demand.

    python -m pipeline.deploy.timing_worker NAME SOURCE THREADS IMAGES

NAME is one of runtimes.RUNTIMES, with SOURCE the model's file and IMAGES an .npy file of raw pixels;
or "matmul float32" or "matmul bfloat16", with SOURCE the side of the square matrices and no images. Each line on
standard input, {"batch": n, "calls": k}, is answered by one on standard output,
{"seconds": [k numbers], "peak_megabytes": m}. pipeline.deploy.latency is the other end.
"""

import json
import os
import sys
import time

import numpy as np

from pipeline.deploy import runtimes
from pipeline.system import peak_megabytes


def matmul(kind: str, side: int):
    """A product of two square matrices in TensorFlow, 2 side³ operations; the batch plays no part."""
    from pipeline.backend import keras  # noqa: F401  (imports TensorFlow without its noise)

    import tensorflow as tf  # isort: skip

    matrix = tf.cast(tf.random.stateless_normal((side, side), (0, 0)), kind)
    return lambda _: tf.matmul(matrix, matrix).numpy()


def main() -> None:
    """Answer until standard input ends."""
    name, source, threads, images = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print must not answer for us
    if name.startswith("matmul "):
        call, pixels = matmul(name.split()[1], int(source)), np.zeros(1, np.float32)
    else:
        call = runtimes.open_model(source, int(threads), call=name == "Keras call").predict
        pixels = np.load(images).astype(np.float32)
    for line in sys.stdin:
        asked = json.loads(line)
        batch = np.resize(pixels, (asked["batch"], *pixels.shape[1:]))
        call(batch)  # the others have had their turn in between and the caches are cold
        seconds = []
        for _ in range(asked["calls"]):
            start = time.perf_counter()
            call(batch)
            seconds.append(time.perf_counter() - start)
        print(json.dumps({"seconds": seconds, "peak_megabytes": peak_megabytes()}), file=answers, flush=True)


if __name__ == "__main__":
    main()
