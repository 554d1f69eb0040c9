"""Files damaged at random, the same ones in every run: read as they are, or refused in one line; nothing else."""

import json
import os
import time
import warnings

import pytest
from readers import READERS, collect, metrics

import mnist_classification
from pipeline.config import parse
from pipeline.errors import UserError
from pipeline.train import identity

hypothesis = pytest.importorskip("hypothesis", reason='pip install -e ".[dev]"')
st = hypothesis.strategies
# How often each reader is tried: by make test, and by make faults.
TIMES = [60, pytest.param(1_000, marks=pytest.mark.long)]
# How long each reader is tried at least, if at all: with other files every time then.
SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))


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
    end = time.monotonic() + SECONDS

    @hypothesis.settings(max_examples=times, deadline=None, database=None, derandomize=not SECONDS)
    @hypothesis.given(content=content)
    def drive(content):
        tried.append(content)
        try:
            with warnings.catch_warnings(action="error"):  # they would stand between a script's lines
                read(content)
        except refuses as error:
            refused.append(error)
            assert "\n" not in str(error) or refuses is not UserError

    drive()
    while time.monotonic() < end:
        drive()
    return len(tried), len(refused)


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind, times, tmp_path, tried):
    reader = READERS[kind]
    path = tmp_path / reader.name

    def read(content):
        path.write_bytes(content)
        reader.read(path)

    read(reader.make())  # whole, it is read
    done, refused = fuzz(damaged(reader.make()), times, read, reader.refuses)
    assert refused and done >= 0.9 * times
    tried(f"a {kind} damaged at random", times=done, refused=refused)


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
def test_a_finished_run_with_other_metrics_is_collected_or_refused(times, tmp_path, tried):
    usual = metrics()
    path = tmp_path / READERS["metrics.json of a finished run"].name

    def read(changes):
        path.write_text(json.dumps(usual | changes))
        collect(path)

    names = st.sampled_from([*sorted(usual), "tta", "nonsense"])
    values = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(NAMES, PLAIN, max_size=2)
    done, refused = fuzz(st.dictionaries(names, values, max_size=3), times, read)
    assert 0 < refused < done
    tried("a finished run's metrics.json with values made up at random", times=done, refused=refused)


# Small files that a reader once neither read nor refused, or of which a package warned.
FOUND = [
    ("IDX file", b"\0\0\x08\x04" + 3 * b"\xff\xff\xff\xff" + 4 * b"\0"),
    ("npz file", b"\x93NUMPY\x01\0\x02\0(("),
    ("TIFF file", b"II*\0\x08\0\0\0"),
    ("result file", 10**5 * b"["),
    ("metrics.json as settings", 10**5 * b"["),
    ("metrics.json of a finished run", 10**5 * b"["),
    ("metrics.json of a finished run", json.dumps(metrics() | {"test_accuracy": []}).encode()),
]


@pytest.mark.parametrize(("kind", "content"), FOUND, ids=range(len(FOUND)))
def test_what_was_found_once_is_refused(kind, content, tmp_path):
    reader = READERS[kind]
    path = tmp_path / reader.name
    path.write_bytes(content)
    with pytest.raises(reader.refuses), warnings.catch_warnings(action="error"):
        reader.read(path)
