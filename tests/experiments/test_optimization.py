"""Initializations, rates and optimizers of the ablation study against formulas, SVDs and hand computations."""

from types import SimpleNamespace

import numpy as np
import pytest

import cifar100_cnn
from experiments import optimization
from pipeline.backend import keras
from pipeline.data import datasets
from pipeline.train import recipe


@pytest.fixture(scope="module")
def dataset(synthetic):
    return datasets.shrink(datasets.split(synthetic), 64)


def prepared(prepare, dataset, **settings):
    config = cifar100_cnn.Config(dataset="synthetic", epochs=10, batch_size=16, **settings)
    keras.utils.set_random_seed(0)
    model = cifar100_cnn.build_fast(20)
    start = [np.array(value) for value in model.get_weights()]
    prepare(model, config, dataset)
    return model, config, dict(zip([v.path for v in model.weights], start, strict=True))


def test_without_whitening_the_first_convolution_is_random_and_trains(dataset):
    model, _, start = prepared(optimization.without_whitening, dataset)
    kernel = model.get_layer("whiten").kernel
    np.testing.assert_array_equal(kernel, start[kernel.path])
    assert any(variable is kernel for variable in model.trainable_variables)
    usual, _, start = prepared(cifar100_cnn.prepare_fast, dataset)
    kernel = usual.get_layer("whiten").kernel
    assert not np.array_equal(kernel, start[kernel.path])
    assert not any(variable is kernel for variable in usual.trainable_variables)


def test_without_dirac_initialization_the_convolutions_are_random_and_the_rest_is_the_recipes(dataset):
    model, _, start = prepared(optimization.without_dirac_initialization, dataset)
    usual, _, _ = prepared(cifar100_cnn.prepare_fast, dataset)
    for ours, theirs in zip(model.weights, usual.weights, strict=True):
        is_conv = len(ours.shape) == 4 and ours.shape[0] == 3
        np.testing.assert_array_equal(ours, start[ours.path] if is_conv else np.array(theirs))
        assert not is_conv or not np.array_equal(ours, theirs)


def test_the_step_decay_at_named_steps():
    rate = optimization.step_decay(0.3, steps=100)
    named = {0: 0.3, 59: 0.3, 61: 0.03, 84: 0.03, 86: 0.003, 99: 0.003}
    np.testing.assert_allclose([float(rate(step)) for step in named], list(named.values()), rtol=1e-5)
    constant = optimization.step_decay(0.3, steps=100, factor=1.0)
    np.testing.assert_allclose([float(constant(step)) for step in (0, 70, 99)], 0.3, rtol=1e-6)


def test_the_optimizer_follows_the_step_decay(dataset):
    model, config, _ = prepared(optimization.with_step_decay, dataset)
    assert config.epochs * recipe.steps_per_epoch(dataset, config) == 40
    rates = {}
    for step in (0, 30, 39):
        model.optimizer.iterations.assign(step)
        rates[step] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    np.testing.assert_allclose(list(rates.values()), [0.3, 0.03, 0.003], rtol=1e-5)
    assert model.optimizer.momentum == config.momentum


def test_adamw_has_the_recipes_cycle_and_spares_biases_its_decay(dataset):
    model, config, _ = prepared(optimization.with_adamw, dataset)
    assert isinstance(model.optimizer, keras.optimizers.AdamW)
    model.optimizer.iterations.assign(8)  # the end of the warm-up, a fifth of 40 steps
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(2e-3)
    assert model.loss.label_smoothing == config.label_smoothing
    model.optimizer.build(model.trainable_variables)
    decayed = {v.path for v in model.trainable_variables if model.optimizer._use_weight_decay(v)}
    assert decayed == {v.path for v in model.trainable_variables if v.path.endswith("kernel")}


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (9, 9)])
def test_orthogonalization_changes_singular_values_alone_by_the_known_polynomial(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    u, values, vt = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.linalg.norm(values)
    for _ in range(3):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    np.testing.assert_allclose(optimization.orthogonal(matrix), u * values @ vt, atol=2e-4)


def test_orthogonalization_brings_singular_values_near_1():
    matrix = np.random.default_rng(0).normal(size=(32, 288)).astype(np.float32)
    values = np.linalg.svd(np.array(optimization.orthogonal(matrix)), compute_uv=False)
    assert values.min() > 0.5 and values.max() < 1.3


def test_two_steps_of_muon_by_hand():
    rng = np.random.default_rng(0)
    start = {"kernel": rng.normal(size=(3, 3, 2, 5)), "matrix": rng.normal(size=(4, 3))}
    variables = [keras.Variable(value.astype(np.float32), name=name) for name, value in start.items()]
    muon = optimization.Muon(0.1, momentum=0.8, nesterov=True, ratio=0.5)
    sgd, plain = keras.optimizers.SGD(0.1, momentum=0.8, nesterov=True), keras.Variable(start["matrix"])
    kernel, velocity = start["kernel"].reshape(-1, 5), np.zeros((18, 5))
    for _ in range(2):
        gradients = [rng.normal(size=value.shape).astype(np.float32) for value in start.values()]
        muon.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], variables)
        sgd.apply([keras.ops.convert_to_tensor(gradients[1])], [plain])
        gradient = gradients[0].reshape(-1, 5)
        velocity = 0.8 * velocity + gradient
        kernel = kernel / np.linalg.norm(kernel) * np.sqrt(5)
        step = np.array(optimization.orthogonal((gradient + 0.8 * velocity).astype(np.float32)))
        kernel = kernel - 0.5 * 0.1 * step
    np.testing.assert_allclose(np.array(variables[0]).reshape(-1, 5), kernel, atol=1e-4)
    np.testing.assert_allclose(np.array(variables[1]), np.array(plain), atol=1e-6)


def test_muon_keeps_the_recipes_rate_and_momentum(dataset):
    model, config, _ = prepared(optimization.with_muon, dataset)
    model.optimizer.iterations.assign(8)
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(config.learning_rate)
    assert (model.optimizer.momentum, model.optimizer.nesterov) == (config.momentum, True)


def test_the_moving_average_by_hand_over_two_calls_of_fit():
    average = optimization.Average(0.9)
    weights = [np.array([1.0, 2.0], np.float32)]
    model = SimpleNamespace(get_weights=lambda: weights, set_weights=lambda given: taken.extend(given))
    taken = []
    average.set_model(model)
    expected = np.array([1.0, 2.0])
    for step in range(6):
        if step % 3 == 0:
            average.on_train_begin()
        weights[0] = weights[0] + step
        average.on_train_batch_end(step)
        expected = 0.9 * expected + 0.1 * weights[0]
    average.apply()
    np.testing.assert_allclose(taken[0], expected, rtol=1e-6)
    assert not np.allclose(taken[0], weights[0])


def test_the_moving_average_leaves_the_training_alone_and_is_that_of_the_steps():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="zeros")(inputs))
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    x, y = np.eye(3, dtype=np.float32), np.array([[1.0], [2.0], [3.0]])
    average = optimization.Average(0.5)
    for _ in range(2):
        model.fit(x, y, batch_size=3, epochs=1, shuffle=False, verbose=0, callbacks=[average])
    last = model.get_weights()
    first_step = 0.1 * 2 / 3 * y  # gradient of the mean square at zero weights
    kernel, bias = first_step, first_step.sum()
    gradient = 2 / 3 * (kernel + bias - y)
    second_step = kernel - 0.1 * gradient
    np.testing.assert_allclose(last[0], second_step, atol=1e-5)
    average.apply()
    np.testing.assert_allclose(model.get_weights()[0], 0.5 * (0.5 * 0 + 0.5 * kernel) + 0.5 * second_step, atol=1e-5)
