"""The same function of an image with fewer layers: BatchNorm folded into the layer before it.

At inference BatchNorm is one factor and one offset per channel, so it can be part of the weights of
the convolution or dense layer before it (Jacob et al. 2018, arXiv 1712.05877, section 3.2). Where
all factors are positive, this holds across a max pooling too, since the largest stays the largest:
converters leave that one alone.
"""

import numpy as np

from pipeline.errors import BadInput
from pipeline.quiet import keras

layers = keras.layers


def _sources(model) -> dict[str, list]:
    """Layer name -> the layers that its inputs come from; BadInput where one is called twice or is a model itself."""
    maker = {id(layer.output): layer for layer in model.layers}
    try:
        return {
            layer.name: [maker[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
            for layer in model.layers
            if not isinstance(layer, layers.InputLayer)
        }
    except (KeyError, AttributeError) as error:  # Keras has no single input or output for it
        raise BadInput("a model with a model in it, or a layer that is called twice, cannot be exported") from error


def _factor_and_offset(norm) -> tuple[np.ndarray, np.ndarray]:
    """What a BatchNorm layer does to each channel, (channels,) float64 each."""
    factor = 1 / np.sqrt(np.float64(norm.moving_variance) + norm.epsilon)
    factor = factor * np.float64(norm.gamma) if norm.scale else factor
    offset = -np.float64(norm.moving_mean) * factor
    return factor, offset + np.float64(norm.beta) if norm.center else offset


def folded(model):
    """A copy without the BatchNorm layers that can be folded, and with Rescaling for Normalization.

    Normalization keeps its constants outside the graph, where the ONNX exporter takes them for
    further inputs of the model; Rescaling by the same numbers is the same function.

    Args:
        model: functional Keras model for inference, as artifacts.load_model returns it.
    Returns:
        Keras model; its outputs differ by float32 rounding alone.
    Raises:
        BadInput: it is not a flat graph of layers that are called once.
    """
    sources = _sources(model)
    users = [source.name for made_from in sources.values() for source in made_from]
    weights, dropped = {}, set()
    for norm in model.layers:
        if type(norm) is not layers.BatchNormalization:
            continue
        factor, offset = _factor_and_offset(norm)
        before = sources[norm.name][0]
        if type(before) is layers.MaxPooling2D and users.count(before.name) == 1 and (factor > 0).all():
            before = sources[before.name][0]
        linear = type(before) in (layers.Conv2D, layers.Dense) and before.activation is keras.activations.linear
        if not linear or users.count(before.name) != 1:
            continue
        bias = np.float64(before.bias) if before.use_bias else 0
        weights[before.name] = [np.float32(np.float64(before.kernel) * factor), np.float32(bias * factor + offset)]
        dropped.add(norm.name)

    def clone(layer):
        if type(layer) is layers.Normalization:
            deviation = np.sqrt(np.float64(layer.variance).ravel())
            mean = np.float64(layer.mean).ravel()
            return layers.Rescaling((1 / deviation).tolist(), (-mean / deviation).tolist(), name=layer.name)
        bias = {"use_bias": True} if layer.name in weights else {}
        return type(layer).from_config({**layer.get_config(), **bias})

    def call(layer, *args, **kwargs):
        return args[0] if layer.name in dropped else layer(*args, **kwargs)

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in copy.layers:
        if layer.name in weights:
            layer.set_weights(weights[layer.name])
        elif layer.variables:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return copy
