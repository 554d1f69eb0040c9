"""Grad-CAM against gradients written down by hand, and its default layer on the scripts' models."""

import numpy as np
import pytest
from PIL import Image

import cifar100_cnn
import mnist_classification
import resnet50_transfer_learning
from pipeline import artifacts, cam
from pipeline.errors import BadInput
from pipeline.quiet import keras

layers = keras.layers


def network(pool=False, softmax=True):
    """Convolution, ReLU, perhaps pooling, global average, dense, softmax; random weights of both signs."""
    rng = np.random.default_rng(8)
    pixels = keras.Input((8, 8, 2))
    x = layers.ReLU(name="relu")(layers.Conv2D(5, 1, name="conv")(pixels))
    if pool:
        x = layers.AveragePooling2D(2, name="pool")(x)
        x = layers.Conv2D(5, 1, use_bias=False, name="conv2")(x)
    x = layers.Dense(3, activation=None if softmax else "softmax", name="logits")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(pixels, layers.Softmax()(x) if softmax else x, name="by_hand")
    model.set_weights([rng.normal(0, 1, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 8, 8, 2), dtype=np.uint8)


CLASSES = np.array([0, 1, 2, 2, 1, 0])


def scaled(heat):
    heat = np.maximum(heat, 0)
    peak = heat.max(axis=(1, 2), keepdims=True)
    return np.where(peak > 0, heat / np.where(peak > 0, peak, 1), 0)


def convolved(model, images):
    kernel, bias, *_ = model.get_weights()
    return images.astype(float) @ kernel[0, 0] + bias


def assert_close(heat, expected):
    assert heat.dtype == np.float32 and heat.shape == (6, 8, 8)
    assert (expected.max(axis=(1, 2)) > 0).sum() >= 3, "maps of zeros would prove nothing"
    np.testing.assert_allclose(heat, expected, atol=1e-4)


def test_after_the_relu_a_channel_weighs_what_the_class_takes_from_its_average(images):
    model = network()
    maps, dense = np.maximum(convolved(model, images), 0), model.get_weights()[2]
    alpha = dense[:, CLASSES].T / 64  # of the score before the softmax, which mixes no other class in
    expected = scaled(np.einsum("nhwc,nc->nhw", maps, alpha))
    assert_close(cam.grad_cam(model, images, CLASSES, "relu"), expected)


def test_before_the_relu_only_the_positive_pixels_pass_a_gradient_on(images):
    model = network()
    maps, dense = convolved(model, images), model.get_weights()[2]
    alpha = dense[:, CLASSES].T / 64 * (maps > 0).mean(axis=(1, 2))
    expected = scaled(np.einsum("nhwc,nc->nhw", maps, alpha))
    assert_close(cam.grad_cam(model, images, CLASSES, "conv"), expected)


def test_a_smaller_map_is_enlarged_bilinearly_to_the_image(images):
    model = network(pool=True)
    kernel, dense = model.get_weights()[2:4]
    pooled = np.maximum(convolved(model, images), 0).reshape(6, 4, 2, 4, 2, 5).mean(axis=(2, 4))
    maps = pooled @ kernel[0, 0]
    small = np.maximum(np.einsum("nhwc,nc->nhw", maps, dense[:, CLASSES].T / 16), 0).astype(np.float32)
    large = [np.asarray(Image.fromarray(one).resize((8, 8), Image.Resampling.BILINEAR)) for one in small]
    assert_close(cam.grad_cam(model, images, CLASSES, "conv2"), scaled(np.array(large)))


def test_a_batch_gives_what_its_images_give_one_by_one(images):
    model = network()
    batch = cam.grad_cam(model, images, CLASSES, "conv")
    single = [cam.grad_cam(model, images[i : i + 1], CLASSES[i : i + 1], "conv")[0] for i in range(6)]
    np.testing.assert_allclose(batch, single, atol=1e-5)


def test_a_map_without_positive_evidence_is_zero_and_not_nan(images):
    model = network()
    model.get_layer("logits").set_weights([np.tile([-1.0, 1.0, -1.0], (5, 1)), np.zeros(3)])
    heat = cam.grad_cam(model, images, np.array([0, 1, 2, 0, 1, 2]), "relu")
    assert (heat[[0, 2, 3, 5]] == 0).all()
    np.testing.assert_allclose(heat[[1, 4]].max(axis=(1, 2)), 1)


def test_a_constant_shift_of_all_scores_changes_nothing(images):
    """The softmax cannot see it, and neither may an explanation of one class."""
    model = network()
    before = cam.grad_cam(model, images, CLASSES, "relu")
    weights, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([weights, bias + 1000])
    np.testing.assert_allclose(cam.grad_cam(model, images, CLASSES, "relu"), before, atol=1e-5)


def test_explaining_changes_neither_weights_nor_images(images):
    model, before = mnist_classification.build_model(mnist_classification.Config(filters=2)), images.copy()
    weights = model.get_weights()
    cam.grad_cam(model, np.zeros((2, 28, 28, 1), np.uint8), np.array([0, 1]))
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)
    cam.grad_cam(network(), images, CLASSES, "conv")
    np.testing.assert_array_equal(images, before)


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(0)
    return {
        "baseline": cifar100_cnn.build_model(cifar100_cnn.Config(recipe="baseline")),
        "fast": cifar100_cnn.build_model(cifar100_cnn.Config(recipe="fast")),
        "mnist": mnist_classification.build_model(mnist_classification.Config()),
        "resnet": resnet50_transfer_learning.build_model(resnet50_transfer_learning.Config()),
    }


@pytest.mark.parametrize(
    ("which", "name"),
    [
        ("baseline", "block3_conv2_relu"),
        ("fast", "block2_relu2"),
        ("mnist", "block3_conv2_relu"),
        ("resnet", "conv3_block4_out"),
    ],
)
def test_the_default_layer_is_the_activation_after_the_deepest_large_map(models, which, name):
    assert cam.default_layer(models[which]) == name


@pytest.mark.parametrize("which", ["baseline", "fast", "mnist", "resnet"])
def test_the_default_layer_has_a_map_of_at_least_4_by_4_and_no_deeper_activation_has(models, which):
    model = models[which]
    chosen = model.get_layer(cam.default_layer(model))
    assert min(chosen.output.shape[1:3]) >= 4
    later = model.layers[model.layers.index(chosen) + 1 :]
    activations = [layer for layer in later if isinstance(layer, layers.ReLU | layers.Activation)]
    assert all(min(layer.output.shape[1:3]) < 4 for layer in activations if len(layer.output.shape) == 4)


def test_resnet50_can_be_explained_after_an_h5_round_trip(models, tmp_path, digits):
    model, path = models["resnet"], tmp_path / "resnet50_model.h5"
    artifacts.save_model(model, path, image_shape=(28, 28, 1))
    loaded, images = artifacts.load_model(path), digits.x_test[:3]
    heat = cam.grad_cam(loaded, images, np.array([1, 2, 3]))
    assert heat.shape == (3, 28, 28) and np.isfinite(heat).all()
    assert set(heat.max(axis=(1, 2))) <= {0, 1} and heat.max() == 1
    np.testing.assert_allclose(heat, cam.grad_cam(model, images, np.array([1, 2, 3])), atol=1e-4)


def test_an_unknown_layer_is_bad_input_that_lists_the_ones_there_are(images):
    with pytest.raises(BadInput, match=r"no layer convv.*conv"):
        cam.grad_cam(network(), images, CLASSES, "convv")


@pytest.mark.parametrize("layer", ["input", "logits", "global_average", "softmax"])
def test_a_layer_without_a_map_is_bad_input(images, layer):
    model = network()
    name = next(known.name for known in model.layers if known.name.startswith(layer))
    with pytest.raises(BadInput, match=name):
        cam.grad_cam(model, images, CLASSES, name)


def test_a_model_whose_softmax_is_hidden_in_another_layer_is_bad_input(images):
    with pytest.raises(BadInput, match="softmax"):
        cam.grad_cam(network(softmax=False), images, CLASSES, "conv")


def test_a_model_without_a_map_large_enough_is_bad_input():
    pixels = keras.Input((3, 3, 1))
    x = layers.Flatten()(layers.Conv2D(2, 1)(pixels))
    model = keras.Model(pixels, layers.Softmax()(layers.Dense(2)(x)))
    with pytest.raises(BadInput, match="4x4"):
        cam.grad_cam(model, np.zeros((1, 3, 3, 1)), np.array([0]))
