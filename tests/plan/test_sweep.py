"""A sweep: which runs it has, what of them is told, and what on its command line is refused."""

import json
import sys

import pytest
from tiny_run import finished_run

import plan
import sweep
from pipeline import errors
from plan import execution
from plan import sweep as sweep_module
from plan.sweep import label, read, results, seeds_of, tasks
from plan.tasks import Record

MNIST = "mnist_classification.py"


def test_lists_span_the_grid_and_single_values_are_for_every_run(tmp_path):
    words = ["--dataset", "digits", "--filters", "2,4", "--pool-first", "--dropout=0,0.3", "--learning-rate", "1e-3"]
    found = read(MNIST, words, "0-1")
    assert found.fixed == ("--dataset", "digits", "--pool-first", "--learning-rate", "1e-3")
    assert [label(setting) for setting in found.settings()] == [
        "filters=2, dropout=0",
        "filters=2, dropout=0.3",
        "filters=4, dropout=0",
        "filters=4, dropout=0.3",
    ]
    runs = tasks(found, tmp_path)
    assert [seed for _, seed, _ in runs] == [0, 0, 0, 0, 1, 1, 1, 1]
    names = [task.name for *_, task in runs]
    assert len(set(names)) == 8 and names[0] == "filters=2-dropout=0-seed0"
    assert runs[0][2].folder == tmp_path / names[0] and runs[0][2].datasets == ("digits",)


def test_a_larger_grid_of_the_same_flags_shares_the_folder_and_other_flags_have_another():
    folder = read(MNIST, ["--filters", "2,4", "--epochs", "1"], "0").folder()
    assert read(MNIST, ["--filters", "2,4,8", "--epochs", "1"], "0-5").folder() == folder
    assert read(MNIST, ["--filters", "2,4", "--epochs", "2"], "0").folder() != folder


def test_a_search_draws_from_ranges_and_lists_and_a_longer_one_begins_with_the_shorter_ones():
    words = ["--learning-rate", "0.001:0.1", "--filters", "2:64", "--dropout", "0:0.5", "--ensemble", "1,2"]
    found = read(MNIST, words, "0", 200)
    settings = found.settings()
    assert read(MNIST, words, "0", 20).settings() == settings[:20]
    drawn = {flag: [float(setting[flag]) for setting in settings] for flag in found.axes}
    for flag, low, middle, high in (("--learning-rate", 1e-3, 1e-2, 0.1), ("--dropout", 0, 0.25, 0.5)):
        assert low <= min(drawn[flag]) and max(drawn[flag]) <= high
        assert 70 < sum(value < middle for value in drawn[flag]) < 130, "the median is the middle of the distribution"
    assert min(drawn["--filters"]) == 2 and max(drawn["--filters"]) > 50
    assert 70 < sum(value < 11 for value in drawn["--filters"]) < 130
    assert set(drawn["--ensemble"]) == {1, 2}
    assert len({label(setting) for setting in settings}) == 200


def test_trials_that_were_stopped_come_last_and_say_so(tmp_path):
    found = read(MNIST, ["--filters", "2:64", "--epochs", "9"], "0", 3)
    runs = tasks(found, tmp_path)
    assert {task.kind for *_, task in runs} == {"trial"} and sweep_module.epochs(found) == 9
    for (*_, task), epochs in zip(runs, (1, 3, 9), strict=True):
        task.folder.mkdir(parents=True)
        rows = "".join(f"{epoch},0.{epoch},2\n" for epoch in range(1, epochs + 1))
        (task.folder / "custom_cnn_history.csv").write_text(f"epoch,val_accuracy,seconds\n{rows}")
    finished_run(runs[2][2].folder, validation=0.05)
    record = Record(tmp_path / "plan.json")
    record.add(runs[1][2], 2.0)
    assert [group["stopped_after"] for group in results(runs, record)] == [None, 3], "the other one crashed"
    record.add(runs[0][2], 2.0)
    groups = results(runs, record)
    assert [group["stopped_after"] for group in groups] == [None, 3, 1]
    assert [group["mean"] for group in groups] == [0.05, 0.3, 0.1]
    assert sweep_module.table(groups).splitlines()[2].endswith("stopped after epoch 3")
    sweep_module.write(found, groups, tmp_path)
    assert (tmp_path / "sweep.csv").read_text().splitlines()[0] == "filters,mean,std,n,stopped_after"
    record.remove(runs[1][2])
    record = Record(tmp_path / "plan.json")
    assert record.done(runs[0][2], []) and not record.done(runs[1][2], [])


def test_without_ray_tune_a_search_says_in_one_line_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "plan.search", None)
    monkeypatch.delitem(vars(plan), "search", raising=False)  # where another test has imported it
    flags = [MNIST, "--filters", "2:64", "--search", "2", "--output-dir", str(tmp_path)]
    assert errors.exit_code(lambda: sweep.main(flags)) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: --search needs Ray Tune") and '".[cluster]"' in err and len(err.splitlines()) == 1


def test_a_value_that_names_a_file_is_no_list(tmp_path):
    path = tmp_path / "a,b"
    path.mkdir()
    assert read(MNIST, ["--dataset", str(path)], "0").fixed == ("--dataset", str(path))


def test_a_list_may_be_longer_than_the_name_of_a_file():
    values = [str(value) for value in range(1, 200)]
    assert read(MNIST, ["--filters", ",".join(values)], "0").axes == {"--filters": tuple(values)}


def test_seeds_are_numbers_and_ranges():
    assert seeds_of("0-2") == (0, 1, 2) and seeds_of("5") == (5,) and seeds_of("3, 0-1,0") == (3, 0, 1)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "name the training script first"),
        ("nothing.py", "there is no script nothing.py"),
        ("export_model.py", "trains nothing"),
        ("README.md", "no Python script"),
        (f"{MNIST} --filter 2,4", "did you mean --filters?"),
        (f"{MNIST} --filters 2,x", "invalid int value: 'x'"),
        (f"{MNIST} --filters 2,0", "--filters must be at least 1"),
        (f"{MNIST} --seed 1", "--seeds 0-2"),
        (f"{MNIST} --seeds 2-", "--seeds takes numbers"),
        (f"{MNIST} --seeds 2-1", "the range is empty"),
        (f"{MNIST} --seeds 0-99999", "more than"),
        (f"{MNIST} --filters 2,4 --seeds 0-9999", "at most"),
        (f"{MNIST} --storage /tmp", "needs --ray"),
        (f"{MNIST} --dropout 0:0.5", "--search 20"),
        (f"{MNIST} --search 5", "--search needs a flag with a range or a list"),
        (f"{MNIST} --filters 2,4 --search 3", "only 2 settings"),
        (f"{MNIST} --filters 4:2 --search 3", "the range 4:2"),
        (f"{MNIST} --filters 2:40 --epochs 1 --search 4", "--epochs 2 or more"),
        (f"{MNIST} --filters 0:4 --search 4", "--filters must be at least 1"),
        (f"{MNIST} --filters 2.5:4 --search 2", "invalid int value"),
        (f"{MNIST} --filters 2:40 --search 2 --seeds 0-1", "one seed"),
        (f"{MNIST} --filters 2:40 --search 2 --nodes 2", "leave --nodes out"),
        ("cifar100_cnn.py --labels coarse,fine --dropout 0:0.5 --search 2", "of 20 or 100 classes"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_nothing_is_begun(line, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert errors.exit_code(lambda: sweep.main(line.split())) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and len(err.splitlines()) == 1 and words in err
    assert not list(tmp_path.glob("output/runs/*/*/"))


def test_the_table_and_the_files_have_mean_and_deviation_of_the_validation_accuracy(tmp_path, monkeypatch, capsys):
    def execute(tasks, *_):
        """All runs but one end with an accuracy made of their flags."""
        for number, task in enumerate(tasks):
            if task.name == "filters=8-seed1":
                continue
            finished_run(task.folder, validation=0.5 + number / 100)
        return 1

    monkeypatch.setattr(execution, "execute", execute)
    flags = [MNIST, "--filters", "4,8", "--seeds", "0-1", "--output-dir", str(tmp_path)]
    assert sweep.main(flags) == 1
    out = capsys.readouterr().out
    assert "4 of 4 runs to do" in out
    lines = [line.split() for line in out.splitlines() if line.startswith("filters=")]
    assert lines == [["filters=4", "0.5100", "0.0141", "2"], ["filters=8", "0.5100", "-", "1"]]
    written = json.loads((tmp_path / "sweep.json").read_text())
    assert {group["label"]: group["n"] for group in written["settings"]} == {"filters=4": 2, "filters=8": 1}
    assert (tmp_path / "sweep.csv").read_text().splitlines()[0] == "filters,mean,std,n"
    assert (tmp_path / "sweep.png").stat().st_size > 1000
    monkeypatch.setattr(execution, "execute", lambda tasks, *_: print(len(tasks), "more") or 0)
    assert sweep.main(flags) == 0
    assert "1 more" in capsys.readouterr().out, "what is finished is not done again"
    assert sweep.main([*flags, "--filters", "4,8,16"]) == 0, "a larger grid has the same flags for every run"
    capsys.readouterr()
    assert errors.exit_code(lambda: sweep.main([*flags, "--epochs", "5"])) == 2
    assert capsys.readouterr().err == f"error: {tmp_path} holds a sweep of {MNIST}; choose another --output-dir\n"
    assert json.loads((tmp_path / "sweep.json").read_text())["fixed"] == []


def test_without_a_finished_run_there_is_no_table(tmp_path):
    runs = tasks(read(MNIST, ["--filters", "4,8"], "0"), tmp_path)
    assert results(runs, Record(tmp_path / "plan.json")) == []


def test_an_interrupted_sweep_has_said_whose_folder_it_is(tmp_path, monkeypatch, capsys):
    def execute(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "execute", execute)
    flags = [MNIST, "--filters", "4,8", "--output-dir", str(tmp_path / "out"), "--epochs"]
    assert errors.exit_code(lambda: sweep.main([*flags, "5"])) == 130
    capsys.readouterr()
    assert errors.exit_code(lambda: sweep.main([*flags, "10"])) == 2
    assert f"holds a sweep of {MNIST} --epochs 5;" in capsys.readouterr().err
