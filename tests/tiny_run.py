"""What the tests of training and of runs share: a run with a tiny model."""

import mnist_classification as mnist
from pipeline.backend import keras
from pipeline.config import parse
from pipeline.data import augment, datasets
from pipeline.train import loop, recipe
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
