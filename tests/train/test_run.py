"""A run's folder: what a later run leaves alone there, refuses, or removes."""

import dataclasses

import pytest
from tiny_run import start

import mnist_classification as mnist
from pipeline import atomic_io, config
from pipeline.config import parse
from pipeline.data import datasets
from pipeline.errors import UserError
from pipeline.train import loop
from pipeline.train.run import Run


def test_a_finished_run_in_the_folder_of_its_recipe_and_seed_is_not_replaced_by_other_settings(tmp_path, monkeypatch):
    """Nobody named that folder, so nobody meant to lose what it holds."""
    folder = tmp_path / "runs" / "tiny-default-seed0"
    monkeypatch.setattr(config, "output_folder", lambda *_: folder)

    def begin(*flags):
        config = parse(mnist.Config, ["--dataset", "digits", "--precision", "float32", *flags])
        run = Run("tiny", "tiny.h5", "Tiny CNN", config, datasets.prepare(config))
        return run, run.already_finished()

    first, finished = begin()
    assert not finished
    atomic_io.write_json(first.path("metrics.json"), {"config": first.settings})
    first.model_path.touch()
    first.lock.release()
    whole = first.path("metrics.json").read_text()
    first.path("metrics.json").write_text(whole[:10])  # half a copy
    with pytest.raises(UserError, match="is damaged"):
        begin("--resume")
    first.path("metrics.json").write_text(whole)
    for flags in (["--epochs", "3"], ["--epochs", "3", "--resume"]):
        with pytest.raises(UserError, match=r"epochs was 20 and is 3; .*another --output-dir"):
            begin(*flags)
    again, finished = begin()
    assert not finished, "the same settings may run anew"
    again.lock.release()
    assert begin("--resume")[1]
    chosen, finished = begin("--epochs", "3", "--output-dir", str(folder))
    assert not finished, "a folder that was named may be written to"
    chosen.lock.release()


def test_an_interrupted_run_in_the_folder_of_its_recipe_and_seed_is_not_overwritten_by_other_settings(
    tmp_path, monkeypatch
):
    folder = tmp_path / "runs" / "tiny-default-seed0"
    interrupted, _, fit = start(folder, "--epochs", "1")
    fit()
    interrupted.lock.release()
    state = interrupted.path("checkpoint.npz")
    whole = state.read_bytes()
    monkeypatch.setattr(config, "output_folder", lambda *_: folder)

    def begin(output_dir=None, **changed):
        config = dataclasses.replace(interrupted.config, output_dir=output_dir, **changed)
        run = Run("tiny", "tiny.h5", "Tiny CNN", config, interrupted.dataset)
        finished = run.already_finished()
        run.lock.release()
        return finished

    with pytest.raises(UserError, match=r"state\.npz belongs to another run: seed was .* and is 9; .*--output-dir"):
        begin(seed=9)
    assert state.read_bytes() == whole
    assert begin() is False, "the same settings may begin anew"
    assert begin(seed=9, output_dir=str(folder)) is False, "a folder that was named may be written to"
    state.write_bytes(whole[:100])
    assert begin(seed=9) is False, "with a damaged state nothing is lost"


def test_a_run_begun_anew_deletes_the_states_of_an_earlier_runs_phases_once_it_has_one_of_its_own(tmp_path):
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
    anew, _, fit = start(tmp_path, "--epochs", "1")
    assert later.exists(), "until then it can be gone back to"
    fit()
    assert not later.exists() and anew.path("checkpoint.npz").exists()


def test_an_interrupted_run_is_resumed_by_its_own_settings_and_backend_alone_whatever_its_state_is_called(
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
    with pytest.raises(UserError, match=r"kernel3_state\.npz belongs to another run: seed was 0 and is 3; "):
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
    assert {path.name for path in tmp_path.glob(".*")} == set(others)


def test_a_state_whose_newer_file_was_being_written_when_the_run_was_killed_is_still_there(tmp_path):
    run, _, fit = start(tmp_path, "--epochs", "2")
    fit()
    run.lock.release()
    run.path("checkpoint.npz").unlink()
    assert run.path("checkpoint.previous.npz").exists() and run.states() == {run.path("checkpoint.npz")}
    atomic_io.write_json(run.path("metrics.json"), {"config": {"seed": "of an earlier run"}})
    run.model_path.touch()
    again, _, fit_again = start(tmp_path, "--epochs", "2", "--resume")
    assert not again.already_finished(), "the metrics are of the run before"
    assert [row["epoch"] for row in fit_again()] == [1, 2]
    again.lock.release()
