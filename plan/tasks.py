"""Tasks of a plan: what each needs and reads, whether it is done, how long it took, and the table of them all."""

import csv
import dataclasses
import fnmatch
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import atomic_io
from pipeline.console import clock
from pipeline.errors import UserError


@dataclass(frozen=True)
class Task:
    """A training run, a study or a report.

    name: unique in its plan; command: a script and its flags, as they follow `python`.
    kind: "run" and "study" need nothing but data, so any machine can do them, and so does a "trial", a run of a search,
        which is done when it was stopped early, too; a "report" reads output/ or times this machine.
    folder: where its results go; files: pattern of their names there.
    after: patterns of the names of tasks whose results it reads.
    datasets: named data sets that it reads; cores: that it makes use of; memory_gb: that it needs at most.
    gpu: whether it computes on a GPU where there is one.
    flawed: whether exit code 1 leaves useful results: one of many failed a check, the others are there.
    nodes: of a cluster, that train it together.
    group: pattern of the names of those tasks that share a line of the list; "": a line of its own.
    """

    name: str
    command: tuple[str, ...]
    kind: str
    folder: Path
    files: str = "*"
    after: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    cores: int = 2
    memory_gb: float = 3
    gpu: bool = True
    flawed: bool = False
    nodes: int = 1
    group: str = ""

    def succeeded(self, code: int) -> bool:
        """Whether an exit code of its command stands for results."""
        return code == 0 or (code == 1 and self.flawed)


class Record:
    """What of a plan has been done and when, in a JSON file: task name -> {"command", "finished", "seconds"}.

    A training run is judged by its own folder, as it may have been done without the plan; but it is not done where it
    is in the file with another command.

    Args:
        path: of the JSON file.
        seconds: task name -> seconds that earlier executions took.
    """

    def __init__(self, path: Path, seconds: dict[str, float] | None = None):
        self.path, self.earlier_seconds = path, seconds or {}
        self.entries = atomic_io.read_json(path) if path.exists() else {}

    def add(self, task: Task, seconds: float) -> None:
        """Note that a task is done."""
        self.entries[task.name] = {"command": list(task.command), "finished": time.time(), "seconds": round(seconds, 1)}
        atomic_io.write_json(self.path, self.entries)

    def remove(self, task: Task) -> None:
        """Note that a task is not done, whatever was noted before."""
        if self.entries.pop(task.name, None):
            atomic_io.write_json(self.path, self.entries)

    def finished(self, task: Task) -> float | None:
        """When it was done, in seconds since 1970; None where it is not."""
        entry = self.entries.get(task.name)
        if entry and without_folder(entry["command"]) != without_folder(task.command):
            return None
        if task.kind == "run":
            metrics = metrics_of(task.folder)
            return metrics.stat().st_mtime if metrics else None
        return entry["finished"] if entry else None

    def done(self, task: Task, plan: list[Task]) -> bool:
        """Whether it is done, and after all whose results it reads."""
        finished = self.finished(task)
        if finished is None:
            return False
        return all(self.done(other, plan) and self.finished(other) <= finished for other in needed(task, plan))

    def seconds(self, task: Task) -> float | None:
        """How long it took last time; None where nobody knows."""
        if task.kind == "run" and (metrics := metrics_of(task.folder)):
            found = atomic_io.read_json(metrics)
            return found.get("wall_seconds", 0) + found.get("tta", {}).get("seconds", 0)
        if task.name in self.entries:
            return self.entries[task.name]["seconds"]
        return self.earlier_seconds.get(task.name)


def without_folder(command: Sequence[str]) -> list[str]:
    """A command without its folder of results, which may be elsewhere on another machine, or be spelled otherwise."""
    words = list(command)
    if "--output-dir" in words:
        place = words.index("--output-dir")
        del words[place : place + 2]
    return words


def metrics_of(folder: Path) -> Path | None:
    """The metrics.json of a finished training run; None where the run is not finished."""
    found = list(folder.glob("*_metrics.json"))
    unfinished = any(folder.glob("*checkpoint*.npz"))
    if not found or unfinished or not any(folder.glob("*.h5")):
        return None
    return found[0]


def epochs_of(folder: Path) -> list[dict[str, str]]:
    """The epochs that a training run has done, rows of its history.csv."""
    rows = []
    for path in folder.glob("*_history.csv"):
        with open(path, newline="", encoding="utf-8") as file:
            rows += csv.DictReader(file)
    return rows


def needed(task: Task, plan: list[Task]) -> list[Task]:
    """The tasks of a plan whose results a task reads."""
    matching = [other for other in plan if any(fnmatch.fnmatchcase(other.name, pattern) for pattern in task.after)]
    return [other for other in matching if other is not task]


def chosen(plan: list[Task], pattern: str | None) -> list[Task]:
    """The tasks whose names match a pattern as of a shell; UserError where none does."""
    if pattern is None:
        return plan
    found = [task for task in plan if fnmatch.fnmatchcase(task.name, pattern)]
    if not found:
        raise UserError(f"no task is called {pattern}; a pattern as 'cifar100-*' is one of a shell, --list shows all")
    return found


def on_nodes(tasks: list[Task], number: int) -> list[Task]:
    """The tasks, each training run among them divided among so many nodes of a cluster."""
    return [dataclasses.replace(task, nodes=number) if task.kind == "run" else task for task in tasks]


def table(tasks: list[Task], plan: list[Task], record: Record, *, grouped: bool = True) -> str:
    """A line per task: name, data, cores, memory, GPU, what it comes after, last time, whether done; the time left.

    Args:
        grouped: whether the tasks of a group share a line.
    """
    header = ("task", "kind", "data", "cores", "GB", "GPU", "after", "last time", "")
    shown = {}
    for task in tasks:
        name = task.group if grouped and task.group else task.name
        shown.setdefault(name, []).append(task)
    done = {task.name for task in tasks if record.done(task, plan)}
    rows = [_row(name, group, record, done) for name, group in shown.items()]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    to_do = [task for task in tasks if task.name not in done]
    known = _known_seconds(to_do, record)
    untimed = f", and {len(to_do) - len(known)} that were never timed" if len(known) < len(to_do) else ""
    lines.append(f"{len(to_do)} of {len(tasks)} to do; time left, one after the other: {clock(sum(known))}{untimed}")
    return "\n".join(line.rstrip() for line in lines)


def _row(name: str, group: list[Task], record: Record, done: set[str]) -> tuple[str, ...]:
    """Cells of the table's line for one task or for several that need the same."""
    task, known = group[0], _known_seconds(group, record)
    finished = sum(one.name in done for one in group)
    state = "done" if finished == len(group) else "to do"
    if len(group) > 1:
        state = f"{finished} of {len(group)} done"
    return (
        name,
        task.kind,
        ", ".join(task.datasets) or "-",
        str(task.cores),
        f"{task.memory_gb:g}",
        "if any" if task.gpu else "-",
        ", ".join(task.after) or "-",
        clock(sum(known)) if known else "-",
        state,
    )


def _known_seconds(tasks: list[Task], record: Record) -> list[float]:
    """How long those tasks took of which it is known."""
    return [seconds for task in tasks if (seconds := record.seconds(task)) is not None]
