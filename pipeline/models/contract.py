"""The contract of a model: what it must be to be trained, saved, explained and exported here.

Raw pixels (n, h, w, c) float32 in [0, 255] in, probabilities (n, classes) out, one input, one output, Keras' own
layers alone. Functional models and Sequential ones do, with a softmax in any of Keras' forms at their end.
"""

import numpy as np

from pipeline.backend import keras, layers
from pipeline.errors import UserError
from pipeline.models import untrusted

SUM_TOLERANCE = 0.02  # of a row of probabilities; bfloat16 has two to three digits


def check(model, images: np.ndarray, n_classes: int) -> None:
    """Refuse a model that would fail after its training, before its first epoch.

    Args:
        model: built Keras model.
        images: a few inputs as it will get them, pixels or features.
        n_classes: of the labels that it is to learn.
    Raises:
        UserError: it is no functional or Sequential model of stock layers, or gives no probabilities.
    """
    outputs = keras.ops.convert_to_numpy(model(images.astype(np.float32), training=False))  # builds a Sequential, too
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise UserError(
            f"the model {model.name} must be functional or Sequential with one input and one output; build it with "
            "keras.Model(inputs, outputs)"
        )
    for layer in operations(model):
        stock = stock_class(layer)
        if stock is None or not untrusted.is_known(stock.__name__):
            raise UserError(
                f"the model {model.name} has {layer.name}, a {type(layer).__name__}, which no saved model may hold; "
                "use Keras' own layers, for arithmetic layers.Rescaling, Add or Multiply in place of keras.ops and * /"
            )
    if outputs.shape != (len(images), n_classes):
        raise UserError(
            f"the model {model.name} gives {list(outputs.shape)} for {len(images)} images of {n_classes} classes; "
            f"its last layer must give (n, {n_classes})"
        )
    if not np.isfinite(outputs).all():
        raise UserError(f"the model {model.name} gives values that are not finite before any training")
    if outputs.min() < 0 or abs(outputs.sum(axis=1) - 1).max() > SUM_TOLERANCE:
        raise UserError(
            f"the model {model.name} gives no probabilities: its rows do not sum to 1; end it in layers.Softmax() "
            "(logits have none; a sigmoid's outputs are no distribution over classes)"
        )


def operations(model) -> list:
    """Layers of a model and of the models in it, and the operations that are no layers (keras.ops, arithmetic)."""
    found = []
    for operation in getattr(model, "operations", model.layers):
        found += operations(operation) if isinstance(operation, keras.Model) else [operation]
    return found


def stock_class(layer) -> type | None:
    """Keras' own layer class of a layer; one of this project is a faster form of the stock layer that it derives from.

    None for an operation that is no layer, such as keras.ops and plain arithmetic leave in a functional graph.
    """
    for base in type(layer).__mro__:
        if getattr(layers, base.__name__, None) is base and base is not layers.Layer:
            return base
    return None


def with_stock_layers(model):
    """The same network, randomly initialized, with Keras' own layers in place of this project's faster forms."""

    def stock(layer):
        return stock_class(layer).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=stock)


def ends_in_softmax(layer) -> bool:
    """Whether a layer is a softmax of its own: layers.Softmax, or Activation("softmax")."""
    if isinstance(layer, layers.Softmax):
        return True
    return isinstance(layer, layers.Activation) and layer.activation is keras.activations.softmax


def has_softmax_inside(layer) -> bool:
    """Whether it is a Dense layer with a softmax for its activation."""
    return isinstance(layer, layers.Dense) and layer.activation is keras.activations.softmax
