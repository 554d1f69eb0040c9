"""Metrics of a model whose answers are known, and test-time augmentation chosen without the test images."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.backend import keras, layers
from pipeline.evaluate import evaluation
from pipeline.models import saved_model


def left_or_right():
    """A model of images of two pixels: class 0 where the left one is brighter than the right one."""
    pixels = keras.Input((1, 2, 1))
    logits = layers.Dense(2, use_bias=False, name="logits")(layers.Flatten()(pixels))
    model = keras.Model(pixels, layers.Softmax()(logits))
    model.get_layer("logits").set_weights([np.eye(2)])
    return model


def pairs(*pixels):
    return np.array(pixels, np.uint8).reshape(-1, 1, 2, 1)


def test_losses_are_plain_cross_entropy_of_the_finished_model_on_both_parts():
    model = left_or_right()
    model.compile(loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.5))  # no matter how it was trained
    dataset = SimpleNamespace(
        x_validation=pairs((1, 0), (0, 2)),
        y_validation=np.array([0, 0]),
        x_test=pairs((3, 0), (0, 1), (0, 1)),
        y_test=np.array([0, 1, 0]),
        class_names=("left", "right"),
    )
    probabilities = saved_model.predict(model, dataset.x_test)
    measured = evaluation.measure(model, dataset, probabilities)

    def negative_log_likelihood(margin):  # of the true class, by how much its logit is above the other one
        return np.log(1 + np.exp(-margin))

    validation = np.mean([negative_log_likelihood(margin) for margin in (1, -2)])
    assert measured["validation_loss"] == pytest.approx(validation, rel=1e-5)
    test = np.mean([negative_log_likelihood(margin) for margin in (3, 1, -1)])
    assert measured["test_loss"] == pytest.approx(test, rel=1e-5)
    assert measured["validation_accuracy"] == 0.5 and measured["test_accuracy"] == pytest.approx(2 / 3)
    assert measured["confusion_matrix"] == [[1, 1], [0, 1]] and measured["cpu_ms_per_sample"] > 0
    np.testing.assert_allclose(probabilities[:, 0], 1 / (1 + np.exp([-3.0, 1, 1])), rtol=1e-5)


def test_latency_is_per_image_and_not_per_batch(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: next(ticks))
    assert evaluation.milliseconds_per_sample(left_or_right(), pairs((1, 0)), batch_size=8) == 1000 / 8


def test_mirroring_gives_the_image_and_its_mirror_image():
    images = np.arange(12, dtype=np.uint8).reshape(1, 2, 3, 2)
    same, mirror = evaluation.mirrored(images)
    np.testing.assert_array_equal(same, images)
    np.testing.assert_array_equal(mirror[0, :, 0], images[0, :, 2])


def test_shifts_are_by_one_pixel_and_reflect_at_the_border():
    images = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    copies = [copy[0, ..., 0] for copy in evaluation.mirrored_and_shifted(images)]
    assert len(copies) == 6
    np.testing.assert_array_equal(copies[2][1:, 1:], images[0, :-1, :-1, 0])
    np.testing.assert_array_equal(copies[4][:-1, :-1], images[0, 1:, 1:, 0])
    assert copies[2][0, 0] == images[0, 1, 1, 0]
    for straight, mirror in zip(copies[::2], copies[1::2], strict=True):
        np.testing.assert_array_equal(straight[:, ::-1], mirror)


def test_probabilities_are_the_mean_over_the_augmented_copies():
    found = evaluation.tta_predict(left_or_right(), pairs((3, 1)), evaluation.mirrored)
    np.testing.assert_allclose(found, [[0.5, 0.5]], atol=1e-6)


def test_test_time_augmentation_is_chosen_on_validation_images_alone():
    """Mirroring helps on the test images and harms on the validation images: it must not be chosen."""
    bright_left = pairs(*[(9, 1)] * 4)
    swap = {"swap": lambda images: [images[:, :, ::-1]]}
    dataset = SimpleNamespace(
        x_validation=bright_left, y_validation=np.zeros(4, int), x_test=bright_left, y_test=np.ones(4, int)
    )
    chosen = evaluation.choose_tta(left_or_right(), dataset, swap)
    assert chosen == {"chosen": "none", "validation_accuracy": {"none": 1.0, "swap": 0.0}, "test_accuracy": 0.0}
    dataset.y_validation = np.ones(4, int)
    assert evaluation.choose_tta(left_or_right(), dataset, swap)["chosen"] == "swap"
