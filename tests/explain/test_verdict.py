"""What is said of a heat map in words."""

import numpy as np
import pytest

from pipeline.explain import verdict


def blob(row, column, deviation=2.0):
    y, x = np.mgrid[:32, :32]
    return np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * deviation**2))


@pytest.mark.parametrize(
    ("row", "column", "place"),
    [
        (4, 4, "at the top left"),
        (4, 16, "at the top"),
        (27, 27, "at the bottom right"),
        (16, 3, "at the left"),
        (16, 15, "in the center"),
    ],
)
def test_the_place_is_where_the_evidence_peaks(row, column, place):
    weak_but_wide = 0.9 * blob(16, 16, 8.0)
    said = verdict.where(np.maximum(blob(row, column), weak_but_wide))
    assert said.split(",")[0] == f"peak {place}"


def test_the_extent_is_that_of_the_fewest_pixels_with_half_the_sum():
    heat = np.zeros((10, 10))
    heat[0, :8] = 1
    assert "4%" in verdict.where(heat)
    assert verdict.extent(np.ones((10, 10))) == 0.5


def test_a_map_without_a_maximum_has_no_place():
    assert verdict.where(np.ones((10, 10))) == "the same everywhere"


def test_a_map_of_zeros_has_no_place():
    assert verdict.where(np.zeros((4, 4))) == "none"
