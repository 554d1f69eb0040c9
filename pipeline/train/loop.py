"""The training loop: Keras' fit(), an epoch at a time, so that it can be interrupted and resumed.

An epoch is a function of the checkpoint before it and of (seed, epoch): the order of the images, the
augmentation and the dropout masks are derived from there. Nothing else has to be remembered, but for
the step within an epoch that a signal cut short.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from pipeline import backend
from pipeline.backend import keras
from pipeline.console import clock
from pipeline.data.augment import DROPOUT, stream
from pipeline.data.batches import Batches, InOrder
from pipeline.errors import Interrupted, UserError
from pipeline.train import checkpoint
from pipeline.train.interrupt import DeferredSignals
from pipeline.train.recipe import Plateau

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

    def __init__(
        self, epoch: int, epochs: int, steps: int, begun: dict | None = None, held: DeferredSignals | None = None
    ):
        super().__init__()
        self.epoch, self.epochs, self.steps = epoch, epochs, steps
        self.begun, self.held = begun or {}, held or DeferredSignals()
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
        """UserError where the loss or some of the weights are no use any more.

        The loss alone does not show it: oneDNN's ReLU turns NaN into 0, and the network goes on, dead.
        """
        what = None if loss < EXPLODED else f"the loss is {loss:.3g}"
        broken = (one.path for one in variables if not np.isfinite(keras.ops.convert_to_numpy(one)).all())
        if what is None and (path := next(broken, None)):
            what = f"{path} has values that are not finite"
        if what:
            synchronise(self.model)
            raise UserError(
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


Augment = Callable[..., np.ndarray]  # (images, rng, indices, epoch) -> images, see pipeline.data.batches


def seed_layers(model, seed: int, epoch: int) -> None:
    """Give every random layer (dropout) the state that belongs to this epoch."""
    for index, layer in enumerate(model.layers):
        if hasattr(layer, "seed_generator"):
            state = stream(DROPOUT, seed, epoch, index).integers(2**32, size=2, dtype=np.uint32)
            layer.seed_generator.state.assign(state)


def one_epoch(model, batches: Batches, validation: InOrder | None, progress: Progress) -> dict:
    """Train on what is left of an epoch, then validate: its row of the history."""
    logs = {}
    if len(batches):
        logs = model.fit(batches, shuffle=False, verbose=0, callbacks=[progress]).history
        progress.refuse_broken(model.variables)
    row = {"epoch": progress.epoch + 1, **progress.averages({name: values[0] for name, values in logs.items()})}
    if validation is not None:
        with backend.without_distribution():
            measured = model.evaluate(validation, verbose=0, return_dict=True, callbacks=[progress])
        row |= {f"val_{name}": value for name, value in measured.items()}
    return row | {"learning_rate": learning_rate(model), "seconds": progress.seconds()}


def fit(
    run,
    model,
    dataset,
    *,
    epochs: int,
    augment: Augment | None,
    name: str,
    mix: Callable[..., tuple] | None = None,
    plateau: Plateau | None = None,
    on_best: Callable[[], None] | None = None,
    earlier_epochs: int = 0,
    seconds_before: float = 0.0,
) -> list[dict]:
    """Train a compiled model; go on where an interrupted run stopped if --resume says so.

    Args:
        run: a pipeline.train.run.Run; its clock and its count of epochs are kept up to date.
        dataset: with a validation part; labels of both parts (n, classes) where `mix` is given.
        epochs: passes over the training images, at most.
        augment, mix: of training batches, see pipeline.data.batches.
        name: of the state file in the run's folder.
        plateau: rule for a constant learning rate and early stopping; with it, the weights of the
            best validation loss are restored at the end.
        on_best: called after each epoch with a new best validation accuracy.
        earlier_epochs: of this run, whose random numbers are not to be drawn again.
        seconds_before: that preparing this training took; they count to its first epoch.
    Returns:
        One dict per epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate (at its end), seconds.
    Raises:
        UserError: the state is damaged or of other settings, or the loss or the weights broke.
        Interrupted: by a signal; the state is saved.
    """
    config, path = run.config, run.path(f"{name}.npz")
    history, best, begun = [], None, {}
    if config.resume and (found := checkpoint.restore(path, model, run.settings)):
        history, best, begun = found[0]["history"], found[1], found[0].get("begun", {})
        run.earlier_seconds, run.begun_anew = found[0]["wall_seconds"], False
        print(f"resuming after epoch {len(history)} of {epochs}" + (f", step {begun['step']}" if begun else ""))
    validation = InOrder(dataset.x_validation, dataset.y_validation)
    if len(history) < epochs and keras.backend.backend() != "tensorflow":
        # Their first fit() would draw batches to build the metrics, and hand these out late and out of turn.
        with backend.without_distribution():
            model.test_on_batch(*validation[0])

    def save(**begun):
        record = {"config": run.settings, "history": history, "wall_seconds": run.wall_seconds()}
        checkpoint.save(path, model, record | ({"begun": begun} if begun else {}), best)
        run.keep_only(path)

    print(HEADER, flush=True)
    with DeferredSignals() as held:
        for epoch in range(len(history), epochs):
            losses = [row["val_loss"] for row in history]
            if plateau:
                if plateau.stops(losses):
                    print(f"stopped early: no better validation loss for {plateau.stop_after} epochs")
                    break
                model.optimizer.learning_rate = plateau.rate(losses)
            if not begun:
                seed_layers(model, config.seed, earlier_epochs + epoch)
            batches = Batches(
                dataset.x_train,
                dataset.y_train,
                batch_size=config.batch_size,
                seed=config.seed,
                epoch=earlier_epochs + epoch,
                augment=augment,
                mix=mix,
                first=begun.get("step", 0),
            )
            progress = Progress(epoch, epochs, batches.first + len(batches), begun, held)
            try:
                row = one_epoch(model, batches, validation, progress)
            except Interrupted:
                save(step=progress.step, seconds=progress.seconds(), **progress.averages(progress.logs))
                raise
            row["seconds"] += 0.0 if history else seconds_before
            history.append(row)
            begun = {}
            run.epochs = earlier_epochs + epoch + 1
            if plateau and row["val_loss"] < min(losses, default=float("inf")):
                best = model.get_weights()
            if on_best and row["val_accuracy"] > max((r["val_accuracy"] for r in history[:-1]), default=-1):
                on_best()
            progress.clear()
            left = float(np.mean([r["seconds"] for r in history])) * (epochs - epoch - 1)
            print(table_row(row, epochs, left), flush=True)
            save()
            if held.code:
                raise Interrupted(held.code, f"after epoch {epoch + 1}")
    if best is not None:
        model.set_weights(best)
    return history
