"""Adoption of models that were trained elsewhere: brought to the contract, raw pixels in, probabilities out."""

from dataclasses import dataclass

import numpy as np

from pipeline.backend import keras, layers
from pipeline.errors import UserError
from pipeline.evaluate import metrics
from pipeline.models import contract, flat, saved_model

# What a model may have been given in training, by the range of its pixels. caffe: blue, green, red, less the mean of
# ImageNet's, as keras.applications' VGG and ResNet take them.
PIXELS = ("0..1", "-1..1", "0..255", "caffe")
MEAN_BGR = (103.939, 116.779, 123.68)
ALPHA = 0.05  # of McNemar's test


@dataclass(frozen=True)
class Trial:
    """A pixel scaling, tried on labeled images: which of them (n,) bool are right, and the cross-entropy in nats."""

    pixels: str
    correct: np.ndarray
    cross_entropy: float

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())


def refuse_other_forms(model, path) -> None:
    """Raise UserError where a model is no functional or Sequential image classifier of stock layers."""
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise UserError(f"{path} is not functional or Sequential with one input and one output")
    if len(model.output_shape) != 2:
        raise UserError(f"{path} gives {list(model.output_shape)}; an image classifier gives (n, classes)")
    for layer in contract.operations(model):
        if contract.stock_class(layer) is None:
            raise UserError(f"{path} has {layer.name}, a {type(layer).__name__}, which is no layer of Keras")


def image_shape(model, native: tuple[int, int, int], path) -> tuple[int, int, int]:
    """(height, width, channels) of the images that a model takes.

    Args:
        native: shape of the data set's images, for a model that takes any size, or pixels in one row.
    Raises:
        UserError: it takes no images.
    """
    shape = model.input_shape[1:]
    if len(shape) == 1 and shape[0] == int(np.prod(native)):
        return native
    if len(shape) == 2:
        shape = (*shape, 1)
    found = tuple(own or other for own, other in zip(shape, native, strict=False))
    if len(found) != 3 or found[2] not in (1, 3):
        raise UserError(f"{path} takes {list(model.input_shape)}; an image classifier takes (n, height, width, 1 or 3)")
    return found


def open_head(model, n_classes: int, path) -> str:
    """Turn a sigmoid at a model's end into its logits, in place; what was done, for a line, empty for nothing.

    Raises:
        UserError: another number of classes than the data set's.
    """
    outputs, last = model.output_shape[-1], flat.last_layer(model)
    binary = outputs == 1 and n_classes == 2
    if outputs != n_classes and not binary:
        raise UserError(f"{path} has {outputs} classes, and the data set has {n_classes}; name its own by --dataset")
    activation = getattr(last, "activation", None)
    if activation is keras.activations.sigmoid:
        last.activation = keras.activations.linear
        if not binary:
            return "its sigmoids became a softmax of the same scores: the same class, other probabilities"
    if binary:
        return "its one output became two classes with the same probabilities"
    return ""


def classifier(model, shape: tuple[int, int, int], pixels: str, n_classes: int):
    """A model by the contract, one flat graph: scaling, the model, and a softmax where it gives logits.

    Args:
        model: after open_head().
        shape: (height, width, channels), see image_shape().
        pixels: one of PIXELS, what the model itself takes.
        n_classes: of the data set.
    """
    raw = keras.Input(shape, name="pixels")
    x = _scaled(raw, pixels)
    if len(model.input_shape) < 4:
        x = layers.Reshape(model.input_shape[1:], name="pixels_reshaped")(x)
    x = model(x)
    if model.output_shape[-1] == 1:  # the other class has the score 0: a softmax of both is the sigmoid of one
        both = keras.initializers.Constant([[0.0, 1.0]])
        x = layers.Dense(n_classes, use_bias=False, kernel_initializer=both, name="both_classes")(x)
    if model.output_shape[-1] == 1 or not _gives_probabilities(model):
        x = layers.Softmax(name="probabilities")(x)
    return flat.inference_copy(keras.Model(raw, x, name=model.name), shape)


def _scaled(raw, pixels: str):
    if pixels == "0..1":
        return layers.Rescaling(1 / 255, name="pixels_scaled")(raw)
    if pixels == "-1..1":
        return layers.Rescaling(1 / 127.5, offset=-1, name="pixels_scaled")(raw)
    if pixels == "caffe":  # a convolution of one pixel swaps red and blue, in every export format
        swap = keras.initializers.Constant(np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3))
        mean = keras.initializers.Constant([-value for value in MEAN_BGR])
        swapped = layers.Conv2D(3, 1, kernel_initializer=swap, bias_initializer=mean, name="pixels_scaled")
        return swapped(raw)
    return raw


def _gives_probabilities(model) -> bool:
    """Whether its outputs for some random pixels are distributions over the classes."""
    shape = [length or 64 for length in model.input_shape[1:]]
    images = np.random.default_rng(0).random((4, *shape), np.float32)
    outputs = keras.ops.convert_to_numpy(model(images, training=False))
    return bool(outputs.min() >= 0 and abs(outputs.sum(axis=1) - 1).max() <= contract.SUM_TOLERANCE)


def tried(model, images: np.ndarray, labels: np.ndarray, n_classes: int) -> list[Trial]:
    """Every pixel scaling on labeled images, best first: most right, then the lowest cross-entropy.

    Args:
        model: after open_head().
        images: (n, h, w, c) uint8 as the model takes them, but for the scaling.
        labels: (n,).
    """
    trials = []
    for pixels in PIXELS:
        if pixels == "caffe" and images.shape[3] != 3:
            continue
        scaled = classifier(model, images.shape[1:], pixels, n_classes)
        found = np.nan_to_num(saved_model.predict(scaled, images, what=f"training images with pixels {pixels}"))
        trials.append(Trial(pixels, found.argmax(axis=1) == labels, metrics.cross_entropy(found, labels)))
    return sorted(trials, key=lambda trial: (-trial.accuracy, trial.cross_entropy))


def is_chance(correct: np.ndarray, labels: np.ndarray) -> bool:
    """Whether so many right answers may be had by always naming the largest class: 95 % interval."""
    low, _ = metrics.wilson(int(correct.sum()), len(correct))
    return low <= np.bincount(labels).max() / len(labels)


def cannot_be_told_apart(one: Trial, other: Trial) -> bool:
    """Whether two scalings differ by chance alone: McNemar's test."""
    return metrics.mcnemar(one.correct, other.correct)[2] >= ALPHA
