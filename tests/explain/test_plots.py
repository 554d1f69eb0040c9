"""Pages and sheets of heat maps: what is drawn where."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.explain import plots

IMAGE = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)


@pytest.fixture
def drawn(monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    return figures


@pytest.mark.parametrize(("rows", "pages"), [(5, 1), (6, 2), (20, 4)])
def test_the_column_heads_of_a_sheet_are_repeated_on_every_page(drawn, rows, pages):
    example = IMAGE, "a caption", [np.ones((8, 10))]
    plots.sheet({"image": ["predicted class"]}, [[example]] * rows, "Evidence", "a model", Path("nowhere.png"))
    heads = [text.get_text() for text in drawn[0].texts]
    assert heads.count("overlay") == pages


def test_an_example_of_a_page_is_at_least_150_pixels_wide(drawn):
    example = IMAGE, "a caption", [np.ones((8, 10)), np.ones((8, 10))]
    plots.page(["one", "other"], [example] * 8, "Evidence", "a model", Path("nowhere.png"))
    (figure,) = drawn
    assert len(figure.axes) == 8 * 3
    assert min(axes.get_window_extent().width * 120 / figure.dpi for axes in figure.axes) >= 150


def test_an_overlay_is_the_grey_image_where_there_is_no_evidence_and_colored_where_there_is():
    nothing, everything = (plots.overlay(IMAGE, np.full((8, 10), value)) for value in (0.0, 1.0))
    large = plots.smoothly(IMAGE)
    assert nothing.shape == large.shape == (64, 80, 3)
    np.testing.assert_array_equal(nothing, np.repeat(large.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2))
    assert (everything[..., 0] > everything[..., 2]).all()


def test_an_overlay_has_no_steps():
    heat = np.zeros((8, 10))
    heat[3:5, 4:6] = 1
    red = plots.overlay(np.zeros((8, 10, 1), np.uint8), heat)[:, :, 0].astype(int)
    assert np.abs(np.diff(red, axis=0)).max() < 80 and red.max() > 150


def test_the_overview_shows_every_example_as_image_and_overlay(drawn):
    example = IMAGE, "fish, 98 %", "image: ray", np.ones((8, 10))
    plots.overview([example] * 6, "A finding", "a model", Path("nowhere.png"))
    (figure,) = drawn
    heads = [axes.get_title(loc="left") for axes in figure.axes]
    assert heads == ["image: ray", "evidence for the answer"] * 6
    assert min(axes.get_window_extent().width * 120 / figure.dpi for axes in figure.axes) >= 150
