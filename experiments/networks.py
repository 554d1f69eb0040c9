"""Networks of the ablation study: recipe fast's with DropBlock, channel attention and more; a Vision Transformer.

Every network takes raw pixels (n, h, w, 3) in [0, 255] of any size and returns probabilities (n, n_classes).
"""

import math

import numpy as np

from cifar100_cnn import MEAN, STD, build_fast
from pipeline.backend import keras, layers

ops = keras.ops


def build(
    classes: int,
    *,
    widths: tuple[int, ...] = (64, 192, 512),
    inner: tuple[int, ...] = (64, 160, 320),
    shortcut: bool = True,
    activation: str = "relu",
    dropout: float = 0.0,
    drop_block: float = 0.0,
    attention: bool = False,
    pool_padding: str = "valid",
) -> keras.Model:
    """The network of cifar100_cnn.build_fast, copied layer by layer with one thing changed.

    Args:
        widths, inner: filters per block, as build_fast takes them.
        shortcut: whether each block has one.
        activation: in place of every ReLU.
        dropout: rate before the last layer.
        drop_block: rate after the first two blocks, in squares of 3x3.
        attention: whether each block has channel attention (squeeze_and_excite) before the shortcut is added.
        pool_padding: of each pooling; "same" gives maps of side 16, 8, 4, "valid" of 15, 7, 3 without the last odd
            row and column.
    """
    more = {"maximum": layers.Dropout(dropout, dtype="float32", name="dropout")} if dropout else {}
    if drop_block:
        more |= {f"block{n}_relu3": DropBlock(drop_block, name=f"block{n}_drop") for n in range(1, len(widths))}

    def clone(layer):
        if isinstance(layer, layers.ReLU):
            return layers.Activation(activation, name=layer.name)
        changed = {"activation": activation} if layer.name == "whiten" else {}
        if isinstance(layer, layers.MaxPooling2D):
            changed = {"padding": pool_padding}
        return layer.from_config({**layer.get_config(), **changed})

    def call(layer, inputs, **kwargs):
        joins = isinstance(layer, layers.Add)
        if joins and attention:
            inputs = [squeeze_and_excite(inputs[0], layer.name.removesuffix("_add")), *inputs[1:]]
        x = inputs[0] if joins and not shortcut else layer(inputs, **kwargs)
        return more[layer.name](x) if layer.name in more else x

    return keras.models.clone_model(build_fast(classes, widths, inner), clone_function=clone, call_function=call)


def squeeze_and_excite(x, name: str, reduction: int = 8):
    """Channel attention: the map (n, h, w, c) times a weight in (0, 1) per image and channel.

    The weights come from the channels' means, through a layer of c / reduction units: squeeze and excitation, Hu et
    al. 2018 (arXiv 1709.01507), section 3. `name` is the prefix of its layers' names.
    """
    channels = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    weights = layers.Conv2D(channels // reduction, 1, activation="relu", name=f"{name}_reduce")(weights)
    weights = layers.Conv2D(channels, 1, activation="sigmoid", name=f"{name}_weigh")(weights)
    return layers.Multiply(name=f"{name}_excite")([x, weights])


class DropBlock(layers.Layer):
    """DropBlock: dropout of squares of a feature map in training (Ghiasi et al. 2018, arXiv 1810.12890).

    What is left is scaled so that the mean of all features stays.

    Args:
        rate: fraction to drop, in [0, 1); a little less is dropped, since squares overlap.
        side: of the squares in cells, at most the map's.
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
        # equation 1 of the paper: so many squares that their area is the fraction to drop
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
    """Fixed position encoding: adds sines and cosines of row and column to a map (n, h, w, d).

    As in Beyer et al. 2022 (arXiv 2205.01580): d / 4 wavelengths from 2 pi to 20,000 pi cells, for maps of any size;
    d is a multiple of 4, at least 8.
    """

    def call(self, inputs):
        quarter = inputs.shape[-1] // 4
        frequency = ops.cast(10_000.0 ** (-np.arange(quarter) / (quarter - 1)), "float32")

        def waves(axis):
            angles = ops.cast(ops.arange(ops.shape(inputs)[axis]), "float32")[:, None] * frequency
            return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)

        rows, columns = waves(1)[:, None], waves(2)[None]
        both = ops.concatenate([rows + 0 * columns, columns + 0 * rows], axis=-1)
        return inputs + ops.cast(both, inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


def build_transformer(classes: int, *, patch: int = 4, depth: int = 6, width: int = 192, heads: int = 3) -> keras.Model:
    """Vision Transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) with about as many operations as recipe fast.

    Pre-norm blocks, and the mean of all tokens instead of a class token (Beyer et al. 2022, arXiv 2205.01580).

    Args:
        patch: side of a patch in pixels.
        depth: number of blocks.
        width: features of a token; heads: of each attention.
    """
    pixels = keras.Input((None, None, 3), name="pixels")
    x = layers.Normalization(mean=MEAN, variance=np.square(STD), dtype="float32", name="normalize")(pixels)
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
