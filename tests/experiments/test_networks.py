"""Networks of the ablation study: the reference itself, counted parameters, DropBlock and positions by hand."""

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
    for change, added in (({"dropout": 0.3}, {"dropout"}), ({"drop_block": 0.1}, {"block1_drop", "block2_drop"})):
        names = [layer.name for layer in networks.build(20, **change).layers]
        assert set(names) - set(usual) == added and [name for name in names if name not in added] == usual


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


def test_padded_poolings_keep_the_last_row_and_column():
    for padding, sides in (("valid", [15, 7, 3]), ("same", [16, 8, 4])):
        model = networks.build(20, widths=(8, 8, 8), inner=(8, 8, 8), pool_padding=padding)
        pools = keras.Model(model.input, [model.get_layer(f"block{block}_pool").output for block in (1, 2, 3)])
        assert [part.shape[1] for part in pools(np.zeros((1, 32, 32, 3), np.float32))] == sides


def test_drop_block_drops_squares_keeps_the_mean_and_does_nothing_outside_training():
    layer = networks.DropBlock(0.2, side=3)
    ones = np.ones((50, 12, 9, 8), np.float32)
    np.testing.assert_array_equal(layer(ones, training=False), ones)
    out = np.array(layer(ones, training=True))
    assert out.mean() == pytest.approx(1, abs=1e-4)
    kept = out > 0
    assert np.ptp(out[kept]) < 1e-5
    # every dropped cell lies in a 3x3 square of dropped cells within the map
    squares = np.lib.stride_tricks.sliding_window_view(~kept, (3, 3), axis=(1, 2)).all(axis=(-2, -1))
    covered = np.zeros_like(kept)
    for row in range(3):
        for column in range(3):
            covered[:, row : row + 10, column : column + 7] |= squares
    np.testing.assert_array_equal(covered, ~kept)
    # squares overlap: with c corners' chance each cell in the middle stays with (1 - chance)^9
    chance = 0.2 / 9 * 12 * 9 / (10 * 7)
    assert kept[:, 2:-2, 2:-2].mean() == pytest.approx((1 - chance) ** 9, abs=0.02)
    assert kept[:, 0, 0].mean() == pytest.approx(1 - chance, abs=0.05)
    assert not np.array_equal(out, np.array(layer(ones, training=True)))


def test_drop_block_keeps_the_mean_of_any_features_over_many_draws():
    features = np.random.default_rng(0).random((1, 10, 10, 4)).astype(np.float32)
    layer = networks.DropBlock(0.1)
    means = [np.array(layer(features, training=True)).mean() for _ in range(300)]
    assert np.mean(means) == pytest.approx(features.mean(), rel=0.01)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_networks_with_layers_of_their_own_train_and_predict_at_two_sizes(policy):
    """In a compiled graph, where sizes are not known beforehand."""
    keras.config.set_dtype_policy(policy)
    small = {"depth": 1, "width": 16, "heads": 2}
    for model in (
        networks.build(5, widths=(8, 8, 8), inner=(8, 8, 8), drop_block=0.2),
        networks.build_transformer(5, **small),
    ):
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
        for side in (24, 32):
            images = np.random.default_rng(0).integers(0, 256, (4, side, side, 3)).astype(np.float32)
            assert np.isfinite(model.train_on_batch(images, np.arange(4)))
            out = model.predict_on_batch(images)
            assert out.shape == (4, 5) and out.dtype == np.float32
            np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-4)


def test_positions_are_sines_and_cosines_of_row_and_column():
    added = np.array(networks.Positions()(np.zeros((2, 3, 5, 16), np.float32)))
    np.testing.assert_array_equal(added[0], added[1])
    for row, column in np.ndindex(3, 5):
        frequencies = [10_000.0 ** (-k / 3) for k in range(4)]
        expected = [wave(cell * f) for cell in (row, column) for wave in (np.sin, np.cos) for f in frequencies]
        np.testing.assert_allclose(added[0, row, column], expected, atol=1e-5)


def test_the_transformer_has_the_size_it_says_and_knows_where_its_patches_are():
    width, depth = 192, 6
    attention = 4 * (width * width + width)
    block = attention + (width * 4 * width + 4 * width) + (4 * width * width + width) + 4 * width
    total = (4 * 4 * 3 * width + width) + depth * block + 2 * width + width * 20 + 20
    assert networks.build_transformer(20).count_params() == total < 3_000_000
    two = networks.build_transformer(5, depth=2, width=16, heads=2)
    for name in ("dense1", "dense2"):
        one, other = (two.get_layer(f"block{block}_{name}").kernel for block in (1, 2))
        assert not np.array_equal(one, other)
    model = networks.build_transformer(5, depth=1, width=16, heads=2)
    image = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3)).astype(np.float32)
    moved = np.roll(image, 4, axis=1)  # the same patches elsewhere
    assert np.abs(model.predict_on_batch(image) - model.predict_on_batch(moved)).max() > 1e-4
