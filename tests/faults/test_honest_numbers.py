"""Faults planted into evaluation, each of which a check of the product must notice."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_run import start

import error_analysis
from pipeline.data import datasets, sources
from pipeline.errors import UserError
from pipeline.evaluate import evaluation
from pipeline.models import probabilities, saved_model

REAL = [path for folder in sources.folders(None) if (path := Path(folder) / "mnist.npz").is_file()]


def measured(validation: float, test: float) -> dict:
    return {"validation_accuracy": validation, "test_accuracy": test}


@pytest.mark.skipif(not REAL, reason="MNIST is not on this computer")
@pytest.mark.parametrize("fault", ["test labels shifted by one", "a test image in training"])
def test_a_known_data_set_with_a_fault_in_it_is_refused(tmp_path, fault, tried):
    with np.load(REAL[0]) as archive:
        arrays = dict(archive)
    if fault == "a test image in training":
        arrays["x_train"][500] = arrays["x_test"][7]
    else:
        arrays["y_test"] = np.roll(arrays["y_test"], 1)
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(UserError, match=r"mnist\.npz"):
        datasets.load("mnist", str(tmp_path))
    tried(f"{fault}, in the file of a known data set", times=1, noticed=1)


def test_a_test_image_in_the_training_part_of_own_data_is_counted(tmp_path, digits, capsys, tried):
    parts = {"x_train": digits.x_train[:200], "y_train": digits.y_train[:200]}
    parts |= {"x_test": digits.x_test[:50].copy(), "y_test": digits.y_test[:50]}
    np.savez(tmp_path / "clean.npz", **parts)
    datasets.load(str(tmp_path / "clean.npz"))
    assert "warning" not in "".join(capsys.readouterr())
    parts["x_test"][3] = parts["x_train"][100]
    np.savez(tmp_path / "leaking.npz", **parts)
    datasets.load(str(tmp_path / "leaking.npz"))
    assert "warning: 1 of 50 test images are training images" in "".join(capsys.readouterr())
    tried("a test image in training, in own data", times=1, noticed=1)


def test_labels_that_were_shifted_are_noticed_by_the_gap_to_validation(digits, tried):
    answers = np.eye(10)[digits.y_test]  # of a perfect model
    right = np.mean(answers.argmax(axis=1) == digits.y_test)
    shifted = np.mean(answers.argmax(axis=1) == np.roll(digits.y_test, 1))
    n = len(digits.y_test)
    assert not evaluation.doubt(measured(0.99, right), 134, n)
    assert "labels" in evaluation.doubt(measured(0.99, shifted), 134, n)
    tried("labels shifted by one", times=1, noticed=1)


@pytest.mark.parametrize(
    ("validation", "test", "n_validation", "n_test", "is_doubted"),
    [
        (0.99, 0.98, 5000, 10000, False),
        (0.80, 0.74, 1000, 10000, False),  # another photographer's pictures
        (0.60, 0.75, 20, 50, False),  # so few images say little
        (0.81, 0.97, 1000, 10000, True),  # training images in the place of test images
        (0.10, 0.10, 5000, 10000, False),
        (1.0, 1.0, 5000, 10000, False),
        (1.0, 0.0, 5000, 10000, True),
    ],
)
def test_only_a_gap_beyond_chance_is_doubted(validation, test, n_validation, n_test, is_doubted):
    assert bool(evaluation.doubt(measured(validation, test), n_validation, n_test)) == is_doubted


def test_a_run_warns_of_such_a_gap_and_keeps_its_metrics(tmp_path, eagerly, monkeypatch, capsys):
    run, model, fit = start(tmp_path, "--epochs", "1")
    fit()
    run.dataset = dataclasses.replace(run.dataset, y_test=(run.dataset.y_test + 1) % 10)
    known = evaluation.measure
    monkeypatch.setattr(evaluation, "measure", lambda *parts: known(*parts) | {"validation_accuracy": 0.99})
    result = run.finish(model)
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert "test accuracy" in warning and "validation accuracy 0.990" in warning
    assert json.loads(run.path("metrics.json").read_text())["test_accuracy"] == result["test_accuracy"]


def test_a_metric_of_the_wrong_split_in_metrics_json_is_noticed(folder, tmp_path, capsys, tried):
    shutil.copy(folder / "first.h5", tmp_path / "model.h5")
    saved = saved_model.open_model(tmp_path / "model.h5")
    dataset = datasets.load("digits")
    found = probabilities.on_test_images(saved, dataset)
    accuracy = float(np.mean(found.argmax(axis=1) == dataset.y_test))
    for recorded, is_noticed in ((accuracy, False), (accuracy - 0.05, True)):
        metrics = {"title": saved.metadata["title"], "test_accuracy": recorded, "n_test": len(dataset.y_test)}
        (tmp_path / "custom_cnn_metrics.json").write_text(json.dumps(metrics))
        error_analysis.main([str(tmp_path / "model.h5")])
        assert ("custom_cnn_metrics.json records test accuracy" in capsys.readouterr().err) is is_noticed
    tried("a metric of the wrong split in metrics.json", times=1, noticed=1)


DRY_RUN = '{"title": "t", "test_accuracy": 0.1, "n_test": 3}'
ENORMOUS = '{"title": "t", "test_accuracy": 1' + 400 * "0" + ', "n_test": 10}'
DEEP = 10**5 * "["


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"title": "t", "test_accuracy": "x"}', '{"title": "other"}', DRY_RUN, ENORMOUS, DEEP]
)
def test_a_metrics_json_that_says_nothing_of_the_model_contradicts_nothing(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    assert evaluation.contradiction(tmp_path / "metrics.json", "t", 0.5, 10) == ""


def test_training_has_no_use_for_test_images_and_a_run_reads_them_once(tmp_path, eagerly, monkeypatch, tried):
    run, model, fit = start(tmp_path, "--epochs", "1")
    whole = run.dataset
    run.dataset = dataclasses.replace(whole, x_test=None, y_test=None)
    fit()  # without a test part at all
    run.dataset = whole
    reads, predict = [], saved_model.predict

    def counting(model, images, *args, **options):
        reads.append(np.shares_memory(images, whole.x_test))
        return predict(model, images, *args, **options)

    monkeypatch.setattr(saved_model, "predict", counting)
    run.finish(model)
    assert reads.count(True) == 1
    probabilities.on_test_images(saved_model.open_model(run.model_path), whole)
    assert reads.count(True) == 1, "later scripts take the stored probabilities"
    saved_model.predict(model, whole.x_test[:9])
    assert reads.count(True) == 2, "a second reading, of a part, is noticed"
    tried("the test set read a second time", times=1, noticed=1)
