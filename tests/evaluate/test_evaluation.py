"""Test-time augmentation: the views by hand, and a choice that never sees the test images."""

from types import SimpleNamespace

import numpy as np

from pipeline.backend import keras
from pipeline.evaluate import evaluation


def test_mirrored_views_are_the_image_and_its_mirror_image():
    images = np.arange(12, dtype=np.uint8).reshape(1, 2, 3, 2)
    same, mirror = evaluation.flip_views(images)
    np.testing.assert_array_equal(same, images)
    np.testing.assert_array_equal(mirror[0, :, 0], images[0, :, 2])


def test_shifted_views_move_by_one_pixel_and_reflect_at_the_border():
    images = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    views = [view[0, ..., 0] for view in evaluation.flip_and_shift_views(images)]
    assert len(views) == 6
    np.testing.assert_array_equal(views[2][1:, 1:], images[0, :-1, :-1, 0])
    np.testing.assert_array_equal(views[4][:-1, :-1], images[0, 1:, 1:, 0])
    assert views[2][0, 0] == images[0, 1, 1, 0]
    for straight, mirror in zip(views[::2], views[1::2], strict=True):
        np.testing.assert_array_equal(straight[:, ::-1], mirror)


def left_or_right():
    """A model that says class 0 where the left pixel is brighter than the right one."""
    pixels = keras.Input((1, 2, 1))
    logits = keras.layers.Dense(2, use_bias=False, name="logits")(keras.layers.Flatten()(pixels))
    model = keras.Model(pixels, keras.layers.Softmax()(logits))
    model.get_layer("logits").set_weights([np.eye(2)])
    return model


def test_probabilities_are_the_mean_over_the_views():
    images = np.array([[3.0, 1.0]]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(
        evaluation.predict_with_tta(left_or_right(), images, evaluation.flip_views), [[0.5, 0.5]], atol=1e-6
    )


def test_views_are_chosen_on_validation_images_alone():
    """Mirroring helps on the test images and harms on the validation images: it must not be taken."""
    bright_left = np.tile(np.array([9, 1], np.uint8).reshape(1, 1, 2, 1), (4, 1, 1, 1))
    swap = {"swap": lambda images: [images[:, :, ::-1]]}
    dataset = SimpleNamespace(
        x_validation=bright_left, y_validation=np.zeros(4, int), x_test=bright_left, y_test=np.ones(4, int)
    )
    measured = evaluation.measure_tta(left_or_right(), dataset, swap)
    assert measured == {"chosen": "none", "validation_accuracy": {"none": 1.0, "swap": 0.0}, "test_accuracy": 0.0}
    dataset.y_validation = np.ones(4, int)
    assert evaluation.measure_tta(left_or_right(), dataset, swap)["chosen"] == "swap"
