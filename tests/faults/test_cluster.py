"""Runs on a Ray cluster that is interrupted and loses a node: each goes on from its checkpoint, nothing is left."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import PROJECT
from processes import history

FLAGS = ["--dataset", "digits", "--filters", "8", "--batch-size", "16", "--epochs", "40", "--precision", "float32"]
DEADLINE = 600  # seconds for each step


def parents(pid):
    """The processes above one."""
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        yield pid


def scripts(folder):
    """Process IDs of the training scripts on the nodes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:  # ended meanwhile
            continue
        if b"plan.watched" in words and b"mnist_classification.py" in words:
            found.append(int(path.parent.name))
    return found


def wait_for(condition, process):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.2)


@pytest.mark.long
@pytest.mark.skipif(not find_spec("ray"), reason='Ray is not installed: pip install -e ".[ray]"')
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize("shared", [False, True], ids=["sent", "shared folder"])
def test_ctrl_c_leaves_the_cluster_clean_and_a_node_that_dies_costs_no_epoch(tmp_path, tried, shared):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    command = [sys.executable, "sweep.py", "mnist_classification.py", *FLAGS, "--ray", cluster.address]
    command += ["--output-dir", str(tmp_path / "sweep")]
    if shared:
        command += ["--storage", str(tmp_path / "shared")]
    folder, log = tmp_path / "sweep" / "as_given-seed0", tmp_path / "sweep" / "logs" / "as_given-seed0.log"
    checkpoints = tmp_path / "shared" / "as_given-seed0" if shared else folder

    def start():
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = os.environ | {"PYTHONPATH": str(PROJECT)}
        return subprocess.Popen(command, cwd=PROJECT, env=environment, **pipes)

    def saved():
        return (checkpoints / "custom_cnn_checkpoint.npz").exists()

    def resumed():
        return log.read_text().count("resuming after epoch") if log.exists() else 0

    try:
        process = start()
        wait_for(saved, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == 130, err
        assert not scripts(tmp_path) and (folder / "custom_cnn_checkpoint.npz").exists()

        process = start()
        wait_for(lambda: resumed() == 1 and scripts(tmp_path), process)
        epochs = len(history(folder))
        wait_for(lambda: saved() and len(history(checkpoints)) > epochs, process)
        (script,) = scripts(tmp_path)
        above = set(parents(script))
        (host,) = [node for node in nodes if node.all_processes["raylet"][0].process.pid in above]
        cluster.remove_node(host, allow_graceful=False)
        _, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, err
    finally:
        cluster.shutdown()
    assert resumed() == 2 and not scripts(tmp_path)
    assert [int(row["epoch"]) for row in history(folder)] == list(range(1, 16))
    assert (folder / "custom_cnn_metrics.json").exists() and not list(folder.glob("*checkpoint*"))
    tried("a run on a Ray cluster, interrupted, then its node killed", times=1, epochs_done_twice_at_most=1)
