"""The identity of a run: the settings that shape its result, how they are told, and the folder named after them."""

import hashlib
from pathlib import Path

from pipeline.config import RunConfig, recipe_values, settings_of
from pipeline.data import datasets, registry

OUTPUT = Path("output")  # in the working folder, as every file name on a command line is
REPEATS = frozenset({"seed", "precision"})  # what may differ between repeated runs of the same settings
LONGEST = 100  # characters of a folder's name that lists settings; beyond, it has their digest


def recorded(config) -> dict:
    """Every setting that shapes a result; files by name, no folders (they are the machine's, not the run's)."""
    found = {}
    for field in settings_of(type(config)):
        if field.metadata["recorded"]:
            value = getattr(config, field.name)
            if field.metadata["file"] and value:
                value = Path(value).name
            found[field.name] = datasets.recorded_name(value) if field.name == "dataset" else value
    return found


def named(recipe: str, settings: dict) -> str:
    """A recipe with the settings that differ from it: "fast", "fast (labels=fine)"."""
    listed = ", ".join(f"{name}={value}" for name, value in settings.items())
    return f"{recipe} ({listed})" if listed else recipe


def overrides(config: RunConfig) -> dict:
    """The recorded settings in which a run differs from its recipe, but for those that a repetition may change."""
    own = recorded(config)
    values = {"recipe": config.recipe, **recipe_values(type(config), vars(config))}
    usual = recorded(type(config)(**values))
    return {name: value for name, value in own.items() if value != usual[name] and name not in REPEATS}


def label(config: RunConfig) -> str:
    """The recipe, with the settings that differ from it: "fast", "fast (labels=fine)"; data are told elsewhere."""
    if config.dry_run:
        return f"{config.recipe} (dry run)"
    changed = {name: value for name, value in overrides(config).items() if name not in ("dataset", "limit")}
    return named(config.recipe, changed)


def differences(then: dict, now: dict) -> dict[str, str]:
    """Setting -> "was … and is …", for those in which one recorded run differs from another."""
    names = sorted(then.keys() | now.keys())
    return {
        name: f"was {then.get(name)!r} and is {now.get(name)!r}" for name in names if then.get(name) != now.get(name)
    }


def results_folder(output_dir: str | None, trial: bool) -> Path:
    """Where experiments and benchmarks write: --output-dir where it is given; else output/demo for trials, output/."""
    if output_dir:
        return Path(output_dir)
    return OUTPUT / "demo" if trial else OUTPUT


def output_folder(config: RunConfig, prefix: str) -> Path:
    """Where a training run writes, so that trials never replace the results in output/ nor each other's.

    Args:
        prefix: of the run's files; the folder's name begins with it, and has the recipe once.
    Returns:
        --output-dir where it is given; output/demo for toy data, --limit and --dry-run; output/ for the default
        recipe on the default data set as it stands; else a folder in output/runs/ whose name has the data set, where it
        is another, and lists what differs from the recipe, and the seed.
    """
    if config.output_dir:
        return Path(config.output_dir)
    if registry.is_toy(config.dataset) or config.limit or config.dry_run:
        return OUTPUT / "demo"
    changed = overrides(config)
    other_data = [changed.pop("dataset")] if "dataset" in changed else []
    # Another file of pretrained weights is the default recipe still; none at all, or a model to start from, is not.
    files = {field.name for field in settings_of(type(config)) if field.metadata["file"] and field.default}
    decisive = {name for name, value in changed.items() if name not in files or value == "none"}
    if not decisive and not other_data and config.recipe == type(config).recipe and config.seed == type(config).seed:
        return OUTPUT
    name = "-".join([prefix.removesuffix(f"-{config.recipe}"), *other_data, config.recipe])
    listed = "".join(f"-{name}={value}" for name, value in changed.items())
    if len(listed) > LONGEST:
        listed = "-" + hashlib.sha256(listed.encode()).hexdigest()[:12]
    return OUTPUT / "runs" / f"{name}{listed}-seed{config.seed}"
