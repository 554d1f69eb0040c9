"""A custom CNN on MNIST.

    python mnist_classification.py                     # real MNIST
    python mnist_classification.py --dataset digits    # embedded digits, no download

Writes custom_cnn_model.h5 and its pictures and figures, prefix custom_cnn, to output/.
"""

import sys
from dataclasses import dataclass

import numpy as np

from pipeline import augment, data, recipe, training
from pipeline.cli import flag, parse
from pipeline.errors import run
from pipeline.normalization import FusedBatchNormalization
from pipeline.quiet import keras
from pipeline.run import Run

layers = keras.layers


@dataclass(frozen=True)
class Config:
    """Every knob of a run; each is a flag, see --help."""

    recipe: str = flag("default", "named set of values for the flags below", choices=("default",))
    dataset: str = flag("mnist", "real MNIST, or scikit-learn's digits", choices=("mnist", "digits"))
    epochs: int = flag(20, minimum=1)
    batch_size: int = flag(256, minimum=1)
    filters: int = flag(32, "filters of the first block; each later block has twice as many", minimum=1, maximum=1024)
    dropout: float = flag(0.3, "share of the features dropped before the classifier", minimum=0, maximum=0.95)
    learning_rate: float = flag(3e-3, "peak of the one-cycle schedule (AdamW)", minimum=0)
    warm_up: float = flag(0.2, "share of the steps until the peak", minimum=0, maximum=0.95)
    weight_decay: float = flag(0.02, "AdamW's decoupled decay, times the learning rate per step", minimum=0)
    label_smoothing: float = flag(0.1, "share of the target spread over all classes", minimum=0, maximum=0.95)
    shift: float = flag(0.1, "largest random move, as a fraction of the side", minimum=0, maximum=0.5)
    rotation: float = flag(0.035, "largest random rotation, as a fraction of a full turn", minimum=0, maximum=1)
    zoom: float = flag(0.12, "largest random change of scale", minimum=0, maximum=0.9)
    shear: float = flag(0.15, "largest random shear, in pixels per pixel of height", minimum=0, maximum=2)
    validation: float = flag(0.1, "share of the training images held out for validation", minimum=0, maximum=0.9)
    seed: int = flag(0, minimum=0, maximum=2**32 - 1)
    limit: int | None = flag(None, minimum=1)
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"))
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None)
    devices: str = flag("1")
    deterministic: bool = flag(False)
    dry_run: bool = flag(False)
    resume: bool = flag(False)


RECIPES = {"default": {}}


def build_model(config: Config) -> keras.Model:
    """Three blocks of two 3x3 convolutions, halving the side after each; raw pixels in.

    A digit is recognised by its strokes wherever they are, so the features are averaged over the
    last 7x7 map instead of flattened: fewer weights, and shifts matter less.
    """
    pixels = keras.Input((28, 28, 1), name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1, dtype="float32", name="normalise")(pixels)
    for block in (1, 2, 3):
        if block > 1:
            x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
        for part in (1, 2):
            name = f"block{block}_conv{part}"
            x = layers.Conv2D(config.filters * 2 ** (block - 1), 3, padding="same", use_bias=False, name=name)(x)
            x = FusedBatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    x = layers.Dropout(config.dropout, name="dropout")(x)
    logits = layers.Dense(10, dtype="float32", name="logits")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="custom_cnn")


def augmentation(config: Config) -> training.Augment:
    """What a writer might have done; never a flip, which would make another character."""

    def distort(images: np.ndarray, rng: np.random.Generator, **_) -> np.ndarray:
        return augment.affine(
            images,
            rng,
            shift=config.shift,
            rotation=config.rotation,
            zoom=config.zoom,
            shear=config.shear,
            fill_mode="constant",
        )

    return distort


def compile_model(model: keras.Model, config: Config, steps: int) -> None:
    """AdamW with one warm-up and one cosine decay to zero over all steps."""
    rate = recipe.one_cycle(config.learning_rate, steps, config.warm_up)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["beta", "gamma", "bias"])
    loss = recipe.SmoothedCrossEntropy(config.label_smoothing)
    model.compile(optimizer, loss=loss, metrics=["accuracy"], jit_compile=recipe.JIT)


def main(argv: list[str] | None = None) -> int:
    """Data, model, fit, evaluate, save."""
    config = parse(Config, argv, recipes=RECIPES, about=__doc__)
    dataset = data.prepare(config)
    this = Run("custom_cnn", "custom_cnn_model.h5", "Custom CNN", config, dataset)
    if this.already_finished():
        return 0

    model = build_model(config)
    compile_model(model, config, recipe.total_steps(dataset, config))
    history = training.fit(this, model, dataset, epochs=config.epochs, augment=augmentation(config), name="state")
    temperature = recipe.scale_temperature(model, dataset.x_validation, dataset.y_validation)
    this.finish(model, history, temperature=temperature)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
