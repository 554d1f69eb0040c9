"""Command-line flags from a frozen dataclass, and the settings that every training run has."""

import argparse
import dataclasses
import difflib
import json
import math
import re
import time
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.registry import SOURCES
from pipeline.errors import DEBUG, UserError

LARGEST = 10**9  # of a number without a bound of its own; beyond it arithmetic itself fails


def flag(
    default,
    help: str | None = None,
    *,
    choices=(),
    minimum=None,
    maximum=None,
    positional: str | None = None,
    recorded: bool = True,
    file: bool = False,
):
    """A dataclass field with what its command-line flag needs.

    Args:
        default: value without the flag.
        help: explanation with the unit; None takes that of RunConfig's field of the same name.
        choices: allowed values, if only some are.
        minimum, maximum: allowed range of a number.
        positional: name in the help of a field that is given without a flag: once, at most once where the default is
            None, or any number of times where the field is a tuple.
        recorded: whether it shapes a result; False for how and where a run is done.
        file: whether it names a file, which is recorded without its folder.
    """
    metadata = {"help": help, "choices": choices, "minimum": minimum, "maximum": maximum}
    metadata |= {"positional": positional, "recorded": recorded, "file": file}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class RunConfig:
    """Settings of every training run; a script's Config adds its own and may change a default.

    recipes: recipe name -> the values that it gives to fields; a flag replaces them.
    dry_run_values: what --dry-run sets, whatever else is asked for.
    fine_tuning_values: what --start-from gives to fields on top of the recipe; a flag replaces them.
    random_values: the same of --weights none, in the script that has that flag.
    not_beside_start_from: fields without effect beside --start-from, mostly because its model brings the network.
    started: time.monotonic() when the command line was read, from which a run's wall time counts.
    """

    recipes: typing.ClassVar[Mapping[str, Mapping]] = {"default": {}}
    dry_run_values: typing.ClassVar[Mapping] = {"epochs": 1}
    fine_tuning_values: typing.ClassVar[Mapping] = {"epochs": 30, "batch_size": 32, "learning_rate": 1e-3}
    random_values: typing.ClassVar[Mapping] = {}
    not_beside_start_from: typing.ClassVar[Sequence[str]] = ()
    started: float = dataclasses.field(default_factory=time.monotonic, init=False, repr=False, compare=False)

    recipe: str = flag("default", "named set of values for the other flags", choices=("default",))
    dataset: str = flag(
        "mnist",
        f"{', '.join(SOURCES)}; or the path of your own: a folder of pictures by class, an .npz file, or a folder with "
        "IDX or CSV files",
    )
    epochs: int = flag(10, "passes over the training images, at most", minimum=1)
    batch_size: int = flag(256, "images per training step", minimum=1)
    validation: float = flag(0.1, "fraction of the training images held out for validation", minimum=0.01, maximum=0.9)
    seed: int = flag(0, "random seed of weights, order, augmentation and dropout", minimum=0, maximum=2**32 - 1)
    limit: int | None = flag(None, "use only so many training images; default: all", minimum=1)
    start_from: str | None = flag(
        None,
        "saved model (.h5) to fine-tune: its trunk is kept, and its head where the classes are the same; first the "
        "head learns alone, then all layers",
        file=True,
    )
    class_weights: str = flag(
        "none",
        "balanced: each class counts alike in the training loss, however few images it has",
        choices=("none", "balanced"),
    )
    precision: str = flag(
        "auto",
        "arithmetic; auto: bfloat16 where the hardware has it, else float32",
        choices=("auto", "float32", "bfloat16"),
    )
    data_dir: str | None = flag(
        None,
        "folder with the data set in a usual form; else $DATA_DIR, else data/ or a download",
        recorded=False,
    )
    output_dir: str | None = flag(
        None,
        "folder for results; else output/ for full runs of the default recipe on real data, output/demo/ for toy "
        "data and trials, and a folder in output/runs/ named by the settings for all else",
        recorded=False,
    )
    devices: str = flag(
        "1",
        "number of devices to divide each batch among, or all, with those of the hosts that JAX_COORDINATOR_ADDRESS or "
        "KERAS_DISTRIBUTION_JOB_ADDRESSES names; more than one needs KERAS_BACKEND=jax",
        recorded=False,
    )
    hosts: str | None = flag(
        None,
        "addresses of the machines that train this run together, as 10.0.0.1,10.0.0.2, each started with its --host; "
        "needs KERAS_BACKEND=jax, and takes all devices of each",
        recorded=False,
    )
    host: int = flag(0, "which of --hosts this machine is; the first, 0, writes the files", minimum=0, recorded=False)
    deterministic: bool = flag(
        False, "ask for the same numbers in every run on a GPU too, slower; on a CPU they are anyway", recorded=False
    )
    tensorboard: bool = flag(False, "write logs for TensorBoard to the run's folder", recorded=False)
    dry_run: bool = flag(False, "a few batches through the whole path, to see that it works")
    resume: bool = flag(False, "go on where an interrupted run stopped", recorded=False)

    @property
    def milestones(self) -> dict[str, int]:
        """What changes in the course of a run -> the epoch after which it does, for the training curves."""
        return {}

    @property
    def learned_classes(self) -> str:
        """What the accuracies in the course of a run are of, where the finished model has other classes; else ""."""
        return ""


_SHARED_HELP = {field.name: field.metadata["help"] for field in dataclasses.fields(RunConfig) if field.init}


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        wrong = re.search(r"--[\w-]+", message) if message.startswith("unrecognized") else None
        known = [option for action in self._actions for option in action.option_strings]
        close = difflib.get_close_matches(wrong[0].replace("_", "-"), known, 1) if wrong else []
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(f"{message} ({hint}see --help)")


def _value_type(annotation):
    """int for `int | None`, str for `tuple[str, ...]`, else the annotation itself."""
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0]
    if isinstance(annotation, types.UnionType):
        return next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    return annotation


def settings_of(config_class) -> tuple[dataclasses.Field, ...]:
    """The fields that are flags."""
    return tuple(field for field in dataclasses.fields(config_class) if field.init)


def recipe_values(config_class, chosen: Mapping) -> dict:
    """The values that a recipe gives to fields, and --start-from or --weights none on top of it.

    Args:
        chosen: field -> value, of those that were chosen.
    """
    values = dict(config_class.recipes[chosen.get("recipe", config_class.recipe)])
    if chosen.get("start_from"):
        values.update(config_class.fine_tuning_values)
    elif chosen.get("weights") == "none":
        values.update(config_class.random_values)
    return values


def parse(config_class, argv: Sequence[str] | None = None, *, about: str | None = ""):
    """Build a Config from the command line.

    The dataclass' defaults give way to the recipe's values, these to the settings of a run that --config names, and
    these to the flags that are given.

    Args:
        config_class: frozen dataclass; its fields become flags. One that has recipes gets --config, too.
        argv: arguments without the program's name; None takes sys.argv.
        about: the script's docstring, for --help.
    Raises:
        UserError: unknown flag, value of the wrong type or out of range.
    """
    fields, recipes = settings_of(config_class), getattr(config_class, "recipes", None)
    given = vars(_parser(config_class, about).parse_intermixed_args(argv))
    given.pop("debug", None)  # errors.exit_code looks for it
    replayed = given.pop("config", None)
    recorded = _settings_in(Path(replayed), config_class) if replayed else {}
    chosen = {**recorded, **given}
    usual = {}
    if recipes:
        usual = recipe_values(config_class, chosen)
        if replayed and usual != recipe_values(config_class, recorded):
            _refuse_beside_config(given, recorded)
        if chosen.get("start_from"):
            _refuse_beside_start_from(config_class, given)
    config = config_class(**{**usual, **chosen})
    for field in fields:
        _check_range(field, getattr(config, field.name))
    if getattr(config, "dry_run", False):
        few = {"batch_size": min(config.batch_size, 32)} if hasattr(config, "batch_size") else {}
        config = dataclasses.replace(config, **getattr(config, "dry_run_values", {}), **few)
    return config


def _parser(config_class, about: str | None) -> argparse.ArgumentParser:
    parser = _Parser(description=about, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser._negative_number_matcher = re.compile(r"-\.?\d")  # --pixels -1..1 has a value, not another flag
    own = parser.add_argument_group("settings")
    shared = parser.add_argument_group("settings of every run")
    hints = typing.get_type_hints(config_class)
    for field in settings_of(config_class):
        group = own if field.name in config_class.__annotations__ else shared
        _add_flag(group, field, hints[field.name])
    if hasattr(config_class, "recipes"):
        text = "repeat the run whose metrics.json this is; other flags replace its settings"
        shared.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help=text)
    parser.add_argument(DEBUG, action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
    return parser


def _add_flag(group, field: dataclasses.Field, annotation) -> None:
    text, kind = field.metadata["help"] or _SHARED_HELP[field.name], _value_type(annotation)
    text = text.replace("%", "%%")
    name = "--" + field.name.replace("_", "-")
    if field.metadata["positional"]:
        many = {}
        if typing.get_origin(annotation) is tuple:
            many = {"nargs": "*"}
        elif field.default is None:
            many = {"nargs": "?"}
        group.add_argument(field.name, metavar=field.metadata["positional"], help=text, **many)
    elif kind is bool:
        group.add_argument(name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
    else:
        shown = "" if field.default is None else f" [{field.default}]".replace("%", "%%")
        group.add_argument(
            name,
            type=kind,
            choices=field.metadata["choices"] or None,
            default=argparse.SUPPRESS,
            metavar=None if field.metadata["choices"] else kind.__name__.upper(),
            help=text + shown,
        )


def _settings_in(path: Path, config_class) -> dict:
    """The settings that a run's metrics.json records; UserError where it is none, or another script's."""
    fields, hints = settings_of(config_class), typing.get_type_hints(config_class)
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))["config"]
        unknown = sorted(recorded.keys() - {field.name for field in fields})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is no metrics.json of a run; name one, as output/cifar100_metrics.json") from error
    if unknown:
        raise UserError(f"{path} is of another script, with settings that this one lacks: {', '.join(unknown)}")
    for field in fields:
        if field.name in recorded and not _fits(recorded[field.name], field, hints[field.name]):
            raise UserError(f"{path} is damaged: {field.name} cannot be {recorded[field.name]!r}")
    return recorded


def _fits(value, field: dataclasses.Field, annotation) -> bool:
    """Whether a recorded value is one that the field's flag could have given."""
    if value is None:
        return field.default is None
    choices, kind = field.metadata["choices"], _value_type(annotation)
    if choices and value not in choices:
        return False
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _refuse_beside_start_from(config_class, given: dict) -> None:
    for name in config_class.not_beside_start_from:
        if name in given:
            flag_name = "--" + name.replace("_", "-")
            raise UserError(f"{flag_name} has no effect beside --start-from; leave it out")


def _refuse_beside_config(given: dict, recorded: dict) -> None:
    """Raise UserError for the first flag that brings values for other flags than the recorded run had."""
    names = [name for name in ("recipe", "start_from", "weights") if given.get(name) not in (None, recorded.get(name))]
    chosen = f"--{names[0].replace('_', '-')} {given[names[0]]}"
    raise UserError(f"{chosen} brings settings of its own, and --config those of another run; take either")


def _check_range(field: dataclasses.Field, value) -> None:
    name, low, high = "--" + field.name.replace("_", "-"), field.metadata["minimum"], field.metadata["maximum"]
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} must be a finite number, got {value}")
    if low is not None and value is not None and value < low:
        raise UserError(f"{name} must be at least {low}, got {value}")
    if high is not None and value is not None and value > high:
        raise UserError(f"{name} must be at most {high}, got {value}")
    if isinstance(value, (int, float)) and abs(value) > max(high or 0, LARGEST):
        raise UserError(f"{name} must be at most {LARGEST}, got {value}")
    if isinstance(value, str) and "\0" in value:
        raise UserError(f"{name} holds a null character")
