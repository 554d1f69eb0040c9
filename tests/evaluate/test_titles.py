"""What the titles of plots say."""

import numpy as np
import pytest

from pipeline.evaluate import plots

NAMES = ("cat", "dog", "owl")


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ({}, "100\N{NO-BREAK SPACE}%"),
        ({(0, 1): 3, (1, 0): 2, (0, 2): 4}, "most often confused, 5 times: cat and dog"),
        ({(0, 1): 2, (1, 2): 2}, "most often confused, 2 times each: cat and dog, dog and owl"),
        ({(0, 1): 1, (0, 2): 1, (1, 2): 1}, "once each: cat and dog, cat and owl, dog and owl"),
    ],
)
def test_a_confusion_matrix_names_every_pair_that_is_confused_most_often(errors, said):
    matrix = np.diag([90, 90, 90])
    for place, count in errors.items():
        matrix[place] = count
    assert plots.confusion_finding(matrix, NAMES).endswith(said)


def test_so_many_pairs_that_none_stands_out_are_not_named():
    matrix = np.diag([90] * 4) + 1
    assert "confused" not in plots.confusion_finding(matrix, (*NAMES, "yak"))
