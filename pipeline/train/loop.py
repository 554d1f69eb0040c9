"""The training loop: Keras' fit(), an epoch at a time, so that it can be interrupted and resumed.

An epoch is a function of the checkpoint before it and of (seed, epoch): the order of the images, the
augmentation and the dropout masks are derived from there. Nothing else has to be remembered, but for
the step within an epoch that a signal cut short.
"""

import math
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from pipeline import backend
from pipeline.backend import keras
from pipeline.console import clock
from pipeline.data.augment import DROPOUT, stream
from pipeline.data.batches import Batches, InOrder, balanced, check_threads
from pipeline.errors import Interrupted, UserError
from pipeline.models import contract
from pipeline.train import checkpoint, flops
from pipeline.train.interrupt import DeferredSignals
from pipeline.train.recipe import Plateau

HEADER = "  epoch     loss  accuracy  val_loss  val_accuracy  learning_rate  seconds  time left"
EXPLODED = 1000.0  # a loss beyond which nothing is learnt any more; guessing gives 2.3 to 4.6
QUIET_SECONDS = 20  # between two live lines where the output is a file

Augment = Callable[..., np.ndarray]  # (images, rng, indices, epoch) -> images, see pipeline.data.batches


def table_row(row: dict, epochs: int, left: float) -> str:
    """One line of the epoch table from a history row."""

    def cell(name, width, digits):
        return f"{row[name]:{width}.{digits}f}" if name in row else " " * (width - 1) + "-"

    return (
        f"{row['epoch']:>3}/{epochs:<3} {cell('loss', 8, 4)}  {cell('accuracy', 8, 4)}  {cell('val_loss', 8, 4)}  "
        f"{cell('val_accuracy', 12, 4)}  {row['learning_rate']:13.2e}  {row['seconds']:7.1f}  {clock(left):>9}"
    )


class FiniteCheck:
    """Whether all values of some variables are finite, as one reduction on the device.

    The loss alone does not show it: oneDNN's ReLU turns NaN into 0, and the network goes on, dead.

    Args:
        compiled: to one call for hundreds of small operations, in TensorFlow; pays where it is called often.
    """

    def __init__(self, variables, compiled: bool = False):
        self.variables = [variable for variable in variables if "float" in str(variable.dtype)]
        self.reduce = self._all_finite
        if compiled and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            self.reduce = tf.function(self._all_finite)

    @classmethod
    def of_vectors(cls, model) -> "FiniteCheck":
        """Of the biases and statistics of a model; of nothing on JAX, which keeps all weights elsewhere in an epoch."""
        if keras.backend.backend() == "jax":
            return cls([])
        return cls((weight for weight in model.weights if len(weight.shape) == 1), compiled=True)

    def _all_finite(self):
        ops = keras.ops
        flat = [ops.reshape(ops.cast(variable, "float32"), (-1,)) for variable in self.variables]
        return ops.all(ops.isfinite(ops.concatenate(flat)))

    def broken(self) -> str | None:
        """The path of a variable with a value that is not finite; None where there is none."""
        if not self.variables or bool(keras.ops.convert_to_numpy(self.reduce())):
            return None
        for variable in self.variables:
            if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
                return variable.path
        return None


class Progress(keras.callbacks.Callback):
    """Live line during an epoch; broken numbers and deferred signals end the epoch after their step.

    Args:
        epoch: counted from 0; epochs: of the whole phase; steps: of one epoch.
        begun: step, averages and seconds of this epoch before an interruption, if there was one.
        deferred: the signals so far, where they are deferred.
        vectors: check of the model's biases and statistics, which are enough at a step: what breaks a kernel breaks
            them in the next one. None makes one.
    """

    def __init__(
        self,
        epoch: int,
        epochs: int,
        steps: int,
        begun: dict | None = None,
        deferred: DeferredSignals | None = None,
        vectors: FiniteCheck | None = None,
    ):
        super().__init__()
        self.epoch, self.epochs, self.steps = epoch, epochs, steps
        self.begun, self.deferred = begun or {}, deferred or DeferredSignals()
        self.step = self.first = self.begun.get("step", 0)
        self.logs = {}
        self.vectors = vectors
        self.terminal = sys.stdout.isatty()
        self.started = self.shown = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.step = self.first + batch + 1
        self.logs = {name: float(value) for name, value in logs.items()}
        if self.vectors is None:
            self.vectors = FiniteCheck.of_vectors(self.model)
        self.refuse_broken(self.vectors, self.logs["loss"])
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
        """Loss and metrics over the epoch's steps so far, those before the interruption with them."""
        before, here = self.first, self.step - self.first
        if not before:
            return logs
        names = [name for name in self.begun if name not in ("step", "seconds")]
        return {name: (self.begun[name] * before + (logs[name] * here if here else 0)) / self.step for name in names}

    def seconds(self) -> float:
        """Of this epoch so far."""
        return self.begun.get("seconds", 0) + time.monotonic() - self.started

    def refuse_broken(self, check: FiniteCheck, loss: float = 0.0) -> None:
        """UserError where the loss or some of the weights are no use any more."""
        what = None if loss < EXPLODED else f"the loss is {loss:.3g}"
        if what is None and (path := check.broken()):
            what = f"{path} has values that are not finite"
        if what:
            synchronize(self.model)
            raise UserError(
                f"{what} at step {self.step} of epoch {self.epoch + 1}, learning rate {learning_rate(self.model):.3g}; "
                "lower the learning rate or use --precision float32 (the last checkpoint is kept)"
            )

    def _stop_if_told(self):
        if self.deferred.code:
            synchronize(self.model)
            raise Interrupted(self.deferred.code, f"after step {self.step} of epoch {self.epoch + 1}")

    def clear(self):
        """Wipe the live line, so that the epoch's row takes its place."""
        if self.terminal:
            print("\r" + " " * 79 + "\r", end="")


def learning_rate(model) -> float:
    """The optimizer's, at its present step."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def trace_again(model) -> None:
    """Let TensorFlow trace the training step for images of a new size, instead of once more for those of any size.

    Only of known sizes does pipeline.train.fast_layers see that they are small.
    """
    if keras.backend.backend() == "tensorflow":
        model.make_train_function(force=True)


def synchronize(model) -> None:
    """Bring JAX's weights, which live outside the model during an epoch, back into it."""
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


def seed_layers(model, seed: int, epoch: int) -> None:
    """Give every random layer (dropout) the seed that belongs to this epoch."""
    for index, layer in enumerate(model.layers):
        if hasattr(layer, "seed_generator"):
            state = stream(DROPOUT, seed, epoch, index).integers(2**32, size=2, dtype=np.uint32)
            layer.seed_generator.state.assign(state)


def one_epoch(
    model, batches: Batches, validation: InOrder | None, progress: Progress, callbacks: Sequence = ()
) -> dict:
    """Train on what is left of an epoch, then validate: its row of the history."""
    logs = {}
    if len(batches):
        epoch = {"initial_epoch": progress.epoch, "epochs": progress.epoch + 1}
        logs = model.fit(batches, shuffle=False, verbose=0, callbacks=[progress, *callbacks], **epoch).history
        progress.refuse_broken(FiniteCheck(model.weights))
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
    name: str = "checkpoint",
    phase: str | None = None,
    mix: Callable[..., tuple] | None = None,
    plateau: Plateau | None = None,
    on_best: Callable[[], None] | None = None,
    seconds_before: float = 0.0,
    callbacks: Sequence = (),
) -> list[dict]:
    """Train a compiled model; go on where an interrupted run stopped if --resume says so.

    Args:
        run: a pipeline.train.run.Run, whose history it continues; the epochs there are of earlier phases, and their
            random numbers are not drawn again.
        dataset: with a validation part; labels of both parts (n, classes) where `mix` is given.
        epochs: passes over the training images, at most.
        augment, mix: of training batches, see pipeline.data.batches.
        name: of the checkpoint file in the run's folder.
        phase: name of this part of the run in the history, if it has several.
        plateau: rule for a constant learning rate and early stopping; with it, the weights of the
            best validation loss are restored at the end.
        on_best: called after each epoch with a new best validation accuracy.
        seconds_before: that preparing this training took; they count to its first epoch.
        callbacks: Keras callbacks; every epoch is a fit() of its own to them.
    Returns:
        One dict per epoch: epoch, loss, accuracy, cross_entropy, val_loss, val_accuracy, val_cross_entropy,
        learning_rate (at its end), seconds, and the phase where it has a name.
    Raises:
        UserError: a model that cannot be trained or saved here, a checkpoint that is damaged or of other settings,
            or a loss or weights that broke.
        Interrupted: by a signal; the checkpoint is saved.
    """
    config, path, earlier = run.config, run.path(f"{name}.npz"), list(run.history)
    check_threads()
    _check_contract(model, dataset)
    history, best, begun, image_shape = [], None, {}, None
    if config.resume and (found := checkpoint.restore(path, model, run.identity)):
        record, best = found
        history, begun = record["history"], record.get("begun", {})
        run.earlier_seconds, run.from_scratch = record["wall_seconds"], False
        print(f"resuming after epoch {len(history)} of {epochs}" + (f", step {begun['step']}" if begun else ""))
    class_weights = None
    if config.class_weights == "balanced":
        class_weights = balanced(dataset.y_train, len(dataset.class_names))
    validation = InOrder(dataset.x_validation, dataset.y_validation)
    vectors = FiniteCheck.of_vectors(model)
    if len(history) < epochs:
        create_variables(model, validation[0][1])

    def save(**begun):
        record = {"config": run.identity, "history": history, "wall_seconds": run.wall_seconds()}
        if begun:
            record["begun"] = begun
        checkpoint.save(path, model, record, best)
        run.keep_only(path)

    print(HEADER, flush=True)
    run.history = earlier + history
    with run.holding_folder(), run.hosts.all_there(), DeferredSignals() as deferred:
        for epoch in range(len(history), epochs):
            losses = [row["val_loss"] for row in history]
            if plateau:
                if plateau.stops(losses):
                    print(f"stopped early: no better validation loss for {plateau.stop_after} epochs")
                    break
                model.optimizer.learning_rate = plateau.rate(losses)
            if not begun:
                seed_layers(model, config.seed, len(earlier) + epoch)
            batches = Batches(
                dataset.x_train,
                dataset.y_train,
                batch_size=config.batch_size,
                seed=config.seed,
                epoch=len(earlier) + epoch,
                augment=augment,
                mix=mix,
                class_weights=class_weights,
                first=begun.get("step", 0),
            )
            if batches.image_shape() != image_shape:
                image_shape = batches.image_shape()
                trace_again(model)
            progress = Progress(epoch, epochs, batches.first + len(batches), begun, deferred, vectors)
            try:
                row = one_epoch(model, run.hosts.part(batches), validation, progress, callbacks)
            except Interrupted:
                save(step=progress.step, seconds=progress.seconds(), **progress.averages(progress.logs))
                raise
            if not history:
                row["seconds"] += seconds_before
            if phase:
                row["phase"] = phase
            history.append(row)
            begun = {}
            if plateau and row["val_loss"] < _best(losses, min, math.inf):
                best = model.get_weights()
            if on_best and row["val_accuracy"] > _best([r["val_accuracy"] for r in history[:-1]], max, -1.0):
                on_best()
            progress.clear()
            left = float(np.mean([r["seconds"] for r in history])) * (epochs - epoch - 1)
            print(table_row(row, epochs, left), flush=True)
            run.add_epoch(row)
            save()
            if deferred.code:
                raise Interrupted(deferred.code, f"after epoch {epoch + 1}")
    if best is not None:
        model.set_weights(best)
    passed = range(len(earlier), len(earlier) + len(history))
    run.add_operations(flops.of_epochs(model, dataset, augment, config.seed, passed, config.batch_size))
    return history


def create_variables(model, labels: np.ndarray) -> None:
    """The variables of loss, metrics and optimizer, which Keras creates at first use.

    There TensorFlow would trace the training step twice for their sake, and other backends would draw batches for it,
    and hand these out late and out of turn. Stateless: of several hosts none may compute alone with what all share, so
    a weight that is regularized counts as zeros here.
    """
    classes = model.output_shape[-1]
    probabilities = np.full((len(labels), classes), 1 / classes, np.float32)
    regularized = [v for v in model.trainable_variables if v.regularizer]
    with keras.StatelessScope(state_mapping=[(v, np.zeros(v.shape, np.float32)) for v in regularized]):
        model.compute_loss(y=labels, y_pred=probabilities)
        model.compute_metrics(None, labels, probabilities)
    model.optimizer.build(model.trainable_variables)


def _check_contract(model, dataset) -> None:
    labels = dataset.y_train
    n_classes = labels.shape[1] if labels.ndim == 2 else len(dataset.class_names)
    contract.check(model, dataset.x_train[:2], n_classes)


def _best(values: list[float], choose: Callable, none: float) -> float:
    """The best of the values that are numbers; `none` where there is none."""
    return choose((value for value in values if not math.isnan(value)), default=none)
