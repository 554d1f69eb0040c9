"""The names that the page gives models, short and for people."""

import json

import pytest

pytest.importorskip("gradio", reason='optional: pip install -e ".[ui]"')
from pipeline import PROJECT
from ui import models

LONG = "ResNet50 (weights resnet50_imagenet_conv1_to_conv4) on MNIST (recipe default, 16 epochs, seed 0)"


def test_a_models_name_is_its_network_its_data_and_its_accuracy():
    path = PROJECT / "output" / "custom_cnn_model.h5"
    title, percent = models.about(path)["title"], f"{100 * models.accuracy(path):.1f}"
    english = models.name(title, path, "en").replace("\N{NO-BREAK SPACE}", " ")
    assert english == f"Custom CNN · MNIST · {percent} %"
    assert models.name(title, path, "tr") == f"Özel CNN · MNIST · %{percent.replace('.', ',')}"


def test_what_stands_in_parentheses_is_left_to_the_details(tmp_path):
    assert models.name(LONG, tmp_path / "missing.h5", "en") == "ResNet50 · MNIST"


def test_the_accuracy_of_another_model_beside_it_is_not_taken_for_its_own(folder, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes((folder / "first.h5").read_bytes())
    metrics = {"title": models.about(path)["title"], "test_accuracy": 0.987}
    assert models.accuracy(path) is None
    (tmp_path / "custom_cnn_metrics.json").write_text(json.dumps(metrics))
    assert models.accuracy(path) == 0.987
    (tmp_path / "custom_cnn_metrics.json").write_text(json.dumps({**metrics, "title": "an earlier one"}))
    assert models.accuracy(path) is None
    for damaged in (json.dumps({**metrics, "test_accuracy": 10**400}), 10**5 * "["):
        (tmp_path / "custom_cnn_metrics.json").write_text(damaged)
        assert models.accuracy(path) is None


def test_models_that_would_be_called_alike_are_told_apart_by_their_files(tmp_path):
    alike = {f"CNN on MNIST (seed {seed})": tmp_path / f"{seed}.h5" for seed in range(2)}
    assert sorted(models.names(alike, "en").values()) == ["CNN · MNIST · 0.h5", "CNN · MNIST · 1.h5"]
