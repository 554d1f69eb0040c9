"""The scripts' models: sizes by arithmetic, and imports without effects."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT

import cifar100_cnn
import mnist_classification
import resnet50_transfer_learning
from pipeline.backend import keras
from pipeline.explain import explainer
from pipeline.models import saved_model
from pipeline.train import recipe

layers = keras.layers
BATCH_NORM = 4  # scale, shift, moving mean, moving variance


@pytest.fixture(scope="module")
def baseline():
    return cifar100_cnn.build_model(cifar100_cnn.Config(recipe="baseline"))


@pytest.fixture(scope="module")
def fast():
    """As it is saved; in training it takes smaller images as well."""
    return saved_model.inference_copy(cifar100_cnn.build_model(cifar100_cnn.Config(recipe="fast")), (32, 32, 3))


@pytest.fixture(scope="module")
def mnist():
    return mnist_classification.build_model(mnist_classification.Config())


@pytest.fixture(scope="module")
def resnet():
    return resnet50_transfer_learning.build_model(resnet50_transfer_learning.Config())


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_the_baseline_has_the_parameters_of_its_description(baseline):
    widths = [3, 64, 64, 128, 128, 256, 256]
    convolutions = sum(9 * i * o + o + BATCH_NORM * o for i, o in itertools.pairwise(widths))
    dense = 256 * 512 + 512 + BATCH_NORM * 512
    assert baseline.count_params() == convolutions + dense + 512 * 20 + 20 == 1_292_884


def test_the_fast_cifar_network_has_the_parameters_of_its_widths(fast):
    whitening = 24
    total, channels = 2 * 2 * 3 * whitening + whitening, whitening
    for width, inner in ((64, 64), (192, 160), (512, 320)):
        convolutions = 9 * channels * width + 9 * width * inner + 9 * inner * width
        total += convolutions + (BATCH_NORM - 1) * (2 * width + inner)  # BatchNorm without scale
        channels = width
    assert fast.count_params() == total + channels * 20


def test_the_transformer_has_the_parameters_of_its_description_and_takes_images_of_two_sizes():
    model = cifar100_cnn.build_model(cifar100_cnn.Config(recipe="transformer"))
    filters = [3, 64, 192, 192, 384]
    convolutions = sum(9 * i * o + (BATCH_NORM - 1) * o for i, o in itertools.pairwise(filters))
    width = filters[-1]
    attention, dense = 4 * (width + 1) * width, (width + 1) * 2 * width + (2 * width + 1) * width
    block = attention + dense + 2 * (BATCH_NORM - 1) * width
    head = (BATCH_NORM - 1) * width + width + 1 + 20 * width
    assert model.count_params() == convolutions + 3 * block + head == 4_673_281
    for side in (24, 32):
        images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype(np.float32)
        np.testing.assert_allclose(model.predict_on_batch(images).sum(axis=1), 1, atol=1e-3)
    assert explainer.default_layer(saved_model.inference_copy(model, (32, 32, 3))) == "relu", "after all attention"


def test_the_mnist_network_has_the_parameters_of_its_description(mnist):
    widths = [1, 48, 48, 96, 96, 192, 192]
    convolutions = sum(9 * i * o + BATCH_NORM * o for i, o in itertools.pairwise(widths))
    assert mnist.count_params() == convolutions + 192 * 10 + 10 == 647_866
    tiny = mnist_classification.RECIPES["tiny"]
    assert mnist_classification.build_model(mnist_classification.Config(**tiny)).count_params() < 10_000


def test_an_ensembles_output_is_the_mean_of_its_members_in_one_flat_graph(tmp_path):
    config = mnist_classification.Config(filters=2, ensemble=3)
    pixels = keras.Input((28, 28, 1))
    members = [mnist_classification.build_model(config, kernel, pixels) for kernel in mnist_classification.KERNELS]
    assert [member.layers[2].kernel_size for member in members] == [(3, 3), (5, 5), (7, 7)]
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1)).astype(np.float32)
    mean = np.mean([member.predict_on_batch(images) for member in members], axis=0)
    path = tmp_path / "vote.h5"
    saved_model.save(mnist_classification.average(members), path, image_shape=(28, 28, 1))
    saved = saved_model.load(path)
    np.testing.assert_allclose(saved.predict_on_batch(images), mean, atol=1e-5)
    assert not any(isinstance(layer, keras.Model) for layer in saved.layers)


def test_resnet50_has_the_parameters_of_its_paper_and_a_head_for_ten_classes(resnet):
    def convolution(side, i, o):
        return side * side * i * o + o + BATCH_NORM * o

    total, channels = convolution(7, 3, 64), 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        total += convolution(1, channels, 4 * width)  # the projection of the first block's shortcut
        for _ in range(blocks):
            total += convolution(1, channels, width) + convolution(3, width, width) + convolution(1, width, 4 * width)
            channels = 4 * width
    assert resnet.count_params() == total + 2048 * 10 + 10 == 23_608_202


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [("baseline", 32, 20), ("fast", 32, 20), ("mnist", 28, 10), ("resnet", 28, 10)]
)
def test_models_take_raw_pixels_and_give_probabilities(name, shape, classes, request):
    model = request.getfixturevalue(name)
    channels = 3 if shape == 32 else 1
    assert model.input_shape == (None, shape, shape, channels) and model.output_shape == (None, classes)
    pixels = np.random.default_rng(0).integers(0, 256, (2, shape, shape, channels)).astype(np.float32)
    rows = np.asarray(model(pixels, training=False))
    assert rows.min() >= 0
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)


def test_a_model_of_fine_classes_adds_their_probabilities_up():
    model = cifar100_cnn.build_model(cifar100_cnn.Config(labels="fine"))
    superclass = np.random.default_rng(0).permutation(np.arange(100) % 20)
    summed = recipe.sum_to_superclasses(model, superclass)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    fine, coarse = np.asarray(model(pixels)), np.asarray(summed(pixels))
    assert fine.shape == (3, 100) and coarse.shape == (3, 20)
    for k in range(20):
        np.testing.assert_allclose(coarse[:, k], fine[:, superclass == k].sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "sides"),
    [
        ({"small_epochs": 2, "epochs": 5}, [24, 24, 32, 32, 32]),
        ({"epochs": 5}, [24, 24, 24, 32, 32]),
        ({"small_epochs": 0, "epochs": 2}, [32, 32]),
        ({"epochs": 1}, [32]),
    ],
)
def test_the_first_epochs_of_the_fast_recipe_are_small_but_never_the_last(settings, sides):
    augment = cifar100_cnn.augmentation(cifar100_cnn.Config(**settings))
    images, rng = np.zeros((4, 32, 32, 3), np.uint8), np.random.default_rng(0)
    seen = [augment(images, rng=rng, indices=np.arange(4), epoch=epoch).shape[1] for epoch in range(settings["epochs"])]
    assert seen == sides


@pytest.mark.parametrize("name", ["baseline", "fast", "mnist", "resnet"])
def test_softmax_is_the_last_layer_of_its_own_in_one_flat_graph(name, request):
    model = request.getfixturevalue(name)
    assert isinstance(model.layers[-1], layers.Softmax)
    assert [
        layer.name for layer in model.layers if getattr(layer, "activation", None) == keras.activations.softmax
    ] == []
    assert not of_kind(model, keras.Model)


@pytest.mark.parametrize("script", [cifar100_cnn, mnist_classification, resnet50_transfer_learning])
def test_inputs_and_probabilities_stay_float32_in_mixed_precision(script):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = script.build_model(script.Config())
    assert model.layers[1].compute_dtype == model.layers[-1].compute_dtype == "float32"
    assert model.layers[-2].compute_dtype == "float32"
    assert of_kind(model, layers.Conv2D)[0].compute_dtype == "bfloat16"


def test_the_baseline_is_the_description_layer_by_layer(baseline):
    convolutions = of_kind(baseline, layers.Conv2D)
    assert [layer.filters for layer in convolutions] == [64, 64, 128, 128, 256, 256]
    for layer in convolutions:
        assert layer.kernel_size == (3, 3) and layer.strides == (1, 1) and layer.padding == "same"
        assert isinstance(layer.kernel_initializer, keras.initializers.HeNormal)
        assert isinstance(layer.kernel_regularizer, keras.regularizers.L2)
        assert float(layer.kernel_regularizer.l2) == pytest.approx(1e-4)
    assert [layer.rate for layer in of_kind(baseline, layers.Dropout)] == [0.2, 0.3, 0.4, 0.5]
    dense = of_kind(baseline, layers.Dense)
    assert [layer.units for layer in dense] == [512, 20]
    for layer in [*convolutions, dense[0]]:
        after = baseline.layers.index(layer) + 1
        assert isinstance(baseline.layers[after], layers.BatchNormalization)
        assert isinstance(baseline.layers[after + 1], layers.ReLU)
        assert layer.activation == keras.activations.linear
    pools = [layer.output.shape[1] for layer in of_kind(baseline, layers.MaxPooling2D)]
    assert pools == [16, 8, 4]


def test_the_settings_of_a_config_reach_the_model():
    mnist = mnist_classification.build_model(mnist_classification.Config(filters=3, dropout=0.7))
    assert [layer.filters for layer in of_kind(mnist, layers.Conv2D)] == [3, 3, 6, 6, 12, 12]
    assert of_kind(mnist, layers.Dropout)[0].rate == 0.7
    resnet = resnet50_transfer_learning.build_model(resnet50_transfer_learning.Config(image_size=48, dropout=0.7))
    assert resnet.get_layer("conv1_conv").output.shape[1:3] == (24, 24)
    assert of_kind(resnet, layers.Dropout)[0].rate == 0.7


def test_resnet50_sees_enlarged_digits_as_its_caffe_weights_want_them(resnet):
    fed = keras.Model(resnet.input, resnet.get_layer("subtract_mean").output)
    grey = np.full((1, 28, 28, 1), 100, np.float32)
    reference = keras.applications.resnet50.preprocess_input(np.full((1, 32, 32, 3), 100, np.float32))
    np.testing.assert_allclose(np.asarray(fed(grey)), reference, atol=1e-3)


def test_importing_the_scripts_writes_nothing_and_prints_nothing(tmp_path):
    training = ("cifar100_cnn", "mnist_classification", "resnet50_transfer_learning")
    names = (*training, "export_model", "model_comparison", "predict", "gradcam")
    names += ("error_analysis", "collect_results")
    done = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(names)}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "milestones"),
    [
        ({}, {"24 → 32 pixels": 11}),
        ({"epochs": 1}, {}),
        ({"cutmix": 0.5, "small_epochs": 0}, {"CutMix ends": 19}),
        ({"recipe": "baseline", "cutmix": 0.5}, {}),
        ({"start_from": "a.h5", "cutmix": 0.5}, {}),
    ],
)
def test_the_curves_mark_the_epochs_after_which_images_are_of_full_size_and_whole(settings, milestones):
    assert cifar100_cnn.Config(**settings).milestones == milestones


@pytest.mark.parametrize(
    ("dataset", "is_black"),
    [("mnist", True), ("digits", True), ("fashion-mnist", True), ("cifar10", False), ("synthetic", False)],
)
def test_the_border_of_a_moved_image_is_black_where_things_stand_on_black(dataset, is_black):
    augment = resnet50_transfer_learning.augmentation(resnet50_transfer_learning.Config(dataset=dataset))
    moved = augment(np.full((20, 28, 28, 1), 200, np.uint8), rng=np.random.default_rng(0))
    assert (moved.min() == 0) == is_black
