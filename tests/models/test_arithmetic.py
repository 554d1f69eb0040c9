"""Arithmetic outside of layers, as preprocess_input() leaves it, is loaded as Rescaling layers."""

import h5py
import numpy as np
import pytest
from test_keras2 import functional, layer, pixels, written

from pipeline.backend import keras, layers
from pipeline.errors import UserError
from pipeline.models import untrusted

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.float32)


def theirs(arithmetic):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(arithmetic(inputs))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Add()([x, x])))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("arithmetic", [lambda x: x / 127.5 - 1, lambda x: x * 0.5 + 3])
def test_arithmetic_of_keras_3_becomes_layers(arithmetic, suffix, tmp_path):
    model = theirs(arithmetic)
    model.save(tmp_path / f"theirs{suffix}")
    loaded = untrusted.load(tmp_path / f"theirs{suffix}")
    np.testing.assert_allclose(loaded(IMAGES), model(IMAGES), atol=1e-5)
    assert sum(isinstance(one, layers.Rescaling) for one in loaded.layers) == 2


def test_arithmetic_of_keras_2_becomes_layers(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    average = layers.GlobalAveragePooling2D()(inputs / 127.5 - 1)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(average))

    def operation(name, source, number):
        found = layer("TFOpLambda", f"tf.{name}", function=name)
        return {**found, "inbound_nodes": [[source, 0, 0, {"y": number, "name": None}]]}

    config = functional(
        "model",
        pixels(),
        operation("math.truediv", "input_1", 127.5),
        operation("math.subtract", "tf.math.truediv", 1.0),
        layer("GlobalAveragePooling2D", "average", ("tf.math.subtract", 0)),
        layer("Dense", "dense", ("average", 0), units=3, activation="softmax"),
    )
    loaded = untrusted.load(written(tmp_path / "theirs.h5", model, config))
    np.testing.assert_allclose(loaded(IMAGES), model(IMAGES), atol=1e-6)


@pytest.mark.parametrize("arithmetic", [lambda x: x[..., ::-1], lambda x: x / keras.ops.max(x), keras.ops.tanh])
def test_other_operations_are_refused_by_name(arithmetic, tmp_path):
    theirs(arithmetic).save(tmp_path / "theirs.keras")
    with pytest.raises(UserError, match="outside of its layers"):
        untrusted.load(tmp_path / "theirs.keras")


@pytest.mark.parametrize("number", ["0.0", '"text"'])
def test_a_number_that_is_none_is_refused(number, tmp_path):
    path = tmp_path / "theirs.h5"
    theirs(lambda x: x / 127.5).save(path)
    with h5py.File(path, "a") as file:
        config = file.attrs["model_config"].replace("127.5", number)
        del file.attrs["model_config"]
        file.attrs["model_config"] = config
    with pytest.raises(UserError, match=r"theirs\.h5"):
        untrusted.load(path)
