"""A plan on a Ray cluster of two nodes, and what it sends there."""

import io
import json
import os
import subprocess
import sys
import tarfile
from importlib.util import find_spec

import pytest
from conftest import PROJECT

from pipeline import errors
from plan import cluster, tasks
from plan.tasks import Task

needs_ray = pytest.mark.skipif(not find_spec("ray"), reason='Ray is not installed: pip install -e ".[ray]"')


def test_files_arrive_whole_and_checkpoints_of_the_past_go(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
    for name in ("a_metrics.json", "z_model.h5", "a_checkpoint.npz", ".a_run.lock"):
        (there / name).write_bytes(name.encode())
    (here / "a_tail_checkpoint.npz").touch()
    (here / "other_checkpoint.npz").write_text("of another run")
    (here / "log").write_text("kept")
    cluster.unpack(cluster.pack(there, "*"), here, "[a-z]_*")
    names = {"a_metrics.json", "z_model.h5", "a_checkpoint.npz", "other_checkpoint.npz", "log"}
    assert {path.name for path in here.iterdir()} == names
    assert (here / "z_model.h5").read_bytes() == b"z_model.h5" and (here / "log").read_text() == "kept"


def test_an_archive_writes_to_its_own_folder_alone(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    cluster.unpack(packed.getvalue(), tmp_path / "in", "*")
    assert (tmp_path / "in" / "outside").exists() and not (tmp_path / "outside").exists()


def test_code_data_and_named_files_travel(tmp_path, monkeypatch):
    data, staged = tmp_path / "data", tmp_path / "staged"
    for folder in (data, staged):
        folder.mkdir()
    (data / "mnist.npz").write_bytes(b"images")
    weights = tmp_path / "weights.h5"
    weights.write_bytes(b"weights")
    monkeypatch.setenv("DATA_DIR", str(data))
    command = ("resnet50_transfer_learning.py", "--weights", str(weights), "--output-dir", str(tmp_path), "--resume")
    task = Task("one", command, "run", tmp_path, datasets=("mnist", "digits"))
    assert cluster.stage([task], staged)
    assert (staged / "data" / "mnist.npz").read_bytes() == b"images"
    words = cluster.command_there(task)
    assert words[:2] == ["resnet50_transfer_learning.py", "--weights"] and words[3:] == ["--resume"]
    assert (staged / words[2]).read_bytes() == b"weights"
    assert (staged / "pipeline" / "train" / "loop.py").is_file() and not (staged / "output").exists()
    monkeypatch.setattr(cluster, "SHIPPED", 3)
    assert not cluster.stage([task], tmp_path / "again")
    assert not (tmp_path / "again" / "data").exists(), "too large: the nodes look for it themselves"


def test_without_ray_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    task = Task("one", ("mnist_classification.py",), "run", tmp_path)
    record = tasks.Record(tmp_path / "plan.json")
    assert errors.exit_code(lambda: cluster.work([task], record, "auto", None)) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: --ray needs Ray") and len(err.splitlines()) == 1


@needs_ray
@pytest.mark.skipif(sys.platform == "win32", reason="Ray's clusters on Windows are experimental")
def test_results_come_back_whole_and_a_failed_run_stops_no_other(tmp_path):
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes.add_node(num_cpus=1)
        flags = "--dataset digits --limit 128 --filters 2 --batch-size 32 --epochs 1 --learning-rate 0.003,1e9"
        command = [sys.executable, "sweep.py", "mnist_classification.py", *flags.split(), "--ray", nodes.address]
        done = subprocess.run(
            [*command, "--output-dir", str(tmp_path / "sweep")],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
        )
    finally:
        nodes.shutdown()
    assert done.returncode == 1, done.stderr
    failed = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1 and "learning_rate=1e9-seed0" in failed[0] and "exit code 2: error: " in failed[0]
    (setting,) = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["settings"]
    assert setting["setting"] == {"--learning-rate": "0.003"} and setting["n"] == 1
    folder = tmp_path / "sweep" / setting["runs"][0]["folder"]
    names = {path.name for path in folder.iterdir()}
    assert {"custom_cnn_model.h5", "custom_cnn_metrics.json", "custom_cnn_training_curves.png"} <= names
    log = (tmp_path / "sweep" / "logs" / f"{folder.name}.log").read_text()
    assert "test accuracy" in log
    assert (tmp_path / "sweep" / "sweep.png").stat().st_size > 1000
