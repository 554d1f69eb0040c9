"""A CNN from scratch on CIFAR-100 with its 20 coarse labels.

    python cifar100_cnn.py                     # real CIFAR-100
    python cifar100_cnn.py --dataset shapes    # embedded drawn shapes, no download

Writes cifar100_cnn_scratch.h5 (the finished model), best_cifar100_cnn_scratch.h5 (the epoch of the
best validation accuracy) and pictures and figures, prefix cifar100, to output/.
"""

import sys
from dataclasses import dataclass

import numpy as np

from pipeline import augment, data, recipe, training
from pipeline.cli import flag, parse
from pipeline.errors import run
from pipeline.quiet import keras
from pipeline.run import Run

layers = keras.layers


@dataclass(frozen=True)
class Config:
    """Every knob of a run; each is a flag, see --help."""

    recipe: str = flag("baseline", "named set of values for the flags below", choices=("baseline",))
    dataset: str = flag("cifar100", "real CIFAR-100, or drawn shapes", choices=("cifar100", "shapes"))
    epochs: int = flag(120, minimum=1)
    batch_size: int = flag(256, minimum=1)
    learning_rate: float = flag(1e-3, "Adam's initial learning rate", minimum=0)
    halve_after: int = flag(5, "epochs without a better validation loss until the rate is halved", minimum=1)
    stop_after: int = flag(20, "epochs without a better validation loss until training stops", minimum=1)
    l2: float = flag(1e-4, "L2 penalty on the convolutions' kernels", minimum=0)
    rotation: float = flag(0.1, "largest random rotation, as a fraction of a full turn", minimum=0, maximum=1)
    zoom: float = flag(0.1, "largest random change of scale", minimum=0, maximum=0.9)
    validation: float = flag(0.1, "share of the training images held out for validation", minimum=0.01, maximum=0.9)
    seed: int = flag(0, minimum=0, maximum=2**32 - 1)
    limit: int | None = flag(None, minimum=1)
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"))
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None)
    dry_run: bool = flag(False)
    resume: bool = flag(False)


RECIPES = {"baseline": {}}


def build_model(config: Config) -> keras.Model:
    """The description's network: 64, 128, 256 filters, 1.29 M parameters; raw pixels in."""

    def normalised(x, name):
        return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_bn")(x))

    pixels = keras.Input((32, 32, 3), name="pixels")
    x = layers.Rescaling(1 / 255, dtype="float32", name="normalise")(pixels)
    for block, (filters, dropout) in enumerate(((64, 0.2), (128, 0.3), (256, 0.4)), 1):
        for part in (1, 2):
            name = f"block{block}_conv{part}"
            x = layers.Conv2D(
                filters,
                3,
                padding="same",
                kernel_initializer="he_normal",
                kernel_regularizer=keras.regularizers.L2(config.l2),
                name=name,
            )(x)
            x = normalised(x, name)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
        x = layers.Dropout(dropout, name=f"block{block}_dropout")(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    x = normalised(layers.Dense(512, kernel_initializer="he_normal", name="dense")(x), "dense")
    x = layers.Dropout(0.5, name="dropout")(x)
    logits = layers.Dense(20, dtype="float32", name="logits")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="cifar100_cnn")


def augmentation(config: Config) -> training.Augment:
    """Flip, rotation and zoom in Keras' units, as one interpolation."""

    def distort(images: np.ndarray, rng: np.random.Generator, **_) -> np.ndarray:
        return augment.affine(images, rng, flip=True, rotation=config.rotation, zoom=config.zoom)

    return distort


def main(argv: list[str] | None = None) -> int:
    """Data, model, fit, evaluate, save."""
    config = parse(Config, argv, recipes=RECIPES, about=__doc__)
    dataset = data.prepare(config)
    this = Run("cifar100", "cifar100_cnn_scratch.h5", "CNN from scratch", config, dataset)
    if this.already_finished():
        return 0

    model = build_model(config)
    model.compile(
        keras.optimizers.Adam(config.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=recipe.JIT,
    )
    plateau = recipe.Plateau(config.learning_rate, 0.5, config.halve_after, config.stop_after)
    best = this.folder / f"best_{this.model_path.name}"
    history = training.fit(
        this,
        model,
        dataset,
        epochs=config.epochs,
        augment=augmentation(config),
        name="state",
        plateau=plateau,
        on_best=lambda: this.save(model, best),
    )
    this.finish(model, history)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
