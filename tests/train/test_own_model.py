"""The worked example as a reader uses it: copied, trained for an epoch, then taken by the other scripts."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT

import gradcam
import model_comparison
from pipeline.data import pictures
from pipeline.deploy import latency
from pipeline.models import saved_model


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    shutil.copy(PROJECT / "docs" / "own_model.py", folder / "my_model.py")
    command = [sys.executable, "my_model.py", "--dataset", "digits", "--epochs", "1", "--batch-size", "16"]
    # Copied beside the other scripts it finds pipeline/ by itself.
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, "--output-dir", "results"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "results"


def test_it_learns_and_leaves_what_every_training_script_leaves(results, digits):
    names = ("classification_report.csv", "confusion_matrix.png", "examples.png", "history.csv", "metrics.json")
    expected = {
        "my_model.h5",
        "my_model_test_probabilities.npz",
        ".my_model_run.lock",
        *(f"my_model_{name}" for name in (*names, "training_curves.png", "network.png")),
    }
    assert {path.name for path in results.iterdir()} == expected
    metrics = json.loads((results / "my_model_metrics.json").read_text())
    probabilities = saved_model.predict(saved_model.load(results / "my_model.h5"), digits.x_test)
    accuracy = np.mean(probabilities.argmax(axis=1) == digits.y_test)
    assert metrics["epochs"] == 1 and metrics["test_accuracy"] == pytest.approx(accuracy)
    assert accuracy > 0.3, "guessing gives a tenth"


def test_its_model_is_explained(results, capsys):
    assert gradcam.main([str(results / "my_model.h5"), "--output-dir", str(results)]) == 0
    assert pictures.read(results / "my_model_gradcam.png", (200, 200, 3)).std() > 10
    assert "Evidence for" in capsys.readouterr().out


def test_its_model_is_compared_by_name_with_no_other_model_in_the_folder(results, tmp_path, monkeypatch, capsys):
    def timed(sources, *_):  # test_scripts.py times the real thing, which takes long
        return {name: {"seconds": {1: [0.02], 32: [0.1], 256: [0.5]}, "peak_megabytes": 9.0} for name in sources}

    monkeypatch.setattr(latency, "interleaved", timed)
    output = tmp_path / "new"
    assert model_comparison.main([str(results / "my_model.h5"), "--rounds", "1", "--output-dir", str(output)]) == 0
    (row,) = json.loads((output / "model_comparison.json").read_text())["models"]
    convolutions = 14 * 14 * 9 * (1 * 16 + 16 * 16) + 7 * 7 * 9 * (16 * 32 + 32 * 32)
    assert (row["name"], row["file"]) == ("my_model", "my_model.h5")
    assert row["multiply_accumulates"] == convolutions + 32 * 10
    assert {"Keras predict", "Keras call"} <= {timed["runtime"] for timed in row["runtimes"]}
    assert (output / "model_comparison.png").is_file() and "my_model" in capsys.readouterr().out
