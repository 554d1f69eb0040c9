"""Tasks worked through here: what is done is known, a failure stops what reads it, a signal reaches the script."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from conftest import PROJECT
from tiny_run import finished_run

import train_all
from pipeline import errors
from plan import local, product, tasks
from plan.tasks import Record, Task


@pytest.fixture
def script(tmp_path):
    """A script that appends its first argument to a file and ends with the code of its second."""
    path, log = tmp_path / "script.py", tmp_path / "log"
    path.write_text(f"import sys\nopen({str(log)!r}, 'a').write(sys.argv[1] + ' ')\nsys.exit(int(sys.argv[2]))\n")
    log.touch()

    def task(name, code=0, **more):
        return Task(name, (str(path), name, str(code)), more.pop("kind", "report"), tmp_path, **more)

    return task, log.read_text


def test_a_failure_stops_what_reads_its_results_and_no_others(script, tmp_path):
    task, log = script
    plan = [task("a", 3), task("b"), task("c", after=("a",)), task("d", after=("c",)), task("e", 1, flawed=True)]
    failed = local.work(plan, plan, Record(tmp_path / "plan.json"))
    assert log().split() == ["a", "b", "e"]
    assert list(failed) == ["a", "c", "d"] and "exit code 3" in failed["a"] and "results of a" in failed["c"]
    record = Record(tmp_path / "plan.json")
    assert [record.done(one, plan) for one in plan] == [False, True, False, False, True]


def test_a_task_is_done_until_something_that_it_reads_is_newer_or_its_command_changes(script, tmp_path):
    task, _ = script
    run = Task("run", (), "run", tmp_path / "run")
    plan = [run, task("a", after=("run",)), task("b", after=("a",))]
    finished_run(run.folder)
    record = Record(tmp_path / "plan.json")
    local.work(plan[1:], plan, record)
    assert [record.done(one, plan) for one in plan] == [True, True, True]
    later = record.entries["b"]["finished"] + 60
    os.utime(run.folder / "cifar100_metrics.json", (later, later))
    assert [record.done(one, plan) for one in plan] == [True, False, False]
    assert not record.done(task("b", 1), [task("b", 1)])


def test_a_run_is_done_by_its_own_folder_with_its_model_and_no_checkpoint(tmp_path):
    run, record = Task("run", (), "run", tmp_path / "run"), Record(tmp_path / "plan.json", {"run": 60.0})
    assert not record.done(run, [run]) and record.seconds(run) == 60.0
    finished_run(run.folder)
    metrics = run.folder / "cifar100_metrics.json"
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"wall_seconds": 5.0, "tta": {"seconds": 2.0}}))
    assert record.done(run, [run]) and record.seconds(run) == 7.0
    (run.folder / "cifar100_checkpoint.npz").touch()
    assert not record.done(run, [run])
    (run.folder / "cifar100_checkpoint.npz").unlink()
    for model in run.folder.glob("*.h5"):
        model.unlink()
    assert not record.done(run, [run])


def test_a_run_that_was_done_with_other_flags_is_not_done(tmp_path):
    record = Record(tmp_path / "plan.json")

    def run(*flags, folder="run"):
        return Task("run", ("script.py", *flags, "--output-dir", folder), "run", tmp_path / "run")

    finished_run(tmp_path / "run")
    record.add(run("--weights", "a"), 3.0)
    assert record.done(run("--weights", "a"), []) and record.done(run("--weights", "a", folder="./run"), [])
    assert not record.done(run("--weights", "b"), [])


def test_the_table_adds_up_the_time_left(script, tmp_path):
    task, _ = script
    plan = [task("a"), task("b"), task("c", datasets=("mnist",), memory_gb=6)]
    record = Record(tmp_path / "plan.json", {"a": 60.0, "b": 30.0})
    record.add(plan[1], 45.0)
    lines = tasks.table(plan, plan, record).splitlines()
    assert lines[1].split() == ["a", "report", "-", "2", "3", "if", "any", "-", "1:00", "to", "do"]
    assert lines[2].endswith("0:45       done") and "mnist" in lines[3] and " 6 " in lines[3]
    assert lines[-1].startswith("2 of 3 to do") and "1:00, and 1 that" in lines[-1]


def test_tasks_of_a_group_share_a_line_unless_they_are_asked_for(script, tmp_path):
    task, _ = script
    plan = [task(f"study-{seed}", group="study-*") for seed in range(3)] + [task("table", after=("study-*",))]
    record = Record(tmp_path / "plan.json", {"study-0": 60.0, "study-1": 30.0, "study-2": 15.0})
    record.add(plan[0], 60.0)
    lines = tasks.table(plan, plan, record).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["study-*", "table"]
    assert "1:45" in lines[1] and lines[1].endswith("1 of 3 done")
    assert lines[-1].startswith("3 of 4 to do") and "0:45, and 1 that" in lines[-1]
    lines = tasks.table(plan, plan, record, grouped=False).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["study-0", "study-1", "study-2", "table"]


@pytest.fixture
def few(script, tmp_path, monkeypatch):
    """train_all.py with a plan of three tasks, the second of which fails."""
    task, log = script
    monkeypatch.chdir(tmp_path)
    plan = [task("a"), task("b", 4), task("c")]
    monkeypatch.setattr(product, "plan", lambda weights: plan)
    return log


def test_what_is_done_is_left_out_unless_it_is_named(few, capfd):
    assert train_all.main([]) == 1
    assert train_all.main([]) == 1
    assert few().split() == ["a", "b", "c", "b"]
    assert "failed: b (exit code 4" in capfd.readouterr().err
    assert train_all.main(["--only", "[ac]"]) == 0
    assert few().split() == ["a", "b", "c", "b", "a", "c"]


def test_a_list_and_a_dry_run_do_nothing(few, tmp_path, capsys):
    assert train_all.main(["--list"]) == train_all.main(["--dry-run", "--only", "a"]) == 0
    assert few() == "" and not (tmp_path / "output").exists()
    assert capsys.readouterr().out.splitlines()[-1].endswith("script.py a 0")


@pytest.mark.parametrize(
    ("flags", "backend", "words"),
    [
        (["--nodes", "2"], "jax", "it needs --ray"),
        (["--nodes", "2", "--ray", "auto"], "tensorflow", "KERAS_BACKEND=jax"),
    ],
)
def test_runs_that_cannot_be_divided_are_one_line(flags, backend, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(product, "plan", lambda weights: [Task("run", ("a.py",), "run", tmp_path / "run")])
    monkeypatch.setenv("KERAS_BACKEND", backend)
    assert errors.exit_code(lambda: train_all.main(flags)) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: --nodes") and words in err and len(err.splitlines()) == 1


def test_a_pattern_that_matches_nothing_is_one_line(few, capsys):
    assert errors.exit_code(lambda: train_all.main(["--only", "nothing"])) == 2
    assert capsys.readouterr().err.startswith("error: no task is called nothing")


def test_sigterm_reaches_the_script_which_saves_before_the_plan_ends(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        import pathlib, signal, sys
        def save(*_):
            pathlib.Path(__file__).with_name("saved").touch()
            sys.exit(143)
        signal.signal(signal.SIGTERM, save)
        print("ready", flush=True)
        signal.pause()
        """)
    )
    program = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from pipeline import errors
        from plan import local, tasks
        plan = [tasks.Task(name, ({str(script)!r},), "report", Path()) for name in "ab"]
        record = tasks.Record(Path({str(tmp_path / "plan.json")!r}))
        sys.exit(errors.exit_code(lambda: local.work(plan, plan, record)))
        """)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT, **pipes)
    while process.stdout.readline().strip() != "ready":
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 143 and (tmp_path / "saved").exists()
    assert "[2 of 2]" not in out and not (tmp_path / "plan.json").exists()
