"""Network of the ablation study: recipe fast's with other widths or activations, or without shortcuts.

It takes raw pixels (n, h, w, 3) in [0, 255] of any size and returns probabilities (n, n_classes).
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
) -> keras.Model:
    """The network of cifar100_cnn.build_fast, copied layer by layer with one thing changed.

    Args:
        widths, inner: filters per block, as build_fast takes them.
        shortcut: whether each block has one.
        activation: in place of every ReLU.
    """

    def clone(layer):
        if isinstance(layer, layers.ReLU):
            return layers.Activation(activation, name=layer.name)
        changed = {"activation": activation} if layer.name == "whiten" else {}
        return layer.from_config({**layer.get_config(), **changed})

    def call(layer, inputs, **kwargs):
        if isinstance(layer, layers.Add) and not shortcut:
            return inputs[0]
        return layer(inputs, **kwargs)

    return keras.models.clone_model(build_fast(classes, widths, inner), clone_function=clone, call_function=call)
