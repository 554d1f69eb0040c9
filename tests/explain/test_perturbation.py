"""Occlusion and Score-CAM with scores that are known, and masks pixel by pixel."""

import numpy as np
import pytest

from pipeline.explain import cam
from pipeline.explain.cam import enlarge


@pytest.fixture
def images():
    return np.random.default_rng(2).uniform(0, 255, (3, 8, 8, 2)).astype(np.float32)


def test_a_mask_mixes_the_image_with_its_own_mean_colour(images):
    keep = np.random.default_rng(0).random((3, 8, 8))
    found = cam.masked(images, keep)
    assert found.dtype == np.float32
    for n, i, j, c in ((0, 0, 0, 0), (2, 7, 3, 1)):
        mean = images[n, :, :, c].mean()
        assert found[n, i, j, c] == pytest.approx(
            keep[n, i, j] * images[n, i, j, c] + (1 - keep[n, i, j]) * mean, rel=1e-5
        )


def test_masks_of_ones_and_zeros_keep_all_and_nothing_also_of_whole_numbers():
    images = np.random.default_rng(2).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    np.testing.assert_array_equal(cam.masked(images, np.ones((3, 8, 8))), images)
    empty = cam.masked(images, np.zeros((3, 8, 8), bool))
    np.testing.assert_allclose(empty, np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape), rtol=1e-5)


def test_occlusion_finds_the_one_pixel_that_counts():
    """Score: how far pixel (5, 2) stands out of its image. A square of side 2 on it makes the score 0."""
    images = np.zeros((2, 8, 8, 1), np.float32)
    images[:, 5, 2] = [[64], [128]]

    def score(changed, rows):
        assert changed.shape[1:] == (8, 8, 1) and len(rows) == len(changed)
        return changed[:, 5, 2, 0]

    heat = cam.occlusion(score, images)
    for n, value in enumerate((64, 128)):
        fall = value - value / 64  # to the mean of 64 pixels
        expected = np.zeros((8, 8))
        for top in range(7):
            for left in range(7):
                inside = top <= 5 < top + 2 and left <= 2 < left + 2
                expected[top : top + 2, left : left + 2] += fall * inside
        times = np.outer([1, *[2] * 6, 1], [1, *[2] * 6, 1])
        np.testing.assert_allclose(heat[n], expected / times, rtol=1e-5)
        assert heat[n].argmax() == 5 * 8 + 2


def test_occlusion_asks_each_image_about_its_own_target(images):
    values = np.array([1.0, 10.0, 100.0], np.float32)

    def score(changed, rows):
        return changed[:, 0, 0, 0] * values[rows]

    heat = cam.occlusion(score, images)
    blank = cam.blank(images)[:, 0, 0, 0]
    np.testing.assert_allclose(heat[:, 0, 0], (images[:, 0, 0, 0] - blank) * values, rtol=1e-4)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (32, 20), (9, 11), (3, 3)])
def test_occlusion_reaches_every_pixel(shape):
    images = np.random.default_rng(0).uniform(0, 255, (1, *shape, 1)).astype(np.float32)
    heat = cam.occlusion(lambda changed, rows: changed.sum(axis=(1, 2, 3)), images)
    assert heat.shape == (1, *shape) and np.isfinite(heat).all() and (heat != 0).all()


def test_score_cam_is_its_papers_formula(images):
    activations = np.maximum(np.random.default_rng(5).normal(0.5, 1, (3, 4, 4, 6)), 0).astype(np.float32)
    activations[:, :, :, 2] = 0.7  # a channel that is the same everywhere masks nothing out, or all
    look = np.random.default_rng(6).normal(0, 0.01, images.shape[1:])

    def score(changed, rows):
        return (changed * look).sum(axis=(1, 2, 3)) * (1 + rows)

    expected = np.zeros((3, 4, 4))
    for n in range(3):
        scores = np.zeros(6)
        for k in range(6):
            one = activations[n, :, :, k].astype(float)
            mask = (one - one.min()) / (np.ptp(one) or 1)
            mask = enlarge(mask[None], 8, 8)[0][..., None]
            mean = images[n].mean(axis=(0, 1))
            scores[k] = ((mask * images[n] + (1 - mask) * mean) * look).sum() * (1 + n)
        weights = np.exp(scores) / np.exp(scores).sum()
        expected[n] = (activations[n] * weights).sum(axis=-1)
    np.testing.assert_allclose(cam.score_cam(score, images, activations), expected, rtol=1e-3)


def test_score_cam_asks_only_the_channels_that_vary_most(images, monkeypatch):
    monkeypatch.setattr(cam, "CHANNELS", 2)
    activations = np.random.default_rng(5).random((3, 4, 4, 5)).astype(np.float32) * [1, 9, 2, 1, 5]
    asked = []

    def score(changed, rows):
        asked.append(len(changed))
        return np.zeros(len(changed))

    heat = cam.score_cam(score, images, activations)
    assert asked == [2 * 3]
    np.testing.assert_allclose(heat, activations[..., [1, 4]].mean(axis=-1), rtol=1e-5)
