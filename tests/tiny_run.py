"""What the tests of training and of runs share: a run with a tiny model, and what a finished run leaves."""

import json
from pathlib import Path

import pandas as pd

import collect_results
import mnist_classification as mnist
from pipeline.backend import keras
from pipeline.config import parse
from pipeline.data import augment, datasets
from pipeline.models.saved_model import MODELS
from pipeline.train import identity, loop, recipe
from pipeline.train.run import Run


def distort(images, rng, **_):
    return augment.affine(images, rng, rotation=0.05, shift=0.1, fill_mode="constant")


def start(folder, *flags, with_plateau=False):
    """A run with a tiny model that has dropout and BatchNorm, on 128 digits, compiled but not trained."""
    size = ("--dataset", "digits", "--limit", "128", "--filters", "4", "--batch-size", "32", "--epochs", "4")
    config = parse(mnist.Config, [*size, "--precision", "float32", "--output-dir", str(folder), *flags])
    run = Run("tiny", "tiny.h5", "Tiny CNN", config, datasets.prepare(config))
    model = mnist.build_model(config)
    mnist.compile_model(model, config, config.epochs * recipe.steps_per_epoch(run.dataset, config))
    if with_plateau:
        recipe.compile_model(model, keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    plateau = recipe.Plateau(0.05, 0.5, 1, 3) if with_plateau else None

    def fit(augmentation=distort):
        return loop.fit(run, model, run.dataset, epochs=config.epochs, augment=augmentation, plateau=plateau)

    return run, model, fit


def finished_run(folder: Path, recipe="fast", accuracy=0.8, validation=0.7, seed=0, prefix="cifar100", **changed):
    """What a finished run leaves that the collector reads; the model is a few bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    script = collect_results.PREFIXES[prefix]
    config = identity.recorded(script(**{**script.recipes[recipe], "recipe": recipe}))
    config |= {"seed": seed, "precision": "float32", **changed}
    metrics = {"schema": 1, "recipe": recipe, "seed": seed, "config": config, "test_accuracy": accuracy}
    metrics |= {"macro_f1": accuracy, "validation_accuracy": validation, "epochs": 2, "n_train": 45000}
    metrics |= {"parameters": 1000, "wall_seconds": 100.0, "training_seconds": 90.0, "commit": "abc", "test_loss": 0.7}
    metrics["validation_loss"] = 0.6
    metrics |= {"title": "a model", "class_names": ["ant", "bee"], "confusion_matrix": [[3, 1], [0, 4]]}
    metrics["hardware"] = {"processor": "one", "cores": 2, "accelerator": "none", "bfloat16": True}
    (folder / f"{prefix}_metrics.json").write_text(json.dumps(metrics))
    history = pd.DataFrame({"seconds": [40.0, 50.0], "val_accuracy": [0.5, validation], "accuracy": [0.4, 0.9]})
    history = history.assign(
        learning_rate=[1e-3, 5e-4], loss=[2.0, 0.5], val_loss=[1.5, 1.7], val_cross_entropy=[1.1, 1.2]
    )
    history.to_csv(folder / f"{prefix}_history.csv", index=False)
    model = MODELS[prefix].file
    (folder / model).write_text(f"model {recipe} {seed}")
    (folder / f"best_{model}").write_text(f"best model {recipe} {seed}")
