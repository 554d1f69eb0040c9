"""A run's folder: what a later run leaves alone there, refuses, or removes."""

import contextlib
import dataclasses
import time
from functools import partial

import numpy as np
import pytest
from tiny_run import start

import cifar100_cnn
import mnist_classification as mnist
from pipeline import atomic_io, backend
from pipeline.config import parse
from pipeline.data import datasets
from pipeline.errors import UserError
from pipeline.models import novelty, saved_model
from pipeline.train import identity, loop, recipe
from pipeline.train.run import Run


@pytest.fixture(autouse=True)
def eagerly_but_where_graphs_are_the_point(request):
    if "graph" not in request.keywords:
        request.getfixturevalue("eagerly")


def metrics_of(run):
    """The entries of metrics.json by which a finished run is known."""
    data = {"data_sha256": run.dataset.sha256, "files": run.dataset.sources}
    return {"config": run.settings, **data, "versions": {"backend": "tensorflow"}}


def test_a_finished_run_in_the_folder_of_its_recipe_and_seed_is_not_replaced(tmp_path, monkeypatch, capsys):
    """Nobody named that folder, so nobody meant to lose what it holds."""
    folder = tmp_path / "runs" / "tiny-default-seed0"
    monkeypatch.setattr(identity, "output_folder", lambda *_: folder)

    def begin(*flags):
        config = parse(mnist.Config, ["--dataset", "digits", "--precision", "float32", *flags])
        run = Run("tiny", "tiny.h5", "Tiny CNN", config, datasets.prepare(config))
        return run, run.already_finished()

    first, finished = begin()
    assert not finished
    atomic_io.write_json(first.path("metrics.json"), {**metrics_of(first)})
    first.model_path.touch()
    first.lock.release()
    whole = first.path("metrics.json").read_text()
    first.path("metrics.json").write_text(whole[:10])  # half a copy
    with pytest.raises(UserError, match="is damaged"):
        begin("--resume")
    first.path("metrics.json").write_text(whole)
    for flags in (["--epochs", "3"], ["--epochs", "3", "--resume"]):
        with pytest.raises(UserError, match=r"epochs was 18 and is 3; .*another --output-dir"):
            begin(*flags)
    assert begin()[1] and "another --output-dir" in capsys.readouterr().out, "it is not trained again by accident"
    assert begin("--resume")[1]
    with pytest.raises(UserError, match=r"epochs was 18 and is 30; .*schedule of 18 epochs.*--start-from"):
        begin("--resume", "--epochs", "30")
    chosen, finished = begin("--epochs", "3", "--output-dir", str(folder))
    assert not finished, "a folder that was named may be written to"
    chosen.lock.release()


def test_an_interrupted_run_is_not_resumed_with_more_epochs_and_the_line_says_what_to_do(tmp_path):
    run, _, fit = start(tmp_path, "--epochs", "1")
    fit()
    run.lock.release()
    longer, _, fit = start(tmp_path, "--epochs", "2", "--resume")
    with pytest.raises(UserError, match=r"epochs was 1 and is 2; .*schedule of 1 epochs.*--start-from"):
        longer.already_finished()


def test_an_interrupted_run_in_the_folder_of_its_recipe_and_seed_is_not_overwritten_by_other_settings(
    tmp_path, monkeypatch
):
    folder = tmp_path / "runs" / "tiny-default-seed0"
    interrupted, _, fit = start(folder, "--epochs", "1")
    fit()
    interrupted.lock.release()
    state = interrupted.path("checkpoint.npz")
    whole = state.read_bytes()
    monkeypatch.setattr(identity, "output_folder", lambda *_: folder)

    def begin(output_dir=None, **changed):
        config = dataclasses.replace(interrupted.config, output_dir=output_dir, **changed)
        run = Run("tiny", "tiny.h5", "Tiny CNN", config, interrupted.dataset)
        finished = run.already_finished()
        run.lock.release()
        return finished

    with pytest.raises(
        UserError, match=r"checkpoint\.npz belongs to another run: seed was .* and is 9; .*--output-dir"
    ):
        begin(seed=9)
    assert state.read_bytes() == whole
    assert begin() is False, "the same settings may begin again"
    assert begin(seed=9, output_dir=str(folder)) is False, "a folder that was named may be written to"
    state.write_bytes(whole[:100])
    assert begin(seed=9) is False, "with a damaged state nothing is lost"


def test_a_run_from_scratch_deletes_the_checkpoints_of_an_earlier_runs_phases_once_it_has_one_of_its_own(tmp_path):
    run, model, fit = start(tmp_path, "--epochs", "1")
    fit()
    later = run.path("later_checkpoint.npz")
    loop.fit(run, model, run.dataset, epochs=1, augment=None, name="later_checkpoint")
    assert later.exists() and run.path("checkpoint.npz").exists(), "a later phase leaves the first one's state alone"
    run.lock.release()
    resumed, _, fit = start(tmp_path, "--epochs", "1", "--resume")
    fit()
    assert later.exists()
    resumed.lock.release()
    again, _, fit = start(tmp_path, "--epochs", "1")
    assert later.exists(), "until then it can be gone back to"
    fit()
    assert not later.exists() and again.path("checkpoint.npz").exists()


def test_an_interrupted_run_is_resumed_by_its_own_settings_and_backend_alone_whatever_its_checkpoint_is_called(
    tmp_path, monkeypatch
):
    interrupted, model, _ = start(tmp_path, "--epochs", "1")
    loop.fit(interrupted, model, interrupted.dataset, epochs=1, augment=None, name="kernel3_checkpoint")
    interrupted.lock.release()

    def resume(*flags):
        run, _, _ = start(tmp_path, "--epochs", "1", "--resume", *flags)
        finished = run.already_finished()
        run.lock.release()
        return finished

    assert resume() is False
    with pytest.raises(UserError, match=r"kernel3_checkpoint\.npz belongs to another run: seed was 0 and is 3; "):
        resume("--seed", "3")
    monkeypatch.setattr("pipeline.train.run.keras.backend.backend", lambda: "jax")
    with pytest.raises(UserError, match="backend was 'tensorflow' and is 'jax'"):
        resume()
    assert interrupted.path("kernel3_checkpoint.npz").exists()


def test_a_run_removes_what_a_killed_one_was_writing_and_nothing_of_others(tmp_path):
    own = (
        ".tiny_metrics.json.a1.json",
        ".tiny_checkpoint.npz.a1.npz",
        ".tiny_kernel3_checkpoint.npz.a1.npz",
        ".tiny.h5.a1.h5",
    )
    others = (".tiny_gradcam.png.a1.png", ".tiny-best_metrics.json.a1.json", ".cifar100_cnn_best.h5.a1.h5")
    for name in own + others:
        (tmp_path / name).touch()
    start(tmp_path)
    assert {path.name for path in tmp_path.glob(".*")} == {*others, ".tiny_run.lock"}


def test_a_checkpoint_whose_newer_file_was_being_written_when_the_run_was_killed_is_still_there(tmp_path):
    run, _, fit = start(tmp_path, "--epochs", "2")
    fit()
    run.lock.release()
    run.path("checkpoint.npz").unlink()
    assert run.path("checkpoint.previous.npz").exists() and run.checkpoints() == {run.path("checkpoint.npz")}
    atomic_io.write_json(run.path("metrics.json"), {"config": {"seed": "of an earlier run"}})
    run.model_path.touch()
    again, _, fit_again = start(tmp_path, "--epochs", "2", "--resume")
    assert not again.already_finished(), "the metrics are of the run before"
    assert [row["epoch"] for row in fit_again()] == [1, 2]
    again.lock.release()


def test_wall_time_counts_from_the_command_line_and_not_from_an_import(tmp_path):
    """In a notebook, or for a second main() in a process, the idle time before is not the run's."""
    time.sleep(0.2)
    before = time.monotonic()
    run, _, _ = start(tmp_path)
    assert 0 < run.wall_seconds() <= time.monotonic() - before


def test_a_second_run_in_the_same_process_is_refused_until_the_first_lets_the_folder_go(tmp_path):
    first, _, _ = start(tmp_path)
    with pytest.raises(UserError, match="another run is writing"):
        start(tmp_path)
    with pytest.raises(UserError, match="another run is writing"):
        start(tmp_path)
    first.lock.release()
    start(tmp_path)[0].lock.release()


def test_the_same_data_in_another_form_are_resumed_and_other_data_are_not(tmp_path):
    run, _, fit = start(tmp_path, "--epochs", "1")
    fit()
    run.lock.release()
    again, _, fit = start(tmp_path, "--epochs", "1", "--resume")
    again.dataset = dataclasses.replace(again.dataset, sources={"unpacked.bin": "123"})
    assert again.already_finished() is False and len(fit()) == 1
    again.lock.release()
    other, _, fit = start(tmp_path, "--epochs", "1", "--resume")
    other.dataset = dataclasses.replace(other.dataset, sha256="of other images")
    with pytest.raises(UserError, match="data_sha256 was"):
        other.already_finished()


@pytest.mark.parametrize("recipe", ["fast", "baseline"])
def test_every_recipe_of_cifar100_leaves_the_model_of_its_best_validation_accuracy(tmp_path, recipe, monkeypatch):
    monkeypatch.setattr(
        cifar100_cnn, "build_model", lambda *_: cifar100_cnn.build_fast(20, widths=(8, 8, 8), inner=(8, 8, 8))
    )
    flags = ["--dataset", "synthetic", "--limit", "60", "--epochs", "1", "--batch-size", "30", "--recipe", recipe]
    flags += ["--precision", "float32", "--validation", "0.01", "--output-dir", str(tmp_path), "--tta"]
    assert cifar100_cnn.main(flags) == 0
    tta = atomic_io.read_json(tmp_path / "cifar100_metrics.json")["tta"]
    assert tta["chosen"] in tta["validation_accuracy"] and 0 <= tta["test_accuracy"] <= 1
    best = saved_model.load(tmp_path / "best_cifar100_cnn_scratch.h5")
    assert best.output_shape == (None, 20)


def test_the_transformer_trains_and_is_saved_under_its_own_name(tmp_path, monkeypatch):
    small = partial(cifar100_cnn.build_transformer, 20, filters=(8, 8, 8, 16), depth=1, heads=2)
    monkeypatch.setattr(cifar100_cnn, "build_model", lambda *_: small())
    flags = ["--dataset", "synthetic", "--limit", "60", "--epochs", "2", "--batch-size", "30", "--precision", "float32"]
    flags += ["--recipe", "transformer", "--validation", "0.01", "--output-dir", str(tmp_path)]
    assert cifar100_cnn.main(flags) == 0
    metrics = atomic_io.read_json(tmp_path / "cifar100-transformer_metrics.json")
    assert metrics["recipe"] == "transformer" and metrics["training_flops"] > 0
    assert saved_model.load(tmp_path / "cifar100_transformer.h5").input_shape == (None, 32, 32, 3)


@pytest.mark.parametrize("script", [mnist, cifar100_cnn])
def test_the_temperature_is_fitted_to_validation_images(script, tmp_path, monkeypatch):
    """Test images would leak into the finished model."""
    data = "digits" if script is mnist else "synthetic"
    flags = ["--dataset", data, "--limit", "60", "--validation", "0.05", "--epochs", "1", "--output-dir", str(tmp_path)]
    dataset, seen = datasets.split(datasets.load(data), 0.05), []
    monkeypatch.setattr(script, "build_model", lambda *_: None)
    monkeypatch.setattr(script, "compile_model" if script is mnist else "prepare_fast", lambda *_: None)
    monkeypatch.setattr(loop, "fit", lambda *_, **__: None)
    monkeypatch.setattr(recipe, "scale_temperature", lambda model, images, labels: seen.append((images, labels)))
    monkeypatch.setattr(Run, "finish", lambda *_, **__: None)
    assert script.main([*flags, "--precision", "float32"]) == 0
    np.testing.assert_array_equal(seen[0][0], dataset.x_validation)
    np.testing.assert_array_equal(seen[0][1], dataset.y_validation)


def test_a_run_that_failed_leaves_its_folder_to_the_next_one_in_the_same_process(tmp_path):
    """In a notebook the process lives on, and the last error keeps its run alive."""
    _, _, fit = start(tmp_path, "--epochs", "1")

    def stopped(images, **_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(stopped)
    resumed, _, fit = start(tmp_path, "--epochs", "1", "--resume")
    assert len(fit()) == 1
    resumed.lock.release()
    with pytest.raises(UserError, match="--devices"):
        start(tmp_path, "--devices", "0")
    start(tmp_path)[0].lock.release()


def test_of_several_hosts_the_first_saves_the_best_model_and_without_the_others(tmp_path, monkeypatch):
    run, model, _ = start(tmp_path)
    alone = []

    @contextlib.contextmanager
    def without_distribution():
        alone.append(run.hosts.index)
        yield

    monkeypatch.setattr(backend, "without_distribution", without_distribution)
    for index in (1, 0):
        assert not run.best_path.exists()
        run.hosts = dataclasses.replace(run.hosts, number=2, index=index)
        run.save_best(model)
    assert run.best_path.exists() and alone == [0]


def test_a_finished_run_leaves_its_folder_to_the_next_one(tmp_path):
    run, model, fit = start(tmp_path, "--epochs", "1", "--dry-run")
    fit()
    run.finish(model)
    assert novelty.stored(saved_model.open_model(run.model_path)), "its model has a novelty score"
    assert saved_model.metadata(run.model_path)["data_sha256"] == run.dataset.sha256
    start(tmp_path, "--epochs", "1", "--dry-run")[0].lock.release()
