"""Grad-CAM: which parts of an image speak for a class (Selvaraju et al. 2017, arXiv 1610.02391).

Gradients are TensorFlow's: Keras has no backend-neutral ones, so explaining needs that backend.
"""

import numpy as np

from pipeline.errors import BadInput
from pipeline.quiet import keras

SMALLEST_MAP = 4  # a coarser map cannot say where


def spatial_layers(model) -> list:
    """Layers with a map of their own weights or sums to explain: convolutions and additions, in order."""
    return [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Add) and len(layer.output.shape) == 4
    ]


def default_layer(model) -> str:
    """Name of the layer to explain: the activation after the deepest convolution of at least 4x4.

    What follows it without changing the map's size (BatchNorm, addition, ReLU) belongs to it.

    Raises:
        BadInput: the model has no convolution with such a map.
    """
    candidates = [layer for layer in spatial_layers(model) if min(layer.output.shape[1:3]) >= SMALLEST_MAP]
    if not candidates:
        raise BadInput(f"no convolution of {model.name} has a map of at least {SMALLEST_MAP}x{SMALLEST_MAP}")
    layer = candidates[-1]
    kinds = keras.layers.BatchNormalization | keras.layers.ReLU | keras.layers.Activation
    for later in model.layers[model.layers.index(layer) + 1 :]:
        if not isinstance(later, kinds) or later.output.shape != layer.output.shape:
            break
        layer = later
    return layer.name


def grad_cam(model, images: np.ndarray, classes: np.ndarray, layer: str | None = None) -> np.ndarray:
    """Heat maps of the score before the softmax, a whole batch at once.

    A channel's weight is the mean gradient of the class score over the channel's map; the weighted
    sum of the channels, cut off below zero, is the map (equations 1 and 2).

    Args:
        model: functional model that ends in a softmax layer of its own.
        images: raw pixels (n, h, w, c) in [0, 255].
        classes: (n,) class to explain for each image.
        layer: name of the layer whose output is explained; None takes default_layer(model).
    Returns:
        (n, h, w) float32, bilinearly enlarged to the images' size, each map scaled to a maximum
        of 1; a map that is zero everywhere stays zero.
    Raises:
        BadInput: another backend than TensorFlow, no softmax layer at the end, or no such layer.
    """
    if keras.backend.backend() != "tensorflow":
        raise BadInput("explanations need the TensorFlow backend; run with KERAS_BACKEND=tensorflow")
    import tensorflow as tf

    if not isinstance(model.layers[-1], keras.layers.Softmax):
        raise BadInput(f"{model.name} does not end in a softmax layer, so there is no score before it to explain")
    name = layer or default_layer(model)
    known = {known.name for known in model.layers[1:] if len(known.output.shape) == 4}
    if name not in known:
        listed = ", ".join(layer.name for layer in spatial_layers(model))
        raise BadInput(f"{model.name} has no layer {name} with a map; it has {listed} and what follows them")
    scores_and_maps = keras.Model(model.input, [model.get_layer(name).output, model.layers[-1].input])
    pixels = tf.convert_to_tensor(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pixels)  # so that layers before the first weight are on the tape, too
        maps, logits = scores_and_maps(pixels, training=False)
        # Images of a batch do not influence each other, so the sum's gradient holds each one's own.
        score = tf.reduce_sum(tf.gather(logits, tf.constant(classes, tf.int32), axis=1, batch_dims=1))
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
    heat = tf.image.resize(heat, images.shape[1:3], "bilinear")[..., 0].numpy()
    peak = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, peak, out=np.zeros_like(heat), where=peak > 0)
