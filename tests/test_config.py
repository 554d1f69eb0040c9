"""Flags from a dataclass, and the folder a run writes to."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

import cifar100_cnn
import export_model
import gradcam
import import_model
import mnist_classification
import model_comparison
import resnet50_transfer_learning
from pipeline.config import RunConfig, flag, parse, settings_of
from pipeline.errors import UserError

TRAINING = (cifar100_cnn, mnist_classification, resnet50_transfer_learning)


RECIPES = {"slow": {}, "fast": {"epochs": 3, "learning_rate": 2.0}}


@dataclass(frozen=True)
class Config(RunConfig):
    recipes: ClassVar = RECIPES

    recipe: str = flag("slow", "which", choices=("slow", "fast"))
    dataset: str = flag("real", "which", choices=("real", "digits"))
    epochs: int = flag(10, minimum=1, maximum=1000)
    learning_rate: float = flag(0.5, "rate in % of something", minimum=0)
    pool: bool = flag(True, "a switch that is on")


def parsed(*argv):
    return parse(Config, argv)


def test_without_flags_every_setting_has_its_default():
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
        parse(Config, ["--help"], about="What it does.\n\n    python it.py")
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "    python it.py\n" in text and "rate in % of something [0.5]" in text
    for name in (field.name for field in settings_of(Config)):
        assert "--" + name.replace("_", "-") in text


@pytest.mark.parametrize("script", [*TRAINING, model_comparison, export_model, gradcam])
def test_the_help_of_every_script_can_be_printed(script, capsys):
    with pytest.raises(SystemExit) as end:
        script.main(["--help"])
    assert end.value.code == 0 and "--output-dir" in capsys.readouterr().out


@pytest.mark.parametrize("script", TRAINING)
def test_every_recipe_of_every_script_can_be_chosen_and_sets_only_settings_there_are(script):
    defaults = script.Config()
    assert parse(script.Config, []) == replace(defaults, **script.Config.recipes[defaults.recipe])
    for name, values in script.Config.recipes.items():
        config = parse(script.Config, ["--recipe", name])
        assert config == replace(defaults, recipe=name, **values)
    with pytest.raises(UserError):
        parse(script.Config, ["--recipe", "none such"])


@pytest.mark.parametrize(
    "argv", ["--layer x m.h5 a.png b.png", "m.h5 a.png b.png --layer x", "m.h5 a.png --layer x b.png"]
)
def test_pictures_may_stand_anywhere_among_the_flags(argv):
    config = parse(gradcam.Config, argv.split())
    assert list(config.images) == ["a.png", "b.png"] and config.model == "m.h5"


def test_own_pictures_without_a_model_are_bad_input():
    with pytest.raises(UserError, match=r"a\.png is no \.h5 file"):
        gradcam.main(["a.png"])


def test_a_value_may_begin_with_a_minus():
    assert parse(import_model.Config, ["m.h5", "--pixels", "-1..1"]).pixels == "-1..1"


def test_a_switch_can_be_turned_off_and_the_last_word_counts():
    assert parsed().pool is True and parsed("--no-pool").pool is False
    assert parsed("--no-pool", "--pool").pool is True


def test_a_flag_close_to_a_known_one_is_named():
    with pytest.raises(UserError, match=r"did you mean --learning-rate\?"):
        parsed("--learning_rate", "0.1")
    with pytest.raises(UserError) as refused:
        parsed("--zzz")
    assert "did you mean" not in str(refused.value)


def test_a_run_is_repeated_by_the_settings_that_it_recorded(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"config": {"recipe": "fast", "epochs": 4, "seed": 7, "precision": "float32"}}))
    expected = Config(recipe="fast", epochs=4, seed=7, precision="float32", learning_rate=2.0)
    assert parsed("--config", str(path)) == expected
    assert parsed("--config", str(path), "--seed", "1") == replace(expected, seed=1)
    path.write_text(json.dumps({"config": {"filters": 3}}))
    with pytest.raises(UserError, match=r"another script, with settings that this one lacks: filters"):
        parsed("--config", str(path))
    for content in ("{", "[]", '{"seed": 0}'):
        path.write_text(content)
        with pytest.raises(UserError, match=r"metrics\.json is no metrics\.json of a run"):
            parsed("--config", str(path))


def test_what_brings_settings_of_its_own_is_refused_beside_those_of_a_recorded_run(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"config": {"recipe": "slow", "epochs": 4, "start_from": None}}))
    assert parsed("--config", str(path), "--recipe", "slow").epochs == 4
    for flags in (["--recipe", "fast"], ["--start-from", "a/b.h5"]):
        with pytest.raises(UserError, match=f"{flags[0]} {flags[1]} brings settings of its own.*take either"):
            parsed("--config", str(path), *flags)
    path.write_text(json.dumps({"config": {"recipe": "slow", "epochs": 4, "start_from": "b.h5"}}))
    assert parsed("--config", str(path), "--start-from", "a/b.h5").epochs == 4, "a run records the name alone"
    path.write_text(json.dumps({"config": {"weights": "imagenet", "epochs": 8}}))
    with pytest.raises(UserError, match="--weights none brings settings of its own"):
        parse(resnet50_transfer_learning.Config, ["--config", str(path), "--weights", "none"])


def test_no_epochs_are_refused_in_a_dry_run_too():
    with pytest.raises(UserError, match="--epochs must be at least 1"):
        parsed("--epochs", "0", "--dry-run")


def test_a_dry_run_of_resnet50_goes_through_every_phase():
    config = parse(resnet50_transfer_learning.Config, ["--dry-run"])
    assert (config.head_epochs, config.epochs, config.upper_epochs) == (1, 2, 1)
