"""The experiment on --start-from: its draws, its result file, and the table made of it."""

import json

import numpy as np
import pytest

import mnist_classification as mnist
from experiments import start_from
from pipeline.data import datasets
from pipeline.errors import UserError
from pipeline.models import saved_model
from pipeline.report import tables


def save(path, classes=10):
    model = mnist.build_model(mnist.Config(filters=2), classes=classes)
    names = [str(number) for number in range(classes)]
    saved_model.save(
        model, path, image_shape=(28, 28, 1), prefix="custom_cnn", dataset="mnist", class_names=names, title="Small"
    )
    return str(path)


def test_a_draw_has_the_same_number_of_each_class_and_its_seed_alone_decides(digits):
    drawn = start_from.draw(digits, 0)
    assert len(np.unique(drawn)) == 110 and set(np.bincount(digits.y_train[drawn])) == {11}
    np.testing.assert_array_equal(drawn, start_from.draw(digits, 0))
    assert set(drawn) != set(start_from.draw(digits, 1))


def test_the_validation_part_of_a_draw_has_one_image_per_class(digits, tmp_path, monkeypatch):
    """So that ten of each class are left to train on, as the table says."""
    parts = []

    def train(argv):
        config = mnist.parse(mnist.Config, argv)
        parts.append(datasets.prepare(config, mnist.SHAPE))
        (tmp_path / "custom_cnn_metrics.json").write_text("{}")

    monkeypatch.setattr(mnist, "main", train)
    monkeypatch.setattr(start_from.atomic_io, "read_json", lambda path: {})
    start_from.train(digits, 3)
    assert set(np.bincount(parts[0].y_train)) == {10} and set(np.bincount(parts[0].y_validation)) == {1}
    np.testing.assert_array_equal(parts[0].x_test, digits.x_test)


def test_its_result_has_a_row_per_start_and_becomes_the_table(tmp_path, monkeypatch, eagerly):
    monkeypatch.setattr(start_from, "RANDOM_EPOCHS", 1)
    start = save(tmp_path / "small.h5")
    assert start_from.main(["--dry-run", "--start-from", start, "--output-dir", str(tmp_path / "output")]) == 0
    result = json.loads((tmp_path / "output" / "start_from.json").read_text())
    assert result["start_from"]["file"] == "small.h5" and str(tmp_path) not in json.dumps(result)
    assert [len(row["test_accuracy"]) for row in result["rows"]] == [1, 1, 1]
    assert [row["epochs"] for row in result["rows"]] == [0, 22, 2]
    monkeypatch.chdir(tmp_path)
    assert tables.start_from().count("\n") == 4 and "random initialization" in tables.start_from()


def test_a_model_of_something_else_is_bad_input(tmp_path):
    with pytest.raises(UserError, match="no model of MNIST's digits"):
        start_from.main(["--start-from", save(tmp_path / "three.h5", 3), "--output-dir", str(tmp_path)])
