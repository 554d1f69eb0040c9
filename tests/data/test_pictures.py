"""Which of a user's picture files are read, in which order, and what becomes of their pixels."""

import numpy as np
import pytest
from PIL import Image

from pipeline.data import pictures
from pipeline.errors import UserError


def test_the_pictures_of_a_folder_come_in_natural_order(tmp_path):
    names = ["2b.png", "digit1.png", "digit2.png", "digit2_a.png", "digit010.png", "digit10.png", "x.png"]
    for name in (*reversed(names), "digit3.txt"):
        (tmp_path / name).touch()
    for place in (tmp_path, tmp_path / "*.png"):
        assert [path.name for path in pictures.listed((str(place),))] == names


def test_hidden_files_of_a_folder_are_no_pictures(tmp_path):
    for name in ("a.jpg", "._a.jpg"):
        (tmp_path / name).touch()
    assert pictures.listed((str(tmp_path),)) == [tmp_path / "a.jpg"]


def centre_of_mass(image):
    weights = image[..., 0].astype(float)
    return [float((weights.sum(axis=1 - axis) * np.arange(28)).sum() / weights.sum()) for axis in (0, 1)]


def likeness(a, b):
    """Correlation of two images' pixels."""
    return np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1]


def on_paper(digit, scale=9, place=(120, 250), size=(300, 560), paper=225, shade=0, noise=0):
    """A photograph of a digit written in dark ink somewhere on light paper, float (height, width)."""
    ink = np.asarray(Image.fromarray(digit).resize((28 * scale, 28 * scale), Image.Resampling.BICUBIC), float)
    page = np.full(size, float(paper)) - np.linspace(0, shade, size[1])
    top, left = place[0] * (size[0] - 28 * scale) // size[0], place[1] * (size[1] - 28 * scale) // size[1]
    page[top : top + 28 * scale, left : left + 28 * scale] -= 0.75 * ink
    return np.clip(page + np.random.default_rng(0).normal(0, noise, size), 0, 255)


def test_a_picture_as_mnist_made_it_is_taken_as_it_is(digit, tmp_path):
    Image.fromarray(digit).save(tmp_path / "a.png")
    pixels, inverted = pictures.read_digit(tmp_path / "a.png")
    assert not inverted and pixels.dtype == np.uint8 and np.array_equal(pixels[..., 0], digit)


@pytest.mark.parametrize("options", [{}, {"shade": 80}, {"noise": 8}, {"shade": 60, "noise": 6, "place": (299, 0)}])
def test_a_dark_digit_on_light_paper_is_found_inverted_and_centred(digit, tmp_path, options):
    page = on_paper(digit, **options).astype(np.uint8)
    Image.fromarray(page).save(tmp_path / "a.png")
    pixels, inverted = pictures.read_digit(tmp_path / "a.png")
    assert inverted and pixels.shape == (28, 28, 1) and pixels.max() == 255 and np.median(pixels) == 0
    np.testing.assert_allclose(centre_of_mass(pixels), 14, atol=0.6)
    rows, columns = (np.flatnonzero((pixels[..., 0] > 0).any(axis=axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(20, abs=1)
    Image.fromarray(np.pad(digit, 20)).save(tmp_path / "b.png")
    reference, inverted = pictures.read_digit(tmp_path / "b.png")
    assert not inverted and likeness(pixels, reference) > 0.9


def test_colour_transparency_and_rotation_do_not_matter(digit, tmp_path):
    page = on_paper(digit).astype(np.uint8)
    Image.fromarray(page).save(tmp_path / "grey.png")
    expected, _ = pictures.read_digit(tmp_path / "grey.png")
    blue = np.stack([page, page, np.full_like(page, 225)], axis=-1)
    Image.fromarray(blue).save(tmp_path / "blue.png")
    alpha = np.zeros((*page.shape, 4), np.uint8)
    alpha[..., 3] = 225 - page  # black ink on nothing
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    white = np.full((*page.shape, 4), 255, np.uint8)
    white[..., 3] = 225 - page  # white ink on nothing
    Image.fromarray(white).save(tmp_path / "white.png")
    turned = Image.fromarray(np.rot90(page))  # a camera that was held sideways, and says so
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(page.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for name in ("blue", "alpha", "turned", "deep"):
        pixels, inverted = pictures.read_digit(tmp_path / f"{name}.png")
        assert inverted and likeness(pixels, expected) > 0.97, name
    pixels, inverted = pictures.read_digit(tmp_path / "white.png")
    assert not inverted and likeness(pixels, expected) > 0.97


def test_a_digit_cut_close_to_its_strokes_is_read_too(digit, tmp_path):
    rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
    close = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    Image.fromarray(255 - close).resize((close.shape[1] * 6, close.shape[0] * 6)).save(tmp_path / "a.png")
    pixels, inverted = pictures.read_digit(tmp_path / "a.png")
    Image.fromarray(np.pad(digit, 20)).save(tmp_path / "b.png")
    assert inverted and likeness(pixels, pictures.read_digit(tmp_path / "b.png")[0]) > 0.9


def test_specks_on_the_paper_do_not_shrink_the_digit(digit, tmp_path):
    page = on_paper(digit).astype(np.uint8)
    Image.fromarray(page).save(tmp_path / "clean.png")
    page[:4, :4] = page[-3:, -30:-27] = 40
    Image.fromarray(page).save(tmp_path / "specks.png")
    expected, _ = pictures.read_digit(tmp_path / "clean.png")
    found, inverted = pictures.read_digit(tmp_path / "specks.png")
    assert inverted and likeness(found, expected) > 0.99


def test_specks_alone_are_bad_input(tmp_path):
    page = np.full((1600, 1600), 240, np.uint8)
    page[100:104, 100:104] = page[1400:1404, 1300:1304] = 0
    Image.fromarray(page).save(tmp_path / "specks.png")
    with pytest.raises(UserError, match="cannot find a digit"):
        pictures.read_digit(tmp_path / "specks.png")


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_page_is_bad_input(level, tmp_path):
    Image.new("L", (90, 70), level).save(tmp_path / "empty.png")
    with pytest.raises(UserError, match=r"empty.png"):
        pictures.read_digit(tmp_path / "empty.png")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_kind_of_picture_becomes_what_a_model_takes(mode, channels, tmp_path):
    half = np.repeat([[0, 255]], 40, axis=0).repeat(30, axis=1).astype(np.uint8)  # left black, right white
    deep = mode == "I;16"
    picture = Image.fromarray(half.astype(np.uint16) * 257) if deep else Image.fromarray(half).convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I", "F") else "a.png")
    picture.save(path)
    pixels = pictures.read(path, (32, 32, channels))
    assert pixels.shape == (32, 32, channels) and pixels.dtype == np.uint8
    assert pixels[:, :8].max() < 30 and pixels[:, -8:].min() > 225


def test_floating_point_pictures_may_go_from_0_to_1(tmp_path):
    half = np.repeat([[0, 1]], 40, axis=0).repeat(30, axis=1).astype(np.float32)
    Image.fromarray(half).save(tmp_path / "a.tif")
    pixels = pictures.read(tmp_path / "a.tif", (32, 32, 3))
    assert pixels[:, :8].max() < 30 and pixels[:, -8:].min() > 225


def test_twelve_bits_in_a_file_of_sixteen_are_no_dark_picture(tmp_path):
    half = np.repeat([[0, 4095]], 40, axis=0).repeat(30, axis=1).astype(np.uint16)
    Image.fromarray(half).save(tmp_path / "a.png")
    pixels = pictures.read(tmp_path / "a.png", (32, 32, 3))
    assert pixels[:, :8].max() < 30 and pixels[:, -8:].min() > 225


@pytest.mark.parametrize(("ink", "paper"), [(255, 0), (230, 0), (20, 255), (128, 255)])
def test_ink_on_transparent_paper_can_be_seen(ink, paper, digit, tmp_path):
    page = 255 - on_paper(digit, paper=255).astype(np.uint8)
    picture = np.full((*page.shape, 4), ink, np.uint8)
    picture[..., 3] = page
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.asarray(pictures.opened(tmp_path / "a.png"))[0, 0, 0] == paper
    pixels, inverted = pictures.read_digit(tmp_path / "a.png")
    assert inverted == (paper == 255)
    Image.fromarray(np.pad(digit, 20)).save(tmp_path / "b.png")
    assert likeness(pixels, pictures.read_digit(tmp_path / "b.png")[0]) > 0.9


def test_a_bright_page_with_a_transparent_corner_stays_on_white(tmp_path):
    page = np.full((60, 80, 4), 240, np.uint8)
    page[..., 3] = 255
    page[:9, :9] = 0
    Image.fromarray(page).save(tmp_path / "a.png")
    assert np.asarray(pictures.opened(tmp_path / "a.png")).min() >= 240
