"""Table of the transfer experiment: a row per training, complete on disk after each."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd

import resnet50_transfer_learning as resnet
from experiments import transfer_plot
from experiments.transfer_setups import FROZEN, PRETRAINED, Row, label_of
from pipeline import atomic_io
from pipeline.data import datasets
from pipeline.errors import UserError
from pipeline.train import identity, resnet_weights

COLUMNS = ("setup", "size", "label", "images", "seed", "batch_size", "steps", "dataset", "weights", "covers")
COLUMNS += ("precision", "commit", "processor", "cores", "accelerator", "bfloat16")
COLUMNS += ("test_accuracy", "train_accuracy", "training_seconds", "source")
MACHINE = ("processor", "cores", "accelerator", "bfloat16")
DEFAULT_RUN = "resnet50_metrics.json"  # of the finished run of resnet50_transfer_learning.py


def settings(row: Row, common: dict) -> dict:
    """What decides a row's result: the row, the data and, where they are used, the weights.

    Args:
        common: {"dataset", "weights" (file name), "covers" (its stages)}
    """
    if row.setup == PRETRAINED or row.setup in FROZEN:
        return {**asdict(row), **common}
    return {**asdict(row), **common, "weights": "none", "covers": "none"}


def read(path: Path, rows: list[Row], common: dict) -> list[dict]:
    """Records that an interrupted experiment has left, none where there is no table.

    A record taken from a default run that has been repeated since is left out.

    Args:
        rows, common: of today's plan, see settings().
    Raises:
        UserError: the table is damaged, or has a row of other settings, data or weights.
    """
    if not path.exists():
        return []
    try:
        records = pd.read_csv(path, keep_default_na=False, dtype={"commit": str}).to_dict("records")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged; delete it or choose another --output-dir") from error
    planned = [settings(row, common) for row in rows]
    for record in records:
        if {name: record.get(name) for name in planned[0]} not in planned:
            raise UserError(
                f"{path} has rows of other settings, data or weights; move it, or choose another --output-dir"
            )
    return [record for record in records if not superseded(record, path.parent)]


def superseded(record: dict, folder: Path) -> bool:
    """Whether a record was taken from a default run that has been repeated since."""
    path = folder / DEFAULT_RUN
    if not str(record.get("source")).startswith(path.name) or not path.exists():
        return False
    metrics = atomic_io.read_json(path)
    return (record["commit"], record["training_seconds"]) != (metrics["commit"], metrics["training_seconds"])


def default_run(row: Row, dataset: datasets.Dataset, folder: Path, config: resnet.Config, file: Path) -> dict | None:
    """Results of the finished default run of ResNet50's script, if it is there and stands for this row today.

    Args:
        folder: where its metrics.json would be.
        config: the default recipe with the experiment's data and weights.
        file: pretrained weights.
    """
    path = folder / DEFAULT_RUN
    if row.setup != PRETRAINED or row.images < len(dataset.y_train) or not path.exists():
        return None
    metrics = atomic_io.read_json(path)
    changed = set(identity.differences(metrics.get("config", {}), identity.recorded(config))) - identity.REPEATS
    if metrics.get("data_sha256") != dataset.sha256:
        changed.add("data")
    if not resnet_weights.fingerprint(file).items() <= metrics.get("files", {}).items():
        changed.add("weights")
    if changed:
        print(f"{path}: not used, it differs from today's default recipe in {', '.join(sorted(changed))}")
        return None
    return {
        **{name: metrics[name] for name in ("test_accuracy", "training_seconds", "commit")},
        **{name: metrics["hardware"][name] for name in MACHINE},
        "precision": metrics["config"]["precision"],
        "train_accuracy": None,
        "source": f"{path.name}, seed {metrics['seed']}",
    }


def write(path: Path, records: list[dict], title: str) -> None:
    """The table and its plot.

    Args:
        records: {column: value} but for the label.
        title: of the data set.
    """
    labeled = [{**one, "label": label_of(one["setup"], one["size"], one["covers"])} for one in records]
    table = pd.DataFrame(labeled, columns=list(COLUMNS))
    atomic_io.write_csv(path, table)
    transfer_plot.draw(table, title, path.with_suffix(".png"))
