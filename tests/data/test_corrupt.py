"""Corruptions of training images: fractions, ranges, JPEG against Pillow's, and what each kind leaves alone."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.data import corrupt, toy


@pytest.fixture(scope="module")
def images():
    return toy.synthetic()[0][:40]


def pillow(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze()).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), np.float32).reshape(image.shape)


@pytest.mark.parametrize("fraction", [0, 0.5, 1])
def test_so_many_images_are_corrupted_and_pixels_stay_in_range(images, fraction):
    out = corrupt.corrupt(images, np.random.default_rng(0), fraction)
    changed = (out != images).reshape(len(images), -1).any(axis=1)
    assert changed.sum() == round(fraction * len(images))
    assert out.dtype == np.float32 and out.min() >= 0 and out.max() <= 255


def test_the_given_images_are_left_alone_and_a_seed_gives_the_same_again(images):
    before = images.copy()
    one, two = (corrupt.corrupt(images, np.random.default_rng(3), 0.7) for _ in range(2))
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("quality", [15, 30, 80])
def test_jpeg_of_gray_images_is_pillow_s_but_for_rounding(images, quality):
    gray = images[:20, :28, :28, :1]  # no whole number of blocks
    ours = corrupt.jpeg_compressed(gray.astype(np.float32), np.full(20, quality))
    theirs = np.stack([pillow(image, quality) for image in gray])
    loss = np.abs(theirs - gray).mean()
    assert np.abs(np.clip(np.round(ours), 0, 255) - theirs).mean() < max(0.15 * loss, 0.5)


def test_jpeg_of_color_images_loses_about_what_pillow_s_loses(images):
    ours = corrupt.jpeg_compressed(images[:20].astype(np.float32), np.full(20, 30))
    theirs = np.stack([pillow(image, 30) for image in images[:20]])
    loss = np.abs(theirs - images[:20]).mean()
    assert np.abs(np.clip(ours, 0, 255) - theirs).mean() < 0.5 * loss
    assert np.abs(np.clip(ours, 0, 255) - images[:20]).mean() == pytest.approx(loss, rel=0.2)


def test_blur_keeps_a_constant_image_and_the_sum_of_a_dot():
    constant, dot = np.full((1, 16, 16, 3), 90, np.float32), np.zeros((1, 16, 16, 3), np.float32)
    dot[0, 8, 8] = 200
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(corrupt.blur(constant, rng), 90, rtol=1e-5)
    blurred = corrupt.blur(dot, rng)
    np.testing.assert_allclose(blurred.sum(axis=(1, 2)), 200, rtol=1e-5)
    assert blurred.max() < 200


def test_noise_has_the_deviation_that_it_draws():
    flat = np.full((200, 20, 20, 1), 128, np.float32)
    deviations = (corrupt.noise(flat, np.random.default_rng(0), largest=28) - flat).std(axis=(1, 2, 3))
    assert 1.5 < deviations.min() < 5 and 25 < deviations.max() < 30


def test_tone_is_one_line_for_all_pixels_of_an_image(images):
    original = images[:8].astype(np.float32)
    out = corrupt.tone(original, np.random.default_rng(0))
    for before, after in zip(original, out, strict=True):
        gain, offset = np.polyfit(before.ravel(), after.ravel(), 1)
        assert 0.35 <= gain <= 1.3
        np.testing.assert_allclose(after, gain * before + offset, atol=1e-2)
