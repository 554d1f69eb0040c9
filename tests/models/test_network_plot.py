"""The blocks of a network as its diagram shows them."""

import pytest

import cifar100_cnn
import mnist_classification
from pipeline.backend import keras, layers
from pipeline.models import macs, network_plot
from pipeline.models.flat import inference_copy


@pytest.fixture(scope="module")
def fast():
    """The network of CIFAR-100's default recipe, as it is saved: for images of one size."""
    return inference_copy(cifar100_cnn.build_fast(20, (8, 16, 32), (8, 8, 8)), cifar100_cnn.SHAPE)


def test_blocks_are_told_by_the_names_of_the_layers_and_nothing_is_left_out(fast):
    (blocks,) = network_plot.blocks(fast)
    assert [block.name for block in blocks] == ["image", "input", "block1", "block2", "block3", "classifier"]
    assert blocks[0].shape == (32, 32, 3) and blocks[2].shape[-1] == 8 and blocks[-1].shape == (20,)
    assert sum(block.parameters for block in blocks) == fast.count_params()
    assert sum(block.multiply_adds for block in blocks) == macs.multiply_accumulates(fast)
    assert blocks[1].lines == ["2×2, 24"]
    assert blocks[3].lines == ["3×3, 16", "max pooling", "3×3, 8", "3×3, 16", "shortcut"]


def test_a_block_of_a_transformer_names_its_attention():
    model = cifar100_cnn.build_transformer(20, (8, 8, 8, 16), depth=1, heads=2)
    (blocks,) = network_plot.blocks(inference_copy(model, cifar100_cnn.SHAPE))
    assert blocks[2].lines == ["attention, 2 heads", "shortcut", "dense, 32", "dense, 16", "shortcut"]


def test_a_network_of_other_names_is_told_by_the_size_of_its_maps():
    pixels = keras.Input((16, 16, 1))
    x = layers.Conv2D(4, 3, padding="same")(pixels)
    x = layers.Conv2D(6, 3, padding="same")(layers.MaxPooling2D()(x))
    model = keras.Model(pixels, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    (blocks,) = network_plot.blocks(model)
    assert [block.name for block in blocks] == ["image", "16×16", "8×8", "classifier"]
    assert [block.parameters for block in blocks] == [0, 40, 222, 21]


def test_the_members_of_an_ensemble_are_networks_of_their_own():
    config = mnist_classification.Config(filters=4, ensemble=3)
    pixels = keras.Input(mnist_classification.SHAPE, name="pixels")
    members = [mnist_classification.build_model(config, kernel, pixels) for kernel in mnist_classification.KERNELS]
    found = network_plot.blocks(mnist_classification.average(members))
    assert [[block.name for block in member] for member in found] == [
        ["image", "block1", "block2", "block3", "classifier"]
    ] * 3
    assert [member[1].lines for member in found] == [
        [convolution, "max pooling", convolution] for convolution in ("3×3, 4", "5×5, 4", "7×7, 4")
    ]


def test_a_block_that_repeats_its_layers_says_how_often_each_is_there():
    pixels = x = keras.Input((8, 8, 2))
    x = layers.Resizing(16, 16)(x)
    for number in range(3):
        shortcut = x = layers.Conv2D(4, 1, name=f"conv1_unit{number}_one")(x)
        x = layers.Conv2D(4, 3, padding="same", name=f"conv1_unit{number}_three")(x)
        x = layers.Add(name=f"conv1_unit{number}_add")([x, shortcut])
    (blocks,) = network_plot.blocks(keras.Model(pixels, x))
    assert [block.name for block in blocks] == ["image", "conv1"]
    assert blocks[1].lines == ["resize to 16×16", "1×1, 4 (×3)", "3×3, 4 (×3)", "shortcut (×3)"]


def test_a_layer_without_a_rule_for_its_operations_leaves_them_out_and_nothing_else(tmp_path):
    pixels = keras.Input((8, 8, 2))
    x = layers.Conv2DTranspose(4, 3)(pixels)
    model = keras.Model(pixels, layers.Dense(3)(layers.Flatten()(x)))
    assert network_plot.blocks(model)[0][1].multiply_adds is None
    network_plot.draw(model, "a model", tmp_path / "network.png")
    assert (tmp_path / "network.png").stat().st_size > 10_000
