"""What happens on machines that are not at hand, played on this one: a second device, Windows, a proxy."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import PROJECT

from pipeline import atomic_io, backend
from pipeline.backend import keras
from pipeline.data import pictures
from pipeline.errors import Interrupted
from pipeline.models import saved_model

layers = keras.layers
# Weights on one of two devices, the timed call on the other, as beside a GPU.
TWO_DEVICES = """
import sys
import numpy as np
import tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
from pipeline.evaluate import evaluation
from pipeline.models import saved_model
with tf.device("CPU:1"):
    model = saved_model.load(sys.argv[1])
    model.jit_compile = True
assert all("CPU:1" in weight.value.device for weight in model.weights)
print(evaluation.milliseconds_per_sample(model, np.zeros((2, 8, 8, 1), np.uint8), batch_size=2))
"""


def small_model():
    pixels = keras.Input((8, 8, 1), name="pixels")
    x = layers.BatchNormalization()(layers.Conv2D(2, 3, name="conv")(pixels))
    return keras.Model(pixels, layers.Softmax(dtype="float32")(layers.Dense(2)(layers.Flatten()(x))), name="small")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "small.h5"
    about = {"prefix": "small", "dataset": "digits", "title": "small", "class_names": ["nought", "one"]}
    saved_model.save(small_model(), path, image_shape=(8, 8, 1), **about)
    return path


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)


def test_the_processors_time_is_measured_though_the_weights_lie_on_another_device(saved):
    command = [sys.executable, "-c", TWO_DEVICES, str(saved)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) > 0


def test_no_prediction_goes_through_xla_where_keras_would_take_it(saved, images, monkeypatch):
    monkeypatch.setattr(keras.Model, "_resolve_auto_jit_compile", lambda self: True)
    assert small_model().jit_compile, "this is what Keras decides beside a GPU"
    loaded, built = saved_model.load(saved), small_model()
    saved_model.predict(built, images)
    assert not loaded.jit_compile and not built.jit_compile


def test_float32_is_not_rounded_by_a_gpu():
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(True)  # TensorFlow's default
    backend.use_precision("float32")
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_a_folder_inside_another_repository_has_no_commit(monkeypatch):
    assert not (PROJECT / "tests" / ".git").exists()
    monkeypatch.setattr(backend, "PROJECT", PROJECT / "tests")
    assert backend.commit() == "unknown"


def test_a_file_that_another_program_has_open_for_a_moment_is_renamed_all_the_same(tmp_path, monkeypatch):
    replace, refusals = Path.replace, [PermissionError(13, "in use")] * 2

    def reluctant(self, target):
        if refusals:
            raise refusals.pop()
        return replace(self, target)

    (tmp_path / "new").write_text("new")
    monkeypatch.setattr(Path, "replace", reluctant)
    monkeypatch.setattr(atomic_io, "WAITS", (0.0, 0.0))
    atomic_io.rename(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new" and not (tmp_path / "new").exists()
    refusals += [PermissionError(13, "in use")] * 3
    with pytest.raises(PermissionError):
        atomic_io.rename(tmp_path / "old", tmp_path / "new")


def test_the_command_to_go_on_with_is_quoted_as_the_system_wants_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["a.py", "--output-dir", "my output\\demo"])
    assert """--output-dir 'my output\\demo' --resume""" in str(Interrupted(130, "now"))
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        assert """--output-dir "my output\\demo" --resume""" in str(Interrupted(130, "now"))


def test_patterns_become_the_pictures_that_they_fit(tmp_path):
    for name in ("b.png", "a.png", "c.jpg", "[a].png"):
        (tmp_path / name).touch()
    found = pictures.listed((str(tmp_path / "?.png"), str(tmp_path / "c.jpg"), str(tmp_path / "x*")))
    assert [path.name for path in found] == ["a.png", "b.png", "c.jpg", "x*"]
    assert pictures.listed((str(tmp_path / "[a].png"),)) == [tmp_path / "[a].png"], "a file of that very name"


@pytest.mark.parametrize(
    ("machine", "said", "becomes"),
    [("x86_64", None, "1"), ("AMD64", None, "1"), ("x86_64", "0", "0"), ("arm64", None, None)],
)
def test_onednn_is_asked_for_on_x86_alone_and_where_nothing_else_was_said(machine, said, becomes, monkeypatch):
    name = "TF_ENABLE_ONEDNN_OPTS"
    monkeypatch.setenv(name, said or "")
    if said is None:
        monkeypatch.delenv(name)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    backend.import_keras.__wrapped__()  # once per process otherwise
    assert os.environ.get(name) == becomes
