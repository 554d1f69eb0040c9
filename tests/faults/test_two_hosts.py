"""A run on two hosts, processes on loopback: the loss curve of one machine; either may be killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
from conftest import PROJECT
from processes import SMALL, finish, history, until

FLAGS = (*SMALL, "--limit", "250", "--epochs", "4", "--precision", "float32", "--dropout", "0")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not find_spec("jax"), reason="jax is not installed: pip install jax"),
]


def start(folder, *more):
    environment = {name: value for name, value in os.environ.items() if name != "DATA_DIR"}
    environment |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(PROJECT / "mnist_classification.py"), *FLAGS, "--output-dir", str(folder), *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def start_two(folder, *more):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    addresses = f"127.0.0.1:{port},127.0.0.1"
    return [start(folder / str(host), "--hosts", addresses, "--host", str(host), *more) for host in (0, 1)]


def largest_difference(one, other):
    return max(
        abs(float(a[name]) - float(b[name])) for a, b in zip(one, other, strict=True) for name in ("loss", "val_loss")
    )


def test_two_hosts_give_the_loss_curve_of_one_and_the_first_alone_writes(tmp_path, tried):
    assert finish(start(tmp_path / "one"))[0] == 0
    for code, _, err in map(finish, start_two(tmp_path)):
        assert code == 0, err
    difference = largest_difference(history(tmp_path / "one"), history(tmp_path / "0"))
    assert difference < 1e-3
    assert not (tmp_path / "1").exists()
    result = json.loads((tmp_path / "0" / "custom_cnn_metrics.json").read_text())
    assert result["hardware"]["devices"] == 2
    assert result["n_test"] == sum(map(sum, result["confusion_matrix"])) == 450
    tried(
        "a run on two hosts (JAX, processes on loopback) beside one on one",
        times=1,
        largest_difference_of_a_loss=float(f"{difference:.1e}"),
    )


@pytest.mark.parametrize("killed", [0, 1])
def test_a_host_that_is_killed_ends_the_other_in_one_line_and_one_machine_goes_on(tmp_path, tried, killed):
    assert finish(start(tmp_path / "one"))[0] == 0
    processes = start_two(tmp_path)
    until(processes[0], "2/4")  # the first epoch is saved
    processes[killed].send_signal(signal.SIGKILL)
    began = time.monotonic()
    code, _, err = finish(processes[1 - killed])
    seconds = time.monotonic() - began
    assert code != 0 and seconds < 60
    if killed == 1:  # beside the first host's death JAX has a message of its own, and may be quicker
        assert code == 2 and err.splitlines()[-1].startswith("error: another host has ended"), err
    finish(processes[killed])
    code, out, err = finish(start(tmp_path / "0", "--resume"))
    assert code == 0 and "resuming after epoch" in out, err
    assert largest_difference(history(tmp_path / "one"), history(tmp_path / "0")) < 1e-3
    tried("SIGKILL of one of two hosts (JAX), then --resume on one", times=1)


def test_hosts_with_other_settings_are_refused(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        addresses = f"127.0.0.1:{free.getsockname()[1]},127.0.0.1"
    first = start(tmp_path / "0", "--hosts", addresses, "--host", "0")
    other = start(tmp_path / "1", "--hosts", addresses, "--host", "1", "--seed", "9")
    code, _, err = finish(other)
    assert code == 2 and "seed was 0 and is 9" in err
    assert finish(first)[0] == 2
