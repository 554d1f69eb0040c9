"""Times and fractions as they are printed."""

import pytest

from pipeline import console


@pytest.mark.parametrize(("seconds", "text"), [(23.6, "24 s"), (119, "119 s"), (120, "2 min"), (8338, "139 min")])
def test_durations_are_rounded(seconds, text):
    assert console.duration(seconds) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.8148, "81.5 %"), (0.9977, "99.77 %"), (1.0, "100 %"), (0.0, "0.0 %"), (0.99996, "100.00 %")],
)
def test_percentages_have_the_digits_that_tell_accuracies_apart(fraction, text):
    assert console.percent(fraction).replace("\N{NO-BREAK SPACE}", " ") == text
    assert console.percent(0.816, 0) == "82\N{NO-BREAK SPACE}%"
