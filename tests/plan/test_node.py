"""What a node does with a task, without Ray: its calls are made at once, in this process."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import PROJECT

from pipeline.errors import UserError
from plan import archives, cluster, node

STUB = str(Path(__file__).with_name("stub.py"))


class Called:
    """A handle as Ray's: .method.remote(...) calls at once, and is noted; its answer is a future's."""

    def __init__(self, actor):
        self.actor, self.calls = actor, []

    def __getattr__(self, name):
        def remote(*arguments):
            self.calls.append(name)
            future = Future()
            try:
                future.set_result(getattr(self.actor, name)(*arguments))
            except Exception as error:
                future.set_exception(error)
            return SimpleNamespace(future=lambda: future)

        return SimpleNamespace(remote=remote)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Runs the stub as a node would: stop() says of the coordinator, at each report, whether the plan is stopped."""
    monkeypatch.chdir(PROJECT)
    flag = f"--gate={tmp_path / 'gate'}"

    def run(stop, storage=None, keep=None):
        coordinator = cluster.Coordinator({"one": (str(tmp_path / "one"), "*")}, str(tmp_path / "logs"))
        coordinator.keep = keep or coordinator.keep
        report = coordinator.report

        def stopping(*arguments):
            if stop():
                coordinator.stop()
            return report(*arguments)

        coordinator.report = stopping
        handle = Called(coordinator)
        where = {"shipped_data": False, "data_dir": None, "storage": str(storage) if storage else None, "plan": "plan"}
        code, last = node.run(name="one", command=[STUB, flag], files="*", coordinator=handle, **where)
        return code, last, handle.calls, coordinator

    return run


def epoch_of(folder):
    path = folder / "stub_checkpoint.npz"
    return path.read_text() if path.exists() else None


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM ends a process at once there")
@pytest.mark.parametrize("kind", ["none", "folder", "address"])
def test_a_task_that_is_stopped_saves_and_goes_on_elsewhere(start, tmp_path, kind):
    kept, shared = tmp_path / "one", tmp_path / "shared"
    storage = {"none": None, "folder": shared, "address": shared.as_uri()}[kind]
    if kind == "address":
        pytest.importorskip("pyarrow")

    def epoch():
        if kind == "none":
            return epoch_of(kept)
        if kind == "folder":
            return epoch_of(shared / "plan" / "one")
        packed = archives.Archives(storage, "plan").read("one")
        if packed:
            cluster.unpack(packed, tmp_path / "seen", "*")
        return epoch_of(tmp_path / "seen")

    code, last, calls, coordinator = start(lambda: epoch() == "2", storage)
    assert (code, last) == (143, "resuming after epoch 0") and epoch_of(kept) == "2"
    assert coordinator.state() == {} and (calls.count("keep") == 1) is (storage is not None)
    assert not list(shared.glob("plan/*")), "it would be older than what a run without storage makes of it"
    (tmp_path / "gate").touch()
    code, _, calls, _ = start(lambda: False, storage)
    assert code == 0 and {path.name for path in kept.iterdir()} == {"stub_model.h5", "stub_metrics.json"}
    log = (tmp_path / "logs" / "one.log").read_text().splitlines()
    assert log == ["resuming after epoch 0", "resuming after epoch 2"]
    assert not list(shared.glob("plan/*"))


@pytest.mark.parametrize("kind", ["folder", "address"])
@pytest.mark.parametrize("local", [1, 3])
def test_a_task_goes_on_from_the_checkpoint_that_is_further(start, tmp_path, kind, local):
    """The driver died, so that the storage has two epochs; one or three were done by the driver's machine alone."""
    shared = tmp_path / "shared"
    for folder, epochs in ((tmp_path / "one", local), (shared / "plan" / "one", 2)):
        folder.mkdir(parents=True)
        (folder / "stub_checkpoint.npz").write_text(str(epochs))
        (folder / "stub_history.csv").write_text("epoch\n" + "".join(f"{epoch}\n" for epoch in range(epochs)))
    storage = shared
    if kind == "address":
        pytest.importorskip("pyarrow")
        storage = shared.as_uri()
        archives.Archives(storage, "plan").write("one", cluster.pack(shared / "plan" / "one", "*"))
    (tmp_path / "gate").touch()
    code, last, _, _ = start(lambda: False, storage)
    assert (code, last) == (0, f"resuming after epoch {max(local, 2)}")


def test_results_that_cannot_be_brought_back_stay(start, tmp_path):
    def keep(*_):
        raise UserError("cannot write (No space left on device)")

    (tmp_path / "gate").touch()
    with pytest.raises(UserError, match=r"No space left on device.*they are on") as raised:
        start(lambda: False, keep=keep)
    folder = Path(str(raised.value).split(" in ")[-1])
    assert {path.name for path in folder.iterdir()} == {"stub_model.h5", "stub_metrics.json"}
    shutil.rmtree(folder)


def test_a_checkpoint_that_cannot_be_sent_ends_no_run(start, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    log = tmp_path / "logs" / "one.log"

    def write(*_):
        raise OSError("no network")

    def stop():
        if log.exists() and "no network" in log.read_text():
            (tmp_path / "gate").touch()
        return False

    monkeypatch.setattr(archives.Archives, "write", write)
    code, _, _, _ = start(stop, (tmp_path / "shared").as_uri())
    assert code == 0 and (tmp_path / "one" / "stub_model.h5").exists()
    assert "warning: the checkpoint is on this machine alone (OSError: no network)" in log.read_text().splitlines()


@pytest.mark.parametrize("full", [False, True])
def test_a_trial_is_done_when_its_files_are_back(tmp_path, monkeypatch, full):
    ray = pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[cluster]"')
    pytest.importorskip("pyarrow")
    from plan import search

    def keep(*_):
        raise UserError("cannot write (No space left on device)")

    coordinator = cluster.Coordinator({"one": (str(tmp_path / "one"), "*")}, str(tmp_path / "logs"))
    coordinator.keep = keep if full else coordinator.keep
    monkeypatch.setattr(ray, "get", lambda value: value)
    monkeypatch.setattr(ray, "get_actor", lambda name: Called(coordinator))
    monkeypatch.chdir(PROJECT)
    job = {"name": "one", "command": [STUB.replace("stub", "trial_stub"), "--accuracy=0.8", "--gate="], "files": "*"}
    where = {"shipped_data": False, "data_dir": None, "storage": None, "plan": "plan"}
    trial = search.Trial({"trial": {"job": {**job, **where}}})
    steps = [trial.step()]
    while "done" not in steps[-1]:
        steps.append(trial.step())
    assert len(steps) == 10 and {step[search.ACCURACY] for step in steps} == {0.8}
    assert bool(steps[-1]["failure"]) is full and (tmp_path / "one" / "stub_model.h5").exists() is not full
    trial.cleanup()
    assert trial.job.folder.exists() is full
    shutil.rmtree(trial.job.folder, ignore_errors=True)


def test_a_task_of_a_stopped_plan_does_not_begin(start, tmp_path):
    coordinator = cluster.Coordinator({"one": (str(tmp_path), "*")}, str(tmp_path))
    coordinator.stop()
    where = {"shipped_data": False, "data_dir": None, "storage": None, "plan": "plan"}
    code, _ = node.run(name="one", command=[STUB], files="*", coordinator=Called(coordinator), **where)
    assert code == 143


@pytest.mark.skipif(not find_spec("ray"), reason='Ray is not installed: pip install -e ".[cluster]"')
def test_a_host_that_is_not_the_first_sends_its_log_alone_and_is_not_ended_by_a_stopped_plan(tmp_path):
    from plan import hosts

    coordinator = cluster.Coordinator({"one": (str(tmp_path / "one"), "*")}, str(tmp_path / "logs"))
    coordinator.stop()
    log, handle = tmp_path / "logs" / "one-host1.log", Called(coordinator)
    job = {"name": "one", "command": [STUB, f"--gate={log}"], "files": "*"}  # it ends after its log was sent
    job |= {"shipped_data": False, "data_dir": None, "storage": str(tmp_path / "shared"), "plan": "plan"}
    code, _ = node.follow(coordinator=handle, **hosts.host_of(job, "10.0.0.1:9000", 2, 1))
    assert code == 0 and set(handle.calls) == {"report", "end"}
    assert log.read_text() == "resuming after epoch 0\n"
    assert not (tmp_path / "one").exists() and not (tmp_path / "shared").exists()


def test_the_hosts_of_a_run_find_each_other_by_variables():
    pytest.importorskip("ray", reason='Ray is not installed: pip install -e ".[cluster]"')
    from pipeline.train import meeting
    from plan import hosts

    job = {"name": "one", "command": ["cifar100_cnn.py", "--resume"], "storage": "s3://bucket"}
    first, second = (hosts.host_of(job, "10.0.0.1:9000", 2, place) for place in (0, 1))
    assert (first["name"], first["storage"], second["name"]) == ("one", "s3://bucket", "one-host1")
    assert first["command"] == second["command"] == ["cifar100_cnn.py", "--resume", "--devices=all"]
    for place, host in enumerate((first, second)):
        found = meeting.from_environment(host["variables"])
        assert (found.first, found.number, found.index) == ("10.0.0.1:9000", 2, place)


def test_data_are_looked_for_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", "of this machine")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert "DATA_DIR" not in node.environment(shipped_data=True, data_dir=None)
    assert node.environment(shipped_data=False, data_dir=str(tmp_path))["DATA_DIR"] == str(tmp_path)
    assert node.environment(shipped_data=False, data_dir="not here")["DATA_DIR"] == "of this machine"
    assert node.environment(shipped_data=True, data_dir=None)["TF_NUM_INTRAOP_THREADS"] == "2"


@pytest.mark.skipif(os.name == "nt", reason="a process keeps its parent there")
def test_a_script_ends_with_the_worker_that_started_it(tmp_path):
    """The worker is killed, as by a raylet, and can end nothing any more."""
    worker = textwrap.dedent(f"""
        import subprocess, sys, time
        command = [sys.executable, "-m", "plan.watched", {STUB!r}, "--gate=never", "--output-dir", {str(tmp_path)!r}]
        script = subprocess.Popen(command)
        print(script.pid, flush=True)
        script.wait()
        """)
    process = subprocess.Popen([sys.executable, "-c", worker], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    lines = sorted(process.stdout.readline() for _ in range(2))  # of the worker and of its script, in any order
    script = int(lines[0])
    assert lines[1].startswith("resuming")
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 120
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(script, 0)
            time.sleep(0.2)
