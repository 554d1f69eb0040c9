"""Keras' fit(), an epoch at a time, so that it can be interrupted and resumed.

An epoch is a function of the state before it and of (seed, epoch): the order of the images, the
augmentation and the dropout masks are derived from there. Nothing else has to be remembered, but for
the step within an epoch that a signal cut short.
"""

from collections.abc import Callable

import numpy as np

from pipeline import checkpoint, devices
from pipeline.augment import DROPOUT, stream
from pipeline.batches import Batches, InOrder
from pipeline.interrupt import Held, Interrupted
from pipeline.progress import HEADER, Progress, learning_rate, table_row
from pipeline.quiet import keras
from pipeline.recipe import Plateau

Augment = Callable[..., np.ndarray]  # (images, rng, indices, epoch) -> images, see pipeline.batches


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
        with devices.undivided():
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
        run: a pipeline.run.Run; its clock and its count of epochs are kept up to date.
        dataset: with a validation part; labels of both parts (n, classes) where `mix` is given.
        epochs: passes over the training images, at most.
        augment, mix: of training batches, see pipeline.batches.
        name: of the state file in the run's folder.
        plateau: rule for a constant learning rate and early stopping; with it, the weights of the
            best validation loss are restored at the end.
        on_best: called after each epoch with a new best validation accuracy.
        earlier_epochs: of this run, whose random numbers are not to be drawn again.
        seconds_before: that preparing this training took; they count to its first epoch.
    Returns:
        One dict per epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate (at its end), seconds.
    Raises:
        BadInput: the state is damaged or of other settings, or the loss or the weights broke.
        Interrupted: by a signal; the state is saved.
    """
    config, path = run.config, run.path(f"{name}.npz")
    history, best, begun = [], None, {}
    if config.resume and (found := checkpoint.restore(path, model, run.knobs, run.usual)):
        history, best, begun = found[0]["history"], found[1], found[0].get("begun", {})
        run.earlier_seconds, run.begun_anew = found[0]["wall_seconds"], False
        print(f"resuming after epoch {len(history)} of {epochs}" + (f", step {begun['step']}" if begun else ""))
    validation = InOrder(dataset.x_validation, dataset.y_validation)
    if len(history) < epochs and keras.backend.backend() != "tensorflow":
        # Their first fit() would draw batches to build the metrics, and hand these out late and out of turn.
        with devices.undivided():
            model.test_on_batch(*validation[0])

    def save(**begun):
        record = {"config": run.knobs, "history": history, "wall_seconds": run.wall_seconds()}
        checkpoint.save(path, model, record | ({"begun": begun} if begun else {}), best)
        run.keep_only(path)

    print(HEADER, flush=True)
    with Held() as held:
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
