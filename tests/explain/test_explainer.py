"""Explanations of models whose gradients can be written down by hand, and of the scripts' own models."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT

import cifar100_cnn
import mnist_classification
import resnet50_transfer_learning
from pipeline.backend import keras, layers
from pipeline.errors import UserError
from pipeline.explain import cam, explainer
from pipeline.explain.explainer import Explainer, score_weights
from pipeline.models import saved_model

# In gradcam.py's --help stand the methods.
WITHOUT_KERAS = """
import sys
sys.modules.update(dict.fromkeys(("keras", "tensorflow", "scipy", "matplotlib", "pandas")))
from pipeline.evaluate import metrics
from pipeline.explain import cam, explainer, faithfulness, receptive_field
"""
CLASSES = np.array([0, 1, 2, 2, 1, 0])
TARGET = score_weights(CLASSES, 3)


def network(softmax=True):
    """Convolution, ReLU, pooling, convolution, ReLU, global average, dense, softmax; weights of both signs."""
    rng = np.random.default_rng(41)
    pixels = keras.Input((8, 8, 2))
    x = layers.ReLU(name="relu")(layers.Conv2D(5, 1, name="conv")(pixels))
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = layers.ReLU(name="relu2")(layers.Conv2D(4, 1, use_bias=False, name="conv2")(x))
    x = layers.GlobalAveragePooling2D(name="average")(x)
    x = layers.Dense(3, activation=None if softmax else "softmax", name="logits")(x)
    model = keras.Model(pixels, layers.Softmax(name="softmax")(x) if softmax else x, name="by_hand")
    model.set_weights([rng.normal(0, 1, weight.shape) for weight in model.get_weights()])
    return model


def by_hand(model, images, target):
    """Activations and gradients of both ReLU layers, from the chain rule in NumPy: {layer: (A, G)}."""
    kernel, bias, kernel2, dense, _ = (weight.astype(float) for weight in model.get_weights())
    first = np.maximum(images @ kernel[0, 0] + bias, 0)
    pooled = first.reshape(-1, 4, 2, 4, 2, 5).mean(axis=(2, 4))
    second = np.maximum(pooled @ kernel2[0, 0], 0)
    from_average = np.broadcast_to((target @ dense.T)[:, None, None] / 16, second.shape)
    from_pooled = (from_average * (second > 0)) @ kernel2[0, 0].T
    from_first = np.repeat(np.repeat(from_pooled, 2, axis=1), 2, axis=2) / 4
    return {"relu": (first, from_first), "relu2": (second, from_average)}


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 8, 8, 2), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def explain(model):
    """One for all tests that leave the weights alone: what it compiled serves them all."""
    return Explainer(model)


def assert_same(heat, expected):
    assert heat.dtype == np.float32 and heat.shape == (6, 8, 8)
    assert (expected.max(axis=(1, 2)) > 0).sum() >= 3, "maps of zeros would prove nothing"
    np.testing.assert_allclose(heat, expected, atol=1e-4)


@pytest.mark.parametrize("layer", ["relu", "relu2"])
def test_activations_and_gradients_are_those_of_the_chain_rule(model, explain, images, layer):
    (activations,), (gradients,) = explain.capture(images.astype(np.float32), TARGET, [layer])
    expected = by_hand(model, images, TARGET)[layer]
    np.testing.assert_allclose(activations, expected[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(gradients, expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", cam.METHODS)
@pytest.mark.parametrize("layer", ["relu", "relu2"])
def test_a_heat_map_is_the_methods_map_of_these_clipped_enlarged_and_scaled(model, explain, images, method, layer):
    small = cam.METHODS[method](*by_hand(model, images, TARGET)[layer])
    expected = cam.scale(cam.enlarge(np.maximum(small, 0), 8, 8))
    assert_same(explain(images, TARGET, method, layer), expected)


def test_grad_cam_written_out(model, explain, images):
    """Nothing of the project's own but the call: a channel's weight is the mean of its gradients."""
    activations, gradients = by_hand(model, images, TARGET)["relu"]
    heat = np.maximum((activations * gradients.mean(axis=(1, 2), keepdims=True)).sum(axis=-1), 0)
    peak = heat.max(axis=(1, 2), keepdims=True)
    assert_same(explain(images, TARGET, "grad-cam", "relu"), heat / np.where(peak > 0, peak, 1))


def test_fused_layer_cam_takes_the_larger_of_its_stages(model, explain, images):
    stages = []
    for activations, gradients in by_hand(model, images, TARGET).values():
        heat = (activations * np.maximum(gradients, 0)).sum(axis=-1)
        side = 8 // heat.shape[1]
        if side > 1:
            heat = cam.enlarge(heat, 8, 8)
        stages.append(np.tanh(2 * cam.scale(heat)))
    expected = np.maximum(*stages)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    assert_same(explain(images, TARGET, "layer-cam", "fused"), expected)


def test_without_a_target_the_predicted_class_is_explained(model, explain, images):
    predicted = saved_model.predict(model, images).argmax(axis=1)
    assert len(set(predicted)) > 1
    for method in ("grad-cam", "occlusion", "score-cam"):
        expected = explain(images, score_weights(predicted, 3), method, "relu")
        np.testing.assert_array_equal(explain(images, None, method, "relu"), expected)


def test_why_one_class_and_not_another_is_the_difference_of_their_evidence(model, explain, images):
    """HiResCAM is linear in the score, so its raw maps can be subtracted."""
    other = (CLASSES + 1) % 3
    maps = [cam.hires_cam(*by_hand(model, images, score_weights(which, 3))["relu"]) for which in (CLASSES, other)]
    expected = cam.scale(maps[0] - maps[1])
    assert_same(explain(images, score_weights(CLASSES, 3, other), "hires-cam", "relu"), expected)


@pytest.mark.parametrize("against", [None, np.array([1, 2, 0, 1, 0, 2])])
def test_expected_gradients_follow_the_log_odds_against_the_rivals(model, explain, images, against):
    """Gradients of the log-odds by finite differences: against all other classes, or against the one that is named."""
    target = score_weights(CLASSES, 3, against)
    pixels = images.astype(np.float32)
    gradients = explain._log_odds_gradient(pixels, target).numpy()

    def log_odds(changed):
        logits = saved_model.predict(explain.logits, changed).astype(float)
        found = []
        for n, k in enumerate(CLASSES):
            rivals = [other for other in range(3) if other != k] if against is None else [against[n]]
            found.append(logits[n, k] - np.log(np.exp(logits[n, rivals] - logits[n].max()).sum()) - logits[n].max())
        return np.array(found)

    rng = np.random.default_rng(0)
    step = 0.01 * rng.normal(0, 1, pixels.shape).astype(np.float32)
    difference = log_odds(pixels + step) - log_odds(pixels - step)
    np.testing.assert_allclose((2 * step * gradients).sum(axis=(1, 2, 3)), difference, atol=0.05, rtol=0.05)


def test_a_thorough_explanation_asks_more_masks_and_says_nearly_the_same(explain, images):
    few, many = (explain(images, TARGET, "expected-gradients", thorough=thorough) for thorough in (False, True))
    assert not np.array_equal(few, many)
    assert np.corrcoef(few.ravel(), many.ravel())[0, 1] > 0.7


def test_the_aggregate_is_the_weighted_mean_of_its_scaled_parts(explain, images):
    parts = [explain(images, TARGET, part, "relu") for part in ("grad-cam", "expected-gradients")]
    assert_same(explain(images, TARGET, "aggregate", "relu"), cam.scale(parts[0] + 2 * parts[1]))


def test_before_the_relu_only_the_positive_pixels_pass_a_gradient_on(model, explain, images):
    kernel, bias, *_ = model.get_weights()
    before = images.astype(float) @ kernel[0, 0] + bias
    gradients = by_hand(model, images, TARGET)["relu"][1] * (before > 0)
    assert_same(explain(images, TARGET, "grad-cam", "conv"), cam.scale(cam.grad_cam(before, gradients)))


@pytest.mark.parametrize("method", explainer.METHODS)
def test_a_batch_gives_what_its_images_give_one_by_one(explain, images, method, monkeypatch):
    single = [explain(images[i : i + 1], TARGET[i : i + 1], method, "relu")[0] for i in range(6)]
    monkeypatch.setattr(explainer, "BATCH_SIZE", 4)
    np.testing.assert_allclose(explain(images, TARGET, method, "relu"), single, atol=1e-4)


def test_a_map_without_positive_evidence_is_zero_and_not_nan(images):
    model = network()
    model.get_layer("logits").set_weights([np.tile([-1.0, 1.0, -1.0], (4, 1)), np.zeros(3)])
    heat = Explainer(model)(images, score_weights([0, 1, 2, 0, 1, 2], 3), "grad-cam", "relu2")
    assert (heat[[0, 2, 3, 5]] == 0).all()
    np.testing.assert_allclose(heat[[1, 4]].max(axis=(1, 2)), 1)


@pytest.fixture(scope="module")
def explain_shifted():
    """The same network with 10 added to each logit."""
    model = network()
    weights, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([weights, bias + 10])
    return Explainer(model)


@pytest.mark.parametrize("method", explainer.METHODS)
def test_a_constant_shift_of_all_logits_changes_nothing(explain, explain_shifted, images, method):
    """The softmax cannot see it, and neither may an explanation of one class."""
    before = explain(images, TARGET, method, "relu")
    np.testing.assert_allclose(explain_shifted(images, TARGET, method, "relu"), before, atol=1e-3)


@pytest.mark.parametrize("method", explainer.METHODS)
def test_explaining_changes_neither_weights_nor_images(model, explain, images, method):
    before, weights = images.copy(), model.get_weights()
    explain(images, TARGET, method, "relu")
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(images, before)


def test_new_weights_are_explained_by_an_explainer_made_before_them(images):
    model = network()
    explain = Explainer(model)
    explain(images, TARGET, "grad-cam", "relu")
    model.set_weights([-weight for weight in model.get_weights()])
    expected = cam.scale(cam.grad_cam(*by_hand(model, images, TARGET)["relu"]))
    np.testing.assert_allclose(explain(images, TARGET, "grad-cam", "relu"), expected, atol=1e-4)


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(0)
    return {
        "baseline": cifar100_cnn.build_model(cifar100_cnn.Config(recipe="baseline")),
        "fast": saved_model.inference_copy(cifar100_cnn.build_model(cifar100_cnn.Config()), (32, 32, 3)),
        "mnist": mnist_classification.build_model(mnist_classification.Config()),
        "resnet": resnet50_transfer_learning.build_model(resnet50_transfer_learning.Config()),
    }


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("baseline", ["block1_conv2_relu", "block2_conv2_relu", "block3_conv2_relu"]),
        ("fast", ["whiten", "block1_relu3", "block2_relu3", "block3_relu3"]),
        ("mnist", ["block1_conv2_relu", "block2_conv2_relu", "block3_conv2_relu"]),
        ("resnet", ["conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out"]),
    ],
)
def test_the_stages_are_the_last_activations_of_each_map_size_above_one_cell(models, which, names):
    assert explainer.stages(models[which]) == names


@pytest.mark.parametrize(
    ("which", "name"),
    [
        ("baseline", "block3_conv2_relu"),
        ("fast", "block3_relu3"),
        ("mnist", "block3_conv2_relu"),
        ("resnet", "conv3_block4_out"),
    ],
)
def test_the_default_layer_is_the_deepest_activation_with_at_least_3_by_3_cells(models, which, name):
    assert explainer.default_layer(models[which]) == name
    assert Explainer(models[which]).layers("grad-cam") == [name]


@pytest.fixture(scope="module")
def saved_resnet(models, tmp_path_factory):
    """ResNet50 after an .h5 round trip."""
    path = tmp_path_factory.mktemp("resnet") / "resnet50_model.h5"
    saved_model.save(models["resnet"], path, image_shape=(28, 28, 1))
    return Explainer(saved_model.load(path))


def test_resnet50_is_explained_alike_after_an_h5_round_trip(models, saved_resnet, digits):
    """By activations and gradients of all stages; the methods are functions of these and of the predictions."""
    images, target = digits.x_test[:2], score_weights([1, 2], 10)
    before = Explainer(models["resnet"])(images, target, "layer-cam", "fused")
    assert before.shape == (2, 28, 28) and np.isfinite(before).all() and before.max() == 1
    np.testing.assert_allclose(saved_resnet(images, target, "layer-cam", "fused"), before, atol=1e-3)


@pytest.mark.parametrize("method", explainer.METHODS)
def test_every_method_explains_resnet50(saved_resnet, digits, method):
    heat = saved_resnet(digits.x_test[:2], score_weights([1, 2], 10), method)
    assert heat.shape == (2, 28, 28) and np.isfinite(heat).all() and heat.max() == 1


def test_on_resnet50_too_the_captured_gradients_are_those_written_down_by_hand(saved_resnet, digits):
    """After the last stage come the average of its one cell and a dense layer, whose kernel is the gradient."""
    images, target = digits.x_test[:2], score_weights([1, 2], 10)
    (activations,), (gradients,) = saved_resnet.capture(images.astype(np.float32), target, ["conv5_block3_out"])
    assert activations.shape == (2, 1, 1, 2048)
    kernel = saved_resnet.model.get_layer("logits").get_weights()[0]
    np.testing.assert_allclose(gradients[:, 0, 0], kernel[:, [1, 2]].T, atol=1e-6)


@pytest.mark.parametrize("method", explainer.METHODS)
def test_nothing_speaks_for_a_class_rather_than_itself(explain, images, method):
    classes = np.array([1])
    maps = explain(images[:1], score_weights(classes, 3, against=classes), method, "relu2")
    assert method == "eigen-cam" or not maps.any()


ACTIVATIONS = {
    "LeakyReLU": lambda: layers.LeakyReLU(name="last"),
    "PReLU": lambda: layers.PReLU(name="last"),
    "ELU": lambda: layers.ELU(name="last"),
    "Activation": lambda: layers.Activation("gelu", name="last"),
    "SeparableConv2D": lambda: layers.SeparableConv2D(4, 3, activation="relu", name="last"),
    "DepthwiseConv2D": lambda: layers.DepthwiseConv2D(3, activation="relu", name="last"),
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_any_kind_of_activation_can_be_explained_and_a_linear_layer_is_none(kind):
    pixels = keras.Input((8, 8, 1))
    x = ACTIVATIONS[kind]()(layers.Conv2D(4, 1, name="linear")(pixels))
    x = layers.Activation("linear", name="linear_too")(x)
    x = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(pixels, layers.Softmax()(x))
    assert explainer.stages(model) == ["last"]


def test_an_unknown_layer_is_bad_input_that_lists_the_ones_there_are(explain, images):
    with pytest.raises(UserError, match=r"no layer convv.*conv"):
        explain(images, TARGET, "grad-cam", "convv")


@pytest.mark.parametrize("layer", ["input", "logits", "average", "softmax"])
def test_a_layer_without_a_map_is_bad_input(model, explain, images, layer):
    name = next(known.name for known in model.layers if known.name.startswith(layer))
    with pytest.raises(UserError, match=name):
        explain(images, TARGET, "grad-cam", name)


def test_an_unknown_method_is_bad_input_that_lists_the_ones_there_are(explain, images):
    with pytest.raises(UserError, match=r"no method cam.*grad-cam.*occlusion"):
        explain(images, TARGET, "cam")


def test_a_model_whose_softmax_is_hidden_in_another_layer_is_bad_input():
    with pytest.raises(UserError, match="softmax"):
        Explainer(network(softmax=False))


def test_a_model_without_a_map_large_enough_is_bad_input():
    pixels = keras.Input((2, 2, 1))
    x = layers.Flatten()(layers.Conv2D(2, 1, activation="relu")(pixels))
    model = keras.Model(pixels, layers.Softmax()(layers.Dense(2)(x)))
    with pytest.raises(UserError, match="3x3"):
        Explainer(model)(np.zeros((1, 2, 2, 1)))


def test_methods_and_metrics_are_known_before_keras_scipy_and_matplotlib_are_imported():
    done = subprocess.run([sys.executable, "-c", WITHOUT_KERAS], cwd=PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
