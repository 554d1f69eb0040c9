"""A grid of settings of a training script: its runs, the table of their validation accuracies, and the plot."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline import PROJECT, atomic_io
from pipeline.config import RunConfig, parse
from pipeline.errors import UserError
from pipeline.train import identity
from plan.tasks import Task, metrics_of

MOST = 10_000  # runs of a sweep


@dataclass(frozen=True)
class Sweep:
    """A grid.

    script: path of a training script, from the project; fixed: flags of every run.
    axes: flag -> values as they are typed, in the order of the command line; seeds: of every setting.
    """

    script: str
    fixed: tuple[str, ...]
    axes: dict[str, tuple[str, ...]]
    seeds: tuple[int, ...]

    def settings(self) -> list[dict[str, str]]:
        """Flag -> value, of every point of the grid."""
        return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]

    def folder(self) -> Path:
        """Folder of its results, the same for a larger grid of the same fixed flags."""
        fixed = "-".join(word.strip("-") for word in self.fixed)
        name = "-".join(filter(None, ["sweep", Path(self.script).stem, re.sub(r"[^\w.=-]", "_", fixed)]))
        if len(name) > identity.LONGEST:
            name = name[:40] + "-" + hashlib.sha256(fixed.encode()).hexdigest()[:12]
        return identity.OUTPUT / "runs" / name


def label(setting: dict[str, str]) -> str:
    """A setting in words: "learning_rate=0.1, epochs=5"."""
    named = ", ".join(f"{flag.strip('-').replace('-', '_')}={value}" for flag, value in setting.items())
    return named or "as given"


def script_config(script: str) -> type[RunConfig]:
    """The Config of a training script; UserError where it is none."""
    path = PROJECT / script
    if not path.is_file():
        raise UserError(f"there is no script {script}; name one, as cifar100_cnn.py")
    spec = importlib.util.spec_from_file_location(f"swept_{path.stem}", path)
    if spec is None:
        raise UserError(f"{script} is no Python script; name one, as cifar100_cnn.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks up its annotations
    spec.loader.exec_module(module)
    found = getattr(module, "Config", None)
    if not isinstance(found, type) or not issubclass(found, RunConfig):
        raise UserError(f"{script} trains nothing; name a training script, as cifar100_cnn.py")
    return found


def seeds_of(text: str) -> tuple[int, ...]:
    """(0, 1, 2, 5) from "0-2,5"; UserError where it is none."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", part.strip())
        if not match:
            raise UserError(f"--seeds takes numbers and ranges, as 0-2 or 0,3,5; got {text}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first > MOST:
            raise UserError(f"--seeds {text}: that is more than {MOST:,}")
        found.extend(range(first, last + 1))
    if not found:
        raise UserError(f"--seeds {text}: the range is empty")
    return tuple(dict.fromkeys(found))


def read(script: str, words: list[str], seeds: str) -> Sweep:
    """A sweep from a script's flags, of which each value may be a list with commas.

    Args:
        words: "--learning-rate", "0.1,0.2", "--tta", ...; a value that names a file or folder is never a list.
    Raises:
        UserError: a flag or value that the script does not take, or one that the sweep itself sets.
    """
    config_class, fixed, axes, position = script_config(script), [], {}, 0
    while position < len(words):
        flag, equals, value = words[position].partition("=")
        position += 1
        if not equals and position < len(words) and not words[position].startswith("--"):
            value, equals = words[position], "="
            position += 1
        if flag in ("--seed", "--output-dir", "--resume", "--no-resume"):
            raise UserError(f"{flag} is set by the sweep; seeds are given as --seeds 0-2")
        values = [value] if Path(value).exists() else value.split(",")
        if not equals:
            fixed.append(flag)
        elif len(values) == 1:
            fixed += [flag, value]
        else:
            axes[flag] = tuple(dict.fromkeys(values))
    sweep = Sweep(script, tuple(fixed), axes, seeds_of(seeds))
    settings = sweep.settings()
    if len(settings) * len(sweep.seeds) > MOST:
        raise UserError(f"the grid has {len(settings) * len(sweep.seeds):,} runs; at most {MOST:,}")
    for setting in settings:
        parse(config_class, [*sweep.fixed, *_flags(setting)])
    return sweep


def _flags(setting: dict[str, str]) -> list[str]:
    return [word for pair in setting.items() for word in pair]


def tasks(sweep: Sweep, folder: Path) -> list[tuple[dict[str, str], int, Task]]:
    """(setting, seed, task) of every run; all settings with the first seed come first."""
    datasets = sweep.axes.get("--dataset", (script_config(sweep.script).dataset,))
    if "--dataset" in sweep.fixed:
        datasets = (sweep.fixed[sweep.fixed.index("--dataset") + 1],)
    found = []
    for seed in sweep.seeds:
        for setting in sweep.settings():
            name = re.sub(r"[^\w.=-]", "_", f"{label(setting)}-seed{seed}".replace(", ", "-"))
            flags = [*sweep.fixed, *_flags(setting), "--seed", str(seed), "--resume"]
            command = (sweep.script, *flags, "--output-dir", str(folder / name))
            found.append((setting, seed, Task(name, command, "run", folder / name, datasets=datasets)))
    return found


def results(runs: list[tuple[dict[str, str], int, Task]]) -> list[dict]:
    """For each setting with a finished run: "setting", "label", validation accuracy "mean", "std", "n", and "runs"."""
    from pipeline.evaluate import metrics  # here: scikit-learn takes a second

    groups: dict[str, dict] = {}
    for setting, seed, task in runs:
        path = metrics_of(task)
        if path is None:
            continue
        found = atomic_io.read_json(path)
        group = groups.setdefault(label(setting), {"setting": setting, "label": label(setting), "runs": []})
        kept = {name: found[name] for name in ("validation_accuracy", "wall_seconds")}
        group["runs"].append({"seed": seed, **kept, "folder": task.folder.name})
    for group in groups.values():
        group |= metrics.over_seeds([run["validation_accuracy"] for run in group["runs"]])
    return sorted(groups.values(), key=lambda group: -group["mean"])


def table(groups: list[dict]) -> str:
    """Settings with mean and standard deviation of the validation accuracy, the best first."""
    width = max(len("setting"), *(len(group["label"]) for group in groups))
    lines = [f"{'setting':<{width}}  validation accuracy    std  n"]
    for group in groups:
        deviation = "-" if group["std"] is None else f"{group['std']:.4f}"
        lines.append(f"{group['label']:<{width}}  {group['mean']:19.4f}  {deviation:>5}  {group['n']}".rstrip())
    return "\n".join(lines)


def write(sweep: Sweep, groups: list[dict], folder: Path) -> None:
    """sweep.csv, sweep.json and sweep.png in a folder."""
    import pandas as pd  # here: it takes a second, and Matplotlib, too

    from plan import sweep_plot

    rows = [{**group["setting"], **{name: group[name] for name in ("mean", "std", "n")}} for group in groups]
    rows = [{name.strip("-").replace("-", "_"): value for name, value in row.items()} for row in rows]
    atomic_io.write_csv(folder / "sweep.csv", pd.DataFrame(rows))
    about = {"schema": 1, "script": sweep.script, "fixed": list(sweep.fixed), "seeds": list(sweep.seeds)}
    atomic_io.write_json(folder / "sweep.json", {**about, "settings": groups})
    sweep_plot.draw(groups, " ".join([sweep.script, *sweep.fixed]), folder / "sweep.png")
