"""Losses and learning-rate rules against Keras' own and against their formulas."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.backend import keras
from pipeline.evaluate import metrics
from pipeline.train import recipe


@pytest.mark.parametrize("seed", range(5))
def test_plateau_agrees_with_keras_callbacks_after_every_epoch(seed):
    losses = list(np.random.default_rng(seed).random(60).round(1) + 0.5 ** np.arange(60))  # rounded: ties occur
    model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=1.0), stop_training=False)
    reduce = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=3, min_delta=0, mode="min")
    stop = keras.callbacks.EarlyStopping("val_loss", patience=11, mode="min")
    for callback in (reduce, stop):
        callback.set_model(model)
        callback.on_train_begin()
    plateau = recipe.Plateau(1.0, 0.5, patience=3, stop_after=11)
    assert plateau.rate([]) == 1.0 and not plateau.stops([])
    for epoch, loss in enumerate(losses):
        for callback in (reduce, stop):
            callback.on_epoch_end(epoch, {"val_loss": loss})
        assert plateau.rate(losses[: epoch + 1]) == model.optimizer.learning_rate
        assert plateau.stops(losses[: epoch + 1]) == model.stop_training
        if model.stop_training:
            break
    assert model.stop_training and model.optimizer.learning_rate < 0.5


def test_an_equal_loss_is_no_improvement():
    plateau = recipe.Plateau(1.0, 0.5, patience=2, stop_after=2)
    assert plateau.rate([0.7, 0.7, 0.7]) == 0.5
    assert plateau.stops([0.7, 0.7, 0.7])


def test_one_cycle_rises_linearly_to_its_peak_and_falls_as_a_half_cosine_to_zero():
    rate = recipe.one_cycle(0.3, steps=100, warm_up=0.2)
    values = [float(rate(step)) for step in range(101)]
    rising = [0.3 * step / 20 for step in range(20)]
    falling = [0.3 * (1 + math.cos(math.pi * step / 80)) / 2 for step in range(81)]
    np.testing.assert_allclose(values, rising + falling, atol=1e-6)


def test_one_cycle_without_warm_up_starts_at_its_peak():
    rate = recipe.one_cycle(0.3, steps=10, warm_up=0.0)
    assert float(rate(0)) == pytest.approx(0.3)
    assert float(rate(10)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("warm_up", [0.0, 0.5, 0.95])
def test_one_cycle_is_finite_even_for_a_single_step(warm_up):
    assert math.isfinite(float(recipe.one_cycle(0.3, steps=1, warm_up=warm_up)(0)))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_smoothed_cross_entropy_agrees_with_keras(smoothing):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(10), 64).astype(np.float32)
    labels = rng.integers(0, 10, 64)
    reference = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)(np.eye(10)[labels], probabilities)
    for shaped in (labels, labels[:, None]):
        assert float(recipe.SmoothedCrossEntropy(smoothing)(shaped, probabilities)) == pytest.approx(float(reference))


@pytest.mark.parametrize(("batch_size", "steps"), [(8, 6), (50, 1), (80, 1)])
def test_an_epoch_has_whole_batches_alone(batch_size, steps):
    config = SimpleNamespace(batch_size=batch_size)
    assert recipe.steps_per_epoch(SimpleNamespace(x_train=np.zeros(50)), config) == steps


def test_whitening_decorrelates_patches_and_stays_as_it_is():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(400, 16, 16, 3)) @ rng.normal(size=(3, 3)) + 0.5 * rng.normal(size=(400, 16, 1, 1))
    layer = keras.layers.Conv2D(24, 2)
    layer.build((None, 16, 16, 3))
    recipe.whiten(layer, mixed.astype(np.float32))
    out = np.asarray(layer(mixed.astype(np.float32)))[:, ::2, ::2].reshape(-1, 24)
    np.testing.assert_allclose(out[:, 12:], -out[:, :12], atol=1e-5)
    np.testing.assert_allclose(np.cov(out[:, :12], rowvar=False), np.eye(12), atol=0.02)
    assert [variable.name for variable in layer.trainable_variables] == ["bias"]


@pytest.mark.parametrize(("before", "after"), [(3, 8), (8, 3), (5, 5)])
def test_an_identity_start_passes_the_first_channels_on_and_leaves_the_other_filters(before, after):
    layer = keras.layers.Conv2D(after, 3, padding="same", use_bias=False)
    layer.build((None, 6, 6, before))
    random_start = np.array(layer.kernel)
    recipe.dirac_initialization(layer)
    images = np.random.default_rng(0).normal(size=(2, 6, 6, before)).astype(np.float32)
    shared = min(before, after)
    np.testing.assert_allclose(np.asarray(layer(images))[..., :shared], images[..., :shared], atol=1e-6)
    np.testing.assert_array_equal(np.array(layer.kernel)[..., shared:], random_start[..., shared:])


def test_the_temperature_makes_a_model_as_sure_as_it_is_right_and_changes_no_prediction():
    rng = np.random.default_rng(0)
    true_logits = rng.normal(0, 2, (4000, 5)).astype(np.float32)
    shares = np.exp(true_logits) / np.exp(true_logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in shares / shares.sum(axis=1, keepdims=True)])
    inputs = keras.Input((5,))
    dense = keras.layers.Dense(5, name="logits")
    model = keras.Model(inputs, keras.layers.Softmax()(dense(inputs)))
    dense.set_weights([np.eye(5) / 2.5, np.zeros(5)])  # less sure than it should be
    before = model.predict(true_logits, verbose=0)
    assert recipe.scale_temperature(model, true_logits, labels) == pytest.approx(1 / 2.5, rel=0.1)
    after = model.predict(true_logits, verbose=0)
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    error = metrics.expected_calibration_error
    assert error(after, labels) < 0.03 < 0.1 < error(before, labels)
