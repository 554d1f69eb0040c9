"""What travels with a plan to the nodes of a Ray cluster: code, the files that commands name, data sets."""

import hashlib
import os
import shutil
from pathlib import Path

from pipeline import PROJECT, backend
from pipeline.data import registry, sources
from pipeline.errors import UserError
from plan.tasks import Task, without_folder

SHIPPED = 300_000_000  # bytes of the data sets, or of a file or folder that a flag names, that travel with the code
LARGEST = 500_000_000  # bytes of all that travels; Ray takes 500 MiB
INPUTS = "inputs"  # folder of the shipped files that commands name, each in a folder of its own


def stage(tasks: list[Task], folder: Path) -> set[str]:
    """Put the code, and what the commands name, into a folder that Ray sends to the nodes.

    Returns:
        the data sets that are among it: those that tasks need, that are here, and that are not too large.
    Raises:
        UserError: it is more than Ray takes.
    """
    for package in PROJECT.glob("*/__init__.py"):
        shutil.copytree(package.parent, folder / package.parent.name, ignore=shutil.ignore_patterns("__pycache__"))
    scripts = {task.command[0] for task in tasks if not Path(task.command[0]).is_absolute()}
    for script in {*scripts, *(path.name for path in PROJECT.glob("*.py"))}:
        (folder / script).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / script, folder / script)
    (folder / backend.COMMIT_FILE).write_text(backend.commit())
    inputs = {place: word for task in tasks for word, place in _inputs(task).items()}
    for place, word in inputs.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        if Path(word).is_dir():
            shutil.copytree(word, folder / place)
        else:
            shutil.copyfile(word, folder / place)
    shipped = _data_files(tasks)
    for place, file in (pair for files in shipped.values() for pair in files.items()):
        target = folder / "data" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    if _size(folder) > LARGEST:
        raise UserError(
            f"code and files of the runs take {_size(folder) / 1e6:,.0f} MB, more than Ray sends to the nodes "
            f"({LARGEST / 1e6:,.0f} MB); put the larger ones into a folder that all machines share"
        )
    return set(shipped)


def travels(task: Task, shipped: set[str]) -> bool:
    """Whether all data sets that a task reads from files are among those that travel."""
    named = _named(task)
    return bool(named) and named <= shipped


def command_there(task: Task) -> list[str]:
    """A task's command as a node takes it: without its folder of results, with the shipped files in their place."""
    shipped = _inputs(task)
    return [shipped.get(word, word) for word in without_folder(task.command)]


def digest(path: str | Path) -> str:
    """Eight hexadecimal digits that tell a path from others that end in the same name."""
    return hashlib.sha256(os.fsencode(Path(path).resolve())).hexdigest()[:8]


def _named(task: Task) -> set[str]:
    """The named data sets that a task reads from files."""
    return {name for name in task.datasets if name in registry.SOURCES and not registry.is_toy(name)}


def _data_files(tasks: list[Task]) -> dict[str, dict[Path, Path]]:
    """Data set that travels -> {place below data/ -> file}; the smaller ones first, as long as there is room.

    The place is the one below the folder where it was found: MNIST and Fashion-MNIST have files of the same names.
    """
    found = {}
    for name in {name for task in tasks for name in _named(task)}:
        for home in sources.folders(None):
            files = sources.files_of(name, [home])
            if files and name not in found and not any(file.is_dir() for file in files):
                found[name] = {file.relative_to(home): file for file in files}
    shipped, room = {}, SHIPPED
    for name, files in sorted(found.items(), key=lambda pair: _total(pair[1])):
        room -= _total(files)
        if room >= 0:
            shipped[name] = files
    return shipped


def _total(files: dict[Path, Path]) -> int:
    return sum(map(_size, files.values()))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _inputs(task: Task) -> dict[str, str]:
    """Word of a task's command that names a file or folder that travels -> its place on a node.

    A large one does not travel: it must have the same path there.
    """
    script, *words = task.command
    words = [word for word in words if not word.startswith("-") and word not in registry.SOURCES]
    found = [word for word in words if word != str(task.folder) and os.path.exists(word)]
    found = [word for word in found if _size(Path(word)) <= SHIPPED]
    if Path(script).is_absolute():
        found.append(script)
    return {word: str(Path(INPUTS, digest(word), Path(os.path.abspath(word)).name)) for word in found}
