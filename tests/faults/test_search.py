"""A search on a Ray cluster: what falls behind is stopped, what Ctrl-C interrupts goes on."""

import signal
from importlib.util import find_spec

import pytest
from conftest import PROJECT
from processes import HEAD, driver, finish, until, wait_for, with_word

from plan.tasks import epochs_of

STUB = str(PROJECT / "tests" / "plan" / "trial_stub.py")
DRIVER = """
import sys
from pathlib import Path
from pipeline import errors
from plan import execution, tasks
folder, stub, address = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
def trial(name, accuracy):
    command = (stub, f"--accuracy={accuracy}", f"--gate={folder / 'gate'}")
    return tasks.Task(name, command, "trial", folder / name, gpu=False)
plan = [trial("good", 0.8), trial("bad", 0.1), trial("better", 0.95)]
record = tasks.Record(folder / "plan.json")
missing = [task for task in plan if not record.done(task, plan)]
sys.exit(errors.exit_code(lambda: execution.execute(missing, plan, record, address, epochs=9)))
"""
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (find_spec("ray") and find_spec("pyarrow")), reason='Ray Tune is not installed: pip install -e ".[cluster]"'
    ),
]


def test_a_trial_that_falls_behind_is_stopped_and_an_interrupted_search_goes_on(tmp_path, tried):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=HEAD | {"num_cpus": 1})
    command = ("-c", DRIVER, tmp_path, STUB, cluster.address)

    def log(name):
        return [line.split()[-1] for line in (tmp_path / "logs" / f"{name}.log").read_text().splitlines()]

    try:
        with driver(*command) as process:
            assert "0.8000" in until(process, "done: good")
            assert "0.1000" in until(process, "stopped after epoch 1: bad")
            wait_for(lambda: len(epochs_of(tmp_path / "better")) >= 4, process)
            process.send_signal(signal.SIGINT)
            assert finish(process)[0] == 130
        assert not with_word(f"--gate={tmp_path / 'gate'}")
        (tmp_path / "gate").touch()
        with driver(*command) as process:
            code, out, err = finish(process)
    finally:
        cluster.shutdown()
    assert code == 0 and "done: better" in out and "1 of 1 tasks done" in out, err
    assert log("good") == log("bad") == ["0"] and log("better") == ["0", "4"]
    assert (tmp_path / "bad" / "stub_checkpoint.npz").read_text() == "1"
    tried("a search on Ray Tune, one of three trials stopped early, interrupted by Ctrl-C", times=1)
