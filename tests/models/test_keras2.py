"""Files of Keras 2, written by hand in its form: none of its versions is installed."""

import json
import zipfile

import h5py
import numpy as np
import pytest

from pipeline.backend import keras, layers
from pipeline.errors import UserError
from pipeline.models import keras2, untrusted

IMAGES = np.random.default_rng(0).random((3, 8, 8, 3), np.float32)
VERSION = "2.15.0"
HE = {"class_name": "HeNormal", "config": {"seed": None}}
DENSE = {"units": 3, "activation": "softmax", "use_bias": True, "kernel_initializer": HE, "kernel_regularizer": None}
CONVOLUTION = {
    "filters": 4,
    "kernel_size": [3, 3],
    "strides": [1, 1],
    "padding": "same",
    "data_format": "channels_last",
    "dilation_rate": [1, 1],
    "groups": 1,
    "activation": "relu",
    "use_bias": True,
    "kernel_initializer": HE,
    "activity_regularizer": None,
}


def layer(kind, name, *inbound, dtype="float32", **config):
    """A layer of a functional model; inbound: (name of a layer, number of its call)."""
    nodes = [[[source, number, 0, {}] for source, number in inbound]] if inbound else []
    config = {"name": name, "trainable": True, "dtype": dtype, **config}
    return {"class_name": kind, "config": config, "name": name, "inbound_nodes": nodes}


def pixels(name="input_1"):
    found = layer("InputLayer", name, batch_input_shape=[None, 8, 8, 3], sparse=False, ragged=False)
    del found["config"]["trainable"]
    return found


def functional(name, *inside, kind="Functional"):
    ends = {"input_layers": [[inside[0]["name"], 0, 0]], "output_layers": [[inside[-1]["name"], 0, 0]]}
    return {"class_name": kind, "config": {"name": name, "layers": list(inside), **ends}}


def sequential(*inside):
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": list(inside)}}


def with_modules(config):
    """An architecture as it is in .keras files: with modules, but for those of inner layers."""
    modules = {"Sequential": "keras", "Functional": "keras.src.engine.functional", "Model": "keras.src.engine.training"}
    of_model = {"module": modules[config["class_name"]], "registered_name": config["class_name"]}
    inside = []
    for one in config["config"]["layers"]:
        inside.append({**one, "module": modules.get(one["class_name"], "keras.layers"), "registered_name": None})
    return {**config, **of_model, "config": {**config["config"], "layers": inside}}


def written(path, model, config, version=VERSION):
    """A file with a model's weights and another's architecture, as Keras 2 writes both."""
    if path.suffix == ".keras":
        model.save(path.with_name("own.keras"))
        config = with_modules(config)
        with zipfile.ZipFile(path.with_name("own.keras")) as own, zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": version}))
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("model.weights.h5", own.read("model.weights.h5"))
        return path
    model.save(path)
    with h5py.File(path, "a") as file:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps(config)
    return path


def separable():
    """A chain of the layers whose arguments differ, and its architecture in Keras 2's words."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3),
            layers.SeparableConv2D(5, 3),
            layers.SpatialDropout2D(0.5),
            layers.RandomFlip(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    half = {"class_name": "Policy", "config": {"name": "float32"}}
    kernel = {"kernel_size": [3, 3], "strides": [1, 1], "padding": "valid", "dilation_rate": [1, 1], "groups": 1}
    norm = {"axis": [3], "momentum": 0.99, "epsilon": 0.001, "gamma_constraint": None}
    separable = {"filters": 5, **kernel, "kernel_initializer": HE, "kernel_regularizer": None, "activation": "linear"}
    config = sequential(
        layer("Conv2D", "conv1/conv", batch_input_shape=[None, 8, 8, 3], **CONVOLUTION),
        layer("BatchNormalization", "conv1/bn", dtype=half, **norm),
        layer("DepthwiseConv2D", "depthwise", depth_multiplier=1, depthwise_initializer=HE, **kernel),
        layer("SeparableConv2D", "separable", **separable),
        layer("SpatialDropout2D", "drop", rate=0.5, noise_shape=None, seed=None),
        layer("RandomFlip", "flip", mode="horizontal", seed=None, rng_type="stateful"),
        layer("GlobalAveragePooling2D", "average", data_format="channels_last", keepdims=False),
        layer("Dense", "dense", **DENSE),
    )
    return model, config


def branched(kind="Functional"):
    """A functional model with a sum in it."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.Add()([x, layers.ReLU(6.0)(x)])
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))
    config = functional(
        "model",
        pixels(),
        layer("Conv2D", "conv/one", ("input_1", 0), **CONVOLUTION),
        layer("ReLU", "relu", ("conv/one", 0), max_value=6.0, negative_slope=0.0, threshold=0.0),
        layer("Add", "add", ("conv/one", 0), ("relu", 0)),
        layer("Flatten", "flatten", ("add", 0), data_format="channels_last"),
        layer("Dense", "dense", ("flatten", 0), **DENSE),
        kind=kind,
    )
    return model, config


def nested():
    """A model in a model, whose first call Keras 2 counts as the second: the first was its own graph."""
    inner_input = keras.Input((8, 8, 3))
    inner = keras.Model(inner_input, layers.Conv2D(4, 3, padding="same", activation="relu")(inner_input))
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(inner(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    base = functional("base", pixels("input_2"), layer("Conv2D", "conv", ("input_2", 0), **CONVOLUTION))
    config = functional(
        "model",
        pixels(),
        {**base, "name": "base", "inbound_nodes": [[["input_1", 0, 0, {"training": False}]]]},
        layer("GlobalAveragePooling2D", "average", ("base", 1)),
        layer("Dense", "dense", ("average", 0), **DENSE),
    )
    return model, config


FORMS = {
    "separable": separable,
    "branched": branched,
    "class Model": lambda: branched("Model"),
    "nested": nested,
}


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_keras_2_gives_the_same_answers(form, suffix, tmp_path):
    keras.utils.set_random_seed(0)
    model, config = FORMS[form]()
    path = written(tmp_path / f"theirs{suffix}", model, config)
    loaded = untrusted.load(path)
    np.testing.assert_allclose(loaded(IMAGES), model(IMAGES, training=False), atol=1e-6)


def test_a_policy_of_half_precision_becomes_float32(tmp_path):
    model, config = branched()
    for one in config["config"]["layers"][1:]:
        one["config"]["dtype"] = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    loaded = untrusted.load(written(tmp_path / "theirs.h5", model, config))
    assert {one.dtype_policy.name for one in loaded.layers} == {"float32"}


def test_a_custom_class_of_keras_2_is_refused(tmp_path):
    model, config = branched()
    config["config"]["layers"][2]["class_name"] = "Mine"
    with pytest.raises(UserError, match="Mine"):
        untrusted.load(written(tmp_path / "theirs.h5", model, config))


def test_groups_that_change_something_stay():
    grouped = layer("Conv2D", "conv", **{**CONVOLUTION, "groups": 2})
    assert keras2.translated(grouped)["config"]["groups"] == 2


@pytest.mark.parametrize(("version", "wrote"), [("2.4.0", True), (b"2.15.0", True), ("3.15.1", False), (None, False)])
def test_which_keras_wrote_a_file(version, wrote):
    assert keras2.wrote(version) is wrote
