"""Initializations, rates and optimizers of the ablation study against formulas, SVDs and hand computations."""

from types import SimpleNamespace

import numpy as np
import pytest

import cifar100_cnn
from experiments import optimization
from pipeline.backend import keras
from pipeline.data import datasets


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


def test_adamw_has_the_recipes_cycle_and_spares_biases_its_decay(dataset):
    model, config, _ = prepared(optimization.with_adamw, dataset)
    assert isinstance(model.optimizer, keras.optimizers.AdamW)
    model.optimizer.iterations.assign(8)  # the end of the warm-up, a fifth of 40 steps
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(2e-3)
    assert model.loss.label_smoothing == config.label_smoothing
    model.optimizer.build(model.trainable_variables)
    decayed = {v.path for v in model.trainable_variables if model.optimizer._use_weight_decay(v)}
    assert decayed == {v.path for v in model.trainable_variables if v.path.endswith("kernel")}


def test_sgd_has_the_recipes_cycle_and_a_rate_of_its_own(dataset):
    model, _, _ = prepared(optimization.with_sgd, dataset)
    model.optimizer.iterations.assign(8)
    assert isinstance(model.optimizer, keras.optimizers.SGD) and model.optimizer.nesterov
    assert float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) == pytest.approx(0.4)


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
