"""Command-line flags from a frozen dataclass, and the folder that a run writes to."""

import argparse
import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import BadInput

EMBEDDED = ("digits", "shapes")

# Flags that mean the same in every script, so each Config only lists them.
COMMON_HELP = {
    "data_dir": "folder with mnist.npz or cifar-100-binary.tar.gz; else $DATA_DIR, else data/",
    "output_dir": "folder for results; else output/ for full runs of the default recipe on real "
    "data, output/demo/ for embedded data and trials, output/runs/ for other settings",
    "seed": "random seed of weights, order, augmentation and dropout",
    "epochs": "passes over the training images, at most",
    "batch_size": "images per training step",
    "limit": "use only so many training images; default: all",
    "precision": "arithmetic; auto: bfloat16 where the hardware has it, else float32",
    "devices": "number of devices to share each batch out to, or all; more than one needs KERAS_BACKEND=jax",
    "deterministic": "ask for the same numbers in every run on a GPU too, slower; on a CPU they are anyway",
    "dry_run": "a few batches through the whole path, to see that it works",
    "resume": "go on where an interrupted run stopped",
}
# How and where a run is done, not what it computes: not recorded as its settings.
MACHINE = {"data_dir", "output_dir", "resume", "tta", "devices", "deterministic"}
LARGEST = 10**9  # of a number without a bound of its own; beyond it arithmetic itself fails


def flag(default, help: str | None = None, *, choices=(), minimum=None, maximum=None, positional: str | None = None):
    """A dataclass field with what its command-line flag needs.

    Args:
        default: value without the flag.
        help: explanation with the unit; common flags take theirs from COMMON_HELP.
        choices: allowed values, if only some are.
        minimum, maximum: allowed range of a number.
        positional: name in the help of a field that is given without a flag: once, or any number
            of times where the field is a tuple.
    """
    metadata = {"help": help, "choices": choices, "minimum": minimum, "maximum": maximum, "positional": positional}
    return dataclasses.field(default=default, metadata=metadata)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise BadInput(f"{message} (see --help)")


def _value_type(annotation):
    """int for `int | None`, str for `tuple[str, ...]`, else the annotation itself."""
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0]
    if isinstance(annotation, types.UnionType):
        return next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return annotation


def parse(config_class, argv: Sequence[str] | None = None, *, recipes: Mapping[str, Mapping] | None = None, about=""):
    """Build a Config from the command line.

    A recipe's values replace the dataclass' defaults; a flag that is given replaces both.

    Args:
        config_class: frozen dataclass; its fields become flags.
        argv: arguments without the program's name; None takes sys.argv.
        recipes: recipe name -> field values, chosen by --recipe.
        about: the script's docstring, for --help.
    Raises:
        BadInput: unknown flag, value of the wrong type or out of range.
    """
    parser = _Parser(description=about, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    hints = typing.get_type_hints(config_class)
    fields = dataclasses.fields(config_class)
    for field in fields:
        text = field.metadata["help"] or COMMON_HELP[field.name]
        name = "--" + field.name.replace("_", "-")
        kind = _value_type(hints[field.name])
        if field.metadata["positional"]:
            many = {"nargs": "*"} if typing.get_origin(hints[field.name]) is tuple else {}
            parser.add_argument(field.name, metavar=field.metadata["positional"], help=text, **many)
        elif kind is bool:
            parser.add_argument(name, action="store_true", default=argparse.SUPPRESS, help=text)
        else:
            shown = "" if field.default is None else f" [{field.default}]"
            parser.add_argument(
                name,
                type=kind,
                choices=field.metadata["choices"] or None,
                default=argparse.SUPPRESS,
                metavar=None if field.metadata["choices"] else kind.__name__.upper(),
                help=(text + shown).replace("%", "%%"),
            )
    given = vars(parser.parse_intermixed_args(argv))
    recipe = (recipes or {}).get(given.get("recipe", getattr(config_class, "recipe", None)), {})
    config = config_class(**{**recipe, **given})
    if getattr(config, "dry_run", False) and hasattr(config, "epochs"):
        config = dataclasses.replace(config, epochs=1, batch_size=min(config.batch_size, 32))
    for field in fields:
        _check_range(field, getattr(config, field.name))
    return config


def _check_range(field: dataclasses.Field, value) -> None:
    name, low, high = "--" + field.name.replace("_", "-"), field.metadata["minimum"], field.metadata["maximum"]
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInput(f"{name} must be a finite number, got {value}")
    if low is not None and value is not None and value < low:
        raise BadInput(f"{name} must be at least {low}, got {value}")
    if high is not None and value is not None and value > high:
        raise BadInput(f"{name} must be at most {high}, got {value}")
    if isinstance(value, (int, float)) and abs(value) > max(high or 0, LARGEST):
        raise BadInput(f"{name} must be at most {LARGEST}, got {value}")
    if isinstance(value, str) and "\0" in value:
        raise BadInput(f"{name} holds a null character")


def recipe_name(config) -> str:
    """The recipe; with "-fine" or "-ensemble3" where those are used, since their figures stand apart."""
    members = getattr(config, "ensemble", 1)
    fine = "-fine" if getattr(config, "labels", "coarse") == "fine" else ""
    return config.recipe + fine + (f"-ensemble{members}" if members > 1 else "")


def output_folder(config, prefix: str) -> Path:
    """Where a training run writes, so that trials never replace the results in output/."""
    if config.output_dir:
        return Path(config.output_dir)
    if config.dataset in EMBEDDED or config.limit or config.dry_run:
        return Path("output/demo")
    mine, usual = dataclasses.asdict(config), dataclasses.asdict(type(config)())
    same = MACHINE | {"precision"}
    if mine.get("weights") != "none":  # another file of them is another place; a random start is another network
        same |= {"weights"}
    if any(mine[name] != usual[name] for name in mine.keys() - same):
        family = prefix.removesuffix(f"-{config.recipe}")
        return Path(f"output/runs/{family}-{recipe_name(config)}-seed{config.seed}")
    return Path("output")


def recorded(config) -> dict:
    """Every knob that shapes a result; files by name, no folders (they are the machine's, not the run's)."""
    knobs = {name: Path(value).name if name == "weights" else value for name, value in vars(config).items()}
    return {name: value for name, value in knobs.items() if name not in MACHINE}


def changed(then: dict, now: dict, usual: dict) -> dict[str, str]:
    """Knob -> "was … and is …", for those in which a recorded config differs from another one.

    A knob that is newer than the recorded config was at its `usual` value; one that is gone since counts unless
    it was off (0, False, None).
    """
    then = usual | then
    differ = [name for name in now if then.get(name) != now[name]]
    gone = [name for name in then.keys() - now.keys() if then[name]]
    return {name: f"was {then.get(name)!r} and is {now.get(name)!r}" for name in sorted([*differ, *gone])}
