"""Digits are found in photographs, scans and screenshots of every kind, and told apart."""

import itertools

import numpy as np
import pytest

from benchmarks import digit_pictures
from pipeline.data import digits as reader

SEEDS = range(5)


def likeness(a, b):
    """Correlation of two images' pixels."""
    return np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1]


KINDS = [kind for kind in digit_pictures.KINDS if kind != "several"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_one_digit_is_found_whatever_is_around_it(kind, digits):
    digit = digits.x_test[digits.y_test == 3][0][..., 0]
    expected = reader.find(np.pad(digit, 20))[0].pixels
    right = 0
    for seed in SEEDS:
        picture, _ = digit_pictures.draw(kind, np.stack([digit] * 8), np.full(8, 3), seed)
        found = reader.find(np.asarray(picture.convert("L")))
        right += len(found) == 1 and likeness(found[0].pixels, expected) > 0.7
    assert right >= len(SEEDS) - 1


def test_several_digits_come_in_reading_order_each_with_its_place(digits):
    images, labels = digits.x_test[..., 0], digits.y_test
    for seed in SEEDS:
        picture, number = digit_pictures.draw("several", images, labels, seed)
        found = reader.find(np.asarray(picture.convert("L")))
        assert len(found) == len(number)
        for digit in found:
            left, top, right, bottom = digit.box
            assert 0 <= left < right <= picture.width and 0 <= top < bottom <= picture.height
        for one, other in itertools.pairwise(found):
            assert other.box[0] >= one.box[2] or other.box[1] >= one.box[3], "to the right, or in the next line"


def test_nothing_is_found_on_an_empty_page():
    noise = np.random.default_rng(0).normal(225, 4, (400, 500))
    assert reader.find(np.clip(noise, 0, 255).astype(np.uint8)) == []
