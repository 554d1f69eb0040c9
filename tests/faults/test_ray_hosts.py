"""A training run on two nodes of a Ray cluster together, which loses one of them and is interrupted."""

import contextlib
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from processes import DIVIDED, HEAD, JAX, SMALL, driver, finish, history, wait_for, with_word
from test_ray_cluster import node_of

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not find_spec("ray"), reason='Ray is not installed: pip install -e ".[cluster]"'),
    pytest.mark.skipif(not find_spec("jax"), reason="jax is not installed: pip install jax"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc"),
]
EPOCHS = 30
MARK = "0.000987"  # a learning rate that tells these scripts from others


def script_of(host):
    """IDs of the processes of a host's script."""
    found = []
    for pid in with_word(MARK):
        with contextlib.suppress(OSError):  # ended meanwhile
            if f"JAX_PROCESS_ID={host}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def all_gone():
    """Whether no script is left, after the time that one on a node that was killed may take."""
    deadline = time.monotonic() + 60
    while with_word(MARK) and time.monotonic() < deadline:
        time.sleep(0.5)
    return not with_word(MARK)


def test_a_run_on_two_nodes_loses_one_goes_on_and_ends_with_its_files_here(tmp_path, monkeypatch, tried):
    from ray.cluster_utils import Cluster

    for name, value in JAX.items():
        monkeypatch.setenv(name, value)
    flags = [*SMALL, *DIVIDED, "--epochs", str(EPOCHS), "--learning-rate", MARK]
    run = tmp_path / "as_given-seed0"
    cluster = Cluster(initialize_head=True, head_node_args=HEAD | {"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    command = ("sweep.py", "mnist_classification.py", *flags, "--nodes", "2", "--ray", cluster.address)
    command = (*command, "--output-dir", tmp_path)

    def epochs():
        return len(history(run)) if list(run.glob("*_history.csv")) else 0

    try:
        with driver(*command) as process:
            wait_for(lambda: epochs() >= 1, process)
            cluster.remove_node(node_of(nodes, script_of(1)), allow_graceful=False)
            code, _, err = finish(process)
        assert code == 1 and "another host has ended" in err and "failed: as_given-seed0" in err.splitlines()[-1], err
        kept = epochs()
        assert 1 <= kept < EPOCHS and list(run.glob("*checkpoint.npz")) and all_gone()
        cluster.add_node(num_cpus=1)
        with driver(*command) as process:
            wait_for(lambda: epochs() > kept, process)
            process.send_signal(signal.SIGINT)
            assert finish(process)[0] == 130
        assert epochs() < EPOCHS and all_gone()
        with driver(*command) as process:
            code, out, err = finish(process)
    finally:
        cluster.shutdown()
    assert code == 0 and "1 of 1 tasks done" in out, err
    assert epochs() == EPOCHS and (run / "custom_cnn_model.h5").exists() and not list(run.glob("*checkpoint*.npz"))
    assert (tmp_path / "logs" / "as_given-seed0.log").read_text().count("resuming after epoch") == 2
    assert all_gone()
    tried("a run on two nodes of a Ray cluster, one of them killed, then Ctrl-C, then to its end", times=1)
