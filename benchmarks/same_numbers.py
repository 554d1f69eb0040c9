"""Whether the runs in output/, made by earlier commits, stand for the code of today: a moment's training by both.

    python benchmarks/same_numbers.py                    # needs the whole git history
    python benchmarks/same_numbers.py --weights FILE     # with the transfer table: 45 minutes on two cores

For each recipe of output/*_results.json, ResNet50 (from a random start), each idea of the ablation and each way of
the transfer table, and each commit that made a run of it, that commit's code and today's train from the same seed in
float32, on the real data, for a few steps; then the weights are compared. CIFAR-100's recipes with small images take
three epochs of 1,024 images, the first at 24x24, the other recipes a --dry-run; see short_experiment.py for the rest.
Writes output/same_numbers.json; ends with exit code 1 if any weight differs.
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
import pandas as pd

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from experiments.ideas import VIEWS  # noqa: E402
from pipeline import artifacts, hardware, pretrained, storage  # noqa: E402
from pipeline.cli import flag, parse  # noqa: E402
from pipeline.errors import BadInput, exit_code  # noqa: E402

SCRIPTS = {"cifar100": "cifar100_cnn.py", "custom_cnn": "mnist_classification.py"}
# 1,024 images have some of each fine class: an earlier commit reads off them which superclass each is in.
SHORT = ("--limit", "1024", "--epochs", "3", "--small-epochs", "1", "--validation", "0.02", "--precision", "float32")
DRY_RUN = ("--dry-run", "--precision", "float32")
EXPERIMENT = str(PROJECT / "benchmarks" / "short_experiment.py")


@dataclass(frozen=True)
class Config:
    """Every knob; each is a flag, see --help."""

    output_dir: str = flag("output", "folder with the results files, and for the answer")
    data_dir: str | None = flag(None)
    weights: str = flag("none", "ResNet50's weights file; none leaves the transfer table out")


def trainings(folder: Path, weights: Path | None = None) -> dict[tuple[str, str], tuple[str, ...]]:
    """(what, commit) -> the script and its flags that train what the runs of that commit trained, shortly."""
    found = {}
    for prefix, script in SCRIPTS.items():
        path = folder / f"{prefix}_results.json"
        for recipe, result in (storage.read_json(path) if path.exists() else {}).items():
            name, *rest = recipe.split("-")
            flags = ["--recipe", name]
            for part in rest:  # "fine" or "ensemble3", as collect_results.py names them
                flags += ["--labels", part] if part == "fine" else ["--ensemble", part.removeprefix("ensemble")]
            flags += SHORT if prefix == "cifar100" and name != "baseline" else DRY_RUN
            for run in result["runs"]:
                found[f"{prefix} {recipe}", run["commit"]] = (script, *flags)
    path = folder / "resnet50_metrics.json"
    if path.exists():
        flags = ("--weights", "none", *DRY_RUN)
        found["resnet50", storage.read_json(path)["commit"]] = ("resnet50_transfer_learning.py", *flags)
    for row in table(folder / "cifar100_ablation.csv"):
        if row["idea"] not in VIEWS:  # of the reference's model
            found[f"ablation {row['idea']}", row["commit"]] = (EXPERIMENT, "ablation", row["idea"])
    for row in table(folder / "resnet50_transfer.csv") if weights else ():
        if row["source"] == "resnet50_transfer.py":
            flags = ("--size", str(row["size"]), "--weights", str(weights.resolve()))
            found[f"transfer {row['way']} {row['size']}", row["commit"]] = (EXPERIMENT, "transfer", row["way"], *flags)
    if not found:
        raise BadInput(f"no finished run of a recipe in {folder}; run collect_results.py")
    return found


def table(path: Path) -> list[dict]:
    """The rows of a results file; none where there is no such file."""
    return pd.read_csv(path, dtype={"commit": str}).to_dict("records") if path.exists() else []


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
    """The weights after a training by the code of that folder, as its saved model or a short experiment has them."""
    script, *flags = command
    where = Path(data_dir or os.environ.get("DATA_DIR") or PROJECT / "data").resolve()
    done = subprocess.run(
        [sys.executable, script, *flags, "--output-dir", str(folder)],
        cwd=code,
        env={**os.environ, "DATA_DIR": str(where)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BadInput(f"{script} ended with: {(done.stderr.strip() or 'nothing said').splitlines()[-1]}")
    if script == EXPERIMENT:
        with np.load(folder / "weights.npz") as weights:
            return list(weights.values())
    (model,) = (path for path in folder.glob("*.h5") if not path.name.startswith("best_"))
    return artifacts.load_model(model).get_weights()


def largest_difference(then: list[np.ndarray], now: list[np.ndarray]) -> float | None:
    """Of a weight; None where the networks have other weights altogether."""
    if [a.shape for a in then] != [b.shape for b in now]:
        return None
    return max(float(np.abs(a.astype(float) - b).max()) for a, b in zip(then, now, strict=True))


def main(argv: list[str] | None = None) -> int:
    """One line per recipe and commit: the largest difference of a weight."""
    config = parse(Config, argv, about=__doc__)
    planned, rows, today = trainings(Path(config.output_dir), pretrained.find(config.weights)), [], {}
    with tempfile.TemporaryDirectory() as place:
        for number, ((what, commit), command) in enumerate(planned.items()):
            count = f"{number + 1} of {len(planned)}"
            print(f"{count}, {what}: a moment's training by commit {commit} and by today's code", flush=True)
            if command not in today:
                today[command] = train(PROJECT, command, Path(place) / f"today{number}", config.data_dir)
            code = unpack(commit, Path(place))
            then = train(code, command, Path(place) / f"then{number}", config.data_dir)
            difference = largest_difference(then, today[command])
            rows.append({"what": what, "commit": commit, "largest_difference": difference})
            said = "other weights" if difference is None else f"largest difference of a weight {difference:.3g}"
            print(f"  {said}", flush=True)
    same = sum(row["largest_difference"] == 0 for row in rows)
    result = {"compared": len(rows), "same": same, "rows": rows, **hardware.provenance()}
    path = Path(config.output_dir) / "same_numbers.json"
    storage.write_json(path, result)
    print(f"{path}: {same} of {len(rows)} the same to the last bit")
    return 0 if same == len(rows) else 1


if __name__ == "__main__":
    sys.exit(exit_code(main))
