"""The benchmarks of other pictures than a model was trained on: reading digits, and telling what is none."""

import numpy as np
import pytest

from benchmarks import digit_pictures, digit_reading, novelty
from pipeline.data import datasets
from pipeline.models import saved_model


class Answers:
    """Stands in for digit_reading.Reader: gives one answer after the other."""

    def __init__(self, *answers):
        self.answers = iter(answers)

    def __call__(self, picture):
        return next(self.answers)


def test_a_wrong_number_is_confident_if_the_model_is_sure_and_the_novelty_score_silent(digits):
    numbers = [
        digit_pictures.draw("plain", digits.x_test[..., 0], digits.y_test, seed, digit_pictures.HELD_OUT)[1]
        for seed in range(digit_reading.FIRST_SEED, digit_reading.FIRST_SEED + 5)
    ]
    reader = Answers((numbers[0], 0.95, False), None, ("77", 0.95, False), ("77", 0.5, False), ("77", 0.95, True))
    counts = digit_reading.measure("plain", reader, digits, 5)
    assert counts == {"kind": "plain", "pictures": 5, "right": 1, "not_found": 1, "wrong": 3, "confident": 1}


def test_a_saved_model_reads_a_number_from_a_picture(digits, folder):
    dataset = datasets.split(digits, 0.2)
    reader = digit_reading.Reader(folder / "first.h5", dataset)
    picture, number = digit_pictures.draw("several", digits.x_test[..., 0], digits.y_test, 0)
    read, probability, foreign = reader(picture)
    assert len(read) == len(number) and read.isdigit()
    assert 0 < probability <= 1 and foreign in (True, False)
    blank = digit_pictures.Sheet(np.random.default_rng(0)).picture()
    assert reader(blank) is None


@pytest.mark.parametrize("make", [novelty.for_digits, novelty.for_photos])
def test_every_kind_of_foreign_images_is_as_the_models_take_them(make, digits, synthetic):
    part = novelty.Part(digits.x_test[..., 0], digits.y_test, synthetic.x_test, 0)
    side, channels = (28, 1) if make is novelty.for_digits else (32, 3)
    for kind, (images, missing) in make(part, 7).items():
        assert images.shape[1:] == (side, side, channels) and images.dtype == np.uint8, kind
        assert len(images) + missing == 7, kind


def test_every_score_is_higher_for_noise_than_for_most_test_digits_or_says_so(digits, folder):
    dataset = datasets.split(digits, 0.2)
    saved = saved_model.open_model(folder / "first.h5")
    scores = novelty.Scores(saved, dataset)
    known = scores(dataset.x_test[:50])
    noise = scores(np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1), np.uint8))
    assert {"energy", "largest logit", "Mahalanobis, last features of each size"} <= set(known)
    for name in known:
        assert known[name].shape == noise[name].shape == (50,), name
    chosen = "Mahalanobis, last features of each size"
    assert np.median(noise[chosen]) > np.quantile(known[chosen], 0.95)
