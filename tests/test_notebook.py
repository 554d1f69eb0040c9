"""The notebook: stored without outputs, and every cell runs on what comes with the repository."""

import re

import nbclient
import nbformat
import pytest
from conftest import PROJECT

NOTEBOOK = PROJECT / "quickstart.ipynb"
PLOT = re.compile(r"Image\(\"([\w/.]+)\"\)")


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_stored_without_outputs(notebook):
    nbformat.validate(notebook)
    for cell in code(notebook):
        assert not cell.outputs and cell.execution_count is None


@pytest.fixture
def clone(tmp_path):
    """The repository as links, with an output folder of its own that holds the model of the notebook."""
    for path in PROJECT.iterdir():
        if path.name not in ("output", ".git"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "custom_cnn_model.h5").symlink_to(PROJECT / "output" / "custom_cnn_model.h5")
    return tmp_path


@pytest.mark.long
def test_every_cell_runs_and_the_drawn_four_is_read(notebook, clone):
    for cell in code(notebook):
        cell.source = cell.source.replace("--epochs 10", "--epochs 1")
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(clone)}})
    client.execute()
    printed = {}
    for cell in code(notebook):
        printed[cell.source] = "".join(output.get("text", "") for output in cell.outputs)
        shown = PLOT.search(cell.source)
        if shown:
            assert (clone / shown[1]).is_file()
            assert any("image/png" in output.get("data", {}) for output in cell.outputs)
    assert not [text for text in printed.values() if "error: " in text or "Traceback" in text]
    (reading,) = (text for text in printed.values() if "four.png: " in text)
    assert "four.png: 4 (" in reading, reading
