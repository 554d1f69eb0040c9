"""What travels with a plan to the nodes of a Ray cluster."""

from pathlib import Path

import pytest

from pipeline import backend, errors
from pipeline.data import sources
from plan import staging
from plan.tasks import Task


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
    assert staging.stage([task], staged)
    assert (staged / "data" / "mnist.npz").read_bytes() == b"images"
    words = staging.command_there(task)
    assert words[:2] == ["resnet50_transfer_learning.py", "--weights"] and words[3:] == ["--resume"]
    assert (staged / words[2]).read_bytes() == b"weights"
    assert (staged / "COMMIT").read_text() == backend.commit()
    assert (staged / "pipeline" / "train" / "loop.py").is_file() and not (staged / "output").exists()
    monkeypatch.setattr(staging, "SHIPPED", 3)
    assert not staging.stage([task], tmp_path / "again")
    assert not (tmp_path / "again" / "data").exists(), "too large: the nodes look for it themselves"
    assert staging.command_there(task)[2] == str(weights), "too large: it has to be there"
    monkeypatch.setattr(staging, "LARGEST", 3)
    with pytest.raises(errors.UserError, match="more than Ray sends"):
        staging.stage([task], tmp_path / "third")


def test_files_of_the_same_name_from_two_folders_stay_two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    words = ("a/model.h5", "b/model.h5", "x/photos", "y/photos/", "y/photos/../photos")
    for word in words[:4]:
        Path(word).parent.mkdir(exist_ok=True)
        if "photos" in word:
            Path(word).mkdir()
        (Path(word, "0.png") if "photos" in word else Path(word)).write_text(word)
    for name in ("mnist", "fashion-mnist"):
        Path(name).mkdir()
        for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            Path(name, f"{part}-ubyte").write_text(name)
    plan = [
        Task(word, ("mnist_classification.py", "--some-flag", word), "run", tmp_path / word, datasets=(name,))
        for word, name in zip(words, ("mnist", "fashion-mnist", "digits", "digits", "digits"), strict=True)
    ]
    staged = tmp_path / "staged"
    assert staging.stage(plan, staged)
    places = [staging.command_there(task)[-1] for task in plan]
    assert [Path(place).name for place in places] == ["model.h5"] * 2 + ["photos"] * 3
    for word, place in zip(words[:4], places[:4], strict=True):
        found = staged / place
        assert (found / "0.png" if found.is_dir() else found).read_text() == word
        assert found.is_file() or len(list(found.iterdir())) == 1
    assert places[4] == places[3]
    for name in ("mnist", "fashion-mnist"):
        files = sources.files_of(name, [staged / "data"])
        assert len(files) == 4 and {file.read_text() for file in files} == {name}


def test_a_data_set_that_is_missing_or_too_large_keeps_no_other_from_travelling(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    (data / "mnist.npz").write_bytes(b"images")
    (data / "cifar-100-python.tar.gz").write_bytes(b"more images")
    monkeypatch.setenv("DATA_DIR", str(data))
    names = ("mnist", "fashion-mnist", "cifar100", "digits")
    plan = [Task(name, ("sweep.py",), "run", tmp_path, datasets=(name,)) for name in names]
    plan.append(Task("both", ("sweep.py",), "run", tmp_path, datasets=("mnist", "fashion-mnist")))
    shipped = staging.stage(plan, tmp_path / "staged")
    assert shipped == {"mnist", "cifar100"}
    assert {path.name for path in (tmp_path / "staged" / "data").iterdir()} == {"mnist.npz", "cifar-100-python.tar.gz"}
    assert [staging.travels(task, shipped) for task in plan] == [True, False, True, False, False]
    monkeypatch.setattr(staging, "SHIPPED", 10)
    assert staging.stage(plan, tmp_path / "again") == {"mnist"}
