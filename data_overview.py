"""Overview of the data sets: samples of every class, and the number of images per class in each part.

    python data_overview.py                                         # CIFAR-100 and MNIST
    python data_overview.py synthetic digits --output-dir output/demo  # the toy data
    python data_overview.py FOLDER                                  # your own data, as --dataset takes them

Writes <data set>_data.png. Validation images are held out as by the script that trains on the data set.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cifar100_cnn
import mnist_classification
from pipeline import data, evaluate
from pipeline.config import flag, parse
from pipeline.errors import UserError, exit_code

SHOWN = 10  # samples of each class


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    datasets: tuple[str, ...] = flag((), "names or paths, as --dataset; default: cifar100 mnist", positional="DATASET")
    data_dir: str | None = flag(None)
    output_dir: str = flag("output", "folder for the plots")


def samples(dataset: data.datasets.Dataset) -> np.ndarray:
    """(classes, SHOWN) indices of the first training images of each class, as many of each of its fine classes.

    Where a class has fewer images than SHOWN, so many of each are shown.
    """
    shown = min(SHOWN, np.bincount(dataset.y_train).min())
    kinds = dataset.y_train if dataset.fine_train is None else dataset.fine_train
    rows = []
    for label in range(len(dataset.class_names)):
        own = np.unique(kinds[dataset.y_train == label])
        rows.append(np.concatenate([np.flatnonzero(kinds == kind)[: shown // len(own)] for kind in own]))
    return np.stack(rows)


def script_of(dataset: data.datasets.Dataset):
    """The script for images of that shape, whose validation part is counted."""
    return mnist_classification if dataset.image_shape == mnist_classification.SHAPE else cifar100_cnn


def draw(dataset: data.datasets.Dataset, script, path: Path) -> None:
    """Draw one data set, with the validation part that a training script holds out."""
    fraction = script.Config().validation
    which_validation = f"validation images: those of {script.__name__}.py's default"
    try:
        parts = data.datasets.split(dataset, fraction)
    except UserError:
        labels = {"training": dataset.y_train, "test": dataset.y_test}
        which_validation = f"too few for {script.__name__}.py's default --validation, {fraction:.2g}"
    else:
        labels = {"training": parts.y_train, "validation": parts.y_validation, "test": parts.y_test}
    counts = {part: np.bincount(y, minlength=len(dataset.class_names)) for part, y in labels.items()}
    height, width, channels = dataset.image_shape
    colors = "grey" if channels == 1 else "RGB"
    chosen = samples(dataset)
    which = f"{chosen.shape[1]} training images of each class"
    if dataset.fine_train is not None:
        fine = len(np.unique(dataset.fine_train))
        which = f"{chosen.size // fine} training images of each of the {fine} fine classes"
    provenance = f"{height}×{width} pixels, {colors}; samples: the first {which}; {which_validation}"
    evaluate.plots.data_overview(dataset.x_train[chosen], dataset.class_names, counts, dataset.title, provenance, path)
    print(f"{path}: {', '.join(f'{len(y):,} {part}' for part, y in labels.items())} images")


def main(argv: list[str] | None = None) -> int:
    """One plot per data set."""
    config = parse(Config, argv, about=__doc__)
    names = config.datasets or ("cifar100", "mnist")
    for name in names:
        data.datasets.places(name, config.data_dir)  # an unknown one is bad input before anything is written
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        dataset = data.datasets.load(name, config.data_dir)
        draw(dataset, script_of(dataset), folder / f"{dataset.name}_data.png")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
