"""Heat maps of a model: the evidence for a class at each place of an image, for whole batches.

One Explainer serves all methods: it captures activations and gradients, and enlarges and scales the maps.
Gradients are TensorFlow's: Keras has no backend-neutral ones.
"""

import functools

import numpy as np

from pipeline import models
from pipeline.backend import keras, layers
from pipeline.errors import UserError
from pipeline.explain import cam, expected_gradients, receptive_field

# Method -> its name in the literature.
NAMES = {
    "grad-cam": "Grad-CAM",
    "grad-cam++": "Grad-CAM++",
    "hires-cam": "HiResCAM",
    "layer-cam": "LayerCAM",
    "eigen-cam": "Eigen-CAM",
    "score-cam": "Score-CAM",
    "occlusion": "Occlusion",
    "expected-gradients": "Expected gradients",
    "aggregate": "Grad-CAM + expected gradients",
}
METHODS = tuple(NAMES)
WITHOUT_LAYER = ("occlusion", "expected-gradients")
# Weighted mean of explanations, each scaled (Rieger and Hansen 2020, arXiv 1903.00519): Grad-CAM says which part of the
# image, expected gradients which pixels of it. Chosen on 40 to 60 images a model, most of them training images.
AGGREGATED = {"grad-cam": 1 / 3, "expected-gradients": 2 / 3}
DEFAULT_METHOD = "aggregate"
SMALLEST_MAP = 3  # cells per side of the default layer
FUSED = "fused"  # in place of a layer's name: all stages, fused
BATCH_SIZE = 100  # images per captured batch; a few hundred megabytes for the widest layers


def score_weights(classes, n_classes: int, against=None) -> np.ndarray:
    """Score to explain, as weights (n, n_classes) float32 of the logits.

    Args:
        classes: (n,) int, the class that each image's heat map is for.
        against: (n,) int, another class; the score is then the difference of the logits: "why this one and not that".
    """
    one_hot = np.eye(n_classes, dtype=np.float32)
    return one_hot[classes] if against is None else one_hot[classes] - one_hot[against]


def spatial_layers(model) -> list:
    """Layers whose maps are activations, in order: ReLU and its variants, and layers with an activation of their own.

    The output of a convolution before its activation can be negative everywhere; a weighted sum of such maps,
    clipped below zero, is often zero everywhere.
    """
    rectifiers = layers.ReLU | layers.LeakyReLU | layers.PReLU | layers.ELU
    linear = keras.activations.linear

    def is_activation(layer) -> bool:
        return isinstance(layer, rectifiers) or getattr(layer, "activation", linear) is not linear

    return [layer for layer in model.layers if len(layer.output.shape) == 4 and is_activation(layer)]


def stages(model) -> list[str]:
    """Stages: names of the last activation of each map size, from large maps to small, those of one cell left out.

    Raises:
        UserError: the model has none.
    """
    last = {layer.output.shape[1:3]: layer.name for layer in spatial_layers(model)}
    names = [name for size, name in last.items() if min(size) > 1]
    if not names:
        raise UserError(f"{model.name} has no activation with a map of more than one cell")
    return names


def default_layer(model) -> str:
    """Name of the deepest stage whose map has at least 3x3 cells.

    By benchmarks/faithfulness.py Grad-CAM is less faithful at earlier stages, and so is the fusion of all; at coarser
    ones it does not beat random maps.

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
    """Heat maps of one model; what is compiled for a layer serves all later batches.

    Args:
        model: functional model whose last layer is a Softmax.
    Raises:
        UserError: another backend than TensorFlow, or another last layer.
    """

    def __init__(self, model):
        if keras.backend.backend() != "tensorflow":
            raise UserError("explanations need the TensorFlow backend; run with KERAS_BACKEND=tensorflow")
        if not isinstance(model.layers[-1], layers.Softmax):
            raise UserError(f"{model.name} does not end in a softmax layer, so there is no score before it to explain")
        self.model, self.n_classes = model, model.output_shape[-1]
        self.logits = keras.Model(model.input, model.layers[-1].input)
        self.cells = receptive_field.cell_axes(model)
        self._captures = {}

    def __call__(
        self, images, target=None, method: str = DEFAULT_METHOD, layer: str | None = None, thorough: bool = False
    ) -> np.ndarray:
        """Heat maps (n, h, w) float32 in [0, 1] of a score, a weighted sum of the logits.

        Each map's maximum is 1; a map without positive evidence is zero everywhere.

        Args:
            images: raw pixels (n, h, w, c) in [0, 255].
            target: (n, classes) weights of the logits, see score_weights(); None explains the predicted class.
            method: one of METHODS.
            layer: name of a layer, or "fused"; None takes default_layer(). WITHOUT_LAYER do not use it.
            thorough: expected-gradients and aggregate take THOROUGH_MASKS gradients per image instead of MASKS.
        Raises:
            UserError: no such method or layer.
        """
        if method not in METHODS:
            raise UserError(f"there is no method {method}; there are {', '.join(METHODS)}")
        names = self.layers(method, layer)
        images = np.asarray(images, np.float32)
        batches = []
        for start in range(0, len(images), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            of_batch = None if target is None else target[batch]
            batches.append(self._maps(images[batch], of_batch, method, names, thorough))
        return np.concatenate(batches)

    def layers(self, method: str, layer: str | None = None) -> list[str]:
        """Names of the layers that a heat map is made from: one, all stages, or none (WITHOUT_LAYER).

        Raises:
            UserError: the model has no such layer with a map.
        """
        if method in WITHOUT_LAYER:
            return []
        layer = layer or default_layer(self.model)
        if layer == FUSED:
            return stages(self.model)
        known = [one.name for one in self.model.layers[1:] if len(one.output.shape) == 4]
        if layer not in known:
            raise UserError(f"{self.model.name} has no layer {layer} with a map; it has {FUSED}, {', '.join(known)}")
        return [layer]

    def _maps(self, images, target, method, names, thorough) -> np.ndarray:
        if target is None and method not in cam.METHODS:
            predicted = models.saved_model.predict(self.logits, images).argmax(axis=1)
            target = score_weights(predicted, self.n_classes)

        def score(changed, rows):
            return (models.saved_model.predict(self.logits, changed) * target[rows]).sum(axis=1)

        if method == "aggregate":
            parts = [weight * self._maps(images, target, part, names, thorough) for part, weight in AGGREGATED.items()]
            return cam.scale(np.sum(parts, axis=0))
        if method == "occlusion":
            return cam.scale(cam.occlusion(score, images))
        if method == "expected-gradients":
            n_masks = expected_gradients.THOROUGH_MASKS if thorough else expected_gradients.MASKS

            def gradient(changed):
                return self._log_odds_gradient(changed, target).numpy()

            return cam.scale(expected_gradients.expected_gradients(gradient, images, n_masks))
        maps = []
        for name, activations, gradients in zip(names, *self.capture(images, target, names), strict=True):
            if method == "score-cam":
                small = cam.score_cam(score, images, activations, self.cells.get(name))
                small[~target.any(axis=1)] = 0  # a class against itself: equal scores would weight all channels alike
            else:
                small = cam.METHODS[method](activations, gradients)
            maps.append(cam.enlarge(np.maximum(small, 0), *images.shape[1:3], self.cells.get(name)))
        return cam.scale(cam.fuse(maps) if len(maps) > 1 else maps[0])

    @functools.cached_property
    def _log_odds_gradient(self):
        """Compiled: pixels (n, h, w, c) and target (n, n_classes) -> gradients of the log-odds by the pixels.

        The log-odds of the class against all others, or against the one of negative weight: unlike the logit, it
        counts what speaks against a rival, and unlike the probability, it does not saturate.
        """
        import tensorflow as tf

        @tf.function(
            input_signature=[tf.TensorSpec((None, *self.model.input_shape[1:])), tf.TensorSpec((None, self.n_classes))]
        )
        def gradient(pixels, weights):
            logits = self.logits(pixels, training=False)
            named = tf.reduce_any(weights < 0, axis=1, keepdims=True)
            rivals = tf.where(named, weights < 0, weights == 0)
            rival = tf.reduce_logsumexp(tf.where(rivals, logits, -np.inf), axis=1)
            log_odds = tf.reduce_sum(tf.maximum(weights, 0) * logits, axis=1) - rival
            asked = tf.reduce_any(weights != 0, axis=1)  # a class against itself has no evidence
            return tf.gradients(tf.reduce_sum(tf.where(asked, log_odds, 0)), pixels)[0]

        return gradient

    def capture(self, images, target, names) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Activations of layers and the gradients of the score with respect to them, each (n, h, w, channels).

        Args:
            images: raw pixels (n, h, w, c) float32.
            target: as in __call__; the predicted class is found in the same pass.
            names: of the layers.
        """
        key = tuple(names)
        if key not in self._captures:
            self._captures[key] = self._compile(key)
        if target is None:
            target = np.full((len(images), self.n_classes), np.nan, np.float32)  # stands for the predicted class
        activations, gradients = self._captures[key](images, target)
        return [maps.numpy() for maps in activations], [maps.numpy() for maps in gradients]

    def _compile(self, names):
        import tensorflow as tf

        outputs = [self.model.get_layer(name).output for name in names]
        maps_and_logits = keras.Model(self.model.input, [*outputs, self.logits.output])

        # Compiled, because a graph leaves out what is not needed: the gradients of all weights.
        @tf.function(
            input_signature=[tf.TensorSpec((None, *self.model.input_shape[1:])), tf.TensorSpec((None, self.n_classes))]
        )
        def capture(pixels, weights):
            *maps, logits = maps_and_logits(pixels, training=False)
            predicted = tf.one_hot(tf.argmax(logits, axis=1), self.n_classes)
            weights = tf.where(tf.math.is_nan(weights), predicted, weights)
            # The images of a batch do not influence each other, so the gradient of the sum holds that of each.
            return maps, tf.gradients(tf.reduce_sum(weights * logits), maps)

        return capture
