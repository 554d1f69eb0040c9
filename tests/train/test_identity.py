"""What a run is recorded as, how it is told, and the folder named after it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

import cifar100_cnn
import mnist_classification
import resnet50_transfer_learning
from pipeline.config import RunConfig, flag, parse
from pipeline.train import identity

TRAINING = (cifar100_cnn, mnist_classification, resnet50_transfer_learning)


@dataclass(frozen=True)
class Config(RunConfig):
    recipes: ClassVar = {"slow": {}, "fast": {"epochs": 3, "learning_rate": 2.0}}

    recipe: str = flag("slow", "which", choices=("slow", "fast"))
    dataset: str = flag("real", "which", choices=("real", "digits"))
    epochs: int = flag(10, minimum=1)
    learning_rate: float = flag(0.5, "rate", minimum=0)
    weights: str = flag("none", "file", file=True)


def parsed(*argv):
    return parse(Config, argv)


@pytest.mark.parametrize(
    ("argv", "folder"),
    [
        ("", "output"),
        ("--seed 0 --epochs 10 --recipe slow", "output"),
        ("--resume --precision float32 --data-dir d", "output"),
        ("--dataset digits", "output/demo"),
        ("--limit 100", "output/demo"),
        ("--dry-run", "output/demo"),
        ("--dataset digits --recipe fast --seed 3", "output/demo"),
        ("--seed 3", "output/runs/cnn-slow-seed3"),
        ("--epochs 4", "output/runs/cnn-slow-epochs=4-seed0"),
        ("--epochs 4 --learning-rate 0.25 --seed 1", "output/runs/cnn-slow-epochs=4-learning_rate=0.25-seed1"),
        ("--recipe fast --epochs 4", "output/runs/cnn-fast-epochs=4-seed0"),
        ("--recipe fast --epochs 3 --precision float32", "output/runs/cnn-fast-seed0"),
        ("--weights some/where/a.h5", "output"),
        ("--weights some/where/a.h5 --seed 1", "output/runs/cnn-slow-weights=a.h5-seed1"),
        ("--recipe fast", "output/runs/cnn-fast-seed0"),
        ("--recipe fast --seed 2 --resume", "output/runs/cnn-fast-seed2"),
        ("--output-dir here", "here"),
        ("--output-dir here --dry-run --seed 5 --dataset digits", "here"),
    ],
)
def test_only_full_default_runs_on_real_data_write_to_output_itself(argv, folder):
    assert identity.output_folder(parsed(*argv.split()), "cnn") == Path(folder)


@pytest.mark.parametrize("script", TRAINING)
def test_a_trial_of_any_script_stays_out_of_output_itself(script):
    def folder(*argv):
        return identity.output_folder(parse(script.Config, argv), "x")

    assert folder() == Path("output")
    embedded = "synthetic" if script is cifar100_cnn else "digits"
    assert folder("--dataset", embedded) == folder("--limit", "99") == folder("--dry-run") == Path("output/demo")
    assert folder("--learning-rate", "0.0123").parent == Path("output/runs")


def test_recipe_best_of_cifar100_goes_where_its_files_are_named_after_it():
    config = parse(cifar100_cnn.Config, ["--recipe", "best", "--seed", "2"])
    folder = identity.output_folder(config, "cifar100-best")
    assert folder == Path("output/runs/cifar100-best-seed2")


def test_a_random_initialization_does_not_replace_the_pretrained_model():
    def folder(weights):
        config = parse(resnet50_transfer_learning.Config, ["--weights", weights])
        return identity.output_folder(config, "resnet50")

    assert folder("imagenet") == folder("any/some.h5") == Path("output")
    assert folder("none") == Path("output/runs/resnet50-default-weights=none-seed0")


def test_every_setting_gives_a_folder_of_its_own_however_many_there_are():
    many = ["--epochs", "12345678", "--learning-rate", "0.123456789", "--validation", "0.123456789", "--batch-size"]
    many = [*many, "12345678", "--weights"]
    one, other = (identity.output_folder(parsed(*many, f"a_rather_long_name_of_weights_{n}.h5"), "cnn") for n in (1, 2))
    assert one != other and max(len(folder.name) for folder in (one, other)) < 100
    assert one == identity.output_folder(parsed(*many, "a_rather_long_name_of_weights_1.h5"), "cnn")


def test_a_run_is_told_by_its_recipe_and_what_differs_from_it():
    assert identity.label(parsed("--recipe", "fast", "--seed", "3")) == "fast"
    assert identity.label(parsed("--recipe", "fast", "--epochs", "4")) == "fast (epochs=4)"


def test_differences_name_every_setting_that_is_not_in_both():
    assert identity.differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 0}) == {
        "b": "was 2 and is 3",
        "c": "was None and is 0",
    }


def test_what_is_recorded_names_every_setting_of_the_result_and_no_folder(tmp_path):
    config = parsed("--data-dir", str(tmp_path), "--output-dir", str(tmp_path), "--seed", "4", "--resume")
    settings = identity.recorded(config)
    assert str(tmp_path) not in str(settings)
    machine = {"data_dir", "output_dir", "resume", "devices", "deterministic", "tensorboard"}
    assert set(vars(Config())) - set(settings) == {*machine, "hosts", "host", "started"}
    assert settings["seed"] == 4
    with_weights = resnet50_transfer_learning.Config(weights=str(tmp_path / "some.h5"))
    assert identity.recorded(with_weights)["weights"] == "some.h5"
