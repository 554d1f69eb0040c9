"""What --start-from brings with few images: MNIST's custom CNN on 10 of the embedded digits per class.

    python experiments/start_from.py              # ten minutes
    python experiments/start_from.py --dry-run    # one draw, few epochs, to see that it works

The embedded digits (scikit-learn's, `--dataset digits`) are from other writers than MNIST's and another scanner. Each
draw takes 10 training images and one validation image per class; all are tested on the same 450 images, which neither
a setting was chosen on nor the saved model has seen. Three starts:
- MNIST's model as it is, which learns nothing here: one value;
- fine-tuned by mnist_classification.py --start-from, at its settings for that;
- a random initialization: the same script, network and images, batches of the same size, and so many more epochs that
  it has learnt all of its training images.

Writes start_from.json after each draw.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import mnist_classification as mnist
from pipeline import atomic_io, backend, data
from pipeline.config import flag, parse
from pipeline.errors import UserError, exit_code
from pipeline.models import saved_model
from pipeline.train import identity

PER_CLASS, VALIDATION_PER_CLASS = 10, 1
RANDOM_EPOCHS = 100  # of a random initialization


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    start_from: str = flag(str(identity.OUTPUT / saved_model.MODELS["custom_cnn"].file), "saved custom CNN of MNIST")
    draws: int = flag(5, "draws of training images", minimum=1, maximum=100)
    output_dir: str | None = flag(None, "folder for results; else output/, for trials output/demo/")
    dry_run: bool = flag(False, "one draw, few epochs, to see that it works")


def draw(dataset: data.datasets.Dataset, seed: int) -> np.ndarray:
    """Indices (classes x 11,) of a draw's training and validation images, the same number of each class."""
    rng = np.random.default_rng(seed)
    kinds = np.unique(dataset.y_train)
    size = PER_CLASS + VALIDATION_PER_CLASS
    return np.concatenate([rng.choice(np.flatnonzero(dataset.y_train == kind), size, replace=False) for kind in kinds])


def train(dataset: data.datasets.Dataset, seed: int, *flags: str) -> dict:
    """Train the custom CNN on a draw, by its script; the metrics of the run."""
    chosen = draw(dataset, seed)
    with tempfile.TemporaryDirectory() as folder:  # the results are the experiment's own
        images = Path(folder) / "draw.npz"
        np.savez(
            images,
            x_train=dataset.x_train[chosen],
            y_train=dataset.y_train[chosen],
            x_test=dataset.x_test,
            y_test=dataset.y_test,
        )
        validation = VALIDATION_PER_CLASS / (PER_CLASS + VALIDATION_PER_CLASS)
        own = ["--dataset", str(images), "--validation", str(validation), "--seed", str(seed), "--output-dir", folder]
        mnist.main([*own, *flags])
        return atomic_io.read_json(Path(folder) / "custom_cnn_metrics.json")


def untrained_accuracy(saved: saved_model.SavedModel, dataset: data.datasets.Dataset) -> float:
    """Test accuracy of the saved model as it is."""
    predicted = saved_model.predict(saved.model, dataset.x_test).argmax(axis=1)
    return float(np.mean(predicted == dataset.y_test))


def main(argv: list[str] | None = None) -> int:
    """Train both starts on every draw."""
    config = parse(Config, argv, about=__doc__)
    saved = saved_model.open_model(config.start_from)
    dataset = data.datasets.load("digits")
    if saved.model.input_shape[1:] != dataset.image_shape or len(saved.metadata["class_names"]) != 10:
        raise UserError(f"{config.start_from} is no model of MNIST's digits; give one of mnist_classification.py")
    folder = identity.results_folder(config.output_dir, trial=config.dry_run)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "start_from.json"

    few = ["--epochs", "2"] if config.dry_run else []
    batch_size = str(mnist.Config.fine_tuning_values["batch_size"])
    starts = {
        "MNIST's model, fine-tuned": ["--start-from", config.start_from, *few],
        "random initialization": ["--batch-size", batch_size, "--epochs", str(RANDOM_EPOCHS), *few],
    }
    rows = [{"start": "MNIST's model as it is", "epochs": 0, "test_accuracy": [untrained_accuracy(saved, dataset)]}]
    rows += [{"start": start, "epochs": None, "test_accuracy": []} for start in starts]
    for seed in range(1 if config.dry_run else config.draws):
        for row, flags in zip(rows[1:], starts.values(), strict=True):
            metrics = train(dataset, seed, *flags)
            row["epochs"] = metrics["epochs"]
            row["test_accuracy"].append(metrics["test_accuracy"])
        result = {
            "start_from": {"file": saved.path.name, "sha256": saved.sha256},
            "dataset": dataset.name,
            "training_images_per_class": PER_CLASS,
            "test_images": len(dataset.y_test),
            "rows": rows,
            **backend.provenance(),
        }
        atomic_io.write_json(path, result)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
