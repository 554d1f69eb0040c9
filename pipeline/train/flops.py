"""Floating-point operations of a training."""

from pipeline import backend
from pipeline.data.batches import Batches
from pipeline.errors import UserError
from pipeline.models import flat, macs


def of_step(model, image_shape: tuple[int, int, int]) -> float:
    """Operations of one image in a training step: 6 per multiply-accumulate, 2 of layers that are not trained.

    A product and a sum forward, and as much again for the gradients of the data and of the weights.

    Raises:
        UserError: a layer whose operations cannot be counted, see pipeline.models.macs.
    """
    trained = {layer.name for layer in model.layers if layer.trainable_weights}
    total = 0.0
    with backend.without_distribution():  # the copy's first weights are random, and differ on every host
        copy = flat.inference_copy(model, image_shape)
    for layer in copy.layers:
        total += macs.of_layer(layer) * (6 if layer.name in trained else 2)
    return total


def of_pass(model, images: int) -> float | None:
    """Operations of so many images through a model: 2 per multiply-accumulate; None where they cannot be counted."""
    try:
        return 2.0 * images * macs.multiply_accumulates(model)
    except UserError:
        return None


def of_epochs(model, dataset, augment, seed: int, epochs: range, batch_size: int) -> float | None:
    """Operations of whole epochs, by the size that the images have in each; None where they cannot be counted.

    Args:
        dataset: data.datasets.Dataset; its training labels are counted, its training images show their size: of a
            finished head only two are left.
        augment, batch_size, seed: as pipeline.data.batches.Batches takes them.
        epochs: counted from 0 over all phases of a run.
    """
    n = len(dataset.y_train)
    size = min(batch_size, n)
    seen = n // size * size
    by_shape, total = {}, 0.0
    for epoch in epochs:
        batches = Batches(
            dataset.x_train, dataset.y_train, batch_size=batch_size, seed=seed, epoch=epoch, augment=augment
        )
        shape = batches.image_shape()
        if shape not in by_shape:
            try:
                by_shape[shape] = of_step(model, shape)
            except UserError:
                return None
        total += seen * by_shape[shape]
    return total
