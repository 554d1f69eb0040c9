"""Flags from a dataclass, and the folder a run writes to."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import cifar100_cnn
import export_model
import gradcam
import mnist_classification
import model_comparison
import resnet50_transfer_learning
from pipeline.config import flag, parse
from pipeline.errors import UserError
from pipeline.train import identity

TRAINING = (cifar100_cnn, mnist_classification, resnet50_transfer_learning)


@dataclass(frozen=True)
class Config:
    recipe: str = flag("slow", "which", choices=("slow", "fast"))
    dataset: str = flag("real", "which", choices=("real", "digits"))
    epochs: int = flag(10, minimum=1, maximum=1000)
    learning_rate: float = flag(0.5, "rate in % of something", minimum=0)
    limit: int | None = flag(None, minimum=1)
    batch_size: int = flag(256, minimum=1)
    seed: int = flag(0, minimum=0)
    precision: str = flag("auto")
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None)
    dry_run: bool = flag(False)
    resume: bool = flag(False)


RECIPES = {"slow": {}, "fast": {"epochs": 3, "learning_rate": 2.0}}


def parsed(*argv):
    return parse(Config, argv, recipes=RECIPES)


def test_without_flags_every_knob_has_its_default():
    assert parsed() == Config()


def test_a_recipe_replaces_defaults_and_a_flag_replaces_the_recipe_in_any_order():
    assert parsed("--recipe", "fast") == Config(recipe="fast", epochs=3, learning_rate=2.0)
    expected = Config(recipe="fast", epochs=7, learning_rate=2.0)
    assert parsed("--recipe", "fast", "--epochs", "7") == parsed("--epochs", "7", "--recipe", "fast") == expected


def test_a_flag_that_repeats_the_default_still_replaces_the_recipe():
    assert parsed("--recipe", "fast", "--epochs", "10").epochs == 10


def test_values_have_the_type_of_their_field():
    config = parsed("--limit", "5", "--learning-rate", "1e-3", "--resume", "--data-dir", "d")
    assert (config.limit, config.learning_rate, config.resume, config.data_dir) == (5, 0.001, True, "d")
    assert type(config.limit) is int and config.dry_run is False


def test_a_dry_run_is_one_epoch_of_small_batches():
    assert parsed("--dry-run", "--epochs", "9") == Config(epochs=1, batch_size=32, dry_run=True)
    assert parsed("--dry-run", "--batch-size", "4").batch_size == 4


@pytest.mark.parametrize(
    "argv",
    [
        ["--epoch", "3"],
        ["--epo", "3"],
        ["--dry"],
        ["--unknown"],
        ["stray"],
        ["--epochs"],
        ["--epochs", "three"],
        ["--epochs", "2.5"],
        ["--epochs", "0"],
        ["--epochs", "1001"],
        ["--limit", "0"],
        ["--seed", "-1"],
        ["--learning-rate", "-0.1"],
        ["--learning-rate", "nan"],
        ["--learning-rate", "inf"],
        ["--learning-rate", ""],
        ["--recipe", "quick"],
        ["--dataset", "imagenet"],
        ["--resume", "yes"],
    ],
    ids=" ".join,
)
def test_bad_flags_are_refused_by_name(argv):
    with pytest.raises(UserError) as refused:
        parsed(*argv)
    assert argv[0] in str(refused.value) or argv[-1] in str(refused.value)


def test_a_bound_itself_is_allowed():
    assert parsed("--epochs", "1000", "--learning-rate", "0", "--limit", "1") == Config(
        epochs=1000, learning_rate=0, limit=1
    )


def test_help_gives_every_flag_with_default_and_meaning(capsys):
    with pytest.raises(SystemExit) as end:
        parse(Config, ["--help"], recipes=RECIPES, about="What it does.\n\n    python it.py")
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "    python it.py\n" in text and "rate in % of something [0.5]" in text
    for name in vars(Config()):
        assert "--" + name.replace("_", "-") in text


@pytest.mark.parametrize("script", [*TRAINING, model_comparison, export_model, gradcam])
def test_the_help_of_every_script_can_be_printed(script, capsys):
    with pytest.raises(SystemExit) as end:
        script.main(["--help"])
    assert end.value.code == 0 and "--output-dir" in capsys.readouterr().out


@pytest.mark.parametrize("script", TRAINING)
def test_every_recipe_of_every_script_can_be_chosen_and_sets_only_knobs_there_are(script):
    defaults = script.Config()
    assert parse(script.Config, [], recipes=script.RECIPES) == replace(defaults, **script.RECIPES[defaults.recipe])
    for name, values in script.RECIPES.items():
        config = parse(script.Config, ["--recipe", name], recipes=script.RECIPES)
        assert config == replace(defaults, recipe=name, **values)
    with pytest.raises(UserError):
        parse(script.Config, ["--recipe", "none such"], recipes=script.RECIPES)


@pytest.mark.parametrize("argv", ["--model m.h5 a.png b.png", "a.png b.png --model m.h5", "a.png --model m.h5 b.png"])
def test_pictures_may_stand_anywhere_among_the_flags(argv):
    config = parse(gradcam.Config, argv.split())
    assert list(config.images) == ["a.png", "b.png"] and config.model == "m.h5"


def test_own_pictures_without_a_model_are_bad_input():
    with pytest.raises(UserError, match="--model"):
        gradcam.main(["a.png"])


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
        ("--epochs 4", "output/runs/cnn-slow-seed0"),
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
        return identity.output_folder(parse(script.Config, argv, recipes=script.RECIPES), "x")

    assert folder() == Path("output")
    embedded = "synthetic" if script is cifar100_cnn else "digits"
    assert folder("--dataset", embedded) == folder("--limit", "99") == folder("--dry-run") == Path("output/demo")
    assert folder("--learning-rate", "0.0123").parent == Path("output/runs")


def test_recipe_best_of_cifar100_goes_where_its_files_are_named_after_it():
    config = parse(cifar100_cnn.Config, ["--recipe", "best", "--seed", "2"], recipes=cifar100_cnn.RECIPES)
    folder = identity.output_folder(config, "cifar100-best")
    assert folder == Path("output/runs/cifar100-best-seed2")


def test_a_random_start_does_not_replace_the_pretrained_model():
    def folder(weights):
        config = resnet50_transfer_learning.Config(weights=weights)
        return identity.output_folder(config, "resnet50")

    assert folder("imagenet") == folder("some.h5") == Path("output")
    assert folder("none") == Path("output/runs/resnet50-default-seed0")


def test_what_is_recorded_names_every_knob_of_the_result_and_no_folder(tmp_path):
    config = parsed("--data-dir", str(tmp_path), "--output-dir", str(tmp_path), "--seed", "4", "--resume")
    settings = identity.recorded(config)
    assert str(tmp_path) not in str(settings)
    assert set(vars(Config())) - set(settings) == {"data_dir", "output_dir", "resume"}
    assert settings["seed"] == 4
    with_weights = resnet50_transfer_learning.Config(weights=str(tmp_path / "some.h5"))
    assert identity.recorded(with_weights)["weights"] == "some.h5"
