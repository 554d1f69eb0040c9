"""What a model must be: checked before its first epoch, and all of Keras' usual forms simply work."""

import numpy as np
import pytest

from pipeline.backend import keras, layers
from pipeline.errors import UserError
from pipeline.explain.explainer import Explainer
from pipeline.models import contract, saved_model
from pipeline.train import recipe

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
ABOUT = {"prefix": "own", "dataset": "digits", "title": "own", "class_names": ["a", "b", "c"]}


def body(x):
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(layers.Rescaling(1 / 255)(x))
    return layers.Flatten()(x)


def functional(end):
    pixels = keras.Input((8, 8, 1))
    return keras.Model(pixels, end(body(pixels)), name="own")


def sequential(*end):
    first = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3, activation="relu", name="conv"), layers.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 1)), *first, *end], name="own")


GOOD = {
    "softmax layer": lambda: functional(lambda x: layers.Softmax()(layers.Dense(3)(x))),
    "dense with softmax": lambda: functional(layers.Dense(3, activation="softmax", name="probabilities")),
    "activation": lambda: functional(lambda x: layers.Activation("softmax")(layers.Dense(3)(x))),
    "sequential": lambda: sequential(layers.Dense(3), layers.Softmax()),
    "sequential, dense with softmax": lambda: sequential(layers.Dropout(0.5), layers.Dense(3, activation="softmax")),
}
BAD = {
    "logits": (lambda: functional(layers.Dense(3)), "no probabilities"),
    "sigmoid": (lambda: functional(layers.Dense(3, activation="sigmoid")), "no probabilities"),
    "too few classes": (lambda: functional(layers.Dense(2, activation="softmax")), r"must give \(n, 3\)"),
    "arithmetic": (lambda: functional(lambda x: layers.Dense(3, activation="softmax")(x / 2.0)), "TrueDivide"),
    "operations": (lambda: functional(lambda x: layers.Dense(3, activation="softmax")(keras.ops.tanh(x))), "Tanh"),
    "code": (lambda: functional(lambda x: layers.Dense(3, activation="softmax")(layers.Lambda(abs)(x))), "Lambda"),
}


@pytest.mark.parametrize("name", GOOD)
def test_every_usual_form_is_saved_with_the_same_answers_and_explained(name, tmp_path):
    keras.utils.set_random_seed(0)
    model = GOOD[name]()
    contract.check(model, IMAGES, 3)
    expected = saved_model.predict(model, IMAGES)
    saved_model.save(model, tmp_path / "own.h5", image_shape=(8, 8, 1), **ABOUT)
    loaded = saved_model.load(tmp_path / "own.h5")
    np.testing.assert_allclose(saved_model.predict(loaded, IMAGES), expected, atol=1e-5)
    assert isinstance(loaded.layers[-1], layers.Softmax)
    maps = Explainer(loaded)(IMAGES, method="hires-cam", layer="conv")
    assert maps.shape == (6, 8, 8) and maps.any()


@pytest.mark.parametrize("name", BAD)
def test_what_would_fail_after_the_training_is_refused_before_it(name):
    build, says = BAD[name]
    with pytest.raises(UserError, match=says):
        contract.check(build(), IMAGES, 3)


def test_a_model_by_subclassing_is_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.dense = layers.Dense(3, activation="softmax")

        def call(self, inputs):
            return self.dense(keras.ops.reshape(inputs, (-1, 64)))

    with pytest.raises(UserError, match="functional or Sequential"):
        contract.check(Own(), IMAGES, 3)


@pytest.mark.parametrize("name", GOOD)
def test_the_temperature_of_every_form_is_that_of_its_logits(name):
    keras.utils.set_random_seed(0)
    model = GOOD[name]()
    before = np.log(saved_model.predict(model, IMAGES))
    temperature = recipe.scale_temperature(model, IMAGES, np.arange(6) % 3)
    after = np.log(saved_model.predict(model, IMAGES))
    apart = (before - before[:, :1]) / temperature
    np.testing.assert_allclose(after - after[:, :1], apart, atol=1e-4)
    assert temperature != 1
