"""Removed pixels: blanked by the mean color, or imputed from their neighbors."""

import numpy as np
import pytest

from pipeline.explain import imputation


@pytest.fixture
def images():
    return np.random.default_rng(2).uniform(0, 255, (3, 8, 8, 2)).astype(np.float32)


@pytest.fixture
def quiet(monkeypatch):
    """Imputation without its noise."""
    monkeypatch.setattr(imputation, "NOISE", 0)


def impute(images, keep):
    return imputation.noisy_linear(images, keep, np.random.default_rng(0))


def test_a_mask_mixes_the_image_with_its_own_mean_color(images):
    keep = np.random.default_rng(0).random((3, 8, 8))
    found = imputation.masked(images, keep)
    assert found.dtype == np.float32
    for n, i, j, c in ((0, 0, 0, 0), (2, 7, 3, 1)):
        mean = images[n, :, :, c].mean()
        assert found[n, i, j, c] == pytest.approx(
            keep[n, i, j] * images[n, i, j, c] + (1 - keep[n, i, j]) * mean, rel=1e-5
        )


def test_masks_of_ones_and_zeros_keep_all_and_nothing_also_of_whole_numbers():
    images = np.random.default_rng(2).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    np.testing.assert_array_equal(imputation.masked(images, np.ones((3, 8, 8))), images)
    empty = imputation.masked(images, np.zeros((3, 8, 8), bool))
    np.testing.assert_allclose(empty, np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape), rtol=1e-5)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9])
def test_every_imputed_pixel_is_the_weighted_mean_of_its_neighbors(quiet, images, fraction):
    """Rong et al.'s equation, one pixel at a time: a sixth of those beside it, a twelfth of the diagonal ones."""
    keep = np.random.default_rng(1).random((3, 8, 8)) < fraction
    found = impute(images, keep)
    np.testing.assert_array_equal(found[keep], images[keep])
    assert (~keep).sum() > 10
    for n, i, j in np.argwhere(~keep):
        total, weights = 0, 0
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                if (down or right) and 0 <= i + down < 8 and 0 <= j + right < 8:
                    weight = 1 / 12 if down and right else 1 / 6
                    total, weights = total + weight * found[n, i + down, j + right], weights + weight
        np.testing.assert_allclose(found[n, i, j], total / weights, atol=1)


def test_a_hole_in_a_smooth_slope_is_filled_by_the_slope(quiet):
    slope = np.tile(np.linspace(0, 220, 12, dtype=np.float32), (1, 12, 1))[..., None]
    keep = np.ones((1, 12, 12), bool)
    keep[:, 3:9, 3:9] = False
    np.testing.assert_allclose(impute(slope, keep), slope, atol=1)


def test_an_image_without_any_pixel_takes_its_mean_color_and_does_not_change_the_others(quiet, images):
    keep = np.random.default_rng(1).random((3, 8, 8)) < 0.5
    alone = impute(images[:2], keep[:2])
    keep[2] = False
    found = impute(images, keep)
    np.testing.assert_allclose(found[2], np.broadcast_to(imputation.blank(images[2:])[0], (8, 8, 2)), rtol=1e-5)
    np.testing.assert_allclose(found[:2], alone, atol=0.5)


def test_the_noise_is_on_the_imputed_pixels_alone(images):
    keep = np.random.default_rng(1).random((3, 8, 8)) < 0.3
    one, other = impute(images, keep), imputation.noisy_linear(images, keep, np.random.default_rng(1))
    np.testing.assert_array_equal(one[keep], other[keep])
    assert (one[~keep] - other[~keep]).std() == pytest.approx(imputation.NOISE * np.sqrt(2), rel=0.2)


def test_images_of_whole_numbers_are_imputed_too_and_left_as_they_are():
    images = np.random.default_rng(2).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    before = images.copy()
    found = impute(images, np.random.default_rng(1).random((2, 8, 8)) < 0.5)
    assert found.dtype == np.float32 and np.isfinite(found).all()
    np.testing.assert_array_equal(images, before)
