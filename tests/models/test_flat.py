"""Flat copies: the same answers from one graph of layers, however the model was put together."""

import numpy as np
import pytest

from pipeline.backend import keras, layers
from pipeline.deploy import export
from pipeline.models import flat

IMAGES = np.random.default_rng(0).random((5, 12, 12, 3), np.float32) * 255


def convolutions(name):
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = layers.Add(name="add")([x, layers.BatchNormalization(name="bn")(x)])
    return keras.Model(inputs, x, name=name)


def head(name):
    inside = [layers.Dropout(0.5), layers.Flatten(name="flat"), layers.Dense(3, activation="softmax", name="dense")]
    return keras.Sequential(inside, name=name)


def in_functional():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(3, 1, name="conv")(inputs)
    return keras.Model(inputs, head("head")(convolutions("base")(x, training=False)), name="whole")


def in_sequential():
    augmentation = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1), layers.GaussianNoise(1.0)])
    return keras.Sequential([keras.Input((12, 12, 3)), augmentation, convolutions("base"), head("head")], name="whole")


def shared_activation():
    relu, inputs = layers.ReLU(name="relu"), keras.Input((12, 12, 3))
    x = relu(layers.Conv2D(4, 3, name="conv1")(inputs))
    x = relu(layers.Conv2D(4, 3, name="conv2")(x))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(x)), name="whole")


def normalized():
    normalization = layers.Normalization()
    normalization.adapt(IMAGES)
    return keras.Sequential([keras.Input((12, 12, 3)), normalization, layers.Conv2D(2, 3), head("head")])


@pytest.mark.parametrize("build", [in_functional, in_sequential, shared_activation, normalized])
def test_a_flat_copy_gives_the_same_answers_from_layers_alone(build):
    keras.utils.set_random_seed(0)
    model = build()
    expected = model(IMAGES, training=False)
    copy = flat.inference_copy(model, (12, 12, 3))
    np.testing.assert_allclose(copy(IMAGES), expected, atol=1e-6)
    assert not any(isinstance(layer, keras.Model) for layer in copy.layers)
    assert isinstance(copy.layers[-1], layers.Softmax)
    folded = export.fold_batch_norm(copy)  # which takes a flat graph of layers that are called once
    np.testing.assert_allclose(folded(IMAGES), expected, atol=1e-5)


def test_a_layer_keeps_its_name_unless_it_is_taken():
    names = [layer.name for layer in flat.inference_copy(in_functional(), (12, 12, 3)).layers]
    assert names == ["pixels", "conv", "base_conv", "bn", "add", "flat", "dense", "dense_softmax"]
