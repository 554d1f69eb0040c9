"""An aligned epoch table, with a live line of accuracy and the time that is left."""

import sys
import time

import numpy as np

from pipeline.console import clock
from pipeline.errors import BadInput
from pipeline.interrupt import Held, Interrupted
from pipeline.quiet import keras

HEADER = "  epoch     loss  accuracy  val_loss  val_accuracy  learning_rate  seconds  time left"
EXPLODED = 1000.0  # a loss beyond which nothing is learnt any more; guessing gives 2.3 to 4.6
QUIET_SECONDS = 20  # between two live lines where the output is a file


def table_row(row: dict, epochs: int, left: float) -> str:
    """One line of the epoch table from a history row."""

    def cell(name, width, digits):
        return f"{row[name]:{width}.{digits}f}" if name in row else " " * (width - 1) + "-"

    return (
        f"{row['epoch']:>3}/{epochs:<3} {cell('loss', 8, 4)}  {cell('accuracy', 8, 4)}  {cell('val_loss', 8, 4)}  "
        f"{cell('val_accuracy', 12, 4)}  {row['learning_rate']:13.2e}  {row['seconds']:7.1f}  {clock(left):>9}"
    )


class Progress(keras.callbacks.Callback):
    """Live line during an epoch, and its watchman: broken numbers and signals end it after their step.

    Args:
        epoch: counted from 0; epochs: of the whole run; steps: of one epoch.
        begun: step, loss, accuracy and seconds of this epoch before an interruption, if there was one.
        held: the signals so far, where they are held back.
    """

    def __init__(self, epoch: int, epochs: int, steps: int, begun: dict | None = None, held: Held | None = None):
        super().__init__()
        self.epoch, self.epochs, self.steps = epoch, epochs, steps
        self.begun, self.held = begun or {}, held or Held()
        self.step = self.first = self.begun.get("step", 0)
        self.logs = {}
        self.terminal = sys.stdout.isatty()
        self.started = self.shown = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.step = self.first + batch + 1
        self.logs = {name: float(value) for name, value in logs.items()}
        # The vectors (biases, statistics) are enough here: what breaks a kernel breaks them in the next step.
        # JAX keeps all weights elsewhere during an epoch.
        here = () if keras.backend.backend() == "jax" else self.model.variables
        vectors = [variable for variable in here if len(variable.shape) == 1]
        self.refuse_broken(vectors, self.logs["loss"])
        self._stop_if_told()
        now = time.monotonic()
        if now - self.shown < (0.2 if self.terminal else QUIET_SECONDS):
            return
        self.shown = now
        left = (now - self.started) / (batch + 1) * (self.steps * (self.epochs - self.epoch) - self.step)
        bar = "#" * int(20 * self.step / self.steps)
        line = (
            f"{self.epoch + 1:>3}/{self.epochs:<3} [{bar:<20}] loss {self.logs['loss']:.4f}  "
            f"accuracy {self.logs['accuracy']:.4f}  {clock(left)} left"
        )
        print("\r" + line if self.terminal else line, end="" if self.terminal else "\n", flush=True)

    def on_test_batch_end(self, batch, logs=None):
        self._stop_if_told()

    def averages(self, logs: dict) -> dict:
        """Loss and accuracy over the epoch's steps so far, those before the interruption with them."""
        before, here = self.first, self.step - self.first
        if not before:
            return logs
        return {
            name: (self.begun[name] * before + (logs[name] * here if here else 0)) / self.step
            for name in ("loss", "accuracy")
        }

    def seconds(self) -> float:
        """Of this epoch so far."""
        return self.begun.get("seconds", 0) + time.monotonic() - self.started

    def refuse_broken(self, variables, loss: float = 0.0) -> None:
        """BadInput where the loss or some of the weights are no use any more.

        The loss alone does not show it: oneDNN's ReLU turns NaN into 0, and the network goes on, dead.
        """
        what = None if loss < EXPLODED else f"the loss is {loss:.3g}"
        broken = (one.path for one in variables if not np.isfinite(keras.ops.convert_to_numpy(one)).all())
        if what is None and (path := next(broken, None)):
            what = f"{path} has values that are not finite"
        if what:
            synchronise(self.model)
            raise BadInput(
                f"{what} at step {self.step} of epoch {self.epoch + 1}, learning rate {learning_rate(self.model):.3g}; "
                "lower the learning rate or use --precision float32 (the last checkpoint is kept)"
            )

    def _stop_if_told(self):
        if self.held.code:
            synchronise(self.model)
            raise Interrupted(self.held.code, f"after step {self.step} of epoch {self.epoch + 1}")

    def clear(self):
        """Wipe the live line, so that the epoch's row takes its place."""
        if self.terminal:
            print("\r" + " " * 79 + "\r", end="")


def learning_rate(model) -> float:
    """The optimizer's, at its present step."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def synchronise(model) -> None:
    """Bring JAX's weights, which live outside the model during an epoch, back into it."""
    if keras.backend.backend() == "jax":
        model.jax_state_sync()
