"""Grad-CAM: which parts of an image speak for a class (Selvaraju et al. 2017, arXiv 1610.02391).

Gradients are TensorFlow's: Keras has no backend-neutral ones, so explaining needs that backend.
"""

import numpy as np

from pipeline.errors import BadInput
from pipeline.quiet import keras

SMALLEST_MAP = 4  # a coarser map cannot say where


def spatial_layers(model) -> list:
    """Layers whose maps are activations, in order: ReLU and its like, and convolutions that end in one.

    What a convolution gives before its activation can be negative all over; a weighted sum of such
    maps, cut off below zero, is often zero everywhere.
    """
    activations = keras.layers.ReLU | keras.layers.Activation
    return [
        layer
        for layer in model.layers
        if len(layer.output.shape) == 4
        and (
            isinstance(layer, activations)
            or (isinstance(layer, keras.layers.Conv2D) and layer.activation is not keras.activations.linear)
        )
    ]


def default_layer(model) -> str:
    """Name of the layer to explain: the deepest activation with a map of at least 4x4.

    Raises:
        BadInput: the model has none.
    """
    deep = [layer.name for layer in spatial_layers(model) if min(layer.output.shape[1:3]) >= SMALLEST_MAP]
    if not deep:
        raise BadInput(f"no activation of {model.name} has a map of at least {SMALLEST_MAP}x{SMALLEST_MAP}")
    return deep[-1]


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
    known = [known.name for known in model.layers[1:] if len(known.output.shape) == 4]
    if name not in known:
        raise BadInput(f"{model.name} has no layer {name} with a map; it has {', '.join(known)}")
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
