"""Multiply-accumulate operations (MACs) of a model for one image."""

import numpy as np

from pipeline.backend import layers
from pipeline.errors import UserError
from pipeline.models import contract


def multiply_accumulates(model) -> int:
    """MACs of a Keras model's convolutions, dense and attention layers for one image.

    Products with the zeros of the padding are counted, as is usual; the other layers (normalization,
    activations, pooling) are not. A layer that is called twice counts once.

    Raises:
        UserError: a layer with a matrix of weights for which there is no rule here.
    """
    return sum(of_layer(layer) for layer in model.layers)


def of_layer(layer) -> int:
    """MACs of one built layer of a model for one image; see multiply_accumulates."""
    kind = contract.stock_class(layer)
    if kind is layers.MultiHeadAttention:
        return _of_attention(layer)
    if kind in (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D):
        kernels = sum(int(np.prod(weight.shape)) for weight in layer.weights if len(weight.shape) == 4)
        return int(np.prod(layer.output.shape[1:3])) * kernels
    if kind is layers.Dense:
        places = int(np.prod(layer.output.shape[1:-1]))  # 1 for a vector of features
        return places * int(np.prod(layer.kernel.shape))
    if any(len(weight.shape) > 1 for weight in layer.weights):
        raise UserError(
            f"no rule to count the operations of {layer.name}, a {type(layer).__name__}; "
            "give it one in pipeline/models/macs.py, or leave this model out"
        )
    return 0


def _of_attention(layer) -> int:
    """MACs of a MultiHeadAttention: its four matrices of weights, and the products of all queries with all keys."""
    query, value, *_ = layer.input
    queries, keys = (int(np.prod(tensor.shape[1:-1])) for tensor in (query, value))
    places = {"query": queries, "key": keys, "value": keys, "attention_output": queries}
    total = 0
    for weight in layer.weights:
        *_, name, kind = weight.path.split("/")
        if kind == "kernel":
            total += places[name] * int(np.prod(weight.shape))
    products = layer.num_heads * (layer.key_dim + layer.value_dim)
    return total + products * queries * keys
