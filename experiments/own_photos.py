"""A folder of photographs by class: ResNet50's recipe photos, and the CNN from scratch beside it as a control.

    python experiments/own_photos.py FOLDER --weights resnet50_imagenet_conv1_to_conv4.h5    # half an hour

Three seeds of each, on the same images, with the two training scripts as anybody would call them; the test part is read
once per run. Every run is in a folder of its own beside the result; started again, it goes on with what is missing.

Writes own_photos.json.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline import PROJECT, atomic_io, train
from pipeline.config import flag, parse
from pipeline.errors import UserError, exit_code

SEEDS = (0, 1, 2)
# What a network is called, its script, the prefix of its files, and its flags.
NETWORKS = (
    ("ResNet50", "resnet50_transfer_learning.py", "resnet50", ("--recipe", "photos")),
    (
        "CNN from scratch",
        "cifar100_cnn.py",
        "cifar100",
        ("--image-size", "128", "--epochs", "30", "--batch-size", "32"),
    ),
)
KEPT = ("seed", "test_accuracy", "validation_accuracy", "macro_f1", "n_train", "n_validation", "n_test", "epochs")
KEPT += ("parameters", "image_shape", "wall_seconds", "training_seconds", "hardware", "commit", "data_sha256")


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    dataset: str = flag("", "folder of photographs by class", positional="FOLDER")
    weights: str = flag("imagenet", "of ResNet50: imagenet (downloads), or a Keras weights file")
    output_dir: str | None = flag(None, "folder for the result and its runs; else output/, for trials output/demo/")
    dry_run: bool = flag(False, "a few batches of each network, one seed, to see that it works")


def finished_run(script: str, prefix: str, flags: list[str], folder: Path) -> dict:
    """The metrics of a run of a training script, which goes on or is only read where it was begun before.

    Raises:
        UserError: it failed; what was wrong is on stderr already.
    """
    command = [sys.executable, str(PROJECT / script), *flags, "--output-dir", str(folder), "--resume"]
    if subprocess.run(command).returncode:
        raise UserError(f"{script} failed; fix what it says above and start this again")
    return atomic_io.read_json(folder / f"{prefix}_metrics.json")


def main(argv: list[str] | None = None) -> int:
    """Every network with every seed, one after the other."""
    config = parse(Config, argv, about=__doc__)
    output = train.identity.results_folder(config.output_dir, trial=config.dry_run)
    rows = []
    for network, script, prefix, flags in NETWORKS:
        flags = ["--dataset", config.dataset, *flags]
        if prefix == "resnet50":
            flags += ["--weights", config.weights]
        runs = []
        for seed in SEEDS[: 1 if config.dry_run else None]:
            trial = ["--dry-run"] if config.dry_run else []
            folder = output / "runs" / f"own_photos-{prefix}-seed{seed}"
            metrics = finished_run(script, prefix, [*flags, "--seed", str(seed), *trial], folder)
            runs.append({name: metrics[name] for name in KEPT})
        weights = metrics["weights"]["file"] if "weights" in metrics else "none"
        row = {"network": network, "script": script, "recipe": metrics["recipe"], "weights": weights, "runs": runs}
        rows.append(row)
    result = {"dataset": metrics["dataset"], "data_notes": metrics["data_notes"], "rows": rows}
    atomic_io.write_json(output / "own_photos.json", result)
    print(output / "own_photos.json")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
