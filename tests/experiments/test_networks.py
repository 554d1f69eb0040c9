"""Networks of the ablation study: the reference itself, counted parameters."""

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


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"shortcut": False}, FAST),
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
