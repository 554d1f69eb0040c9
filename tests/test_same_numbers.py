"""Whether runs of earlier commits stand for today's code: which trainings are compared, and what counts as the same."""

import json

import numpy as np
import pytest
from conftest import PROJECT

from benchmarks import same_numbers
from pipeline.errors import BadInput


def results(folder, **recipes):
    """A results file of MNIST's recipes with the commits of their runs."""
    content = {name: {"runs": [{"commit": commit} for commit in commits]} for name, commits in recipes.items()}
    (folder / "custom_cnn_results.json").write_text(json.dumps(content))


def test_every_recipe_and_commit_is_trained_with_the_recipes_own_flags():
    compared = same_numbers.trainings(PROJECT / "output")
    (fine,) = (command for (what, _), command in compared.items() if what == "cifar100 fast-fine")
    assert fine[:5] == ("cifar100_cnn.py", "--recipe", "fast", "--labels", "fine") and "--small-epochs" in fine
    for prefix in same_numbers.SCRIPTS:
        for recipe, result in json.loads((PROJECT / "output" / f"{prefix}_results.json").read_text()).items():
            assert {(f"{prefix} {recipe}", run["commit"]) for run in result["runs"]} <= compared.keys()


def test_every_idea_of_the_ablation_and_with_weights_every_way_of_the_transfer_table_is_trained():
    compared = same_numbers.trainings(PROJECT / "output", PROJECT / "weights.h5")
    ideas = same_numbers.table(PROJECT / "output" / "cifar100_ablation.csv")
    trained = {(f"ablation {row['idea']}", row["commit"]) for row in ideas if not row["idea"].startswith("test-time")}
    assert trained and trained <= compared.keys()
    ways = {row["way"] for row in same_numbers.table(PROJECT / "output" / "resnet50_transfer.csv")}
    flags = [command[2:] for (what, _), command in compared.items() if what.startswith("transfer ")]
    assert {way for way, *_ in flags} == ways
    assert {(way, size) for way, _, size, *_ in flags if way.startswith("frozen")} == {
        (f"frozen conv{stage}", size) for stage in "45" for size in ("32", "64")
    }
    assert not any(what.startswith("transfer") for what, _ in same_numbers.trainings(PROJECT / "output"))


def test_other_shapes_are_no_difference_of_so_much():
    one, other = [np.zeros(3)], [np.zeros((1, 3))]
    assert same_numbers.largest_difference(one, one) == 0.0
    assert same_numbers.largest_difference(one, other) is None
    assert same_numbers.largest_difference(one, one + one) is None


def test_one_weight_that_differs_is_told_and_todays_code_trains_once(tmp_path, monkeypatch, capsys):
    results(tmp_path, tiny=["aaa", "bbb", "aaa"])
    trained = []

    def train(code, command, folder, data_dir):
        trained.append(code.name)
        return [np.zeros(3), np.array([1.0, 1.5 if code.name == "bbb" else 1.0])]

    monkeypatch.setattr(same_numbers, "train", train)
    monkeypatch.setattr(same_numbers, "unpack", lambda commit, folder: folder / commit)
    assert same_numbers.main(["--output-dir", str(tmp_path)]) == 1
    assert trained == [PROJECT.name, "aaa", "bbb"]
    found = json.loads((tmp_path / "same_numbers.json").read_text())
    assert [row["largest_difference"] for row in found["rows"]] == [0.0, 0.5]
    assert (found["compared"], found["same"]) == (2, 1) and "commit bbb" in capsys.readouterr().out
    results(tmp_path, tiny=["aaa"])
    assert same_numbers.main(["--output-dir", str(tmp_path)]) == 0


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="no git history here")
def test_a_commits_code_is_unpacked_apart_and_an_unknown_one_is_bad_input(tmp_path):
    code = same_numbers.unpack("HEAD", tmp_path)
    assert (code / "mnist_classification.py").is_file() and (code / "pipeline" / "training.py").is_file()
    assert not list(code.rglob("*.h5"))
    with pytest.raises(BadInput, match="git does not find commit 0123456789ab"):
        same_numbers.unpack("0123456789ab", tmp_path)


def test_a_training_that_ends_in_an_error_and_a_folder_without_runs_are_bad_input(tmp_path):
    (tmp_path / "broken.py").write_text("raise SystemExit('error: no data')")
    with pytest.raises(BadInput, match=r"broken\.py ended with: error: no data"):
        same_numbers.train(tmp_path, ("broken.py",), tmp_path / "out", None)
    with pytest.raises(BadInput, match=r"run collect_results\.py"):
        same_numbers.trainings(tmp_path)
