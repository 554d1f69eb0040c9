"""Settings of a training script, a grid or drawn at random: their runs, the table of accuracies, and the plot."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import math
import os
import random
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline import PROJECT, atomic_io
from pipeline.config import RunConfig, parse
from pipeline.errors import UserError
from pipeline.train import identity
from plan.tasks import Record, Task, epochs_of, metrics_of

MOST = 10_000  # runs of a sweep
DRAWS = 20  # for each setting of a search, until it is taken that there are no more


@dataclass(frozen=True)
class Range:
    """Values from low to high: log-uniform, uniform where low is 0; whole numbers where both ends are typed so."""

    low: float
    high: float
    whole: bool

    def choose(self, source: random.Random) -> str:
        """A random value, to three digits."""
        if self.whole:
            first = max(self.low, 0.5)  # 0 has no logarithm
            return str(min(int(first * ((self.high + 1) / first) ** source.random()), int(self.high)))
        if self.low == 0:
            return f"{self.high * source.random():.3g}"
        return f"{self.low * (self.high / self.low) ** source.random():.3g}"


@dataclass(frozen=True)
class Sweep:
    """A grid, or settings drawn from it.

    script: path of a training script, from the project; fixed: flags of every run.
    axes: flag -> values as they are typed, or their range, in the order of the command line.
    seeds: of every setting.
    number: of settings of a search, which are drawn at random; None: all of the grid.
    """

    script: str
    fixed: tuple[str, ...]
    axes: dict[str, tuple[str, ...] | Range]
    seeds: tuple[int, ...]
    number: int | None = None

    def settings(self) -> list[dict[str, str]]:
        """Flag -> value, of every point of the grid, or of the search; a longer search begins with the shorter one's.

        Raises:
            UserError: there are not so many.
        """
        if self.number is None:
            return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]
        source, found = random.Random(0), []
        for _ in range(DRAWS * self.number):
            setting = {flag: _choose(values, source) for flag, values in self.axes.items()}
            if setting not in found:
                found.append(setting)
            if len(found) == self.number:
                return found
        raise UserError(f"--search {self.number}: there are only {len(found)} settings; leave it out to try them all")

    def folder(self) -> Path:
        """Folder of its results, the same for a larger grid of the same fixed flags."""
        fixed = "-".join(word.strip("-") for word in self.fixed)
        name = "-".join(filter(None, ["sweep", Path(self.script).stem, re.sub(r"[^\w.=-]", "_", fixed)]))
        if len(name) > identity.LONGEST:
            name = name[:40] + "-" + hashlib.sha256(fixed.encode()).hexdigest()[:12]
        return identity.OUTPUT / "runs" / name


def _choose(values: tuple[str, ...] | Range, source: random.Random) -> str:
    return values.choose(source) if isinstance(values, Range) else source.choice(values)


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


def range_of(text: str) -> Range | None:
    """A range from "0.02:0.3"; None where it is none, and UserError where it has nothing in it."""
    low, _, high = text.partition(":")
    try:
        found = Range(float(low), float(high), whole=low.isdecimal() and high.isdecimal())
    except ValueError:
        return None
    if not 0 <= found.low < found.high < math.inf:
        raise UserError(f"the range {text} goes from a number of at least 0 to a larger one, as 0.02:0.3")
    return found


def read(script: str, words: list[str], seeds: str, number: int | None = None) -> Sweep:
    """A sweep from a script's flags, of which each value may be a list with commas, or a range with a colon.

    Args:
        words: "--learning-rate", "0.1,0.2", "--tta", ...; a value that names a file or folder is never a list.
        number: of settings to draw at random; None: all of the grid.
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
        values = [value] if os.path.exists(value) else value.split(",")  # Path.exists() refuses a long list
        span = range_of(value) if equals else None
        if span and number is None:
            raise UserError(f"{flag} {value} is a range, from which --search 20 would draw; or give a list with commas")
        if not equals:
            fixed.append(flag)
        elif span:
            axes[flag] = span
        elif len(values) == 1:
            fixed += [flag, value]
        else:
            axes[flag] = tuple(dict.fromkeys(values))
    sweep = Sweep(script, tuple(fixed), axes, seeds_of(seeds), number)
    if number is not None:
        _check_search(sweep)
    settings = sweep.settings()
    if len(settings) * len(sweep.seeds) > MOST:
        raise UserError(f"the grid has {len(settings) * len(sweep.seeds):,} runs; at most {MOST:,}")
    for setting in settings:
        parse(config_class, [*sweep.fixed, *_flags(setting)])
    if number is not None and epochs(sweep) < 2:
        raise UserError("--search stops runs after a part of their epochs; give --epochs 2 or more")
    return sweep


def _check_search(sweep: Sweep) -> None:
    """UserError where there is nothing to search."""
    if not sweep.axes:
        raise UserError("--search needs a flag with a range or a list, as --learning-rate 0.02:0.3")
    if "--labels" in sweep.axes:
        raise UserError(
            "--search compares accuracies, and those of --labels are of 20 or 100 classes; search one at a time"
        )
    if len(sweep.seeds) > 1:
        raise UserError("--search compares settings by one seed; try the best of them with several afterwards")
    if sweep.number > MOST:
        raise UserError(f"--search {sweep.number}: that is more than {MOST:,}")


def epochs(sweep: Sweep) -> int:
    """Epochs of a run, of the longest where they differ."""
    config_class = script_config(sweep.script)
    return max(parse(config_class, [*sweep.fixed, *_flags(setting)]).epochs for setting in sweep.settings())


def _flags(setting: dict[str, str]) -> list[str]:
    return [word for pair in setting.items() for word in pair]


def tasks(sweep: Sweep, folder: Path) -> list[tuple[dict[str, str], int, Task]]:
    """(setting, seed, task) of every run; all settings with the first seed come first."""
    usual = script_config(sweep.script).dataset
    if "--dataset" in sweep.fixed:
        usual = sweep.fixed[sweep.fixed.index("--dataset") + 1]
    kind = "run" if sweep.number is None else "trial"
    found, settings = [], sweep.settings()
    for seed in sweep.seeds:
        for setting in settings:
            name = re.sub(r"[^\w.=-]", "_", f"{label(setting)}-seed{seed}".replace(", ", "-"))
            flags = [*sweep.fixed, *_flags(setting), "--seed", str(seed), "--resume"]
            command = (sweep.script, *flags, "--output-dir", str(folder / name))
            datasets = (setting.get("--dataset", usual),)
            found.append((setting, seed, Task(name, command, kind, folder / name, datasets=datasets)))
    return found


def claim(sweep: Sweep, folder: Path) -> None:
    """Note in a folder, in sweep.json, whose runs it has.

    Raises:
        UserError: it has those of other fixed flags, which would pass for this sweep's: a run's name has the settings.
    """
    path = folder / "sweep.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(sweep, [], folder)
        return
    found = atomic_io.read_json(path)
    held = [found.get("script", ""), *found.get("fixed", ())]
    if held != [sweep.script, *sweep.fixed]:
        raise UserError(f"{folder} holds a sweep of {shlex.join(held)}; choose another --output-dir")


def results(runs: list[tuple[dict[str, str], int, Task]], record: Record) -> list[dict]:
    """The settings with finished runs, and the trials of a search that were stopped early; the best first, these last.

    Args:
        runs: of tasks().
        record: of the tasks, where a trial that was stopped is done, unlike one that failed.
    Returns:
        For each setting "setting", "label", validation accuracy "mean", "std", "n", "stopped_after" (epochs; None:
        not stopped), and "runs".
    """
    from pipeline.evaluate import metrics  # here: scikit-learn takes a second

    groups: dict[str, dict] = {}
    for setting, seed, task in runs:
        found = _result(task, record)
        if found is None:
            continue
        stopped_after = found.pop("stopped_after")
        group = {"setting": setting, "label": label(setting), "stopped_after": stopped_after, "runs": []}
        group = groups.setdefault(label(setting), group)
        group["runs"].append({"seed": seed, **found, "folder": task.folder.name})
    for group in groups.values():
        group |= metrics.over_seeds([run["validation_accuracy"] for run in group["runs"]])

    def rank(group):
        return group["stopped_after"] is not None, -(group["stopped_after"] or 0), -group["mean"]

    return sorted(groups.values(), key=rank)


def _result(task: Task, record: Record) -> dict | None:
    """Validation accuracy and time of a run that is finished, or a trial that was stopped; None for others."""
    path = metrics_of(task.folder)
    if path:
        found = atomic_io.read_json(path)
        accuracy, seconds = found["validation_accuracy"], found["wall_seconds"]
        return {"validation_accuracy": accuracy, "wall_seconds": seconds, "stopped_after": None}
    done = epochs_of(task.folder)
    if task.kind != "trial" or record.finished(task) is None or not done:
        return None
    seconds = round(sum(float(epoch["seconds"]) for epoch in done), 1)
    accuracy = float(done[-1]["val_accuracy"])
    return {"validation_accuracy": accuracy, "wall_seconds": seconds, "stopped_after": len(done)}


def table(groups: list[dict]) -> str:
    """Settings with mean and standard deviation of the validation accuracy, in their order."""
    width = max(len("setting"), *(len(group["label"]) for group in groups))
    lines = [f"{'setting':<{width}}  validation accuracy    std  n"]
    for group in groups:
        deviation = "-" if group["std"] is None else f"{group['std']:.4f}"
        line = f"{group['label']:<{width}}  {group['mean']:19.4f}  {deviation:>5}  {group['n']}"
        if group["stopped_after"] is not None:
            line += f"  stopped after epoch {group['stopped_after']}"
        lines.append(line)
    return "\n".join(lines)


def write(sweep: Sweep, groups: list[dict], folder: Path) -> None:
    """sweep.csv, sweep.json and sweep.png in a folder."""
    import pandas as pd  # here: it takes a second, and Matplotlib, too

    from plan import sweep_plot

    names = ["mean", "std", "n"]
    if sweep.number is not None:
        names.append("stopped_after")
    rows = [{**group["setting"], **{name: group[name] for name in names}} for group in groups]
    rows = [{name.strip("-").replace("-", "_"): value for name, value in row.items()} for row in rows]
    atomic_io.write_csv(folder / "sweep.csv", pd.DataFrame(rows))
    write_json(sweep, groups, folder)
    sweep_plot.draw(groups, " ".join([sweep.script, *sweep.fixed]), folder / "sweep.png")


def write_json(sweep: Sweep, groups: list[dict], folder: Path) -> None:
    """sweep.json in a folder."""
    about = {"schema": 1, "script": sweep.script, "fixed": list(sweep.fixed), "seeds": list(sweep.seeds)}
    atomic_io.write_json(folder / "sweep.json", {**about, "search": sweep.number, "settings": groups})
