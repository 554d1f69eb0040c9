"""The experiment on a folder of photographs, as a dry run, and the table that its result becomes."""

import importlib
import json

import numpy as np
import pytest
from conftest import STEM, write_weights
from PIL import Image

from experiments import own_photos
from pipeline.errors import UserError
from pipeline.report import markdown, tables


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("ants", "bees"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(16):
            pixels = rng.integers(0, 256, (50, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{k}.jpg")
    return tmp_path / "photos"


def test_a_dry_run_has_both_networks_and_makes_the_reports_table(photos, tmp_path, monkeypatch, eagerly):
    def in_this_process(script, prefix, flags, folder):
        small = [*flags, "--image-size", "32", "--precision", "float32", "--output-dir", str(folder)]
        assert importlib.import_module(script.removesuffix(".py")).main(small) == 0
        return json.loads((folder / f"{prefix}_metrics.json").read_text())

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(own_photos, "finished_run", in_this_process)
    weights = write_weights(tmp_path / "stem.h5", STEM)
    flags = [str(photos), "--weights", str(weights), "--output-dir", str(tmp_path / "out"), "--dry-run"]
    assert own_photos.main(flags) == 0
    text = (tmp_path / "out" / "own_photos.json").read_text()
    assert str(tmp_path) not in text
    pretrained, control = json.loads(text)["rows"]
    assert (pretrained["weights"], control["weights"]) == ("stem.h5", "none")
    monkeypatch.setattr(markdown, "OUTPUT", tmp_path / "out")
    table = tables.own_photos()
    assert "stem.h5" in table and f"{control['runs'][0]['test_accuracy']:.4f}" in table


def test_a_run_that_fails_ends_the_experiment(tmp_path):
    with pytest.raises(UserError, match="no_such_script"):
        own_photos.finished_run("no_such_script.py", "resnet50", [], tmp_path)
