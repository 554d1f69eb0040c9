"""Whether the runs in output/, made by earlier commits, stand for the code of today: a moment's training by both.

    python benchmarks/same_numbers.py            # about fifteen minutes on two cores; needs the whole git history

For each recipe of output/*_results.json, ResNet50 too (from a random start), and each commit that made a run of it,
that commit's code and today's train from the same seed in float32, on the real data, for a few steps; then the
weights are compared. CIFAR-100's recipes with small images take three epochs of 1,024 images, the first at
24x24; the others a --dry-run. Writes output/same_numbers.json; ends with exit code 1 if any weight differs.
"""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from pipeline import artifacts, hardware, storage  # noqa: E402
from pipeline.cli import flag, parse  # noqa: E402
from pipeline.errors import BadInput, exit_code  # noqa: E402

SCRIPTS = {"cifar100": "cifar100_cnn.py", "custom_cnn": "mnist_classification.py"}
# 1,024 images have some of each fine class: an earlier commit reads off them which superclass each is in.
SHORT = ("--limit", "1024", "--epochs", "3", "--small-epochs", "1", "--validation", "0.02")


@dataclass(frozen=True)
class Config:
    """Every knob; each is a flag, see --help."""

    output_dir: str = flag("output", "folder with the results files, and for the answer")
    data_dir: str | None = flag(None)


def trainings(folder: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """(what, commit) -> the script and its flags that train what the runs of that commit trained, shortly."""
    found = {}
    for prefix, script in SCRIPTS.items():
        path = folder / f"{prefix}_results.json"
        for recipe, result in (storage.read_json(path) if path.exists() else {}).items():
            name, *rest = recipe.split("-")
            flags = ["--recipe", name]
            for part in rest:  # "fine" or "ensemble3", as collect_results.py names them
                flags += ["--labels", part] if part == "fine" else ["--ensemble", part.removeprefix("ensemble")]
            flags += SHORT if prefix == "cifar100" and name != "baseline" else ["--dry-run"]
            for run in result["runs"]:
                found[f"{prefix} {recipe}", run["commit"]] = (script, *flags)
    path = folder / "resnet50_metrics.json"
    if path.exists():
        flags = ("--weights", "none", "--dry-run")
        found["resnet50", storage.read_json(path)["commit"]] = ("resnet50_transfer_learning.py", *flags)
    if not found:
        raise BadInput(f"no finished run of a recipe in {folder}; run collect_results.py")
    return found


def unpack(commit: str, folder: Path) -> Path:
    """A commit's Python files in a folder of their own; BadInput where git does not know it."""
    command = ["git", "archive", commit, "--", "*.py"]
    try:
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BadInput(f"git does not find commit {commit}; this needs a clone with its whole history") from error
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder / commit, filter="data")
    return folder / commit


def train(code: Path, command: tuple[str, ...], folder: Path, data_dir: str | None) -> list[np.ndarray]:
    """The weights after a training by the code of that folder, as its saved model has them."""
    script, *flags = command
    where = Path(data_dir or os.environ.get("DATA_DIR") or PROJECT / "data").resolve()
    done = subprocess.run(
        [sys.executable, script, *flags, "--precision", "float32", "--output-dir", str(folder)],
        cwd=code,
        env={**os.environ, "DATA_DIR": str(where)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BadInput(f"{script} ended with: {(done.stderr.strip() or 'nothing said').splitlines()[-1]}")
    (model,) = (path for path in folder.glob("*.h5") if not path.name.startswith("best_"))
    return artifacts.load_model(model).get_weights()


def main(argv: list[str] | None = None) -> int:
    """One line per recipe and commit: the largest difference of a weight."""
    config = parse(Config, argv, about=__doc__)
    rows, today = [], {}
    with tempfile.TemporaryDirectory() as place:
        for number, ((what, commit), command) in enumerate(trainings(Path(config.output_dir)).items()):
            print(f"{what}: a moment's training by commit {commit} and by today's code", flush=True)
            if command not in today:
                today[command] = train(PROJECT, command, Path(place) / f"today{number}", config.data_dir)
            code = unpack(commit, Path(place))
            then = train(code, command, Path(place) / f"then{number}", config.data_dir)
            pairs = zip(then, today[command], strict=True)
            difference = max(float(np.abs(a.astype(float) - b).max()) for a, b in pairs)
            rows.append({"what": what, "commit": commit, "largest_difference": difference})
            print(f"  largest difference of a weight {difference:.3g}", flush=True)
    same = sum(row["largest_difference"] == 0 for row in rows)
    result = {"compared": len(rows), "same": same, "rows": rows, **hardware.provenance()}
    path = Path(config.output_dir) / "same_numbers.json"
    storage.write_json(path, result)
    print(f"{path}: {same} of {len(rows)} the same to the last bit")
    return 0 if same == len(rows) else 1


if __name__ == "__main__":
    sys.exit(exit_code(main))
