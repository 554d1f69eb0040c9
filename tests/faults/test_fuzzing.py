"""Files damaged at random, the same ones in every run: read as they are, or refused in one line; nothing else."""

import hashlib
import io
import json
import pickle
from functools import partial

import numpy as np
import pytest
from PIL import Image

import mnist_classification
from pipeline import atomic_io
from pipeline.config import parse
from pipeline.data import arrays, pictures, plain_pickle
from pipeline.errors import UserError
from pipeline.train import checkpoint, identity

hypothesis = pytest.importorskip("hypothesis", reason='pip install -e ".[dev]"')
st = hypothesis.strategies
# How often each reader is tried: by make test, and by make faults.
TIMES = [60, pytest.param(3_000, marks=pytest.mark.long)]


def damaged(whole: bytes):
    """A whole file with bytes replaced, put in or left out; or cut short; or something else altogether."""
    place = st.integers(0, len(whole))
    change = st.tuples(place, st.integers(0, 8), st.binary(max_size=8))

    def apply(changes, end):
        content = bytearray(whole)
        for start, count, new in changes:
            content[start : start + count] = new
        return bytes(content[:end])

    changes = st.lists(change, max_size=4)
    return st.one_of(st.builds(apply, changes, st.none() | place), st.binary(max_size=200))


def fuzz(content, times, read, refuses=UserError):
    """Read many contents; how many were read, and how many of them refused."""
    tried, refused = [], []

    @hypothesis.settings(max_examples=times, deadline=None, database=None, derandomize=True)
    @hypothesis.given(content=content)
    def drive(content):
        tried.append(content)
        try:
            read(content)
        except refuses as error:
            refused.append(error)
            assert "\n" not in str(error) or refuses is not UserError

    drive()
    return len(tried), len(refused)


def idx() -> bytes:
    return b"\x00\x00\x08\x03" + np.array([2, 3, 3], ">u4").tobytes() + bytes(range(18))


def npz(**more) -> bytes:
    content = io.BytesIO()
    images, labels = np.zeros((4, 5, 5), np.uint8), np.arange(4)
    np.savez(content, **{"x_train": images, "y_train": labels, "x_test": images, "y_test": labels, **more})
    return content.getvalue()


def csv() -> bytes:
    head = ",".join(["label", *(f"pixel{k}" for k in range(784))])
    return "\n".join([head, *(",".join([str(k), *["7"] * 784]) for k in range(2))]).encode()


def cifar() -> bytes:
    return pickle.dumps({b"fine_labels": [1, 2], b"filenames": ["a", "b"], "data": b"\0" * 20}, 3)


def picture(kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.arange(81, dtype=np.uint8).reshape(9, 9)).save(content, kind)
    return content.getvalue()


READERS = {
    "IDX": (idx, ".idx", arrays.read_idx, UserError),
    "CSV": (csv, ".csv", arrays.read_csv, UserError),
    "npz": (npz, ".npz", lambda path: arrays.parts(arrays.read_npz(path), "it", {}), UserError),
    "pickle": (cifar, ".pickle", lambda path: plain_pickle.read(path.read_bytes()), ValueError),
    **{
        kind: (partial(picture, kind), f".{kind.lower()}", lambda path: pictures.read(path, (8, 8, 3)), UserError)
        for kind in ("PNG", "JPEG", "GIF", "TIFF")
    },
    "result": (lambda: b'{"schema": 1, "results": [1.5, null]}', ".json", atomic_io.read_json, UserError),
}


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind, times, tmp_path, tried):
    make, suffix, read, refuses = READERS[kind]
    path = tmp_path / f"file{suffix}"

    def from_file(content):
        path.write_bytes(content)
        read(path)

    path.write_bytes(make())
    read(path)  # whole, it is read
    done, refused = fuzz(damaged(make()), times, from_file, refuses)
    assert refused and done >= 0.9 * times
    tried(f"a {kind} file damaged at random", times=done, refused=refused)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just("digits") | st.just([1])
NAMES = st.sampled_from([*sorted(identity.recorded(mnist_classification.Config())), "nonsense"])


@pytest.mark.parametrize("times", TIMES)
def test_a_metrics_json_with_other_settings_is_a_config_or_refused(times, tmp_path, tried):
    path = tmp_path / "metrics.json"
    usual = identity.recorded(mnist_classification.Config())

    def read(changes):
        path.write_text(json.dumps({"config": {**usual, **changes}}))
        config = parse(mnist_classification.Config, ["--config", str(path)])
        for name in ("epochs", "batch_size", "seed"):
            assert type(getattr(config, name)) is int

    read({})
    done, refused = fuzz(st.dictionaries(NAMES, PLAIN, max_size=3), times, read)
    assert 0 < refused < done
    tried("a metrics.json with settings made up at random", times=done, refused=refused)


WRONG = ({"epochs": "many"}, {"epochs": True}, {"recipe": "x"}, {"limit": []}, {"dataset": 3})


@pytest.mark.parametrize("changes", WRONG)
def test_settings_of_another_type_are_refused(changes, tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"config": changes}))
    with pytest.raises(UserError, match=next(iter(changes))):
        parse(mnist_classification.Config, ["--config", str(path)])


@pytest.mark.parametrize("times", TIMES)
def test_a_damaged_checkpoint_is_whole_or_refused(times, tmp_path, capsys, tried):
    path = tmp_path / "checkpoint.npz"
    content = io.BytesIO()
    np.savez(content, record=np.array("{}"), weight_0=np.arange(5))
    whole = content.getvalue() + hashlib.sha256(content.getvalue()).digest()

    def read(content):
        path.write_bytes(content)
        assert np.array_equal(checkpoint.read(path)["weight_0"], np.arange(5))

    read(whole)
    done, refused = fuzz(damaged(whole), times, read)
    capsys.readouterr()
    assert refused
    tried("a checkpoint damaged at random", times=done, refused=refused)
