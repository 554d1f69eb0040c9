"""The robustness benchmark on a model whose answers are known."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import robustness
from pipeline.backend import keras
from pipeline.data import datasets
from pipeline.evaluate import corruptions
from pipeline.models import saved_model


@pytest.fixture(autouse=True)
def two_kinds(monkeypatch):
    monkeypatch.setattr(corruptions, "MNIST_C", (corruptions.MNIST_C[0], corruptions.MNIST_C[9]))


@pytest.fixture
def model(tmp_path):
    """A model of digits that has learned nothing."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((28, 28, 1))
    probabilities = keras.layers.Softmax()(keras.layers.Dense(10)(keras.layers.Flatten()(pixels)))
    about = {"title": "Tiny", "dataset": "digits", "class_names": list("0123456789"), "prefix": "custom_cnn"}
    path = tmp_path / "custom_cnn_model.h5"
    saved_model.save(keras.Model(pixels, probabilities), path, image_shape=(28, 28, 1), **about)
    return path


def knows_clean_images(opened):
    """The same, but it answers 0 with certainty for whatever has a white left edge, and 3 else."""

    def predict(images):
        return np.eye(10, dtype=np.float32)[np.where(images[:, :, 0].min(axis=(1, 2)) > 250, 0, 3)]

    return dataclasses.replace(opened, predict=predict)


def test_accuracy_and_calibration_of_each_kind_severity_and_plain_change_are_written(model, monkeypatch, digits):
    open_model = robustness.open_model
    monkeypatch.setattr(robustness, "open_model", lambda path: knows_clean_images(open_model(path)))
    assert robustness.main(["--limit", "50", "--output-dir", str(model.parent)]) == 0
    (entry,) = json.loads((model.parent / "robustness.json").read_text())["models"]
    labels = datasets.load("digits").y_test[:50]
    threes, zeros = float(np.mean(labels == 3)), float(np.mean(labels == 0))
    assert threes != zeros
    assert (entry["file"], entry["network"], entry["images"]) == (model.name, "custom CNN", 50)
    assert entry["clean"] == pytest.approx({"accuracy": threes, "expected_calibration_error": 1 - threes})
    noise, stripe = entry["kinds"]
    assert (noise["kind"], stripe["kind"]) == ("shot noise", "stripe")
    assert noise["accuracy"] == [threes] * 5 and stripe["accuracy"] == [zeros] * 5
    assert stripe["expected_calibration_error"] == pytest.approx([1 - zeros] * 5)
    assert entry["mean"]["accuracy"] == pytest.approx((threes + zeros) / 2)
    worst = "shot noise" if threes < zeros else "stripe"
    assert entry["worst"] == pytest.approx({"kind": worst, "accuracy": min(threes, zeros)})
    assert [change["accuracy"] for change in entry["everyday"]] == [threes] * 6
    assert min(Image.open(model.parent / "robustness.png").size) > 300


def test_a_model_without_an_export_answers_in_keras_and_results_of_others_stay(model):
    other = model.with_name("other.h5")
    other.write_bytes(model.read_bytes())
    flags = ["--limit", "8", "--output-dir", str(model.parent)]
    robustness.main([str(other), *flags])
    robustness.main([str(model), *flags])
    first, second = json.loads((model.parent / "robustness.json").read_text())["models"]
    assert (first["file"], second["file"]) == (other.name, model.name)
    assert first["kinds"] == second["kinds"] and (first["network"], second["network"]) == ("other", "custom CNN")
    robustness.main([str(other), *flags])
    assert len(json.loads((model.parent / "robustness.json").read_text())["models"]) == 2


def test_models_of_two_folders_that_are_called_alike_have_a_result_each(model):
    clean = model.parent / "clean" / model.name
    clean.parent.mkdir()
    clean.write_bytes(model.read_bytes())
    robustness.main([str(model), str(clean), "--limit", "8", "--output-dir", str(model.parent)])
    first, second = json.loads((model.parent / "robustness.json").read_text())["models"]
    assert (first["file"], first["network"]) == (model.name, "custom CNN")
    assert (second["file"], second["network"]) == (f"clean/{model.name}", "custom CNN in clean/")
