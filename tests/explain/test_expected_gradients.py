"""Expected gradients against their formula written out, with gradients that need no model."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from pipeline.explain import cam, expected_gradients, imputation


@pytest.fixture
def images():
    return np.random.default_rng(2).uniform(0, 255, (3, 12, 10, 2)).astype(np.float32)


def test_the_map_is_the_mean_of_the_smoothed_positive_evidence(images):
    slopes = np.random.default_rng(3).normal(0, 1, images.shape).astype(np.float32)

    def gradient(changed):
        return 2 * changed * slopes  # of a score that is quadratic in the pixels

    found = expected_gradients.expected_gradients(gradient, images, n_masks=4)
    expected = np.zeros((3, 12, 10))
    for n, image in enumerate(images):
        blurred = [gaussian_filter(image[..., k], 1.25, mode="constant", truncate=9) for k in (0, 1)]
        seen = gaussian_filter(np.ones((12, 10)), 1.25, mode="constant", truncate=9)
        blank, blur = image.mean(axis=(0, 1)), np.stack(blurred, axis=-1) / seen[..., None]
        masks = expected_gradients.masks(4, 12, 10)
        for empty, half in ((blank, masks[:2]), (blur, masks[2:])):
            evidence = np.zeros((12, 10))
            for mask in half:
                changed = empty + mask[..., None] * (image - empty)
                evidence += (2 * changed * slopes[n] * (image - empty)).sum(axis=-1) / 2
            smooth = expected_gradients.smooth(evidence[None], expected_gradients.BELL * 10)[0]
            expected[n] += np.maximum(smooth, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_the_bell_is_a_gaussian_and_a_map_of_one_value_stays_as_it_is_up_to_the_edge():
    maps = np.zeros((1, 41, 31))
    maps[0, 20, 15] = 1
    expected = gaussian_filter(maps[0], 2, truncate=8)
    np.testing.assert_allclose(expected_gradients.smooth(maps, 2)[0], expected, atol=1e-5)
    np.testing.assert_allclose(expected_gradients.smooth(np.ones((2, 9, 7)), 1.5), 1, rtol=1e-5)


def test_masks_come_in_pairs_that_together_keep_each_pixel_once_and_are_always_the_same():
    masks = expected_gradients.masks(6, 32, 28)
    assert masks.shape == (6, 32, 28) and masks.min() >= 0 and masks.max() <= 1
    np.testing.assert_allclose(masks[::2] + masks[1::2], 1, atol=1e-6)
    assert not np.array_equal(masks[0], masks[2])
    np.testing.assert_array_equal(masks, expected_gradients.masks(6, 32, 28))


def test_it_finds_the_patch_that_the_score_depends_on_and_asks_no_more_gradients_than_it_says():
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 1)).astype(np.float32)
    images[:, 3:7, 9:13] = 255
    asked = []

    def gradient(changed):
        asked.append(len(changed))
        slope = np.zeros_like(changed)
        slope[:, 3:7, 9:13] = 1
        return slope

    heat = cam.scale(expected_gradients.expected_gradients(gradient, images))
    assert asked == [2] * expected_gradients.MASKS
    assert heat[:, 4:6, 10:12].min() > 0.5 and heat[:, 10:].max() < 0.01


def test_an_image_of_one_color_has_no_evidence(images):
    images[:] = imputation.blank(images)
    assert expected_gradients.expected_gradients(np.ones_like, images).max() < 1e-3
