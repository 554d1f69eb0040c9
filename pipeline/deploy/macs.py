"""How much arithmetic a model takes for one image."""

import numpy as np

from pipeline.backend import keras
from pipeline.errors import UserError

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


def multiply_accumulates(model) -> int:
    """Multiply-accumulates of one image in a Keras model's convolutions and dense layers.

    Products with the zeros that pad an image are counted, as is usual; what the other layers do
    (normalization, activations, pooling) is left out. A layer that is called twice counts once.

    Raises:
        UserError: a layer with a matrix of weights for which there is no rule here.
    """
    total = 0
    for layer in model.layers:
        if type(layer) in CONVOLUTIONS:
            kernels = sum(int(np.prod(weight.shape)) for weight in layer.weights if len(weight.shape) == 4)
            total += int(np.prod(layer.output.shape[1:3])) * kernels
        elif type(layer) is keras.layers.Dense:
            places = int(np.prod(layer.output.shape[1:-1]))  # 1 for a vector of features
            total += places * int(np.prod(layer.kernel.shape))
        elif any(len(weight.shape) > 1 for weight in layer.weights):
            raise UserError(
                f"no rule to count the operations of {layer.name}, a {type(layer).__name__}; "
                "give it one in pipeline/deploy/macs.py, or leave this model out"
            )
    return total
