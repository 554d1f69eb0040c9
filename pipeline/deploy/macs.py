"""Multiply-accumulate operations (MACs) of a model for one image."""

import numpy as np

from pipeline.backend import layers
from pipeline.errors import UserError


def multiply_accumulates(model) -> int:
    """MACs of a Keras model's convolutions and dense layers for one image.

    Products with the zeros of the padding are counted, as is usual; the other layers (normalization,
    activations, pooling) are not. A layer that is called twice counts once.

    Raises:
        UserError: a layer with a matrix of weights for which there is no rule here.
    """
    convolutions = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
    total = 0
    for layer in model.layers:
        if type(layer) in convolutions:
            kernels = sum(int(np.prod(weight.shape)) for weight in layer.weights if len(weight.shape) == 4)
            total += int(np.prod(layer.output.shape[1:3])) * kernels
        elif type(layer) is layers.Dense:
            places = int(np.prod(layer.output.shape[1:-1]))  # 1 for a vector of features
            total += places * int(np.prod(layer.kernel.shape))
        elif any(len(weight.shape) > 1 for weight in layer.weights):
            raise UserError(
                f"no rule to count the operations of {layer.name}, a {type(layer).__name__}; "
                "give it one in pipeline/deploy/macs.py, or leave this model out"
            )
    return total
