"""What only real data can show; skipped where $DATA_DIR has none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT

import resnet50_transfer_learning as resnet
from pipeline.data import datasets
from pipeline.data.cifar100_labels import CIFAR100_FINE
from pipeline.models import saved_model
from pipeline.train import resnet_weights

FOLDER = Path(os.environ.get("DATA_DIR") or "no such folder")
WEIGHTS = "resnet50_imagenet_conv1_to_conv4.h5"
needs = {
    name: pytest.mark.skipif(not (FOLDER / name).is_file(), reason=f"$DATA_DIR has no {name}")
    for name in ("mnist.npz", "cifar-100-binary.tar.gz", WEIGHTS)
}


def train(script, flags, folder):
    """A script on real data, in a process of its own; it must end well and quietly."""
    command = [sys.executable, str(PROJECT / script), "--data-dir", str(FOLDER.resolve()), *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@needs["mnist.npz"]
def test_a_short_run_on_mnist_learns_digits(tmp_path):
    flags = ["--recipe", "sprint", "--limit", "4000", "--batch-size", "64", "--output-dir", str(tmp_path)]
    train("mnist_classification.py", flags, tmp_path)
    metrics = json.loads((tmp_path / "custom_cnn_metrics.json").read_text())
    assert (metrics["n_train"], metrics["n_validation"], metrics["n_test"]) == (4000, 5000, 10000)
    assert metrics["test_accuracy"] >= 0.9
    assert len(metrics["files"]["mnist.npz"]) == len(metrics["data_sha256"]) == 64


@needs["mnist.npz"]
def test_mnist_is_loaded_whole_and_its_labels_belong_to_its_images():
    mnist = datasets.load("mnist", str(FOLDER))
    assert mnist.x_train.shape == (60000, 28, 28, 1) and mnist.x_test.shape == (10000, 28, 28, 1)
    assert list(np.bincount(mnist.y_test)) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    means = np.stack([mnist.x_train[mnist.y_train == digit].mean(axis=0).ravel() for digit in range(10)])
    distances = ((mnist.x_test[:1000].reshape(1000, 1, -1) - means) ** 2).sum(axis=-1)
    assert (distances.argmin(axis=1) == mnist.y_test[:1000]).mean() > 0.7


@needs["cifar-100-binary.tar.gz"]
def test_cifar_100_has_its_images_in_twenty_classes_of_equal_size():
    cifar = datasets.load("cifar100", str(FOLDER))
    assert cifar.x_train.shape == (50000, 32, 32, 3) and cifar.x_test.shape == (10000, 32, 32, 3)
    assert cifar.x_train.dtype == np.uint8 and len(cifar.class_names) == 20
    assert set(np.bincount(cifar.y_train)) == {2500} and set(np.bincount(cifar.y_test)) == {500}
    # Neighbouring pixels are alike only if the planes and rows are where they belong.
    few = cifar.x_train[:1000].astype(float)
    neighbours = [np.corrcoef(few[:, :, 1:].ravel(), few[:, :, :-1].ravel())[0, 1]]
    neighbours.append(np.corrcoef(few[:, 1:].ravel(), few[:, :-1].ravel())[0, 1])
    assert min(neighbours) > 0.9


@needs["cifar-100-binary.tar.gz"]
def test_cifar_100s_fine_labels_lie_five_in_each_superclass():
    cifar = datasets.load("cifar100", str(FOLDER))
    table = np.array(cifar.superclasses)
    np.testing.assert_array_equal(table[cifar.fine_train], cifar.y_train)
    np.testing.assert_array_equal(table[cifar.fine_test], cifar.y_test)
    named = {cifar.class_names[table[CIFAR100_FINE.index(fine)]] for fine in ("maple tree", "oak tree", "palm tree")}
    assert set(np.bincount(table)) == {5} and named == {"trees"}
    assert cifar.class_names[table[CIFAR100_FINE.index("aquarium fish")]] == "fish"


@needs["cifar-100-binary.tar.gz"]
def test_the_baselines_best_model_gives_superclasses_where_it_learned_fine_labels(tmp_path):
    flags = ["--recipe", "baseline", "--labels", "fine", "--dry-run", "--output-dir", str(tmp_path)]
    train("cifar100_cnn.py", flags, tmp_path)
    for name in ("cifar100_cnn_scratch.h5", "best_cifar100_cnn_scratch.h5"):
        assert saved_model.load(tmp_path / name).output_shape == (None, 20), name


@needs[WEIGHTS]
def test_the_weights_of_resnet50s_first_stages_load_by_name():
    loaded = resnet_weights.load_weights(resnet.build_model(resnet.Config()), FOLDER / WEIGHTS)
    assert resnet_weights.stages(loaded) == "conv1-conv4" and len(loaded["loaded"]) == 86
