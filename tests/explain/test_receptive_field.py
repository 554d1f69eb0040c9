"""Where a cell looks, against what its value depends on."""

import numpy as np
import pytest

import cifar100_cnn
import mnist_classification
import resnet50_transfer_learning
from pipeline.backend import keras, layers
from pipeline.explain import receptive_field
from pipeline.explain.explainer import METHODS, Explainer, score_weights
from pipeline.models import saved_model


def transparent(model, side):
    """The same windows on a larger image, where all that a cell sees changes it: means for maxima, no ReLU."""

    def clone(layer):
        if isinstance(layer, layers.MaxPooling2D):
            return layers.AveragePooling2D(layer.pool_size, layer.strides, layer.padding, name=layer.name)
        if isinstance(layer, layers.ReLU | layers.Activation):
            return layers.Activation("linear", name=layer.name)
        linear = {"activation": "linear"} if isinstance(layer, layers.Conv2D) else {}
        return type(layer).from_config(layer.get_config() | linear)

    pixels = keras.Input((side, side, model.input_shape[-1]))
    copy = keras.models.clone_model(model, input_tensors=pixels, clone_function=clone)
    for layer in copy.layers:
        if isinstance(layer, layers.Conv2D):
            layer.set_weights([np.full(weight.shape, 1 / weight[..., 0].size) for weight in layer.get_weights()])
    return copy


def seen(model, name, cell):
    """First and last row and column of the image on which a cell's value depends."""
    import tensorflow as tf

    part = keras.Model(model.input, model.get_layer(name).output)
    pixels = tf.ones((1, *model.input_shape[1:]))
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        value = tf.reduce_sum(part(pixels, training=False)[0, cell, cell])
    gradient = np.abs(tape.gradient(value, pixels)[0]).sum(axis=-1)
    rows, columns = gradient.any(axis=1).nonzero()[0], gradient.any(axis=0).nonzero()[0]
    return rows[[0, -1]], columns[[0, -1]]


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(0)
    cifar, resnet = cifar100_cnn.Config, resnet50_transfer_learning.Config
    built = {
        "baseline": (cifar100_cnn.build_model(cifar(recipe="baseline")), 96),
        "fast": (saved_model.inference_copy(cifar100_cnn.build_model(cifar()), (32, 32, 3)), 128),
        "mnist": (mnist_classification.build_model(mnist_classification.Config(pool_first=False)), 64),
        "resnet": (resnet50_transfer_learning.build_model(resnet(image_size=256)), 224),  # enlarged as 28 to 32
    }
    return {which: transparent(*of_script) for which, of_script in built.items()}


@pytest.mark.parametrize(
    ("which", "name", "cell", "reach"),
    [
        ("baseline", "block2_conv2_relu", 20, 16),
        ("baseline", "block3_conv2_relu", 11, 32),
        ("fast", "whiten", 40, 2),
        ("fast", "block1_relu3", 20, 13),
        ("fast", "block2_relu3", 11, 35),
        ("fast", "block3_relu3", 7, 79),
        ("mnist", "block1_conv2_relu", 30, 5),
        ("mnist", "block3_conv2_relu", 8, 32),
        ("resnet", "conv1_relu", 60, 7),
        ("resnet", "conv2_block3_out", 30, 31),
        ("resnet", "conv3_block4_out", 15, 87),
    ],
)
def test_a_cells_place_is_the_middle_of_what_its_value_depends_on(models, which, name, cell, reach):
    model = models[which]
    (first, last), columns = seen(model, name, cell)
    assert first > 0 and last < model.input_shape[1] - 1, "the image's border hides nothing"
    assert last - first + 1 == pytest.approx(reach, abs=2)
    (start, step), horizontal = receptive_field.cell_axes(model)[name]
    assert start + cell * step == pytest.approx((first + last) / 2, abs=0.6 if which == "resnet" else 1e-6)
    assert horizontal == (start, step) and (columns == (first, last)).all()


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"occlusion", "expected-gradients"}))
def test_the_heat_of_one_pixel_lies_on_it(method):
    """32 pixels become 31, 15, 7, 3: the cells' centers are 4, 12 and 20, not 4.8, 15.5 and 26.2."""
    pixels = x = keras.Input((32, 32, 1))
    x = layers.Conv2D(2, 2, kernel_initializer="ones", name="conv")(x)
    for part in range(3):
        x = layers.MaxPooling2D(name=f"pool{part}")(x)
    x = layers.ReLU(name="relu")(x)
    logits = layers.Dense(2, kernel_initializer="ones")(layers.GlobalAveragePooling2D()(x))
    explain = Explainer(keras.Model(pixels, layers.Softmax()(logits)))
    image = np.zeros((1, 32, 32, 1), np.float32)
    image[0, 20, 12] = 255
    heat = explain(image, score_weights([1], 2), method, "relu")[0]
    rows, columns = np.nonzero(heat == heat.max())
    assert set(rows) == set(range(20, 25)) and set(columns) == {12}, "below 20 there is no other cell"


def test_a_layer_that_resizes_or_stands_behind_one_called_twice_spreads_its_cells_evenly():
    pixels = keras.Input((12, 12, 1))
    shared = layers.Conv2D(1, 3, padding="same", name="shared")
    x = layers.UpSampling2D(2, name="larger")(
        layers.AveragePooling2D(4, name="smaller")(shared(layers.ZeroPadding2D(2)(shared(pixels))))
    )
    found = receptive_field.cell_axes(keras.Model(pixels, x))
    assert found["smaller"] == ((1, 3), (1, 3)), "4 x 4 cells of a padded map of 16 x 16, of an image of 12 x 12"
    assert found["larger"] == ((0.25, 1.5), (0.25, 1.5))


def test_padding_cropping_and_joining_maps_move_the_cells():
    pixels = keras.Input((9, 9, 1))
    x = layers.ZeroPadding2D(((2, 0), (0, 2)), name="padded")(pixels)
    y = layers.Cropping2D(((0, 2), (2, 0)), name="cropped")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="gate")(pixels)
    z = layers.Multiply(name="gated")([layers.Add(name="sum")([y, pixels]), gate])
    found = receptive_field.cell_axes(keras.Model(pixels, z))
    assert found["padded"] == ((-2, 1), (0, 1))
    assert found["cropped"] == ((-2, 1), (2, 1))
    assert found["sum"] == found["gated"] == ((-1, 1), (1, 1))
