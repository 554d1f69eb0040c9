"""Networks of the ablation study: recipe fast's with channel attention, dropout and more.

Every network takes raw pixels (n, h, w, 3) in [0, 255] of any size and returns probabilities (n, n_classes).
"""

from cifar100_cnn import build_fast
from pipeline.backend import keras, layers


def build(
    classes: int,
    *,
    widths: tuple[int, ...] = (64, 192, 512),
    inner: tuple[int, ...] = (64, 160, 320),
    shortcut: bool = True,
    activation: str = "relu",
    dropout: float = 0.0,
    attention: bool = False,
) -> keras.Model:
    """The network of cifar100_cnn.build_fast, copied layer by layer with one thing changed.

    Args:
        widths, inner: filters per block, as build_fast takes them.
        shortcut: whether each block has one.
        activation: in place of every ReLU.
        dropout: rate before the last layer.
        attention: whether each block has channel attention (squeeze_and_excite) before the shortcut is added.
    """
    more = {"maximum": layers.Dropout(dropout, dtype="float32", name="dropout")} if dropout else {}

    def clone(layer):
        if isinstance(layer, layers.ReLU):
            return layers.Activation(activation, name=layer.name)
        changed = {"activation": activation} if layer.name == "whiten" else {}
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
