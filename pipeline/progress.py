"""An aligned epoch table, with a live line of accuracy and the time that is left."""

import sys
import time

from pipeline.errors import BadInput
from pipeline.quiet import keras

HEADER = "  epoch     loss  accuracy  val_loss  val_accuracy  learning_rate  seconds  time left"
QUIET_SECONDS = 20  # between two live lines where the output is a file


def clock(seconds: float) -> str:
    """1:05 for 65 seconds, 1:01:05 for an hour more."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def counter(done: int, total: int, what: str) -> None:
    """One line that counts up: "7,500 of 10,000 test images"."""
    terminal = sys.stdout.isatty()
    line = f"{done:,} of {total:,} {what}"
    print("\r" + line if terminal else line, end="" if terminal and done < total else "\n", flush=True)


def table_row(row: dict, epochs: int, left: float) -> str:
    """One line of the epoch table from a history row."""

    def cell(name, width, digits):
        return f"{row[name]:{width}.{digits}f}" if name in row else " " * (width - 1) + "-"

    return (
        f"{row['epoch']:>3}/{epochs:<3} {cell('loss', 8, 4)}  {cell('accuracy', 8, 4)}  {cell('val_loss', 8, 4)}  "
        f"{cell('val_accuracy', 12, 4)}  {row['learning_rate']:13.2e}  {row['seconds']:7.1f}  {clock(left):>9}"
    )


class Progress(keras.callbacks.Callback):
    """Live line during an epoch; a loss that is not a number stops the run with a clear error."""

    def __init__(self, epoch: int, epochs: int, steps: int):
        super().__init__()
        self.epoch, self.epochs, self.steps = epoch, epochs, steps
        self.terminal = sys.stdout.isatty()
        self.started = self.shown = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if loss != loss or loss in (float("inf"), float("-inf")):
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            raise BadInput(
                f"the loss is {loss} at step {batch + 1} of epoch {self.epoch + 1}, learning rate {rate:.3g}; "
                "lower the learning rate or use --precision float32 (the last checkpoint is kept)"
            )
        now = time.monotonic()
        if now - self.shown < (0.2 if self.terminal else QUIET_SECONDS):
            return
        self.shown = now
        share = (batch + 1) / self.steps
        left = (now - self.started) / share * (self.epochs - self.epoch - share)
        bar = "#" * int(20 * share)
        line = (
            f"{self.epoch + 1:>3}/{self.epochs:<3} [{bar:<20}] loss {loss:.4f}  "
            f"accuracy {float(logs['accuracy']):.4f}  {clock(left)} left"
        )
        print("\r" + line if self.terminal else line, end="" if self.terminal else "\n", flush=True)

    def clear(self):
        """Wipe the live line, so that the epoch's row takes its place."""
        if self.terminal:
            print("\r" + " " * 79 + "\r", end="")
