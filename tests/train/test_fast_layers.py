"""Fast layers against Keras' own: outputs, gradients, running statistics, and what is saved."""

import numpy as np
import pytest

from pipeline import backend
from pipeline.backend import keras
from pipeline.models import saved_model
from pipeline.train import loop
from pipeline.train.fast_layers import FastConv2D, FusedBatchNormalization

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the kernel is TensorFlow's")


@pytest.mark.parametrize("scale", [True, False])
def test_training_and_inference_equal_the_stock_layer(scale):
    images = np.random.default_rng(0).normal(3, 2, (64, 5, 5, 3)).astype("float32")
    results = []
    for kind in (keras.layers.BatchNormalization, FusedBatchNormalization):
        layer = kind(momentum=0.6, scale=scale)
        layer.build(images.shape)
        layer.set_weights([np.float32([0.5, -1, 2])] * (1 + scale) + layer.get_weights()[1 + scale :])
        with tf.GradientTape() as tape:
            x = tf.Variable(images)
            loss = tf.reduce_sum(layer(x, training=True) ** 3)
        gradients = tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)])
        results.append([*gradients, *layer.get_weights(), layer(images, training=False)])
    for ours, stock in zip(results[1], results[0], strict=True):
        # The kernel's running variance is the unbiased one, 1 in 1,600 larger.
        np.testing.assert_allclose(ours, stock, rtol=1e-3, atol=2e-3)


def test_the_running_statistics_move_by_the_momentum():
    layer = FusedBatchNormalization(momentum=0.75)
    images = np.full((8, 2, 2, 1), 4, "float32") + np.tile(np.float32([-1, 1]), 16).reshape(8, 2, 2, 1)
    layer(images, training=True)
    np.testing.assert_allclose(layer.moving_mean, [0.25 * 4], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, [0.75 + 0.25 * 32 / 31], rtol=1e-6)


def test_a_saved_model_holds_the_stock_layer(tmp_path):
    pixels = keras.Input((4, 4, 3))
    x = FusedBatchNormalization(name="norm")(keras.layers.Conv2D(2, 3, name="conv")(pixels))
    model = keras.Model(pixels, keras.layers.Softmax()(keras.layers.Flatten()(x)))
    images = np.random.default_rng(0).uniform(0, 255, (5, 4, 4, 3)).astype("float32")
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(images, np.zeros(5), verbose=0)
    saved_model.save(model, tmp_path / "model.h5", image_shape=(4, 4, 3))
    loaded = saved_model.load(tmp_path / "model.h5")
    assert type(loaded.get_layer("norm")) is keras.layers.BatchNormalization
    np.testing.assert_allclose(loaded.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5)


def assert_equals_the_stock_layer(images, *arguments, **settings):
    """Outputs and gradients of FastConv2D and Conv2D are the same."""
    results = []
    for kind in (keras.layers.Conv2D, FastConv2D):
        layer = kind(*arguments, bias_initializer="ones", **settings)
        layer.build(images.shape)
        layer.kernel.assign(np.random.default_rng(1).normal(size=layer.kernel.shape))
        with tf.GradientTape() as tape:
            x = tf.Variable(images)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y**3)
        weights = [weight.value for weight in layer.trainable_weights]
        results.append([y, *tape.gradient(loss, [x, *weights])])
    for ours, stock in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(ours, stock, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "settings",
    [{"padding": "same"}, {"padding": "valid", "activation": "relu"}, {"padding": "same", "use_bias": False}],
)
@pytest.mark.parametrize("shape", [(2, 2), (3, 4)])
def test_a_convolution_of_small_maps_equals_the_stock_layer(shape, settings):
    images = np.random.default_rng(0).normal(size=(8, *shape, 5)).astype("float32")
    assert_equals_the_stock_layer(images, 7, 2, **settings)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [1, 2, (3, 1)])
@pytest.mark.parametrize("shape", [(1, 1), (6, 6), (7, 12)])
def test_a_1x1_convolution_equals_the_stock_layer(shape, strides, padding):
    images = np.random.default_rng(0).normal(size=(8, *shape, 5)).astype("float32")
    assert_equals_the_stock_layer(images, 7, 1, strides=strides, padding=padding)


def operations_of_training(layer, shape):
    """Names of the TensorFlow operations of a layer in training."""
    traced = tf.function(lambda x: layer(x, training=True)).get_concrete_function(tf.TensorSpec(shape))
    return {operation.type for operation in traced.graph.get_operations()}


def test_a_1x1_convolution_is_a_matrix_product_but_for_groups():
    assert "MatMul" in operations_of_training(FastConv2D(7, 1, strides=2), (None, 9, 9, 5))
    assert "MatMul" in operations_of_training(FastConv2D(7, 1), (None, None, None, 5))
    assert "MatMul" not in operations_of_training(FastConv2D(10, 1, groups=5), (None, 9, 9, 5))


def test_the_next_layer_knows_the_size_of_maps_after_a_1x1_convolution():
    layer = FastConv2D(7, 1, strides=2)
    traced = tf.function(layer).get_concrete_function(tf.TensorSpec((None, 9, 8, 5)))
    assert traced.structured_outputs.shape.as_list() == [None, 5, 4, 7]


def test_the_batch_is_an_axis_of_space_for_small_maps_alone():
    assert "Conv3D" in operations_of_training(FastConv2D(7, 3), (None, 4, 4, 5))
    assert "Conv3D" in operations_of_training(FastConv2D(7, 3, dtype="mixed_bfloat16"), (None, 8, 8, 5))
    others = [
        (FastConv2D(7, 3), (None, 5, 5, 5)),
        (FastConv2D(7, 3), (None, None, None, 5)),
        (FastConv2D(7, 3, strides=2), (None, 4, 4, 5)),
        (FastConv2D(10, 3, groups=5), (None, 4, 4, 5)),
    ]
    for layer, shape in others:
        assert "Conv3D" not in operations_of_training(layer, shape)


def test_a_gpu_keeps_its_own_convolutions(monkeypatch):
    monkeypatch.setattr(backend, "gpu", lambda: ("GPU", 8.0))
    assert "Conv3D" not in operations_of_training(FastConv2D(7, 3), (None, 4, 4, 5))
    assert "MatMul" not in operations_of_training(FastConv2D(7, 1), (None, 4, 4, 5))


def test_images_of_two_sizes_are_traced_one_after_the_other():
    pixels = keras.Input((None, None, 3))
    conv = FastConv2D(4, 3, padding="same")
    x = keras.layers.GlobalAveragePooling2D()(conv(pixels))
    model = keras.Model(pixels, keras.layers.Softmax()(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    seen = []
    call = conv.call
    conv.call = lambda inputs: seen.append(inputs.shape[1:3]) or call(inputs)
    for side in (3, 4):
        loop.trace_again(model)
        model.fit(np.zeros((8, side, side, 3), "float32"), np.zeros(8), batch_size=4, verbose=0)
    assert set(seen) == {(3, 3), (4, 4)}
