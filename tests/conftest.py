"""What several test files share: a clean dtype policy, small data, and runs made once per session."""

import os
import signal
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

from pipeline import data
from pipeline.quiet import keras

PROJECT = Path(__file__).resolve().parent.parent
# A shell starts its background processes deaf to Ctrl-C; the processes that tests start must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def float32_policy():
    """The dtype policy is global to the process; a test that changes it must not reach the next one."""
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def digits():
    return data.load("digits")


@pytest.fixture(scope="session")
def shapes():
    return data.load("shapes")
