"""The readers of files of unknown origin, each with a small whole file: what is fuzzed, by chance or by coverage."""

import contextlib
import functools
import hashlib
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

import collect_results
import mnist_classification
from pipeline import atomic_io
from pipeline.config import parse
from pipeline.data import arrays, pictures, plain_pickle
from pipeline.errors import UserError
from pipeline.models import h5_scan
from pipeline.train import checkpoint, identity


@dataclass(frozen=True)
class Reader:
    """make: a whole file. name: of the file, below a folder. read: a path. refuses: what it may raise of damage."""

    make: Callable[[], bytes]
    name: str
    read: Callable[[Path], object]
    refuses: type[Exception] = UserError


def idx() -> bytes:
    return b"\x00\x00\x08\x03" + np.array([2, 3, 3], ">u4").tobytes() + bytes(range(18))


def npz() -> bytes:
    content = io.BytesIO()
    images, labels = np.zeros((4, 5, 5), np.uint8), np.arange(4)
    np.savez(content, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return content.getvalue()


def read_npz(path: Path) -> None:
    arrays.parts(arrays.read_npz(path), "it", {})


def csv() -> bytes:
    head = ",".join(["label", *(f"pixel{k}" for k in range(784))])
    return "\n".join([head, *(",".join([str(k), *["7"] * 784]) for k in range(2))]).encode()


def cifar() -> bytes:
    return pickle.dumps({b"fine_labels": [1, 2], b"filenames": ["a", "b"], "data": b"\0" * 20}, 3)


def pickled_array() -> bytes:
    return pickle.dumps({"data": np.arange(6, dtype=np.uint8).reshape(2, 3)}, 3)


def read_pickle(path: Path) -> None:
    plain_pickle.read(path.read_bytes())


def picture(kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.arange(81, dtype=np.uint8).reshape(9, 9)).save(content, kind)
    return content.getvalue()


def read_picture(path: Path) -> None:
    pictures.read(path, (8, 8, 3))


def saved_checkpoint() -> bytes:
    content = io.BytesIO()
    np.savez(content, record=np.array("{}"), weight_0=np.arange(5))
    return content.getvalue() + hashlib.sha256(content.getvalue()).digest()


def read_checkpoint(path: Path) -> None:
    with contextlib.redirect_stderr(io.StringIO()):  # it warns of what is damaged
        found = checkpoint.read(path)
    assert np.array_equal(found["weight_0"], np.arange(5)), "damaged, and not noticed"


def hdf5() -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["model_config"] = "{}"
        file.create_dataset("layers/dense/kernel", data=np.arange(6, dtype=np.float32).reshape(2, 3))
        file.create_dataset("layers/dense/bias", data=np.zeros(100), compression="gzip")
        file.attrs[h5_scan.DIGEST] = h5_scan.digest(file)
    return content.getvalue()


@functools.cache
def scanner() -> subprocess.Popen:
    """A process of scan_files.py, which ends with this one."""
    script = str(Path(__file__).with_name("scan_files.py"))
    return subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def scan(path: Path) -> None:
    process = scanner()
    process.stdin.write(f"{path}\n")
    process.stdin.flush()
    found = json.loads(process.stdout.readline())
    assert found["code"] <= 0, "the scan itself ended in an error"
    if found["said"] or found["code"]:
        raise UserError(found["said"] or "reading it ends the reader")


def settings() -> bytes:
    return json.dumps({"config": identity.recorded(mnist_classification.Config())}).encode()


def read_settings(path: Path) -> None:
    config = parse(mnist_classification.Config, ["--config", str(path)])
    for name in ("epochs", "batch_size", "seed"):
        assert type(getattr(config, name)) is int


def metrics() -> dict:
    """The metrics.json of a finished run, as the collector needs it."""
    found = {"schema": 1, "recipe": "sprint", "seed": 0, "finished": "2025-01-01", "commit": "abc"}
    config = mnist_classification.Config(**mnist_classification.RECIPES["sprint"], recipe="sprint")
    found |= {"config": identity.recorded(config), "hardware": {"processor": "one", "cores": 2}}
    found["hardware"] |= {"accelerator": "none", "bfloat16": True}
    found |= dict.fromkeys(("test_accuracy", "test_loss", "macro_f1", "validation_accuracy"), 0.5)
    return found | dict.fromkeys(("epochs", "n_train", "parameters", "wall_seconds", "training_seconds"), 9)


def collect(path: Path) -> None:
    """The results of the folder of a metrics.json."""
    path.with_name("custom_cnn_history.csv").write_text("seconds,val_accuracy,loss\n1.0,0.4,2.0\n1.0,0.5,1.5\n")
    with contextlib.redirect_stdout(io.StringIO()):  # it names what it leaves out
        collect_results.collect("custom_cnn", path.parent)


READERS = {
    "IDX file": Reader(idx, "it.idx", arrays.read_idx),
    "CSV file": Reader(csv, "it.csv", arrays.read_csv),
    "npz file": Reader(npz, "it.npz", read_npz),
    "pickle file": Reader(cifar, "it.pickle", read_pickle, ValueError),
    "pickle of an array": Reader(pickled_array, "it.pickle", read_pickle, ValueError),
    **{
        f"{kind} file": Reader(functools.partial(picture, kind), f"it.{kind.lower()}", read_picture)
        for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP")
    },
    "result file": Reader(lambda: b'{"schema": 1, "results": [1.5, null]}', "it.json", atomic_io.read_json),
    "metrics.json as settings": Reader(settings, "metrics.json", read_settings),
    "metrics.json of a finished run": Reader(
        lambda: json.dumps(metrics()).encode(), "custom_cnn_metrics.json", collect
    ),
    "HDF5 file": Reader(hdf5, "it.h5", scan),
    "checkpoint": Reader(saved_checkpoint, "checkpoint.npz", read_checkpoint),
}
