"""Adoption: scalings, heads and shapes of models that were trained elsewhere."""

import numpy as np
import pytest

from pipeline.backend import keras, layers
from pipeline.errors import UserError
from pipeline.models import adoption, saved_model

RAW = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
SCALED = {
    "0..1": RAW / np.float32(255),
    "-1..1": RAW / np.float32(127.5) - 1,
    "0..255": RAW.astype(np.float32),
    "caffe": RAW[..., ::-1].astype(np.float32) - np.float32([103.939, 116.779, 123.68]),
}


def theirs(*end, shape=(8, 8, 3)):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape), layers.Flatten(), *end], name="theirs")


@pytest.mark.parametrize("pixels", adoption.PIXELS)
def test_raw_pixels_are_scaled_as_the_model_takes_them(pixels):
    model = theirs(layers.Dense(4, activation="tanh"), layers.Dense(3, activation="softmax"))
    adopted = adoption.classifier(model, (8, 8, 3), pixels, 3)
    np.testing.assert_allclose(saved_model.predict(adopted, RAW), model(SCALED[pixels]), atol=1e-5)


@pytest.mark.parametrize("end", [[layers.Dense(3)], [layers.Dense(3), layers.Activation("linear")]])
def test_logits_get_a_softmax(end):
    model = theirs(*end)
    assert adoption.open_head(model, 3, "theirs.h5") == ""
    adopted = adoption.classifier(model, (8, 8, 3), "0..1", 3)
    np.testing.assert_allclose(saved_model.predict(adopted, RAW), keras.ops.softmax(model(SCALED["0..1"])), atol=1e-5)
    assert isinstance(adopted.layers[-1], layers.Softmax)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_output_becomes_two_classes(activation):
    model = theirs(layers.Dense(1, activation=activation))
    scores = model(SCALED["0..1"])
    second = np.asarray(scores if activation else keras.ops.sigmoid(scores))[:, 0]
    assert "two classes" in adoption.open_head(model, 2, "theirs.h5")
    found = saved_model.predict(adoption.classifier(model, (8, 8, 3), "0..1", 2), RAW)
    np.testing.assert_allclose(found, np.stack([1 - second, second], axis=1), atol=1e-5)


def test_sigmoids_of_every_class_become_a_softmax_with_the_same_best_class():
    model = theirs(layers.Dense(3, activation="sigmoid"))
    best = np.asarray(model(SCALED["0..1"])).argmax(axis=1)
    assert "sigmoids" in adoption.open_head(model, 3, "theirs.h5")
    found = saved_model.predict(adoption.classifier(model, (8, 8, 3), "0..1", 3), RAW)
    np.testing.assert_array_equal(found.argmax(axis=1), best)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_another_number_of_classes_is_refused():
    with pytest.raises(UserError, match="3 classes, and the data set has 10"):
        adoption.open_head(theirs(layers.Dense(3)), 10, "theirs.h5")


@pytest.mark.parametrize("shape", [(8, 8), (64,)])
def test_gray_images_without_channels_or_in_one_row_are_reshaped(shape):
    model = theirs(layers.Dense(3, activation="softmax"), shape=shape)
    assert adoption.image_shape(model, (8, 8, 1), "theirs.h5") == (8, 8, 1)
    adopted = adoption.classifier(model, (8, 8, 1), "0..1", 3)
    gray = RAW[..., :1]
    expected = model(gray.reshape(6, *shape) / np.float32(255))
    np.testing.assert_allclose(saved_model.predict(adopted, gray), expected, atol=1e-5)


def test_a_model_of_any_size_takes_the_data_sets():
    model = keras.Sequential([keras.Input((None, None, 3)), layers.GlobalAveragePooling2D(), layers.Dense(2)])
    assert adoption.image_shape(model, (48, 40, 3), "theirs.h5") == (48, 40, 3)


@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8, 4), (100,)])
def test_what_takes_no_images_is_refused(shape):
    with pytest.raises(UserError, match="an image classifier takes"):
        adoption.image_shape(theirs(layers.Dense(3), shape=shape), (8, 8, 3), "theirs.h5")


def two_inputs():
    one, other = keras.Input((8,)), keras.Input((8,))
    return keras.Model([one, other], layers.Add()([one, other]))


def a_map():
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(3, 3)])


@pytest.mark.parametrize("build", [two_inputs, a_map])
def test_what_is_no_classifier_is_refused(build):
    with pytest.raises(UserError, match=r"theirs\.h5"):
        adoption.refuse_other_forms(build(), "theirs.h5")


def test_scalings_are_ranked_by_what_they_get_right():
    # Class 1 where the mean of the scaled pixels is above 0: which only pixels of -1..1 are not always.
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.GlobalAveragePooling2D(), layers.Dense(2)])
    model.set_weights([np.float32([[-9, 9]]), np.zeros(2, np.float32)])
    labels = np.arange(40) % 2
    images = np.where(labels[:, None, None, None] == 1, 200, 50).astype(np.uint8) * np.ones((1, 8, 8, 1), np.uint8)
    best, *others = adoption.tried(model, images, labels, 2)
    assert (best.pixels, best.accuracy) == ("-1..1", 1.0) and not adoption.is_chance(best.correct, labels)
    assert {trial.pixels for trial in others} == {"0..1", "0..255"}  # no caffe for gray
    assert all(adoption.is_chance(trial.correct, labels) for trial in others)
    assert not adoption.cannot_be_told_apart(best, others[0]) and adoption.cannot_be_told_apart(*others)
