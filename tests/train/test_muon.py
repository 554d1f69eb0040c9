"""Muon against SVDs, hand computations and SGD."""

import numpy as np
import pytest

from pipeline.backend import keras
from pipeline.train import muon


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (9, 9)])
def test_orthogonalization_changes_singular_values_alone_by_the_known_polynomial(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    u, values, vt = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.linalg.norm(values)
    for _ in range(3):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    np.testing.assert_allclose(muon.orthogonalized(matrix, 3), u * values @ vt, atol=2e-4)


def test_orthogonalization_brings_singular_values_near_1():
    matrix = np.random.default_rng(0).normal(size=(32, 288)).astype(np.float32)
    values = np.linalg.svd(np.array(muon.orthogonalized(matrix, 3)), compute_uv=False)
    assert values.min() > 0.5 and values.max() < 1.3


def kernel_of(layer, value) -> keras.Variable:
    with keras.name_scope(layer):
        return keras.Variable(np.asarray(value, np.float32), name="kernel")


def test_a_kernel_is_a_matrix_of_its_inputs_and_its_filters():
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(6, 3, padding="same", name="conv")(pixels)
    x = keras.layers.Dense(12, name="dense")(keras.layers.Reshape((-1, 6))(x))
    x = keras.layers.MultiHeadAttention(2, 5, name="attention")(x, x)
    outputs = [keras.layers.Dense(4, name="logits")(x), keras.layers.Dense(1, name="score")(x)]
    model = keras.Model(pixels, outputs)
    found = {variable.path: muon.matrix_shape(variable) for variable in model.weights}
    assert {path: shape for path, shape in found.items() if shape} == {
        "conv/kernel": (27, 6),
        "dense/kernel": (6, 12),
        "attention/query/kernel": (12, 10),
        "attention/key/kernel": (12, 10),
        "attention/value/kernel": (12, 10),
        "attention/attention_output/kernel": (10, 12),
    }
    assert found["logits/kernel"] is None and found["score/kernel"] is None and found["conv/bias"] is None


def test_two_steps_by_hand_and_of_other_variables_by_sgd():
    rng = np.random.default_rng(0)
    start = {"conv1": rng.normal(size=(3, 3, 2, 5)), "logits": rng.normal(size=(4, 3))}
    variables = [kernel_of(name, value) for name, value in start.items()]
    optimizer = muon.Muon(0.05, others=4.0, momentum=0.6, others_momentum=0.8)
    sgd, plain = keras.optimizers.SGD(0.2, momentum=0.8, nesterov=True), keras.Variable(start["logits"])
    kernel, velocity = start["conv1"].reshape(-1, 5), np.zeros((18, 5))
    for _ in range(2):
        gradients = [rng.normal(size=value.shape).astype(np.float32) for value in start.values()]
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], variables)
        sgd.apply([keras.ops.convert_to_tensor(gradients[1])], [plain])
        gradient = gradients[0].reshape(-1, 5)
        velocity = 0.6 * velocity + gradient
        kernel = kernel / np.linalg.norm(kernel) * np.sqrt(5)
        kernel = kernel - 0.05 * np.array(muon.orthogonalized((gradient + 0.6 * velocity).T.astype(np.float32), 3)).T
    np.testing.assert_allclose(np.array(variables[0]).reshape(-1, 5), kernel, atol=1e-4)
    np.testing.assert_allclose(np.array(variables[1]), np.array(plain), atol=1e-6)


def test_its_settings_survive_saving():
    optimizer = muon.Muon(0.1, others=2.0, momentum=0.5, others_momentum=0.7, steps=5)
    again = muon.Muon.from_config(optimizer.get_config())
    names = ("others", "momentum", "others_momentum", "steps")
    assert [getattr(again, name) for name in names] == [2.0, 0.5, 0.7, 5]
    assert float(again.learning_rate) == pytest.approx(0.1)
