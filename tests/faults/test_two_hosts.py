"""A run on two hosts, processes on loopback or in network namespaces of their own: the loss curve of one machine."""

import contextlib
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
from processes import JAX, finish, history, is_root, start_on_jax, until

from pipeline.train import meeting

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not find_spec("jax"), reason="jax is not installed: pip install jax"),
]


def on_loopback():
    """The addresses of two hosts on this machine, the first with a port that is free."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]},127.0.0.1"


def start_two(folder, *more):
    addresses = on_loopback()
    return [start_on_jax(folder / str(host), "--hosts", addresses, "--host", str(host), *more) for host in (0, 1)]


def ip(words):
    return subprocess.run(["ip", *words.split()], check=True, capture_output=True)


@pytest.fixture
def namespaces():
    """The names of two network namespaces, 10.99.0.1 and 10.99.0.2, joined by a cable; this machine is in neither."""
    names = [f"host{host}-{os.getpid()}" for host in (0, 1)]
    with contextlib.ExitStack() as stack:
        try:
            for name in names:
                ip(f"netns add {name}")
                stack.callback(ip, f"netns delete {name}")
            ip(f"link add eth1 netns {names[0]} type veth peer name eth1 netns {names[1]}")
            for host, name in enumerate(names, 1):
                ip(f"-n {name} address add 10.99.0.{host}/24 dev eth1")
                for device in ("lo", "eth1"):
                    ip(f"-n {name} link set {device} up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"network namespaces cannot be made here ({getattr(error, 'stderr', None) or error})")
        yield names


def largest_difference(one, other):
    return max(
        abs(float(a[name]) - float(b[name])) for a, b in zip(one, other, strict=True) for name in ("loss", "val_loss")
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The history of the run on one host."""
    folder = tmp_path_factory.mktemp("alone")
    code, _, err = finish(start_on_jax(folder))
    assert code == 0, err
    return history(folder)


@pytest.mark.skipif(not is_root(), reason="network namespaces need root")
def test_two_hosts_give_the_loss_curve_of_one_and_the_first_alone_writes(tmp_path, tried, alone, namespaces):
    hosts = []
    for host, name in enumerate(namespaces):
        flags = ("--hosts", "10.99.0.1,10.99.0.2", "--host", str(host))
        hosts.append(start_on_jax(tmp_path / str(host), *flags, prefix=("ip", "netns", "exec", name)))
    for code, _, err in map(finish, hosts):
        assert code == 0, err
    difference = largest_difference(alone, history(tmp_path / "0"))
    assert difference < 1e-3
    assert not (tmp_path / "1").exists()
    result = json.loads((tmp_path / "0" / "custom_cnn_metrics.json").read_text())
    assert result["hardware"]["devices"] == 2
    assert result["n_test"] == sum(map(sum, result["confusion_matrix"])) == 450
    tried(
        "a run on two hosts (JAX, network namespaces joined by a veth pair) beside one on one",
        times=1,
        largest_difference_of_a_loss=float(f"{difference:.1e}"),
    )


def test_two_hosts_of_a_schedulers_environment_give_the_loss_curve_of_one(tmp_path, tried, alone):
    """The first has JAX' variables and knows no other host, the second has Keras'."""
    addresses = on_loopback()
    values = ((addresses.split(",")[0], "2", "0"), (addresses, "2", "1"))
    hosts = []
    for names, given in zip(meeting.VARIABLES, values, strict=True):
        variables = dict(zip(names, given, strict=True))
        hosts.append(start_on_jax(tmp_path / given[2], "--devices", "all", environment=variables))
    for code, _, err in map(finish, hosts):
        assert code == 0, err
    assert largest_difference(alone, history(tmp_path / "0")) < 1e-3
    assert not (tmp_path / "1").exists()
    tried("a run on two hosts (JAX) that environment variables name", times=1)


MEETING = """
import sys, time
from pipeline import errors
from pipeline.train import hosts, meeting

def main():
    joined = hosts.join(meeting.from_flags("10.99.0.1,10.99.0.2", int(sys.argv[1])))
    with joined.all_there():
        while True:
            print("host 0 says", joined.share({"host": joined.index}, [], None)["host"], flush=True)
            time.sleep(0.5)

sys.exit(errors.exit_code(main))
"""


@pytest.mark.skipif(not is_root(), reason="network namespaces need root")
@pytest.mark.parametrize("fate", ["killed", "unplugged"])
def test_machines_whose_name_points_to_loopback_meet_and_miss_one_that_goes(tried, namespaces, fate):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = []
    for host, name in enumerate(namespaces):
        command = ["ip", "netns", "exec", name, sys.executable, "-c", MEETING, str(host)]
        processes.append(subprocess.Popen(command, cwd=PROJECT, env=os.environ | JAX, **pipes))
    for process in processes:
        until(process, "host 0 says 0")
    began = time.monotonic()
    if fate == "killed":
        processes[1].kill()
    else:
        ip(f"-n {namespaces[1]} link set eth1 down")
    code, _, err = finish(processes[0])
    seconds = time.monotonic() - began
    assert code != 0 and seconds < 60
    if fate == "killed":  # else JAX may have a message of its own
        assert code == 2 and err.splitlines()[-1].startswith("error: another host has ended"), err
    processes[1].kill()
    processes[1].communicate()
    tried(f"one of two hosts (JAX, network namespaces) is {fate}", times=1, seconds=round(seconds, 1))


@pytest.mark.parametrize("killed", [0, 1])
def test_a_host_that_is_killed_ends_the_other_in_one_line_and_the_run_goes_on(tmp_path, tried, alone, killed):
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
    if killed == 1:
        going_on, number = [start_on_jax(tmp_path / "0", "--resume")], 1
    else:
        going_on, number = start_two(tmp_path, "--resume"), 2
    for code, out, err in map(finish, going_on):
        assert code == 0 and "resuming after epoch" in out, err
    assert largest_difference(alone, history(tmp_path / "0")) < 1e-3
    tried(f"SIGKILL of host {killed} of two (JAX), then --resume on {number}", times=1)


def test_a_run_of_one_machine_goes_on_with_two(tmp_path, tried, alone):
    process = start_on_jax(tmp_path / "0")
    until(process, "2/4")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    for code, out, err in map(finish, start_two(tmp_path, "--resume")):
        assert code == 0 and "resuming after epoch" in out, err
    assert largest_difference(alone, history(tmp_path / "0")) < 1e-3
    assert not (tmp_path / "1").exists()
    tried("SIGTERM of a run on one machine (JAX), then --resume on two hosts", times=1)


def test_hosts_with_other_settings_are_refused(tmp_path):
    addresses = on_loopback()
    first = start_on_jax(tmp_path / "0", "--hosts", addresses, "--host", "0")
    other = start_on_jax(tmp_path / "1", "--hosts", addresses, "--host", "1", "--seed", "9")
    code, _, err = finish(other)
    assert code == 2 and "seed was 0 and is 9" in err
    code, _, err = finish(first)
    assert code == 2 and "host 1 was started with other settings" in err
