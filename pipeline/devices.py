"""Training on more than one device: Keras' DataParallel on JAX, nothing home-made.

Every device holds all weights and takes its share of each batch; the gradients are averaged over the
whole batch, so the numbers are those of one device, up to rounding. Only training is shared out:
evaluation puts every image through every device, because n images need not be a multiple of them.
"""

import contextlib

from pipeline.errors import BadInput
from pipeline.quiet import keras


def use(devices: str, batch_size: int) -> int:
    """Share out every later fit(); to be called before a model is built.

    Args:
        devices: "1", another number, or "all".
        batch_size: images per step over all devices.
    Returns:
        The number of devices.
    Raises:
        BadInput: not a number, not that many devices, a backend that cannot do it, or a batch that
            cannot be shared out evenly.
    """
    if devices == "1":
        return 1
    if devices != "all" and not (devices.isascii() and devices.isdigit() and int(devices)):
        raise BadInput(f"--devices must be a number from 1 on, or all, got {devices}")
    if keras.backend.backend() != "jax":
        raise BadInput(
            f"--devices {devices} needs the JAX backend, this is {keras.backend.backend()}; "
            "install jax and set the environment variable KERAS_BACKEND=jax"
        )
    found = keras.distribution.list_devices()
    number = len(found) if devices == "all" else int(devices)
    if number > len(found):
        raise BadInput(f"--devices {number}: there are {len(found)} ({', '.join(found)})")
    if batch_size % number:
        raise BadInput(f"--batch-size {batch_size} cannot be shared out to {number} devices; use a multiple")
    if number > 1:
        shared = keras.distribution.DataParallel(devices=found[:number], auto_shard_dataset=False)
        keras.distribution.set_distribution(shared)
    return number


@contextlib.contextmanager
def undivided():
    """A block in which every device sees whole batches, of any size."""
    shared = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)
