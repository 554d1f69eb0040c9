"""The fused layer against Keras' own: outputs, gradients, running statistics, and what is saved."""

import numpy as np
import pytest

from pipeline.backend import keras
from pipeline.models import saved_model
from pipeline.train.recipe import FusedBatchNormalization

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
