"""Digits are found in photographs, scans and screenshots of every kind, and told apart."""

import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw

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


# Straight strokes, by fractions of the digit's box.
STRAIGHT = {
    "1": [((0.5, 0), (0.52, 1))],
    "4": [((0.35, 0), (0, 0.65)), ((0, 0.65), (1, 0.64)), ((0.75, 0.3), (0.74, 1))],
    "5": [((1, 0), (0.1, 0.01)), ((0.1, 0.01), (0.05, 0.45)), ((0.05, 0.45), (0.9, 0.6)), ((0.9, 0.6), (0, 1))],
    "7": [((0, 0), (1, 0.01)), ((1, 0.01), (0.9, 1))],
}


def drawn_with_a_pen(name: str, width: int, box: bool = False) -> np.ndarray:
    """A digit of 120x160 pixels on white paper, perhaps in a form's box; (280, 280) uint8."""
    picture = Image.new("L", (280, 280), 245)
    pen = ImageDraw.Draw(picture)
    for line in STRAIGHT[name]:
        pen.line([(80 + 120 * x, 60 + 160 * y) for x, y in line], fill=40, width=width)
    if box:
        pen.rectangle((50, 30, 230, 250), outline=40, width=3)
    return np.asarray(picture)


@pytest.mark.parametrize("name", STRAIGHT)
@pytest.mark.parametrize("width", [3, 5])
def test_a_thin_pens_straight_strokes_are_no_ruled_lines_and_look_like_a_thick_pens(name, width):
    (thin,) = reader.find(drawn_with_a_pen(name, width))
    (thick,) = reader.find(drawn_with_a_pen(name, 18))
    assert likeness(thin.pixels, thick.pixels) > 0.5


@pytest.mark.parametrize("name", ["4", "5", "7"])
def test_a_box_around_a_thin_pens_digit_is_still_none_of_it(name):
    (alone,), (boxed,) = (reader.find(drawn_with_a_pen(name, 3, box)) for box in (False, True))
    assert likeness(alone.pixels, boxed.pixels) > 0.95
