"""What a plan sends to the nodes of a Ray cluster and takes back, and what it tells meanwhile."""

import io
import sys
import tarfile
from pathlib import Path

import pytest

from pipeline import errors
from plan import cluster, tasks
from plan.tasks import Task


def test_files_arrive_whole_and_checkpoints_of_the_past_go(tmp_path):
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
    for name in ("a_metrics.json", "z_model.h5", "a_checkpoint.npz", ".a_run.lock"):
        (there / name).write_bytes(name.encode())
    (there / "tensorboard" / "a").mkdir(parents=True)
    (there / "tensorboard" / "a" / "events").write_text("scalars")
    (here / "a_tail_checkpoint.npz").touch()
    (here / "other_checkpoint.npz").write_text("of another run")
    (here / "log").write_text("kept")
    cluster.unpack(cluster.pack(there, "*"), here, "[a-z]_*")
    names = {"a_metrics.json", "z_model.h5", "a_checkpoint.npz", "other_checkpoint.npz", "log", "tensorboard"}
    assert (here / "tensorboard" / "a" / "events").read_text() == "scalars"
    assert {path.name for path in here.iterdir()} == names
    assert (here / "z_model.h5").read_bytes() == b"z_model.h5" and (here / "log").read_text() == "kept"


def test_an_archive_writes_to_its_own_folder_alone(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    cluster.unpack(packed.getvalue(), tmp_path / "in", "*")
    assert (tmp_path / "in" / "outside").exists() and not (tmp_path / "outside").exists()


def test_plans_whose_folders_have_one_name_have_two_in_the_storage(tmp_path):
    names = {cluster.storage_folder(tasks.Record(tmp_path / folder / "sweep" / "plan.json")) for folder in "ab"}
    assert len(names) == 2 and all(name.startswith("sweep-") for name in names)


def test_a_log_that_cannot_be_written_ends_no_run(tmp_path):
    coordinator = cluster.Coordinator({}, str(tmp_path / "logs"))
    (tmp_path / "logs").rmdir()
    assert coordinator.report("one", "a machine", "1/4\n") and coordinator.state() == {"one": ("a machine", "1/4")}


def test_the_live_table_takes_the_place_of_the_one_before(capsys):
    board = cluster.Board(3)
    board.terminal = True
    board.show({"a": ("one", "1/4"), "b": ("two", "2/4")}, 3, 0)
    board.show({"b": ("two", "3/4")}, 2, 1)
    board.say("done: a")
    first, second, third = capsys.readouterr().out.split("\x1b[J")
    assert first.splitlines()[:3] == ["  a  on one  1/4", "  b  on two  2/4", "0 of 3 ended, 0 failed, 2 running"]
    assert first.endswith("\x1b[3A") and second.endswith("\x1b[2A") and "1 of 3 ended, 1 failed" in second
    assert third == "done: a\n"


def test_without_ray_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    task = Task("one", ("mnist_classification.py",), "run", tmp_path)
    record = tasks.Record(tmp_path / "plan.json")
    assert errors.exit_code(lambda: cluster.work([task], record, "auto", None)) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: --ray needs Ray") and len(err.splitlines()) == 1


def on(machines, nodes=1):
    """What a run of two cores on so many nodes asks each machine of a cluster for."""
    task = tasks.Task("run", ("a.py",), "run", Path(), cores=2, memory_gb=3, nodes=nodes)
    return cluster.Cluster(None, None, Path(), {}, set(), cluster.sizes(machines)).needs(task)


@pytest.mark.parametrize(("cores", "asked"), [(0, 1), (1, 1), (2, 2), (16, 2)])
def test_a_run_asks_for_a_core_even_before_a_machine_that_computes_has_joined(cores, asked):
    assert on([{"CPU": cores, "memory": 8e9}]) == {"CPU": asked, "GPU": 0, "memory": int(3e9)}


def test_what_is_asked_for_fits_one_machine():
    wide, gpu, head = {"CPU": 16, "memory": 9}, {"CPU": 1, "GPU": 1, "memory": 5}, {"GPU": 8, "memory": 99}
    assert cluster.sizes([wide, head, gpu])[0] == {"CPU": 1, "GPU": 1, "memory": 5}
    assert cluster.sizes([head, wide])[0] == {"CPU": 16, "GPU": 0, "memory": 9}
    assert on([head, wide]) == {"CPU": 2, "GPU": 0, "memory": 9}


def test_a_run_on_several_nodes_takes_the_whole_of_each_and_no_more_than_the_smallest_has():
    head, large, small = {"memory": 9e9}, {"CPU": 16, "GPU": 4, "memory": 9e9}, {"CPU": 8, "GPU": 2, "memory": 2e9}
    assert on([head, small, large], nodes=2) == {"CPU": 8, "GPU": 2, "memory": int(2e9)}
    assert on([head, small, large]) == {"CPU": 2, "GPU": 1, "memory": int(3e9)}


def test_more_nodes_than_compute_are_refused():
    machines = cluster.sizes([{"memory": 9e9}, {"CPU": 2, "memory": 9e9}])
    one, two = (tasks.Task("run", (), "run", Path(), nodes=nodes) for nodes in (1, 2))
    cluster.refuse_too_few(machines, [one])
    cluster.refuse_too_few(machines[1:], [one])
    with pytest.raises(errors.UserError, match="--nodes 2: 1 in the cluster compute"):
        cluster.refuse_too_few(machines, [one, two])
