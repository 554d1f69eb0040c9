"""A run on a Ray cluster of two nodes that is interrupted and loses its node, beside one that fails."""

import contextlib
import json
import os
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import PROJECT
from processes import HEAD, driver, finish, wait_for, with_word

STUB = str(PROJECT / "tests" / "plan" / "stub.py")
DRIVER = """
import sys
from pathlib import Path
from pipeline import errors
from plan import execution, tasks
folder, stub, address = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
whole = tasks.Task("whole", (stub, f"--gate={folder / 'gate'}"), "run", folder / "whole")
broken = tasks.Task("broken", (stub, "--error=it is broken"), "run", folder / "broken")
plan = [broken, whole]
record = tasks.Record(folder / "plan.json")
sys.exit(errors.exit_code(lambda: execution.execute(plan, plan, record, address)))
"""
REAL = Path(os.environ.get("DATA_DIR") or "no such folder", "mnist.npz")
pytestmark = [
    pytest.mark.skipif(not find_spec("ray"), reason='Ray is not installed: pip install -e ".[cluster]"'),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc"),
]


def parents(pid):
    """The processes above one."""
    with contextlib.suppress(OSError):  # ended meanwhile
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
            yield pid


def node_of(nodes, scripts):
    """The node that one of these scripts, IDs of processes, runs on; None where none does."""
    above = {pid for script in scripts for pid in parents(script)}
    for node in nodes:
        if node.all_processes["raylet"][0].process.pid in above:
            return node
    return None


def test_a_run_survives_ctrl_c_and_the_death_of_its_node_beside_one_that_fails(tmp_path, tried):
    from ray.cluster_utils import Cluster

    gate, checkpoint = tmp_path / "gate", tmp_path / "whole" / "stub_checkpoint.npz"
    cluster = Cluster(initialize_head=True, head_node_args=HEAD | {"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    command = ("-c", DRIVER, tmp_path, STUB, cluster.address)

    def resumed():
        log = tmp_path / "logs" / "whole.log"
        return [line.split()[-1] for line in log.read_text().splitlines()] if log.exists() else []

    try:
        with driver(*command) as process:
            wait_for(lambda: checkpoint.exists() and checkpoint.read_text() == "2", process)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=300)
            assert process.returncode == 130 and not with_word(f"--gate={gate}")
        with driver(*command) as process:
            wait_for(lambda: resumed() == ["0", "2"] and with_word(f"--gate={gate}"), process)
            cluster.remove_node(node_of(nodes, with_word(f"--gate={gate}")), allow_graceful=False)
            wait_for(lambda: resumed() == ["0", "2", "2"], process)
            gate.touch()
            out, err = process.communicate(timeout=300)
    finally:
        cluster.shutdown()
    assert process.returncode == 1 and "1 of 2 tasks done" in out
    assert "failed: broken (exit code 1: error: it is broken)" in err and "whole" not in err
    assert {path.name for path in (tmp_path / "whole").iterdir()} == {"stub_model.h5", "stub_metrics.json"}
    assert not with_word(f"--gate={gate}")
    lost = 2 - int(resumed()[-1])
    tried("a run on a Ray cluster, stopped by Ctrl-C, then its node killed", times=1, epochs_lost=lost)


@pytest.mark.long
@pytest.mark.skipif(not REAL.is_file(), reason="$DATA_DIR has no mnist.npz")
def test_a_sweep_of_six_runs_on_two_nodes_loses_one_and_ends_with_all_runs_done(tmp_path, tried):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=HEAD | {"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    flags = ["--recipe", "sprint", "--limit", "6000", "--epochs", "4", "--corruption", "0,0.5", "--seeds", "0-2"]
    script = ["sweep.py", "mnist_classification.py", "--data-dir", str(REAL.parent.resolve()), *flags]
    command = (*script, "--ray", cluster.address, "--output-dir", tmp_path)

    def busy():
        """A node with a run, after two are done."""
        done = len(list(tmp_path.glob("*/custom_cnn_metrics.json")))
        return node_of(nodes, with_word("mnist_classification.py")) if done >= 2 else None

    try:
        with driver(*command) as process:
            cluster.remove_node(wait_for(busy, process), allow_graceful=False)
            code, out, err = finish(process)
    finally:
        cluster.shutdown()
    assert code == 0 and "6 of 6 tasks done" in out, err
    assert (tmp_path / "sweep.png").exists() and len(list(tmp_path.glob("*/custom_cnn_model.h5"))) == 6
    assert not list(tmp_path.glob("*/*checkpoint*.npz"))
    accuracy = [json.loads(path.read_text())["test_accuracy"] for path in tmp_path.glob("*/custom_cnn_metrics.json")]
    assert len(accuracy) == 6 and min(accuracy) > 0.9
    tried(
        "6 training runs on MNIST, two at a time on a Ray cluster of two nodes, one of them killed after two runs",
        times=1,
        runs_done=len(accuracy),
        lowest_test_accuracy=round(min(accuracy), 3),
    )
