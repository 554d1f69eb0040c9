"""One row of a table of experiments, trained for a moment by the code of the folder that this is started in.

    python benchmarks/short_experiment.py ablation CutMix --output-dir DIR
    python benchmarks/short_experiment.py transfer "random start" --output-dir DIR --weights FILE

For benchmarks/same_numbers.py, which starts it in the folders of earlier commits: it uses only what they have too.
Writes the trained weights to DIR/weights.npz, in float32.
"""

import argparse
import dataclasses
import os
import sys
from pathlib import Path

import numpy as np

sys.path[0] = os.getcwd()  # in place of this file's own folder

from pipeline import data, hardware  # noqa: E402
from pipeline.quiet import keras  # noqa: E402


def ablation(idea: str) -> list[np.ndarray]:
    """Two epochs of 1,024 images of CIFAR-100, the first at 24x24."""
    from experiments import cifar100_ablation as experiment

    config = experiment.Config(limit=1024, epochs=2, precision="float32")
    change = experiment.Idea() if idea == "reference" else experiment.IDEAS[idea]
    settings = experiment.settings(config, change, seed=0)
    return experiment.train(change, settings, data.prepare(settings))[0].get_weights()


def transfer(way: str, size: int, file: Path) -> list[np.ndarray]:
    """Six steps of the row with 100 images of MNIST: frozen features and their head, or the whole network."""
    from experiments import transfer_rows as experiment

    dataset = data.shrink(data.split(data.load("mnist")), 1000)
    of_all = len(dataset.y_train)
    rows = (row for row in experiment.plan(of_all) if (row.way, row.size, row.images, row.seed) == (way, size, 100, 0))
    row = dataclasses.replace(next(rows), steps=6)
    chosen = experiment.draw(dataset, row)
    x, y = dataset.x_train[chosen], dataset.y_train[chosen]
    if way in (experiment.CONV4, experiment.CONV5):
        x = experiment.through_backbone(dataset, file, size)[0][way][chosen]
        keras.utils.set_random_seed(row.seed)
        return [x, *experiment.head_alone(row, x, y).get_weights()]
    keras.utils.set_random_seed(row.seed)
    if way == experiment.CUSTOM:
        return experiment.custom(row, x, y).get_weights()
    return experiment.fine_tuned(row, x, y, file, of_all).get_weights()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=("ablation", "transfer"))
    parser.add_argument("row", help="the idea, or the way")
    parser.add_argument("--size", type=int, default=32, help="of transfer: pixels, 28, 32 or 64")
    parser.add_argument("--weights", type=Path, help="of transfer: ResNet50's weights file")
    parser.add_argument("--output-dir", type=Path, required=True)
    wanted = parser.parse_args()
    hardware.use_precision("float32")
    if wanted.experiment == "ablation":
        weights = ablation(wanted.row)
    else:
        weights = transfer(wanted.row, wanted.size, wanted.weights)
    wanted.output_dir.mkdir(parents=True)
    np.savez(wanted.output_dir / "weights.npz", *weights)


if __name__ == "__main__":
    main()
