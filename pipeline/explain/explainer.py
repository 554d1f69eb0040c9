"""Why this class: heat maps of a score before the softmax, whole batches at a time.

Capturing activations and gradients, enlarging and scaling maps is done here, once for all methods.
Gradients are TensorFlow's: Keras has no backend-neutral ones.
"""

import numpy as np

from pipeline.backend import keras
from pipeline.errors import UserError
from pipeline.explain import cam, receptive_field
from pipeline.models import saved_model

METHODS = (*cam.METHODS, "score-cam", "occlusion")
DEFAULT_METHOD = "grad-cam"
SMALLEST_MAP = 3  # cells per side of the default layer
FUSED = "fused"  # in the place of a layer's name: all stages together
BATCH = 100  # images per captured batch; a few hundred megabytes for the widest layers


def score_weights(classes, n_classes: int, against=None) -> np.ndarray:
    """Weights (n, n_classes) float32 on the logits: the score to explain is their weighted sum.

    Args:
        classes: (n,) class that each image's map is for.
        against: (n,) other class; then the score is the difference, "why this one and not that one".
    """
    one = np.eye(n_classes, dtype=np.float32)
    return one[classes] if against is None else one[classes] - one[against]


def spatial_layers(model) -> list:
    """Layers whose maps are activations, in order: ReLU and its like, and layers that end in one.

    What a convolution gives before its activation can be negative all over; a weighted sum of such
    maps, cut off below zero, is often zero everywhere.
    """
    rectifiers = keras.layers.ReLU | keras.layers.LeakyReLU | keras.layers.PReLU | keras.layers.ELU
    linear = keras.activations.linear
    return [
        layer
        for layer in model.layers
        if len(layer.output.shape) == 4
        and (isinstance(layer, rectifiers) or getattr(layer, "activation", linear) is not linear)
    ]


def stages(model) -> list[str]:
    """Names of the last activation of each map size, from large maps to small; a map of one cell says no place.

    Raises:
        UserError: the model has none.
    """
    last = {layer.output.shape[1:3]: layer.name for layer in spatial_layers(model)}
    names = [name for size, name in last.items() if min(size) > 1]
    if not names:
        raise UserError(f"{model.name} has no activation with a map of more than one cell")
    return names


def default_layer(model) -> str:
    """The deepest stage whose map has at least 3x3 cells; coarser ones are too few to say where.

    By benchmarks/faithfulness.py earlier stages are less faithful with Grad-CAM, and so is the fusion of
    all; coarser ones do not beat random maps.

    Raises:
        UserError: the model has none.
    """
    fine = [name for name in stages(model) if min(model.get_layer(name).output.shape[1:3]) >= SMALLEST_MAP]
    if not fine:
        raise UserError(
            f"no activation of {model.name} has a map of at least {SMALLEST_MAP}x{SMALLEST_MAP}; use --layer"
        )
    return fine[-1]


class Explainer:
    """One model, ready to explain; what it compiled for a layer serves all later batches.

    Args:
        model: functional model that ends in a softmax layer of its own.
    Raises:
        UserError: another backend than TensorFlow, or no softmax layer at the end.
    """

    def __init__(self, model):
        if keras.backend.backend() != "tensorflow":
            raise UserError("explanations need the TensorFlow backend; run with KERAS_BACKEND=tensorflow")
        if not isinstance(model.layers[-1], keras.layers.Softmax):
            raise UserError(f"{model.name} does not end in a softmax layer, so there is no score before it to explain")
        self.model, self.n_classes = model, model.output_shape[-1]
        self.logits = keras.Model(model.input, model.layers[-1].input)
        self.cells = receptive_field.cell_axes(model)
        self._captures = {}

    def __call__(self, images, target=None, method: str = DEFAULT_METHOD, layer: str | None = None) -> np.ndarray:
        """Heat maps of the score before the softmax.

        Args:
            images: raw pixels (n, h, w, c) in [0, 255].
            target: (n, classes) weights on the logits, see score_weights(); None explains the predicted class.
            method: one of METHODS.
            layer: name of a layer, or "fused"; None takes default_layer(). Occlusion has no use for it.
        Returns:
            (n, h, w) float32 in [0, 1], each map's maximum 1; a map without positive evidence is zero everywhere.
        Raises:
            UserError: no such method or layer.
        """
        if method not in METHODS:
            raise UserError(f"there is no method {method}; there are {', '.join(METHODS)}")
        names = self.layers(method, layer)
        images = np.asarray(images, np.float32)
        parts = []
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            parts.append(self._maps(part, None if target is None else target[start : start + BATCH], method, names))
        return np.concatenate(parts)

    def layers(self, method: str, layer: str | None = None) -> list[str]:
        """The layers that a map is made of: one, all stages, or none (occlusion); UserError where it does not exist."""
        if method == "occlusion":
            return []
        layer = layer or default_layer(self.model)
        if layer == FUSED:
            return stages(self.model)
        known = [known.name for known in self.model.layers[1:] if len(known.output.shape) == 4]
        if layer not in known:
            raise UserError(f"{self.model.name} has no layer {layer} with a map; it has {FUSED}, {', '.join(known)}")
        return [layer]

    def _maps(self, images, target, method, names) -> np.ndarray:
        def score(changed, rows):
            return (saved_model.predict(self.logits, changed) * target[rows]).sum(axis=1)

        if target is None and method not in cam.METHODS:
            target = np.eye(self.n_classes, dtype=np.float32)[saved_model.predict(self.logits, images).argmax(axis=1)]
        if method == "occlusion":
            return cam.scale(cam.occlusion(score, images))
        maps = []
        for name, activations, gradients in zip(names, *self.capture(images, target, names), strict=True):
            if method == "score-cam":
                small = cam.score_cam(score, images, activations, self.cells.get(name))
                small[~target.any(axis=1)] = 0  # a class against itself: equal scores would weigh all channels alike
            else:
                small = cam.METHODS[method](activations, gradients)
            maps.append(cam.enlarge(np.maximum(small, 0), *images.shape[1:3], self.cells.get(name)))
        return cam.scale(cam.fuse(maps) if len(maps) > 1 else maps[0])

    def capture(self, images, target, names) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Activations of the named layers and the score's gradients at them, each (n, h, w, channels), in one pass.

        Without a target that of the predicted class, found in the same pass; weights of NaN stand for it.
        """
        key = tuple(names)
        if key not in self._captures:
            self._captures[key] = self._compile(key)
        if target is None:
            target = np.full((len(images), self.n_classes), np.nan, np.float32)
        activations, gradients = self._captures[key](images, target)
        return [one.numpy() for one in activations], [one.numpy() for one in gradients]

    def _compile(self, names):
        import tensorflow as tf

        both = keras.Model(
            self.model.input, [*(self.model.get_layer(name).output for name in names), self.logits.output]
        )

        # Compiled, because a graph leaves out what nobody asked for: the gradients of all weights.
        @tf.function(
            input_signature=[tf.TensorSpec((None, *self.model.input_shape[1:])), tf.TensorSpec((None, self.n_classes))]
        )
        def capture(pixels, weights):
            *maps, logits = both(pixels, training=False)
            predicted = tf.one_hot(tf.argmax(logits, axis=1), self.n_classes)
            weights = tf.where(tf.math.is_nan(weights), predicted, weights)
            # Images of a batch do not influence each other, so the sum's gradient holds each one's own.
            return maps, tf.gradients(tf.reduce_sum(weights * logits), maps)

        return capture
