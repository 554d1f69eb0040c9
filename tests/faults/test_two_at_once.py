"""Two things at once: nothing is mixed, nothing crashes, and no lock outlives its process."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import page_folder
import pytest
from conftest import PROJECT
from processes import finish, history, leftovers, model_digest, python, start, until
from tiny_run import finished_run

from pipeline import atomic_io
from pipeline.errors import UserError
from pipeline.models import saved_model
from ui import answers

HOLDER = """
import sys
from pathlib import Path
from pipeline import atomic_io
held = atomic_io.lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def save(path, digits, names, title):
    """A trained model with these class names."""
    about = {"title": title, "dataset": "digits", "class_names": names, "prefix": "custom_cnn"}
    saved_model.save(page_folder.train(digits), path, image_shape=(28, 28, 1), **about)


@pytest.fixture(scope="module")
def two_models(digits, tmp_path_factory):
    """Two files of one network; the second calls its classes otherwise."""
    folder = tmp_path_factory.mktemp("two")
    save(folder / "old.h5", digits, list("0123456789"), "Old")
    save(folder / "new.h5", digits, page_folder.WORDS, "New one")
    return folder / "old.h5", folder / "new.h5"


def copy(source, target):
    """As a training replaces its model: whole, and by its name."""
    with atomic_io.replacing(target) as temporary:
        temporary.write_bytes(source.read_bytes())


def test_a_model_replaced_while_it_is_opened_is_all_old_or_all_new(two_models, tmp_path, monkeypatch, tried):
    old, new = two_models
    path, load, replaced = tmp_path / "model.h5", saved_model.load, []
    copy(old, path)

    def slow(*args):
        model = load(*args)
        if not replaced:
            replaced.append(copy(new, path))
        return model

    monkeypatch.setattr(saved_model, "load", slow)
    saved = saved_model.open_model(path)
    assert replaced and saved.metadata["title"] == "New one" and saved.sha256 == atomic_io.sha256(path)
    assert saved_model.open_model(path) is saved, "it is opened once"
    tried("a model's file replaced while it is opened", times=1, mixtures=0)


def test_the_page_answers_by_the_new_model_after_a_retraining(two_models, tmp_path, pictures, tried):
    old, new = two_models
    path, said = tmp_path / "model.h5", []
    for source in (old, new, old, new):
        copy(source, path)
        answer = answers.answer(path, pictures[0])
        said.append((answer.title, answer.class_names[0]))
    assert said == [("Old", "0"), ("New one", "zero")] * 2
    path.unlink()
    with pytest.raises(UserError, match="no longer there"):
        answers.answer(path, pictures[0])
    tried("a model's file replaced while the page serves it", times=4, answers_by_the_file_that_was_there=4)


@pytest.mark.parametrize("killed", [True, False])
def test_a_lock_ends_with_its_process_however_it_ends(tmp_path, killed):
    path = tmp_path / ".run.lock"
    holder = python("-c", HOLDER, path)
    until(holder, "held")
    with pytest.raises(UserError, match="another run is writing"):
        atomic_io.lock(path)
    if killed:
        holder.kill()
    holder.communicate(timeout=30)
    assert path.exists()
    atomic_io.lock(path).release()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_lock_file_of_another_user_locks_nothing_by_being_there(tmp_path):
    path = tmp_path / ".run.lock"
    atomic_io.lock(path).release()
    assert path.stat().st_mode & 0o666 == 0o666, "whoever may write to the folder may lock it"
    atomic_io.lock(path).release()


@pytest.mark.long
def test_two_runs_in_two_folders(tmp_path, tried):
    two = [start(tmp_path / name, "--epochs", "5") for name in "ab"]
    assert [finish(run)[0] for run in two] == [0, 0]
    assert model_digest(tmp_path / "a") == model_digest(tmp_path / "b")
    tried("two runs at once in two folders", times=2, mixtures=0)


@pytest.mark.long
def test_the_page_answers_while_its_model_is_exported(two_models, tmp_path, pictures, tried):
    path = tmp_path / "model.h5"
    copy(two_models[0], path)
    before = answers.answer(path, pictures[0])
    export, said = python("export_model.py", path, "--format", "onnx"), []
    while export.poll() is None or not said:
        said.append(answers.answer(path, pictures[0]))
    code, _, err = finish(export)
    assert code == 0, err
    said.append(answers.answer(path, pictures[0]))
    for answer in said:
        assert answer.title == before.title
        np.testing.assert_allclose(answer.probabilities, before.probabilities, atol=1e-4)
    tried("the page asked during an export of its model", times=len(said), other_answers=0)


@pytest.mark.long
def test_a_report_is_made_during_a_training(tmp_path, tried):
    shutil.copy(PROJECT / "README.md", tmp_path)
    shutil.copytree(
        PROJECT / "output", tmp_path / "output", ignore=shutil.ignore_patterns("*.png", "*.h5", "demo", "runs")
    )
    training = start(tmp_path / "output", "--epochs", "10")
    reports = 0
    until(training, "1/10")
    while training.poll() is None:
        report = [sys.executable, "-m", "pipeline.report"]
        done = subprocess.run(report, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(PROJECT)}, capture_output=True)
        assert done.returncode == 0, done.stderr
        reports += 1
    code, _, err = finish(training)
    assert code == 0, err
    assert reports and not leftovers(tmp_path / "output")
    tried("the report made during a training in its folder", times=reports, failed=0)


@pytest.mark.long
def test_two_collections_at_once_write_whole_files(tmp_path, tried):
    for seed in range(3):
        finished_run(tmp_path / "runs" / str(seed), "fast", 0.8 + seed / 100, 0.7, seed)
    for _ in range(3):
        two = [python("collect_results.py", "--output-dir", tmp_path) for _ in range(2)]
        for code, _, err in map(finish, two):
            assert (code, err) == (0, "")
        results = json.loads((tmp_path / "cifar100_results.json").read_text())["results"]
        assert results[0]["test_accuracy"]["n"] == 3
        assert not leftovers(tmp_path)
    tried("two collections of results at once", times=3, whole_files=3)


@pytest.mark.long
def test_a_comparison_and_an_analysis_during_a_training_in_their_folder(tmp_path, tried):
    assert finish(start(tmp_path, "--epochs", "1"))[0] == 0
    training = start(tmp_path, "--epochs", "5000")
    until(training, "1/5000")
    for words in (("model_comparison.py", "--rounds", "1"), ("error_analysis.py",)):
        code, _, err = finish(python(*words, "--output-dir", tmp_path))
        assert (code, err) == (0, "")
    assert training.poll() is None, "nobody disturbed it"
    training.kill()
    training.communicate()
    code, _, err = finish(start(tmp_path, "--epochs", "2"))
    assert (code, err) == (0, "") and len(history(tmp_path)) == 2
    tried("a comparison and an error analysis during a training in the same folder", times=2, disturbed=0)
