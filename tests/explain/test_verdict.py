"""What is said of a heat map in words."""

import numpy as np
import pytest

from pipeline.explain import verdict


def blob(row, column, deviation=2.0):
    y, x = np.mgrid[:32, :32]
    return np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * deviation**2))


@pytest.mark.parametrize(
    ("row", "column", "place"),
    [(4, 4, "top left"), (4, 16, "top"), (27, 27, "bottom right"), (16, 3, "left"), (16, 15, "center")],
)
def test_the_place_is_where_the_evidence_is(row, column, place):
    assert verdict.where(blob(row, column)).split(",")[0] == place


def test_the_extent_is_that_of_the_fewest_pixels_with_half_the_sum():
    heat = np.zeros((10, 10))
    heat[0, :8] = 1
    assert "4%" in verdict.where(heat)
    assert "spread out" in verdict.where(np.ones((10, 10)))


def test_a_map_of_zeros_has_no_place():
    assert verdict.where(np.zeros((4, 4))) == "none"
