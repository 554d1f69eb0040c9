"""Augmentation against numpy and scipy.ndimage, and its promises about ranges and random streams."""

import random

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from pipeline.data import augment


class Highest:
    """A stand-in for a generator: every uniform draw is the largest allowed, every coin shows a mirror."""

    def uniform(self, low, high, size):
        return np.full(size, float(high))

    def random(self, size):
        return np.zeros(size)


@pytest.fixture
def images():
    return np.random.default_rng(7).integers(0, 256, (6, 12, 12, 2), dtype=np.uint8)


def expected(images, matrix, offset, mode="reflect"):
    """Interpolate input pixel (row, column) = matrix @ (row, column) + offset, with SciPy."""
    planes = [
        [ndimage.affine_transform(plane, matrix, offset, order=1, mode=mode) for plane in image.transpose(2, 0, 1)]
        for image in images.astype(float)
    ]
    return np.array(planes).transpose(0, 2, 3, 1)


def about_center(images, matrix, move=(0, 0)):
    """Offset that keeps the center of the image where it is, but for a move in pixels."""
    center = (np.array(images.shape[1:3]) - 1) / 2
    return center - matrix @ center + move


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_others(images):
    many = np.tile(images, (50, 1, 1, 1))
    flipped = augment.flip(many, np.random.default_rng(0))
    mirrored = (flipped == many[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (flipped == many).all(axis=(1, 2, 3))).all()
    assert 0.4 < mirrored.mean() < 0.6
    assert flipped.dtype == np.uint8


def test_two_epochs_of_alternating_flip_show_both_mirror_images_of_every_image(images):
    indices = np.array([3, 41, 0, 99, 8, 20])
    for epoch in range(3):
        now = augment.alternating_flip(images, indices, epoch, seed=1)
        following = augment.alternating_flip(images, indices, epoch + 1, seed=1)
        np.testing.assert_array_equal(following, now[:, :, ::-1])
        as_it_is = (now == images).all(axis=(1, 2, 3))
        assert (as_it_is | (now == images[:, :, ::-1]).all(axis=(1, 2, 3))).all()


def test_alternating_flip_starts_about_half_of_the_images_mirrored_by_seed_and_place_alone():
    many = np.tile(np.arange(4, dtype=np.uint8)[None, None, :, None], (400, 3, 1, 1))
    indices = np.arange(400)
    first = augment.alternating_flip(many, indices, 0, seed=5)
    assert 0.4 < (first[:, 0, 0, 0] == 3).mean() < 0.6
    np.testing.assert_array_equal(first, augment.alternating_flip(many, indices, 0, seed=5))
    np.testing.assert_array_equal(first[10:20], augment.alternating_flip(many[10:20], indices[10:20], 0, seed=5))
    assert (first != augment.alternating_flip(many, indices, 0, seed=6)).any()


def test_shift_gives_windows_of_the_reflected_image_and_every_offset_occurs(images):
    many = np.tile(images, (60, 1, 1, 1))
    moved = augment.shift(many, np.random.default_rng(0), pixels=2)
    assert moved.shape == many.shape and moved.dtype == np.uint8
    seen = set()
    for before, after in zip(many, moved, strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        offsets = [
            (down, right) for down, right in np.ndindex(5, 5) if (padded[down:, right:][:12, :12] == after).all()
        ]
        assert offsets
        seen.update(offsets)
    assert len(seen) == 25


@pytest.mark.parametrize("mode", ["reflect", "constant"])
def test_affine_agrees_with_scipy_for_random_parameters(images, mode):
    strength = {"rotation": 0.2, "zoom": 0.4, "shift": 0.3, "shear": 0.5, "flip": True}
    warped = augment.affine(images, np.random.default_rng(3), fill_mode=mode, **strength)
    rows = augment.affine_parameters(images.shape, np.random.default_rng(3), **strength)
    for image, result, (a0, a1, a2, b0, b1, b2, *_) in zip(images, warped, rows, strict=True):
        matrix, offset = np.array([[b1, b0], [a1, a0]]), (b2, a2)
        reference = expected(image[None], matrix, offset, {"constant": "grid-constant"}.get(mode, mode))[0]
        np.testing.assert_allclose(result, reference, atol=0.02)


def test_a_quarter_turn_is_numpys_rot90_one_way_or_the_other(images):
    turned = augment.affine(images, Highest(), rotation=0.25)
    ways = [np.rot90(images, k, axes=(1, 2)) for k in (1, 3)]
    assert any(np.allclose(turned, way, atol=0.02) for way in ways)


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_zoom_scales_distances_from_the_center(images, scale):
    zoomed = augment.affine(images, Highest(), zoom=scale - 1)
    matrix = scale * np.eye(2)
    np.testing.assert_allclose(zoomed, expected(images, matrix, about_center(images, matrix)), atol=0.02)


def test_shift_is_a_fraction_of_each_side():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 12, 1), dtype=np.uint8)
    moved = augment.affine(images, Highest(), shift=0.25)
    window = np.pad(images, ((0, 0), (0, 2), (0, 3), (0, 0)), mode="symmetric")[:, 2:, 3:]
    np.testing.assert_allclose(moved, window, atol=0.02)


def test_flip_within_affine_is_a_mirror_from_left_to_right(images):
    np.testing.assert_allclose(augment.affine(images, Highest(), flip=True), images[:, :, ::-1], atol=0.02)


def test_shear_moves_each_row_sideways_by_its_height_above_the_center(images):
    sheared = augment.affine(images, Highest(), shear=0.5)
    matrix = np.array([[1, 0], [0.5, 1]])
    np.testing.assert_allclose(sheared, expected(images, matrix, about_center(images, matrix)), atol=0.02)


def test_all_at_once_is_the_product_of_the_single_maps_about_the_center():
    images = np.random.default_rng(0).integers(0, 256, (2, 10, 16, 1), dtype=np.uint8)
    warped = augment.affine(images, Highest(), flip=True, rotation=0.1, zoom=0.2, shift=0.125, shear=0.3)
    cos, sin = np.cos(0.2 * np.pi), np.sin(0.2 * np.pi)
    mirror, turn, slant = np.diag([1, -1]), np.array([[cos, sin], [-sin, cos]]), np.array([[1, 0], [0.3, 1]])
    matrix = mirror @ (1.2 * turn) @ slant
    reference = expected(images, matrix, about_center(images, matrix, (0.125 * 10, 0.125 * 16)))
    np.testing.assert_allclose(warped, reference, atol=0.02)


def test_random_parameters_fill_their_range_both_ways():
    shape, rng = (4000, 10, 20, 1), np.random.default_rng(0)

    def draw(**strength):
        rest = {"flip": False, "rotation": 0.0, "zoom": 0.0, "shift": 0.0, "shear": 0.0}
        return augment.affine_parameters(shape, rng, **{**rest, **strength}).T

    a0, _, _, b0, *_ = draw(rotation=0.1)
    ranges = [(np.arctan2(b0, a0) / (2 * np.pi), 0.1), (draw(zoom=0.3)[0] - 1, 0.3), (draw(shear=0.2)[1], 0.2)]
    moved = draw(shift=0.1)
    ranges += [(moved[2], 2.0), (moved[5], 1.0)]
    for values, largest in ranges:
        assert -largest - 1e-5 <= values.min() < -0.98 * largest
        assert 0.98 * largest < values.max() <= largest + 1e-5
    assert 0.45 < (draw(flip=True)[0] < 0).mean() < 0.55


@pytest.mark.parametrize("mode", ["reflect", "constant", "nearest"])
def test_affine_gives_float32_between_0_and_255(images, mode):
    extreme = np.where(images > 127, 255, 0).astype(np.uint8)
    warped = augment.affine(
        extreme, np.random.default_rng(0), flip=True, rotation=0.5, zoom=0.5, shift=0.5, shear=0.5, fill_mode=mode
    )
    assert warped.dtype == np.float32 and warped.shape == extreme.shape
    assert warped.min() >= 0 and warped.max() <= 255


def test_same_stream_same_result_without_touching_the_input_or_global_randomness(images):
    before, numpys, pythons = images.copy(), np.random.get_state(), random.getstate()

    def everything():
        return [
            augment.flip(images, augment.stream(0, 1, 2)),
            augment.shift(images, augment.stream(0, 1, 2), 3),
            augment.affine(images, augment.stream(0, 1, 2), flip=True, rotation=0.1, zoom=0.1, shift=0.1, shear=0.1),
            augment.alternating_flip(images, np.arange(6), 1, seed=0),
        ]

    for once, again in zip(everything(), everything(), strict=True):
        np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(images, before)
    assert random.getstate() == pythons
    assert all(np.array_equal(now, then) for now, then in zip(np.random.get_state(), numpys, strict=True))


def test_every_step_of_every_epoch_and_seed_has_its_own_stream_and_always_the_same():
    def first(place):
        return augment.stream(*place).integers(0, 2**62)

    places = list(np.ndindex(4, 8, 8))
    draws = [first(place) for place in places]
    assert len(set(draws)) == len(places)
    assert draws == [first(place) for place in places]


def test_shrinking_averages_what_it_merges():
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    small = augment.shrink(images, 24)
    assert small.shape == (3, 24, 24, 3) and small.dtype == np.float32
    assert small.min() >= 0 and small.max() <= 255
    np.testing.assert_allclose(small.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=1.5)
    flat = np.full((1, 32, 32, 1), 77, np.uint8)
    np.testing.assert_allclose(augment.shrink(flat, 24), 77, atol=1e-3)
    # Pillow's triangle filter is the same interpolation, rounded to whole numbers.
    reference = np.stack([Image.fromarray(image).resize((24, 24), Image.Resampling.BILINEAR) for image in images])
    assert np.abs(small - reference).max() < 1.01
