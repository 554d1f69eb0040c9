"""Variants of the network of recipe fast, DropBlock, and a small Vision Transformer.

Every network takes raw pixels (n, h, w, 3) in [0, 255] of any size and returns probabilities.
"""

import math
from functools import partial

import numpy as np

from cifar100_cnn import MEAN, STD
from pipeline.normalization import FusedBatchNormalization
from pipeline.quiet import keras

layers, ops = keras.layers, keras.ops


def build(
    classes: int,
    *,
    widths: tuple[int, ...] = (96, 256, 288),
    shortcut: bool = True,
    activation: str = "relu",
    dropout: float = 0.0,
    drop_block: float = 0.0,
) -> keras.Model:
    """cifar100_cnn.build_fast with one thing changed; with none, layer by layer the same (a test compares).

    Args:
        widths: filters per block.
        shortcut: whether there is one.
        activation: after each batch normalisation.
        dropout: share of the features set to zero before the last layer.
        drop_block: share of the first two blocks' outputs dropped in squares of 3x3.
    """
    conv = partial(layers.Conv2D, kernel_size=3, padding="same", use_bias=False)
    norm = partial(FusedBatchNormalization, momentum=0.6, scale=False)
    active = layers.ReLU if activation == "relu" else partial(layers.Activation, activation)
    pixels = keras.Input((None, None, 3), name="pixels")
    x = layers.Normalization(mean=MEAN, variance=np.square(STD), dtype="float32", name="normalise")(pixels)
    x = layers.Conv2D(24, 2, activation=activation, name="whiten")(x)
    for block, filters in enumerate(widths, 1):
        x = layers.MaxPooling2D(name=f"block{block}_pool")(conv(filters, name=f"block{block}_conv1")(x))
        x = before = active(name=f"block{block}_relu1")(norm(name=f"block{block}_bn1")(x))
        x = norm(name=f"block{block}_bn2")(conv(filters, name=f"block{block}_conv2")(x))
        if shortcut:
            x = layers.Add(name=f"block{block}_add")([x, before])
        x = active(name=f"block{block}_relu2")(x)
        if drop_block and block < len(widths):
            x = DropBlock(drop_block, name=f"block{block}_drop")(x)
    x = layers.GlobalMaxPooling2D(dtype="float32", name="maximum")(x)
    if dropout:
        x = layers.Dropout(dropout, dtype="float32", name="dropout")(x)
    x = layers.Rescaling(1 / 9, dtype="float32", name="temper")(x)
    logits = layers.Dense(classes, use_bias=False, dtype="float32", name="logits")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="variant")


class DropBlock(layers.Layer):
    """Dropout of squares of a feature map (Ghiasi et al. 2018, arXiv 1810.12890), in training only.

    What is left is scaled so that the mean of all features stays.

    Args:
        rate: share to drop, in [0, 1); a little less is dropped, since squares overlap.
        side: of the squares, at most the map's.
    """

    def __init__(self, rate: float, side: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.side = rate, side
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, inputs, training=False):
        if not training:
            return inputs
        n, height, width, channels = (ops.shape(inputs)[axis] for axis in range(4))
        places = ops.cast((height - self.side + 1) * (width - self.side + 1), "float32")
        # equation 1 of the paper: so many squares that their area is the share to drop
        chance = self.rate / self.side**2 * ops.cast(height * width, "float32") / places
        shape = (n, height - self.side + 1, width - self.side + 1, channels)
        corners = ops.cast(keras.random.uniform(shape, seed=self.seed_generator) < chance, "float32")
        edge = self.side - 1
        corners = ops.pad(corners, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
        kept = 1 - ops.max_pool(corners, self.side, strides=1, padding="valid")
        scale = 1 / ops.maximum(ops.mean(kept), 1e-3)
        return inputs * ops.cast(kept * scale, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "side": self.side}


class Positions(layers.Layer):
    """Adds to each place of a map (n, h, w, d) sines and cosines of its row and column.

    As in Beyer et al. 2022 (arXiv 2205.01580): d / 4 wavelengths from 2 pi to 20,000 pi places, so that
    nothing is learned and the map may have any size; d is a multiple of 4, at least 8.
    """

    def call(self, inputs):
        quarter = inputs.shape[-1] // 4
        pace = ops.cast(10_000.0 ** (-np.arange(quarter) / (quarter - 1)), "float32")
        rows, columns = (ops.cast(ops.arange(ops.shape(inputs)[axis]), "float32")[:, None] * pace for axis in (1, 2))
        rows = ops.concatenate([ops.sin(rows), ops.cos(rows)], axis=-1)[:, None]
        columns = ops.concatenate([ops.sin(columns), ops.cos(columns)], axis=-1)[None]
        both = ops.concatenate([rows + 0 * columns, columns + 0 * rows], axis=-1)
        return inputs + ops.cast(both, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


def build_transformer(classes: int, *, patch: int = 4, depth: int = 6, width: int = 192, heads: int = 3) -> keras.Model:
    """A small Vision Transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), about as many operations as recipe fast.

    Patches of patch x patch pixels, `depth` blocks with the normalisation first, and, instead of a class
    token, the mean of all tokens (Beyer et al. 2022, arXiv 2205.01580).
    """
    pixels = keras.Input((None, None, 3), name="pixels")
    x = layers.Normalization(mean=MEAN, variance=np.square(STD), dtype="float32", name="normalise")(pixels)
    x = Positions(name="positions")(layers.Conv2D(width, patch, strides=patch, name="patches")(x))
    x = layers.Reshape((-1, width), name="tokens")(x)
    for block in range(1, depth + 1):
        # One for each block: an initializer draws the same numbers every time.
        small = keras.initializers.VarianceScaling(1 / math.sqrt(2 * depth), "fan_avg", "uniform")
        y = layers.LayerNormalization(name=f"block{block}_norm1")(x)
        y = layers.MultiHeadAttention(heads, width // heads, name=f"block{block}_attention")(y, y)
        x = layers.Add(name=f"block{block}_add1")([x, y])
        y = layers.LayerNormalization(name=f"block{block}_norm2")(x)
        y = layers.Dense(4 * width, activation="gelu", name=f"block{block}_dense1")(y)
        y = layers.Dense(width, kernel_initializer=small, name=f"block{block}_dense2")(y)
        x = layers.Add(name=f"block{block}_add2")([x, y])
    x = layers.GlobalAveragePooling1D(name="average")(layers.LayerNormalization(name="norm")(x))
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="transformer")
