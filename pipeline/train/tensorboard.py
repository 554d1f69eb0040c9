"""Logs for TensorBoard: scalars of every epoch, the confusion matrix at the end."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.errors import UserError


class TensorBoardLog:
    """Writes to <folder>/tensorboard; `tensorboard --logdir <folder>` shows it.

    Args:
        folder: of the run.
        name: of the run in TensorBoard's list.
    Raises:
        UserError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, name: str):
        if find_spec("tensorboard") is None:
            raise UserError(
                "--tensorboard needs the package tensorboard, which is not installed; pip install tensorboard"
            )
        import tensorflow as tf  # here: on another backend it is loaded for this alone

        self.tf = tf
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard" / name))

    def scalars(self, row: dict, step: int) -> None:
        """Every number of a row of the history, under its column's name."""
        with self.writer.as_default(step):
            for name, value in row.items():
                if isinstance(value, float):
                    self.tf.summary.scalar(name, value)
        self.writer.flush()

    def plot(self, name: str, path: Path, step: int) -> None:
        """A PNG file, under a name."""
        pixels = np.asarray(Image.open(path).convert("RGB"))
        with self.writer.as_default(step):
            self.tf.summary.image(name, pixels[None])
        self.writer.flush()
