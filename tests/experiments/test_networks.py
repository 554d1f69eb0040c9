"""Networks of the ablation study: the reference itself, counted parameters, channel attention by hand."""

import numpy as np
import pytest

import cifar100_cnn
from experiments import networks
from pipeline.backend import keras

WIDTHS, INNER = (64, 192, 512), (64, 160, 320)


def parameters(widths, inner):
    """Of recipe fast's network: whitening, three convolutions with BatchNorm per block, classifier."""
    total, before = 24 * 13, 24
    for filters, few in zip(widths, inner, strict=True):
        total += 9 * filters * (before + 2 * few) + 3 * (2 * filters + few)
        before = filters
    return total + before * 20


FAST = parameters(WIDTHS, INNER)


def test_a_variant_differs_from_recipe_fast_in_one_thing():
    usual = [layer.name for layer in cifar100_cnn.build_fast(20).layers]
    kinds = {type(layer).__name__ for layer in networks.build(20, activation="gelu").layers}
    assert "ReLU" not in kinds and {"Activation", "FusedBatchNormalization"} <= kinds
    assert [layer.name for layer in networks.build(20, activation="gelu").layers] == usual
    assert networks.build(20, activation="gelu").get_layer("whiten").activation is keras.activations.gelu
    names = [layer.name for layer in networks.build(20, dropout=0.3).layers]
    assert set(names) - set(usual) == {"dropout"} and [name for name in names if name != "dropout"] == usual


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"shortcut": False}, FAST),
        ({"dropout": 0.3}, FAST),
        ({"activation": "gelu"}, FAST),
        ({"widths": (8, 16, 24), "inner": (4, 8, 12)}, parameters((8, 16, 24), (4, 8, 12))),
    ],
)
def test_variants_have_the_parameters_they_should(change, expected):
    assert networks.build(20, **change).count_params() == expected


def test_a_network_without_shortcuts_adds_nothing():
    kinds = [type(layer) for layer in networks.build(20, widths=(8, 8, 8), inner=(8, 8, 8), shortcut=False).layers]
    assert keras.layers.Add not in kinds
    assert kinds.count(keras.layers.Activation) == 9


def test_channel_attention_weighs_each_block_before_the_shortcut_by_the_means_of_its_channels():
    usual, model = networks.build(20), networks.build(20, attention=True)
    added = sum(2 * f * (f // 8) + f // 8 + f for f in WIDTHS)
    assert model.count_params() == usual.count_params() + added
    assert model.get_layer("block2_add").input[0] is model.get_layer("block2_excite").output
    pixels = keras.Input((5, 7, 16))
    model = keras.Model(pixels, networks.squeeze_and_excite(pixels, "one"))
    x = np.random.default_rng(0).normal(size=(3, 5, 7, 16)).astype(np.float32)
    (w1, b1), (w2, b2) = (model.get_layer(f"one_{name}").get_weights() for name in ("reduce", "weigh"))
    hidden = np.maximum(x.mean(axis=(1, 2)) @ w1[0, 0] + b1, 0)
    weights = 1 / (1 + np.exp(-(hidden @ w2[0, 0] + b2)))
    np.testing.assert_allclose(model(x), x * weights[:, None, None], atol=1e-5)
