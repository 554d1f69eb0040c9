"""The backend: devices, GPU, and what happens where Keras cannot start."""

import os
import subprocess
import sys

import pytest
from conftest import PROJECT
from tiny_run import start

from pipeline import backend
from pipeline.errors import UserError

FOUR = [f"cpu:{number}" for number in range(4)]


@pytest.fixture
def four_devices(monkeypatch):
    monkeypatch.setattr(backend.keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(backend.keras.distribution, "list_devices", lambda: FOUR)
    monkeypatch.setattr(backend.keras.distribution, "DataParallel", lambda **given: given["devices"])
    monkeypatch.setattr(backend.keras.distribution, "set_distribution", lambda _: None)


@pytest.mark.parametrize(
    ("asked", "batch", "says"),
    [("0", 32, "a number from 1 on"), ("5", 40, "there are 4"), ("all", 30, "30 cannot be divided among 4 devices")],
)
def test_a_number_that_cannot_be_had_is_refused(four_devices, asked, batch, says):
    with pytest.raises(UserError, match=says):
        backend.use_devices(asked, batch)


@pytest.mark.parametrize(("asked", "number"), [("all", 4), ("2", 2), ("1", 1)])
def test_a_batch_is_divided_evenly(four_devices, asked, number):
    assert backend.use_devices(asked, 32) == number


def test_a_batch_larger_than_the_training_images_is_all_of_them(four_devices, tmp_path):
    """Four devices could share 256 images, but not the 126 that there are."""
    with pytest.raises(UserError, match="126 cannot be divided among 4 devices"):
        start(tmp_path, "--limit", "126", "--batch-size", "256", "--devices", "4")


START = "from pipeline import errors; from pipeline.backend import keras; "
START += "raise SystemExit(errors.exit_code(lambda: print(keras.config.image_data_format())))"


def start_keras(tmp_path, code=START, **environment):
    """Keras in a process of its own, with an empty home of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KERAS")}
    environment = {**inherited, "KERAS_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT), **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("backend", ["tf", "torch"])
def test_a_backend_that_is_not_there_is_one_line_that_names_the_variable(tmp_path, backend):
    if backend == "torch":
        (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")
    places = f"{tmp_path}{os.pathsep}{PROJECT}"
    done = start_keras(tmp_path, KERAS_BACKEND=backend, PYTHONPATH=places)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "KERAS_BACKEND" in done.stderr and backend in done.stderr


def test_a_keras_json_of_long_ago_is_no_traceback_and_its_image_layout_does_not_count(tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "theano", "image_data_format": "channels_first"}')
    done = start_keras(tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "KERAS_BACKEND" in done.stderr
    done = start_keras(tmp_path, KERAS_BACKEND="tensorflow")
    assert (done.returncode, done.stdout) == (0, "channels_last\n")


def test_a_gpu_is_the_one_that_the_backend_uses_and_not_the_first_of_the_machine(monkeypatch):
    import tensorflow as tf

    details = {"second": {"device_name": "Second", "compute_capability": (7, 5)}}
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["second"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
    assert backend.describe()["accelerator"] == "Second" and not backend.has_bfloat16()
    details["second"]["compute_capability"] = (8, 9)
    assert backend.has_bfloat16()
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    assert backend.describe()["accelerator"] == "none"


def test_help_and_a_refused_flag_need_no_keras(tmp_path):
    """Its import takes seconds."""
    heavy = ["keras", "tensorflow", "sklearn", "matplotlib", "pandas", "scipy", "h5py"]
    scripts = ["cifar100_cnn", "mnist_classification", "resnet50_transfer_learning", "gradcam", "predict"]
    scripts += ["model_comparison", "export_model", "error_analysis", "collect_results", "data_overview"]
    scripts += ["train_all", "sweep"]
    code = (
        "import importlib, sys\n"
        "from pipeline import errors\n"
        f"for name in {scripts}:\n"
        "    script = importlib.import_module(name)\n"
        "    try: script.main(['--help'])\n"
        "    except SystemExit: pass\n"
        "    assert errors.exit_code(lambda: script.main(['--no-such-flag'])) == 2\n"
        f"print('imported:', *sorted(set({heavy}) & set(sys.modules)))"
    )
    done = start_keras(tmp_path, code)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "imported:"
    assert len(done.stderr.splitlines()) == len(scripts)


def test_keras_starts_without_what_nothing_here_calls_and_leaves_it_importable(tmp_path):
    code = (
        "import sys; from pipeline import backend; backend.import_keras(); "
        "print([name for name in backend.OPTIONAL if name in sys.modules]); "
        "import sklearn, matplotlib, pandas; print(sklearn.__name__)"
    )
    done = start_keras(tmp_path, code, KERAS_BACKEND="tensorflow")
    assert (done.returncode, done.stdout.splitlines()) == (0, ["[]", "sklearn"])
