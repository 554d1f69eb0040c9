"""The experiment on a folder of photographs, as a dry run, and the table that its result becomes."""

import json

import numpy as np
import pytest
from conftest import STEM, write_weights
from PIL import Image

from experiments import own_photos
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


def test_a_dry_run_has_both_networks_and_makes_the_reports_table(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # The whole experiment but for the size of the images: both scripts run in processes of their own.
    small = [(*one, (*flags, "--image-size", "32", "--precision", "float32")) for *one, flags in own_photos.NETWORKS]
    monkeypatch.setattr(own_photos, "NETWORKS", small)
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
