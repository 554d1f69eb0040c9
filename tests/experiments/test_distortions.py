"""Augmentations of the ablation study against Pillow, SciPy and loops."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from experiments import distortions


@pytest.fixture
def images():
    """Four random images, one of few gray values, and one with a channel of a single value."""
    images = np.random.default_rng(3).integers(20, 230, (6, 24, 24, 3), dtype=np.uint8)
    images[4] = images[4] // 90 * 90
    images[5, :, :, 1] = 77
    return images


def by_pillow(change, images):
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images]).astype(float)


@pytest.mark.parametrize("factor", [0.1, 0.7, 1.0, 1.9])
@pytest.mark.parametrize(
    ("change", "enhancer"),
    [
        (distortions.brightness, ImageEnhance.Brightness),
        (distortions.contrast, ImageEnhance.Contrast),
        (distortions.saturation, ImageEnhance.Color),
        (distortions.sharpness, ImageEnhance.Sharpness),
    ],
)
def test_enhancements_are_pillows_but_for_its_rounding(images, change, enhancer, factor):
    ours = change(images.astype(np.float32), np.full(6, factor))
    theirs = by_pillow(lambda image: enhancer(image).enhance(factor), images)
    assert np.abs(ours - theirs).max() < 2.5


def test_each_image_has_a_factor_of_its_own(images):
    factors = np.array([0, 0.5, 1, 1, 1, 2])
    changed = distortions.brightness(images.astype(np.float32), factors)
    np.testing.assert_allclose(changed, np.clip(images * factors[:, None, None, None], 0, 255), atol=1e-3)


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_posterize_is_pillows(images, bits):
    ours = distortions.posterize(images.astype(np.float32), np.full(6, bits))
    np.testing.assert_array_equal(ours, by_pillow(lambda image: ImageOps.posterize(image, bits), images))


@pytest.mark.parametrize("threshold", [0, 128, 256])
def test_solarize_is_pillows(images, threshold):
    ours = distortions.solarize(images.astype(np.float32), np.full(6, threshold))
    np.testing.assert_array_equal(ours, by_pillow(lambda image: ImageOps.solarize(image, threshold), images))


def test_equalize_and_autocontrast_are_pillows(images):
    dark = images // 3
    for some in (images, dark):
        np.testing.assert_array_equal(distortions.equalize(some.astype(np.float32)), by_pillow(ImageOps.equalize, some))
        stretched = distortions.autocontrast(some.astype(np.float32))
        assert np.abs(stretched - by_pillow(ImageOps.autocontrast, some)).max() <= 1


@pytest.mark.parametrize(
    ("how", "matrix", "move"),
    [
        ({"rotation": 0.4}, [[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]], (0, 0)),
        ({"shear_x": 0.3}, [[1, 0], [0.3, 1]], (0, 0)),
        ({"shear_y": 0.3}, [[1, 0.3], [0, 1]], (0, 0)),
        ({"right": 2.5}, np.eye(2), (0, 2.5)),
        ({"down": -3}, np.eye(2), (-3, 0)),
    ],
)
def test_warps_are_scipys_about_the_center(images, how, matrix, move):
    """SciPy takes (row, column): the matrix leads from an output place to the input place that it shows."""
    ours = distortions.warp(images.astype(np.float32), **{key: np.full(6, value) for key, value in how.items()})
    matrix, center = np.asarray(matrix), np.full(2, 11.5)
    offset = center - matrix @ center + move
    for image, warped in zip(images.astype(float), ours, strict=True):
        for channel in range(3):
            plane = ndimage.affine_transform(
                image[..., channel], matrix, offset, order=1, mode="grid-constant", cval=distortions.OUTSIDE
            )
            np.testing.assert_allclose(warped[..., channel], plane, atol=0.05)


def test_every_operation_keeps_shape_and_range_and_does_nothing_or_little_at_strength_0(images):
    some = images.astype(np.float32)
    for name, operation in distortions.OPERATIONS.items():
        for strength in (-1.0, 1.0):
            changed = operation(some, np.full(6, strength))
            assert changed.shape == some.shape and changed.min() >= 0 and changed.max() <= 255, name
            assert name == "identity" or np.abs(changed - some).max() > 10, name
        if name not in ("autocontrast", "equalize"):
            np.testing.assert_allclose(operation(some, np.zeros(6)), some, atol=0.01, err_msg=name)


def test_rand_augment_gives_each_image_one_of_the_operations_all_of_them_and_either_sign(images):
    many = np.tile(images[:1], (300, 1, 1, 1))
    before = many.copy()
    changed = distortions.rand_augment(many, np.random.default_rng(0), operations=1, level=0.5)
    np.testing.assert_array_equal(many, before)
    found = set()
    one = images[:1].astype(np.float32)
    results = {
        (name, sign): operation(one, np.array([0.5 * sign]))[0]
        for name, operation in distortions.OPERATIONS.items()
        for sign in (-1.0, 1.0)
    }
    for image in changed:
        hits = {key for key, result in results.items() if np.allclose(image, result, atol=0.01)}
        assert hits
        found |= hits
    assert found == set(results)
    twice = distortions.rand_augment(many, np.random.default_rng(0), operations=2, level=0.5)
    again = distortions.rand_augment(many, np.random.default_rng(0), operations=2, level=0.5)
    np.testing.assert_array_equal(twice, again)
    unlike = [not any(np.allclose(image, result, atol=0.01) for result in results.values()) for image in twice]
    assert np.mean(unlike) > 0.5


def test_color_jitter_is_its_three_changes_one_after_the_other(images):
    rng = np.random.default_rng(5)
    expected = images.astype(np.float32)
    for enhance in (distortions.brightness, distortions.contrast, distortions.saturation):
        expected = enhance(expected, rng.uniform(0.6, 1.4, 6))
    np.testing.assert_allclose(
        distortions.color_jitter(images, np.random.default_rng(5), strength=0.4), expected, rtol=1e-6
    )
    same = distortions.color_jitter(images, np.random.default_rng(5), strength=0.0)
    np.testing.assert_allclose(same, images, atol=1e-3)


def test_cutout_paints_one_square_per_image_that_may_reach_over_the_edge():
    images = np.zeros((2000, 10, 12, 3), np.uint8)
    cut = distortions.cutout(images, np.random.default_rng(0), side=4, fill=(1, 2, 3))
    assert cut.dtype == np.float32
    holes = (cut == [1, 2, 3]).all(axis=-1)
    assert ((cut == 0).all(axis=-1) | holes).all()
    rows, columns = holes.any(axis=2), holes.any(axis=1)
    np.testing.assert_array_equal(holes, rows[:, :, None] & columns[:, None, :])
    for spans, length in ((rows, 10), (columns, 12)):
        assert set(spans.sum(axis=1)) == {2, 3, 4}  # a center on the edge leaves two or three of four
        assert (np.abs(np.diff(np.pad(spans, ((0, 0), (1, 1))).astype(int))).sum(axis=1) == 2).all()
        # each center is as likely as another, and a place is covered by four of them, fewer at the edge
        expected = [len({*range(place - 1, place + 3)} & {*range(length)}) for place in range(length)]
        covered = spans.mean(axis=0) * length
        np.testing.assert_allclose(covered, expected, atol=0.5)
