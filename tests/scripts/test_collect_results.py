"""Runs of a recipe gathered: what counts as one, what the results are, what is shipped."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_run import finished_run

import collect_results
from pipeline.errors import UserError
from pipeline.evaluate import plots, time_to_accuracy_plot
from pipeline.train import identity

REDRAW = collect_results.redraw


@pytest.fixture(autouse=True)
def not_redrawn(monkeypatch):
    """Most tests ask for no plots, and a run of theirs may have no history."""
    monkeypatch.setattr(collect_results, "redraw", lambda folder: None)


def test_curves_and_confusion_matrix_are_drawn_again_from_the_files_of_a_run(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "training_curves", lambda *arguments: drawn.update({arguments[4].name: arguments}))
    monkeypatch.setattr(plots, "confusion_matrix", lambda *arguments: drawn.update({arguments[-1].name: arguments}))
    for prefix, recipe in (("cifar100", "fast"), ("cifar100-best", "best"), ("resnet50", "default")):
        finished_run(tmp_path, recipe, 0.8, prefix=prefix)
    monkeypatch.setattr(collect_results, "redraw", REDRAW)
    collected(tmp_path)
    assert len(drawn) == 6
    rows, accuracy, milestones, title, *_ = drawn["cifar100-best_training_curves.png"]
    assert [row["val_accuracy"] for row in rows] == [0.5, 0.7] and (accuracy, title) == (0.8, "a model")
    assert milestones == {"24 → 32 pixels": 24, "CutMix ends": 40}
    assert drawn["resnet50_training_curves.png"][2] == {}
    matrix, names, *_ = drawn["cifar100_confusion_matrix.png"]
    assert matrix.tolist() == [[3, 1], [0, 4]] and names == ["ant", "bee"]


def test_a_run_whose_metrics_lack_what_is_drawn_is_named(tmp_path):
    finished_run(tmp_path)
    path = tmp_path / "cifar100_metrics.json"
    metrics = json.loads(path.read_text())
    del metrics["confusion_matrix"]
    path.write_text(json.dumps(metrics))
    with pytest.raises(UserError, match=r"cifar100_metrics\.json or its history is damaged"):
        REDRAW(tmp_path)


def collected(folder):
    """Label -> result, as the file has them."""
    assert collect_results.main(["--output-dir", str(folder)]) == 0
    return read(folder / "cifar100_results.json")


def read(path):
    content = json.loads(path.read_text())
    assert content["schema"] == 1
    return {identity.named(result["recipe"], result["settings"]): result for result in content["results"]}


def test_mean_and_deviation_are_over_the_seeds_and_the_best_on_validation_is_shipped(tmp_path):
    accuracies, validations = [0.80, 0.83, 0.82], [0.71, 0.70, 0.74]
    for seed, (accuracy, validation) in enumerate(zip(accuracies, validations, strict=True)):
        finished_run(tmp_path / "runs" / f"any name {seed}", "fast", accuracy, validation, seed)
    finished_run(tmp_path / "runs" / "sprint", "sprint", 0.76)
    results = collected(tmp_path)
    fast = results["fast"]["test_accuracy"]
    assert fast["mean"] == pytest.approx(np.mean(accuracies)) and fast["std"] == pytest.approx(
        np.std(accuracies, ddof=1)
    )
    assert fast["n"] == 3 and results["sprint"]["test_accuracy"] == {"mean": 0.76, "std": None, "n": 1}
    assert results["fast"]["runs"][0]["curve"] == [[40.0, 0.5], [90.0, 0.71]]
    assert results["fast"]["best_on_validation"] == 2
    assert (tmp_path / "cifar100_cnn_scratch.h5").read_text() == "model fast 2"
    assert (tmp_path / "cifar100_time_to_accuracy.png").stat().st_size > 10_000


def test_a_model_from_elsewhere_is_no_run(tmp_path):
    finished_run(tmp_path / "runs" / "one", "sprint", 0.76)
    (tmp_path / "cifar100_mine_metrics.json").write_text(json.dumps({"source": {"file": "mine.keras"}}))
    assert list(collected(tmp_path)) == ["sprint"]


def test_a_run_with_other_settings_is_left_out_and_named(tmp_path, capsys):
    finished_run(tmp_path / "runs" / "a", seed=0)
    finished_run(tmp_path / "runs" / "b", seed=1, learning_rate=0.1)
    assert [run["seed"] for run in collected(tmp_path)["fast"]["runs"]] == [0]
    assert "b: left out" in (said := capsys.readouterr().out) and "learning_rate" in said


def test_seeds_whose_folder_is_gone_stay_and_a_new_run_of_a_seed_replaces_the_old(tmp_path):
    for seed in (0, 1):
        finished_run(tmp_path / "runs" / str(seed), seed=seed, accuracy=0.8)
    collected(tmp_path)
    for path in [*(tmp_path / "runs" / "0").iterdir(), *tmp_path.glob("cifar100_[mh]*")]:
        path.unlink()
    finished_run(tmp_path / "runs" / "1", seed=1, accuracy=0.9)
    assert [run["test_accuracy"] for run in collected(tmp_path)["fast"]["runs"]] == [0.8, 0.9]


def test_fine_labels_are_a_result_of_their_own(tmp_path):
    finished_run(tmp_path / "runs" / "coarse", "fast")
    finished_run(tmp_path / "runs" / "fine", accuracy=0.82, labels="fine")
    results = collected(tmp_path)
    assert set(results) == {"fast", "fast (labels=fine)"}
    fine = results["fast (labels=fine)"]
    assert fine["recipe"] == "fast" and fine["settings"] == {"labels": "fine"} and fine["config"]["labels"] == "fine"
    assert (tmp_path / "cifar100_cnn_scratch.h5").read_text() == "model fast 0"


def test_seeds_of_other_settings_go_even_where_no_run_of_the_recipe_is_there(tmp_path, capsys):
    finished_run(tmp_path / "runs" / "a", seed=0)
    path = tmp_path / "cifar100_results.json"
    collected(tmp_path)
    old = json.loads(path.read_text())
    (fast,) = old["results"]
    old["results"].append(fast | {"recipe": "gone"})
    slower = fast["config"] | {"recipe": "sprint"}  # with the settings of another recipe
    old["results"].append(fast | {"recipe": "sprint", "config": slower})
    path.write_text(json.dumps(old))
    assert set(collected(tmp_path)) == {"fast"}
    assert capsys.readouterr().out.count("earlier seeds dropped") == 2


def test_a_model_is_shipped_once_and_one_whose_files_are_gone_is_named(tmp_path, capsys):
    for seed, validation in enumerate((0.7, 0.8)):
        finished_run(tmp_path / "runs" / str(seed), validation=validation, seed=seed)
    collected(tmp_path)
    assert "now holds" in capsys.readouterr().out
    collected(tmp_path)
    assert "now holds" not in capsys.readouterr().out
    for path in (tmp_path / "runs" / "1").iterdir():
        path.unlink()
    (tmp_path / "cifar100_metrics.json").unlink()
    collected(tmp_path)
    assert "seed 1 did best on validation, but its files are gone" in capsys.readouterr().out


def test_an_ensemble_has_a_result_but_no_curve(tmp_path, monkeypatch):
    finished_run(tmp_path / "runs" / "one", "default", prefix="custom_cnn")
    finished_run(tmp_path / "runs" / "three", "default", prefix="custom_cnn", ensemble=3)
    drawn = []
    monkeypatch.setattr(time_to_accuracy_plot, "draw", lambda curves, *_: drawn.append(set(curves)))
    assert collect_results.main(["--output-dir", str(tmp_path)]) == 0
    found = read(tmp_path / "custom_cnn_results.json")
    assert set(found) == {"default", "default (ensemble=3)"} and drawn == [{"default"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cifar100_results.json", "{"),
        ("cifar100_results.json", "[]"),
        ("cifar100_results.json", '{"fast": {"config": {}, "runs": []}}'),
        ("cifar100_results.json", '{"schema": 1, "results": [{}]}'),
        ("cifar100_results.json", '{"schema": 1, "results": [{"recipe": "fast", "settings": {}, "config": []}]}'),
        ("cifar100_results.json", {"runs": []}),
        ("cifar100_results.json", {"runs": [{}]}),
        ("cifar100_results.json", {"runs": [{"seed": 1}]}),
        ("runs/a/cifar100_metrics.json", '{"recipe": "fa'),
        ("runs/a/cifar100_metrics.json", "{}"),
        ("runs/a/cifar100_history.csv", ""),
    ],
)
def test_damaged_results_are_bad_input(tmp_path, name, content):
    finished_run(tmp_path / "runs" / "a")
    if isinstance(content, dict):  # a whole file, but for these parts
        (result,) = collected(tmp_path).values()
        shutil.rmtree(tmp_path / "runs")
        for file in tmp_path.glob("cifar100_[mh]*"):
            file.unlink()
        content = json.dumps({"schema": 1, "results": [result | content]})
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=f"{Path(name).name.split('_')[0]}_.* damaged"):
        collected(tmp_path)


@pytest.mark.parametrize("suffix", [".h5", ".csv", ".json"])
def test_shipping_that_was_cut_short_is_made_good_by_the_next_time(tmp_path, monkeypatch, suffix):
    first, second = (tmp_path / "runs" / str(seed) for seed in (0, 1))
    finished_run(first, "best", validation=0.7, seed=0, prefix="cifar100-best")
    collected(tmp_path)
    finished_run(second, "best", validation=0.8, seed=1, prefix="cifar100-best")
    (second / "cifar100-best_run.lock").touch()
    copy = shutil.copyfile

    def full(source, target):
        if source.suffix == suffix:
            raise OSError(28, "No space left on device")
        copy(source, target)

    with monkeypatch.context() as patch, pytest.raises(UserError, match="No space left"):
        patch.setattr(shutil, "copyfile", full)
        collected(tmp_path)
    collected(tmp_path)
    assert (tmp_path / "cifar100_cnn_best.h5").read_text() == "model best 1"
    assert json.loads((tmp_path / "cifar100-best_metrics.json").read_text())["seed"] == 1
    assert not list(tmp_path.glob("*.lock"))


def test_a_folder_without_a_finished_run_is_bad_input(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        collect_results.main(["--output-dir", str(tmp_path)])


def test_a_baseline_counts_as_far_as_it_was_run_and_another_recipe_does_not(tmp_path):
    finished_run(tmp_path / "runs" / "short baseline", "baseline", 0.5, epochs=6, small_epochs=3)
    finished_run(tmp_path / "runs" / "short fast", "fast", 0.8, epochs=6)
    results = collected(tmp_path)
    assert set(results) == {"baseline"}
    plateau = results["baseline"]["runs"][0]["plateau"]
    assert plateau["best_epoch"] == 1 and plateau["rate_fell_before_epochs"] == [2]
    assert plateau["last"] == {"accuracy": 0.9, "loss": 0.5, "val_accuracy": 0.7, "val_loss": 1.7} | {
        "val_cross_entropy": 1.2
    }


def test_the_best_recipe_ships_beside_the_default_one_under_its_own_name(tmp_path):
    finished_run(tmp_path / "runs" / "fast", "fast")
    for seed, validation in enumerate((0.82, 0.84)):
        finished_run(tmp_path / "runs" / f"best {seed}", "best", 0.85, validation, seed, prefix="cifar100-best")
    results = collected(tmp_path)
    assert set(results) == {"fast", "best"} and results["best"]["test_accuracy"]["n"] == 2
    assert (tmp_path / "cifar100_cnn_best.h5").read_text() == "model best 1"
    assert json.loads((tmp_path / "cifar100_metrics.json").read_text())["recipe"] == "fast"
    assert json.loads((tmp_path / "cifar100-best_metrics.json").read_text())["recipe"] == "best"
    assert set(collected(tmp_path)) == {"fast", "best"}


def test_only_the_files_of_the_run_itself_are_shipped(tmp_path):
    """Two recipes and two scripts share a folder: what each leaves goes with its own metrics alone."""
    both, alone = tmp_path / "runs" / "both", tmp_path / "runs" / "alone"
    finished_run(both, "fast", seed=1)
    finished_run(both, "best", seed=1, validation=0.7, prefix="cifar100-best")
    finished_run(both, "default", seed=1, prefix="custom_cnn")
    (both / "cifar100_confusion_matrix.png").touch()
    (both / "cifar100_cnn_best_exports.json").touch()  # of the other recipe, though it begins as this run's files do
    finished_run(alone, "best", seed=2, validation=0.8, prefix="cifar100-best")
    finished_run(alone, "default", seed=2, validation=0.8, prefix="custom_cnn")
    for _ in range(2):
        collected(tmp_path)
        assert (tmp_path / "cifar100_cnn_scratch.h5").read_text() == "model fast 1"
        assert (tmp_path / "cifar100_cnn_best.h5").read_text() == "model best 2"
        assert (tmp_path / "custom_cnn_model.h5").read_text() == "model default 2"
        (tmp_path / "cifar100_metrics.json").unlink()  # shipped again
    assert (tmp_path / "best_cifar100_cnn_scratch.h5").read_text() == "best model fast 1"
    assert (tmp_path / "cifar100_confusion_matrix.png").exists()
    assert not (tmp_path / "cifar100_cnn_best_exports.json").exists()


def test_the_run_of_resnet50_is_shipped_and_one_of_another_folder_is_not(tmp_path):
    finished_run(tmp_path / "runs" / "one")
    for name, seed in (("resnet50-pretrained-seed0", 0), ("resnet50-pretrained-seed1", 1)):
        run = tmp_path / "runs" / name
        run.mkdir()
        (run / "resnet50_metrics.json").write_text(json.dumps({"seed": seed}))
        (run / "resnet50_history.csv").touch()
        (run / "resnet50_model.h5").write_text(f"model {seed}")
    collected(tmp_path)
    assert json.loads((tmp_path / "resnet50_metrics.json").read_text()) == {"seed": 0}
    assert (tmp_path / "resnet50_model.h5").read_text() == "model 0" and (tmp_path / "resnet50_history.csv").exists()


def test_a_run_without_the_cross_entropy_on_validation_images_counts_without_it(tmp_path):
    for seed in (0, 1):
        finished_run(tmp_path / "runs" / str(seed), "baseline", seed=seed)
    path, history = (tmp_path / "runs" / "0" / f"cifar100_{name}" for name in ("metrics.json", "history.csv"))
    metrics = json.loads(path.read_text())
    del metrics["validation_loss"]
    path.write_text(json.dumps(metrics))
    pd.read_csv(history).drop(columns="val_cross_entropy").to_csv(history, index=False)
    without, with_it = collected(tmp_path)["baseline"]["runs"]
    assert "validation_loss" not in without and with_it["validation_loss"] == 0.6
    assert "val_cross_entropy" not in without["plateau"]["best"] and "val_cross_entropy" in with_it["plateau"]["best"]


def test_a_recipe_that_is_gone_is_left_out(tmp_path, capsys):
    finished_run(tmp_path / "runs" / "old")
    path = tmp_path / "runs" / "old" / "cifar100_metrics.json"
    finished_run(tmp_path / "runs" / "new", seed=1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"recipe": "jog"}))
    assert set(collected(tmp_path)) == {"fast"} and "no recipe jog" in capsys.readouterr().out


def test_runs_on_fine_labels_alone_have_a_result_and_no_plot(tmp_path):
    finished_run(tmp_path / "runs" / "fine", accuracy=0.82, labels="fine")
    assert set(collected(tmp_path)) == {"fast (labels=fine)"}
    assert not (tmp_path / "cifar100_time_to_accuracy.png").exists()


@pytest.mark.parametrize("newer", ["output", "runs"])
def test_of_two_runs_of_a_seed_the_newer_counts(tmp_path, newer):
    folders = {"output": tmp_path, "runs": tmp_path / "runs" / "a"}
    for name, folder in folders.items():
        finished_run(folder, accuracy=0.9 if name == newer else 0.8)
        seconds = 2_000 if name == newer else 1_000
        os.utime(folder / "cifar100_metrics.json", (seconds, seconds))
    assert collected(tmp_path)["fast"]["test_accuracy"]["mean"] == 0.9
    assert json.loads((tmp_path / "cifar100_metrics.json").read_text())["test_accuracy"] == 0.9


def test_a_copied_file_is_as_old_as_its_run(tmp_path):
    for day, folder, accuracy in (("02", tmp_path / "runs" / "a", 0.9), ("01", tmp_path, 0.8)):
        path = folder / "cifar100_metrics.json"
        finished_run(folder, accuracy=accuracy)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"finished": f"2026-05-{day}T12:00:00+00:00"}))
    os.utime(tmp_path / "runs" / "a" / "cifar100_metrics.json", (1_000, 1_000))
    assert collected(tmp_path)["fast"]["test_accuracy"]["mean"] == 0.9
