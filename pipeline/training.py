"""One training run: Keras' fit(), an epoch at a time, so that it can be interrupted and resumed.

An epoch is a function of the state before it and of (seed, epoch): the order of the images, the
augmentation and the dropout masks are derived from there. Nothing else has to be remembered.
"""

import time
from collections.abc import Callable

import numpy as np

from pipeline import artifacts, checkpoint
from pipeline import augment as augmentation
from pipeline.progress import HEADER, Progress, table_row
from pipeline.quiet import keras

Augment = Callable[..., np.ndarray]


class Batches(keras.utils.PyDataset):
    """One epoch's shuffled, augmented batches, prepared in a thread beside the training step.

    A last, smaller batch is left out; another shuffle brings its images back in the next epoch.

    Args:
        images: (n, h, w, c) uint8.
        labels: (n,) int.
        augment: function of (images, rng, indices, epoch), or None.
    """

    def __init__(self, images, labels, *, batch_size: int, seed: int, epoch: int, augment: Augment | None):
        super().__init__(workers=1, max_queue_size=4)
        self.images, self.labels, self.augment = images, labels, augment
        self.seed, self.epoch = seed, epoch
        self.size = min(batch_size, len(images))
        self.order = np.random.default_rng((seed, epoch)).permutation(len(images))

    def __len__(self):
        return len(self.images) // self.size

    def __getitem__(self, step):
        chosen = self.order[step * self.size : (step + 1) * self.size]
        images = self.images[chosen]
        if self.augment:
            rng = augmentation.stream(self.seed, self.epoch, step)
            images = self.augment(images, rng=rng, indices=chosen, epoch=self.epoch)
        return images.astype(np.float32, copy=False), self.labels[chosen]


class Plateau:
    """The learning rate and the end of training as a function of the validation losses so far.

    Same rule as keras.callbacks.ReduceLROnPlateau(min_delta=0) and EarlyStopping, but without a
    state of its own: a resumed run computes it again from its history.
    """

    def __init__(self, learning_rate: float, factor: float, patience: int, stop_after: int):
        self.learning_rate, self.factor = learning_rate, factor
        self.patience, self.stop_after = patience, stop_after  # both in epochs

    def rate(self, losses: list[float]) -> float:
        """Learning rate of the epoch that follows these validation losses."""
        best, waited, rate = float("inf"), 0, self.learning_rate
        for loss in losses:
            best, waited = (loss, 0) if loss < best else (best, waited + 1)
            if waited >= self.patience:
                rate, waited = rate * self.factor, 0
        return rate

    def stops(self, losses: list[float]) -> bool:
        """Whether the best loss is `stop_after` epochs old."""
        return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= self.stop_after


def total_steps(dataset, config) -> int:
    """Training steps of a whole run, for its learning-rate schedule."""
    n = len(dataset.x_train)
    return config.epochs * (n // min(config.batch_size, n))


class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of probabilities against integer labels, softened (Szegedy et al. 2016, section 7).

    The target is 1 - label_smoothing on the true class plus label_smoothing / classes on every one.

    Args:
        label_smoothing: share of the target spread evenly, in [0, 1).
    """

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__(name="cross_entropy")
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        classes = y_pred.shape[-1]
        target = keras.ops.one_hot(keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,)), classes)
        target = target * (1 - self.label_smoothing) + self.label_smoothing / classes
        return keras.losses.categorical_crossentropy(target, y_pred)


def seed_layers(model, seed: int, epoch: int) -> None:
    """Give every random layer (dropout) the state that belongs to this epoch."""
    for index, layer in enumerate(model.layers):
        if hasattr(layer, "seed_generator"):
            state = np.random.SeedSequence((seed, epoch, index)).generate_state(2)
            layer.seed_generator.state.assign(state)


def fit(
    run,
    model,
    dataset,
    *,
    epochs: int,
    augment: Augment | None,
    name: str,
    plateau: Plateau | None = None,
    on_best=None,
) -> list[dict]:
    """Train a compiled model; go on where an interrupted run stopped if --resume says so.

    Args:
        run: the run (folder, config, clock).
        dataset: with x_train, y_train and perhaps a validation part.
        epochs: passes over the training images, at most.
        augment: function of (images, rng, indices, epoch) on whole batches, train only.
        name: of the state file in the run's folder.
        plateau: rule for a constant learning rate and early stopping; with it, the weights of the
            best validation loss are restored at the end.
        on_best: called after each epoch with a new best validation accuracy.
    Returns:
        One dict per epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds.
    """
    config, path = run.config, run.folder / f"{run.prefix}_{name}.npz"
    history, best = [], None
    if config.resume and (found := checkpoint.restore(path, model, run.knobs)):
        history, best = found[0]["history"], found[1]
        run.earlier_seconds = found[0]["wall_seconds"]
        print(f"resuming after epoch {len(history)} of {epochs}")
    validation = None if dataset.x_validation is None else (dataset.x_validation, dataset.y_validation)
    print(HEADER, flush=True)
    for epoch in range(len(history), epochs):
        losses = [row["val_loss"] for row in history if "val_loss" in row]
        if plateau:
            if plateau.stops(losses):
                print(f"stopped early: no better validation loss for {plateau.stop_after} epochs")
                break
            model.optimizer.learning_rate = plateau.rate(losses)
        seed_layers(model, config.seed, epoch)
        batches = Batches(
            dataset.x_train,
            dataset.y_train,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
            augment=augment,
        )
        progress = Progress(epoch, epochs, len(batches))
        started = time.monotonic()
        logs = model.fit(
            batches,
            validation_data=validation,
            validation_batch_size=500,
            shuffle=False,
            verbose=0,
            callbacks=[progress],
        ).history
        rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, **{key: values[0] for key, values in logs.items()}}
        row |= {"learning_rate": rate, "seconds": time.monotonic() - started}
        history.append(row)
        if plateau and row["val_loss"] < min(losses, default=float("inf")):
            best = model.get_weights()
        if on_best and row["val_accuracy"] > max((r["val_accuracy"] for r in history[:-1]), default=-1):
            on_best()
        progress.clear()
        left = float(np.mean([r["seconds"] for r in history])) * (epochs - epoch - 1)
        print(table_row(row, epochs, left), flush=True)
        record = {"config": run.knobs, "history": history, "wall_seconds": run.wall_seconds()}
        checkpoint.save(path, model, record, best)
    if best is not None:
        model.set_weights(best)
    return history


def extract(backbone, images: np.ndarray, what: str, batch_size: int = 250) -> np.ndarray:
    """Run a frozen backbone once over images (n, h, w, c); returns its features (n, d) float32."""
    parts = []
    for start in range(0, len(images), 20 * batch_size):
        parts.append(artifacts.predict(backbone, images[start : start + 20 * batch_size], batch_size))
        print(f"features of {min(start + 20 * batch_size, len(images)):,} of {len(images):,} {what}", flush=True)
    return np.concatenate(parts)
