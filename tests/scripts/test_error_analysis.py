"""The test digits that two models get wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import error_analysis
from pipeline.data import datasets
from pipeline.evaluate import plots
from pipeline.models import saved_model


@pytest.fixture
def few(digits):
    return datasets.shrink(digits, 80)


def sure(labels, changed):
    """Probabilities (n, 10) of these labels, but for {index: another label}."""
    labels = labels.copy()
    for index, other in changed.items():
        labels[index] = other
    return np.eye(10, dtype=np.float32)[labels] * 0.91 + 0.009


def other(label, by=1):
    return (label + by) % 10


def test_both_wrong_are_the_images_that_neither_gets_right_with_both_predictions(few, tmp_path, monkeypatch):
    y, shown = few.y_test, {}
    one = sure(y, {3: other(y[3]), 7: other(y[7]), 11: other(y[11])})
    two = sure(y, {7: other(y[7]), 11: other(y[11], 2), 20: other(y[20])})
    draw = plots.captioned

    def keep(images, captions, *rest):
        shown.update(images=images, captions=captions)
        draw(images, captions, *rest)

    monkeypatch.setattr(plots, "captioned", keep)
    error_analysis.both_wrong(few, {"custom CNN": one, "ResNet50": two}, "both", tmp_path)
    result = json.loads((tmp_path / "digits_both_wrong.json").read_text())
    assert result["schema"] == 1
    assert result["test_images"] == [7, 11] and result["both_wrong"] == 2 and result["same_prediction"] == 1
    assert result["wrong"] == {"custom CNN": 3, "ResNet50": 3}
    np.testing.assert_array_equal(shown["images"], few.x_test[[7, 11]])
    assert shown["captions"] == [
        f"true: {y[7]}\ncustom CNN: {other(y[7])} (92%)\nResNet50: {other(y[7])} (92%)",
        f"true: {y[11]}\ncustom CNN: {other(y[11])} (92%)\nResNet50: {other(y[11], 2)} (92%)",
    ]
    picture = np.asarray(Image.open(tmp_path / "digits_both_wrong.png").convert("L"))
    assert min(picture.shape) > 300 and picture.std() > 20


@pytest.mark.parametrize("wrong", [0, 61])
def test_none_or_too_many_for_a_picture_are_only_counted(few, tmp_path, wrong):
    rows = sure(few.y_test, {index: other(few.y_test[index]) for index in range(wrong)})
    error_analysis.both_wrong(few, {"custom CNN": rows, "ResNet50": rows}, "both", tmp_path)
    assert json.loads((tmp_path / "digits_both_wrong.json").read_text())["both_wrong"] == wrong
    assert not (tmp_path / "digits_both_wrong.png").exists()


@pytest.fixture
def compared(few, synthetic, monkeypatch):
    """What both_wrong() is called with; a model's prefix stands for its probabilities."""
    found = []

    def analyzed(path, config):
        prefix = path.stem.removesuffix("_model")
        of = synthetic if prefix.startswith("cifar100") else few
        return error_analysis.Analyzed(
            saved_model.SavedModel(path, None, {"prefix": prefix, "title": prefix}, ""), of, prefix
        )

    monkeypatch.setattr(error_analysis, "analyze", analyzed)
    monkeypatch.setattr(error_analysis, "both_wrong", lambda *arguments: found.append(arguments))
    return found


def test_both_models_of_one_data_set_are_compared_and_no_other_pair(compared, few, tmp_path, monkeypatch):
    there = [Path("cifar100.h5"), Path("custom_cnn_model.h5"), Path("resnet50_model.h5")]
    monkeypatch.setattr(saved_model, "finished", lambda folder: there)
    assert error_analysis.main(["--output-dir", str(tmp_path)]) == 0
    assert compared == [(few, {"custom CNN": "custom_cnn", "ResNet50": "resnet50"}, "custom_cnn; resnet50", tmp_path)]


def test_models_that_are_named_are_analyzed_wherever_they_are(compared, few, tmp_path):
    assert error_analysis.main(["a/mine.h5", "b/custom_cnn_model.h5"]) == 0
    assert compared == [(few, {"mine": "mine", "custom CNN": "custom_cnn"}, "mine; custom_cnn", Path("a"))]
    assert error_analysis.main(["a/mine.h5", "custom_cnn_model.h5", "resnet50_model.h5"]) == 0
    assert len(compared) == 1, "of three models there is no pair"
    assert error_analysis.main(["a/custom_cnn_model.h5", "b/custom_cnn_model.h5"]) == 0
    assert list(compared[1][1]) == ["a/custom_cnn_model.h5", "b/custom_cnn_model.h5"]
