"""What several test files share: a clean dtype policy, small data, and runs made once per session."""

import json
import os
import signal
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import h5py
import numpy as np
import page_folder
import pytest
from page_in_browser import bars, browser, collected, open_tab, page, says  # noqa: F401, fixtures

from pipeline import backend
from pipeline.backend import keras
from pipeline.data import datasets

PROJECT = Path(__file__).resolve().parent.parent
# A shell starts its background processes deaf to Ctrl-C; the processes that tests start must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def float32_policy():
    """The dtype policy is global to the process; a test that changes it must not reach the next one."""
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def pytests_own_sigterm():
    """errors.exit_code installs a handler; put pytest's back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def eagerly():
    """No graphs: a few steps of a network take less time than to trace it."""
    tf = pytest.importorskip("tensorflow")
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def one_block_a_stage(monkeypatch):
    """ResNet50 with one residual block in each stage instead of three to six: a quarter of the layers."""
    from keras.src.applications import resnet as keras_resnet

    def stack(x):
        for stage, filters in enumerate((64, 128, 256, 512), 2):
            stride = 1 if stage == 2 else 2
            x = keras_resnet.stack_residual_blocks_v1(x, filters, 1, stride1=stride, name=f"conv{stage}")
        return x

    shallow = partial(keras_resnet.ResNet, stack, False, True)
    monkeypatch.setattr(keras.applications, "ResNet50", shallow)


@pytest.fixture(scope="session")
def digits():
    return datasets.load("digits")


@pytest.fixture(scope="session")
def digit(digits):
    """A three, lopsided, white on black, (28, 28) uint8, with a black edge."""
    image = digits.x_test[digits.y_test == 3][0][..., 0].copy()
    image[[0, -1]] = image[:, [0, -1]] = 0
    return image


@pytest.fixture(scope="session")
def synthetic():
    return datasets.load("synthetic")


@pytest.fixture(scope="session")
def folder(digits, tmp_path_factory):
    return page_folder.fill(tmp_path_factory.mktemp("output"), digits)


@pytest.fixture(scope="session")
def pictures(digits, tmp_path_factory):
    return page_folder.twenty_digits(tmp_path_factory.mktemp("pictures"), digits)


@pytest.fixture(scope="session")
def bad_pictures(tmp_path_factory):
    return page_folder.bad_files(tmp_path_factory.mktemp("bad"))


def write_weights(path, weights, group="/", compression=None):
    """A weights file in the legacy layout of keras.applications: {layer: {weight: array}}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        top = file.require_group(group)
        top.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, arrays in weights.items():
            of_layer = top.create_group(layer)
            of_layer.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in arrays]
            for name, array in arrays.items():
                of_layer.create_dataset(f"{layer}/{name}:0", data=array, compression=compression)
    return path


def batch_norm(n, value=0.5):
    return {name: np.full(n, value) for name in ("gamma", "beta", "moving_mean", "moving_variance")}


KERNEL = np.random.default_rng(0).normal(0, 0.1, (7, 7, 3, 64))
STEM = {"conv1_conv": {"kernel": KERNEL, "bias": np.full(64, 2.0)}, "conv1_bn": batch_norm(64)}


def pytest_addoption(parser):
    parser.addoption(
        "--record",
        metavar="FILE",
        help="write what tests/faults tried, and what came of it, by test file, as JSON",
    )


def pytest_configure(config):
    path = config.getoption("--record")
    if path and not hasattr(config, "workerinput"):  # of several processes the one that hears of all tests
        config.pluginmanager.register(Record(Path(path)))


@pytest.fixture
def tried(request):
    """For tests/faults: note what was done, how often, and counts of what came of it, once all is asserted."""

    def note(what, **counts):
        request.node.user_properties.append(("tried", json.dumps({"what": what, "counts": counts})))

    return note


class Record:
    """The file of --record: what was tried, failed tests, reasons for skipped ones and seconds, by test file."""

    def __init__(self, path):
        self.path, self.parts, self.began = path, {}, time.monotonic()

    def pytest_runtest_logreport(self, report):
        empty = {"tried": [], "failed": 0, "skipped": [], "seconds": 0.0}
        part = self.parts.setdefault(Path(report.location[0]).name, empty)
        part["seconds"] = round(part["seconds"] + report.duration, 1)
        part["failed"] += report.failed
        if report.skipped and isinstance(report.longrepr, tuple | list):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            part["skipped"] = sorted({*part["skipped"], reason})
        if report.when == "teardown":
            part["tried"] += [json.loads(entry) for name, entry in report.user_properties if name == "tried"]

    def pytest_sessionfinish(self):
        record = {"schema": 3, "wall_seconds": round(time.monotonic() - self.began, 1), "parts": {}}
        if self.path.exists():  # the parts that did not run now, and the whole, keep the record of when they did
            record = json.loads(self.path.read_text(encoding="utf-8"))
        made = {name: part | backend.provenance() for name, part in self.parts.items()}
        record["parts"] = dict(sorted({**record["parts"], **made}.items()))
        self.path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
