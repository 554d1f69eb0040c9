"""Corruptions: every kind changes images, the highest severity most, and the same image always in the same way."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.evaluate import changes, corruptions
from pipeline.evaluate.corruptions import CIFAR10_C, MNIST_C, Corruption

EVERY = [(channels, kind) for channels in (1, 3) for kind in corruptions.kinds(channels)]
# As published, the severities of these two go from one change to another: a wide tilt to a fine bending, pale to gaudy.
ORDERED = [case for case in EVERY if case[1].name not in ("elastic transform", "saturation")]
EVERYDAY = [(channels, kind) for channels in (1, 3) for kind in corruptions.EVERYDAY]


def named(cases):
    return [f"{kind.name}, {channels}" for channels, kind in cases]


@pytest.fixture(scope="session")
def images(digits, synthetic):
    return {1: digits.x_test[:6], 3: synthetic.x_test[:6]}


def far(corrupted, images):
    return np.abs(corrupted.astype(float) - images).mean()


def once(change, strength, images):
    """The images changed, with a single severity."""
    return Corruption("some change", change, (strength,))(images)


def plain(value, channels=3):
    return np.full((2, 32, 32, channels), value, np.uint8)


def test_all_published_kinds_are_there_under_names_of_their_own():
    assert (len(CIFAR10_C), len(MNIST_C)) == (19, 15)
    assert all(len(kind.strengths) == 5 for kind in CIFAR10_C + MNIST_C)
    assert all(len({kind.name for kind in kinds}) == len(kinds) for kinds in (CIFAR10_C, MNIST_C))


@pytest.mark.parametrize(("channels", "kind"), EVERY + EVERYDAY, ids=named(EVERY + EVERYDAY))
def test_a_kind_changes_images_and_keeps_shape_dtype_and_the_original(channels, kind, images):
    original = images[channels].copy()
    for severity in range(1, len(kind.strengths) + 1):
        corrupted = kind(images[channels], severity)
        assert corrupted.shape == original.shape and corrupted.dtype == np.uint8
        assert far(corrupted, original) > 0.1
    np.testing.assert_array_equal(images[channels], original)


@pytest.mark.parametrize(("channels", "kind"), ORDERED, ids=named(ORDERED))
def test_the_highest_severity_is_further_from_the_image_than_the_lowest(channels, kind, images):
    lowest, highest = (far(kind(images[channels], severity), images[channels]) for severity in (1, 5))
    assert highest > lowest


@pytest.mark.parametrize(("channels", "kind"), EVERY, ids=named(EVERY))
def test_an_image_is_always_changed_in_the_same_way_whatever_stands_beside_it(channels, kind, images):
    corrupted = kind(images[channels], 4)
    np.testing.assert_array_equal(kind(images[channels][::-1], 4), corrupted[::-1])
    np.testing.assert_array_equal(kind(images[channels][2:3], 4), corrupted[2:3])


def test_noise_differs_between_images_severities_and_kinds():
    gray = np.concatenate([plain(100), plain(101)])
    noise = Corruption("one", changes.gaussian_noise, (0.1, 0.1))
    one = noise(gray, 1).astype(int)
    assert far(one[0] - 100, one[2] - 101) > 5
    assert far(noise(gray, 2), one) > 5
    assert far(Corruption("other", changes.gaussian_noise, (0.1,))(gray), one) > 5


def test_more_images_than_fit_a_part_are_changed_alike(monkeypatch, images):
    whole = CIFAR10_C[0](images[3])
    monkeypatch.setattr(corruptions, "CHUNK", 4)
    np.testing.assert_array_equal(CIFAR10_C[0](images[3]), whole)


def test_noises_have_their_strength():
    gray = plain(128).repeat(5, axis=0)
    gray[:, 0, 0, 0] = np.arange(len(gray))  # each its own noise
    assert np.std(once(changes.gaussian_noise, 16 / 255, gray)[:, 1:]) == pytest.approx(16, rel=0.05)
    assert np.std(once(changes.speckle_noise, 0.1, gray)[:, 1:]) == pytest.approx(12.8, rel=0.05)
    photons = 50
    expected = 255 * np.sqrt(128 / 255 / photons)
    assert np.std(once(changes.shot_noise, photons, gray)[:, 1:]) == pytest.approx(expected, rel=0.05)
    salted = once(changes.impulse_noise, 0.2, gray)[:, 1:]
    assert np.mean(salted == 0) == pytest.approx(0.1, rel=0.1) == np.mean(salted == 255)


@pytest.mark.parametrize(
    ("change", "strength"),
    [
        (changes.gaussian_blur, 0.8),
        (changes.defocus_blur, (1.5, 0.1)),
        (changes.glass_blur, (0.4, 1, 2, 1.0)),
        (changes.motion_blur, (6, 2)),
        (changes.zoom_blur, 1.2),
        (changes.contrast, 0.3),
        (changes.pixelate, 0.5),
        (changes.elastic, (0.1, 0.04, 0.05)),
        (changes.rotate, 0.2),
    ],
)
def test_what_has_one_color_is_left_alone_by_what_only_blurs_or_moves(change, strength):
    corrupted = once(change, strength, plain(77))
    assert far(corrupted, plain(77)) == 0


def test_a_blur_spreads_a_point_and_keeps_its_light():
    point = plain(0)
    point[:, 16, 16] = 250
    for change, strength in ((changes.gaussian_blur, 1), (changes.motion_blur, (6, 1.5)), (changes.zoom_blur, 1.06)):
        blurred = once(change, strength, point).astype(float)
        assert blurred.max() < 250
        assert blurred.sum() == pytest.approx(point.sum(), rel=0.1)
    moved = np.argwhere(once(changes.motion_blur, (6, 3), point)[0, :, :, 0])
    assert np.ptp(moved[:, 1]) >= np.ptp(moved[:, 0]), "more along the rows than across"


def test_brightness_contrast_and_saturation_are_what_they_say():
    color = plain(0)
    color[:] = (100, 50, 20)
    assert once(changes.lighter, 40 / 255, color)[0, 0, 0].tolist() == [140, 90, 60]
    assert once(changes.brightness, 100 / 255, color)[0, 0, 0].tolist() == [200, 100, 40], "the hue stays"
    assert once(changes.brightness, 51 / 255, plain(0))[0, 0, 0].tolist() == [51] * 3
    assert once(changes.saturation, (0, 0), color)[0, 0, 0].tolist() == [100] * 3
    assert once(changes.saturation, (1, 0), color)[0, 0, 0].tolist() == [100, 50, 20]
    assert corruptions.EVERYDAY[4](plain(200))[0, 0, 0].tolist() == [164] * 3


def test_jpeg_is_pillows(images):
    buffer = io.BytesIO()
    Image.fromarray(images[3][0]).save(buffer, "JPEG", quality=30)
    expected = np.asarray(Image.open(buffer))
    np.testing.assert_array_equal(once(changes.jpeg, 30, images[3][:1])[0], expected)


def test_digits_are_moved_turned_and_shrunk_around_the_middle_on_black():
    square = np.zeros((1, 28, 28, 1), np.uint8)
    square[:, 8:20, 8:20] = 255
    ink = square.astype(float).sum()
    moved = np.argwhere(once(changes.translate, 3, square)[0, ..., 0])
    assert set(np.abs(moved.mean(axis=0) - 13.5)) == {3}
    half = once(changes.scale, 0.5, square)[0, ..., 0]
    assert half.sum() == pytest.approx(ink / 4, rel=0.05)
    np.testing.assert_array_equal(half, half[::-1, ::-1])
    turned = once(changes.rotate, np.pi / 4, square)[0, ..., 0]
    assert turned.sum() == pytest.approx(ink, rel=0.05) and turned[6, 13] > 200 and turned[8, 8] == 0
    sheared = once(changes.shear, 0.4, square)[0, ..., 0]
    assert sheared[13, 13] == 255 and (np.ptp(np.argwhere(sheared)[:, 1]) > 14)


def test_lines_cross_a_digit_and_stripes_turn_its_sides_around():
    black = np.zeros((4, 28, 28, 1), np.uint8)
    black[:, 27, 27, 0] = np.arange(4)  # each its own line
    dotted = once(changes.dotted_line, 2.3, black)[:, :, :27, 0]
    lit = dotted.max(axis=1) > 0
    assert lit.any(axis=0).sum() == 13 and not lit[:, :2].any() and lit[:, 2:4].all()
    zigzag = once(changes.zigzag, 2.3, black)[:, :, 3:24, 0]
    assert (zigzag.max(axis=1) > 0).mean() > 0.9
    striped = once(changes.stripe, 7, black)[0, :27, :, 0]
    assert striped[:, :7].min() == 255 == striped[:, 21:].min() and striped[:, 7:21].max() == 0
