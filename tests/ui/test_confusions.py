"""Where is a model wrong: the confusion matrix, and the test images behind the cell that is clicked."""

import numpy as np
import pytest
from page_folder import FIRST, SECOND

pytest.importorskip("gradio", reason='optional: pip install -e ".[ui]"')
from pipeline.data import datasets
from pipeline.errors import UserError
from pipeline.models import probabilities, saved_model
from ui import confusions


@pytest.fixture(scope="module")
def stored(folder):
    """The first model's probabilities for the test images of the toy digits, stored beside it."""
    saved = saved_model.open_model(folder / "first.h5")
    return probabilities.on_test_images(saved, datasets.load("digits"))


def test_a_cell_has_its_test_images_with_the_surest_errors_first(folder, stored, digits):
    found = confusions.of_model(folder / "first.h5", None)
    assert found.matrix.sum() == len(digits.x_test)
    for truth, predicted in np.argwhere(found.matrix):
        images = found.cell(truth, predicted)
        assert len(images) == found.matrix[truth, predicted]
        assert (digits.y_test[images] == truth).all() and (stored[images].argmax(axis=1) == predicted).all()
        sureness = stored[images, predicted]
        assert (np.diff(sureness if truth == predicted else -sureness) >= 0).all()


def test_without_stored_probabilities_or_data_it_says_what_is_missing(folder, stored, tmp_path):
    with pytest.raises(confusions.Missing, match="matrix_no_probabilities"):
        confusions.of_model(folder / "demo" / "second.h5", None)
    (tmp_path / "changed.h5").write_bytes((folder / "first.h5").read_bytes() + b" ")
    (tmp_path / "changed_test_probabilities.npz").write_bytes((folder / "first_test_probabilities.npz").read_bytes())
    with pytest.raises(confusions.Missing, match="matrix_no_probabilities"):
        confusions.of_model(tmp_path / "changed.h5", None)
    with pytest.raises(UserError, match="not an HDF5 file"):
        confusions.of_model(folder / "demo" / "text.h5", None)


def test_a_click_on_the_matrix_shows_those_test_images_with_their_heat_maps(open_tab, stored, digits):
    predicted = stored.argmax(axis=1)
    wrong = np.flatnonzero(predicted != digits.y_test)
    assert len(wrong), "the small model makes errors"
    truth, taken_for = digits.y_test[wrong[0]], predicted[wrong[0]]
    count = np.sum((digits.y_test == truth) & (predicted == taken_for))
    tab = open_tab()
    tab.get_by_role("tab", name="Where is it wrong?").click()
    cell = tab.locator(f'#matrix [data-cell="{truth},{taken_for}"]')
    assert cell.text_content() == str(count)
    cell.click()
    tab.locator("#cell figure").first.wait_for()
    assert tab.locator("#cell figure").count() == count
    assert tab.locator("#cell figure").first.locator("img").count() == 2
    tab.locator("#cell figcaption", has_text=f"Test image {wrong[0]}:").wait_for()
    menu = tab.get_by_label("Model", exact=True).filter(visible=True)
    assert menu.input_value() == FIRST
    menu.click()
    tab.get_by_role("option", name=SECOND).click()
    tab.locator("#matrix", has_text="error_analysis.py").wait_for()
    assert not tab.locator("#cell figure").count()
