"""Fine-tuning of a saved model on other data (--start-from): the head alone on frozen features, then all layers."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from pipeline.backend import keras, layers
from pipeline.data import datasets
from pipeline.errors import UserError
from pipeline.models import contract, saved_model
from pipeline.train import adam, checkpoint, fast_layers, flops, loop, recipe
from pipeline.train.run import Run

HEAD_EPOCHS, HEAD_LEARNING_RATE = 20, 2e-3  # of the head alone, which costs little: its inputs are computed once
# The layers that take a network's time; they compute in the run's precision, all others in float32.
IN_PRECISION = ("Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D", "Add", "ZeroPadding2D", "Activation")
WHITENED = "whiten"  # name of a convolution with fixed filters, see recipe.whiten


def run(
    config,
    prefix: str,
    model_file: str,
    augment: loop.Augment,
    compile_model: Callable[[keras.Model, object, int], None],
    *,
    dropout: float = 0.0,
    head_epochs: int = HEAD_EPOCHS,
    head_learning_rate: float = HEAD_LEARNING_RATE,
    tta: dict | None = None,
) -> int:
    """A whole run of a training script with --start-from: data in the model's shape, two phases, evaluate, save.

    Args:
        config: with start_from, the path of a saved model.
        prefix, model_file: of the run's files, see Run.
        compile_model: (model, config, steps) -> None; the second phase's optimizer and loss.
        dropout: fraction of the features dropped before the head, as saved models have no dropout of their own.
        tta: see Run.finish.
    Returns:
        Exit code 0.
    Raises:
        UserError: no saved model, one without a head of its own, or one of images that no data can be scaled to.
    """
    saved = saved_model.open_model(config.start_from)
    dataset = datasets.prepare(config, input_shape(saved))
    if dataset.name == saved.metadata["dataset"]:
        datasets.warn_if_changed(dataset, saved)
    name = f"{saved.path.stem} fine-tuned"
    this_run = Run(prefix, model_file, name, config, dataset, {saved.path.name: saved.sha256})
    if this_run.already_finished():
        return 0
    with this_run.holding_folder():
        model = starting_copy(saved, dataset.class_names, dropout)
    head = "kept" if keeps_head(saved, dataset.class_names) else "new"
    print(f"starting from {saved.path.name} ({saved.metadata['title']}), head {head}")
    train_head(this_run, model, dataset, head_epochs, head_learning_rate)
    print("phase 2: all layers")
    unfreeze(model, frozen=(WHITENED,))
    compile_model(model, config, config.epochs * recipe.steps_per_epoch(dataset, config))
    loop.fit(this_run, model, dataset, epochs=config.epochs, augment=augment, phase="all layers")
    temperature = recipe.scale_temperature(model, dataset.x_validation, dataset.y_validation)
    started_from = {"file": saved.path.name, "title": saved.metadata["title"], "head": head}
    this_run.finish(model, tta=tta, temperature=temperature, started_from=started_from)
    return 0


def input_shape(saved: saved_model.SavedModel) -> tuple[int, int, int]:
    """(height, width, channels) of a saved model's images; UserError where data sets cannot be brought to it."""
    shape = tuple(saved.model.input_shape[1:])
    if len(shape) != 3 or None in shape or shape[2] not in (1, 3):
        raise UserError(
            f"{saved.path} takes inputs {shape}, and images are (height, width, 1 or 3); start from another model"
        )
    return shape


def classifier(saved: saved_model.SavedModel) -> tuple[keras.Layer, keras.Layer]:
    """The Dense layer that gives the logits, and the softmax after it.

    Raises:
        UserError: there is not one such pair, as in an ensemble.
    """
    found = saved.model.layers
    ends = [i for i, layer in enumerate(found) if contract.ends_in_softmax(layer)]
    if len(ends) != 1 or not isinstance(found[ends[0] - 1], layers.Dense):
        raise UserError(
            f"{saved.path} does not end in one Dense layer and a softmax, as an ensemble does not; start from a "
            "single network"
        )
    return found[ends[0] - 1], found[ends[0]]


def keeps_head(saved: saved_model.SavedModel, class_names: tuple[str, ...]) -> bool:
    """Whether the model's head is one for these very classes in this order, with nothing after its softmax."""
    same = tuple(saved.metadata["class_names"]) == tuple(class_names)
    return same and saved.model.layers[-1] is classifier(saved)[1]


def starting_copy(saved: saved_model.SavedModel, class_names: tuple[str, ...], dropout: float) -> keras.Model:
    """A trainable copy of a saved model: its trunk, and a head for these classes, kept where they are the same.

    The copy computes in the run's precision. A new head is randomly initialized.
    """
    dense, softmax = classifier(saved)
    trunk = keras.Model(saved.model.inputs[0], dense.input)

    def clone(layer):
        in_precision = type(layer).__name__ in IN_PRECISION
        settings = {"dtype": keras.config.dtype_policy().name} if in_precision else {}
        return fast_layers.faster(layer, **settings)

    pixels = keras.Input(saved.model.input_shape[1:], name="pixels")
    copy = keras.models.clone_model(trunk, input_tensors=pixels, clone_function=clone)
    for layer in copy.layers:
        if layer.variables:
            layer.set_weights(trunk.get_layer(layer.name).get_weights())
    head = layers.Dense.from_config({**dense.get_config(), "units": len(class_names)})
    x = layers.Dropout(dropout, name="head_dropout")(copy.output)
    probabilities = layers.Softmax(dtype="float32", name=softmax.name)(head(x))
    if keeps_head(saved, class_names):
        head.set_weights(dense.get_weights())
    return keras.Model(pixels, probabilities, name=saved.model.name)


def head_of(model: keras.Model) -> keras.Model:
    """The last dropout, Dense and softmax layers as a model of features; it shares them with the whole."""
    own = model.layers[-3:]
    x = features = keras.Input(own[0].input.shape[1:], name="features_in")
    for layer in own:
        x = layer(x)
    return keras.Model(features, x, name="head")


def train_head(run: Run, model: keras.Model, dataset: datasets.Dataset, epochs: int, learning_rate: float) -> None:
    """Phase one: the trunk runs once over all images, the head (see head_of) learns on what came out.

    Args:
        learning_rate: Adam's.
    """
    trunk = keras.Model(model.input, model.layers[-3].input)
    head = head_of(model)
    recipe.compile_model(head, adam.Adam(learning_rate), "sparse_categorical_crossentropy")
    started = time.monotonic()
    training, validation = dataset.x_train, dataset.x_validation
    if run.config.resume and checkpoint.epochs_done(run.path("head_checkpoint.npz")) >= epochs:
        training, validation = training[:2], validation[:2]  # a finished head is only read back; two tell that it fits
    dataset = dataclasses.replace(
        dataset,
        x_train=features(trunk, training, "training"),
        x_validation=features(trunk, validation, "validation"),
    )
    run.add_operations(flops.of_pass(trunk, len(dataset.y_train)))
    print("phase 1: the head on frozen features")
    loop.fit(
        run,
        head,
        dataset,
        epochs=epochs,
        augment=None,
        name="head_checkpoint",
        phase="head",
        seconds_before=time.monotonic() - started,
    )


def features(trunk: keras.Model, images: np.ndarray, part: str) -> np.ndarray:
    """What the trunk makes of raw pixels (n, h, w, c): (n, features) float32."""
    return saved_model.predict(trunk, images, what=f"{part} images through the trunk")


def unfreeze(model: keras.Model, frozen: tuple[str, ...] = ()) -> None:
    """Every layer learns but BatchNorm, which keeps its statistics, and those whose names begin with a frozen one.

    A small data set's batches would give poorer statistics than those of the data that the model was trained on.
    """
    for layer in model.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization) and not layer.name.startswith(frozen)
