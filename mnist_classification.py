"""A custom CNN on MNIST.

    python mnist_classification.py                     # real MNIST
    python mnist_classification.py --dataset digits    # toy digits, no download
    python mnist_classification.py --dataset FOLDER    # your own pictures, a folder for each class
    python mnist_classification.py --dataset FOLDER --start-from output/custom_cnn_model.h5    # fine-tunes a model

Writes custom_cnn_model.h5 and its plots and metrics, prefix custom_cnn; see --output-dir for where.
What it reached, on what and in what time: output/custom_cnn_model_card.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pipeline import data, train
from pipeline.backend import keras, layers
from pipeline.config import RunConfig, flag, parse
from pipeline.errors import exit_code

# What each recipe changes among the flags below.
RECIPES = {
    "default": {},
    # Twice the epochs and the filters learn the usual distortions by heart, so these are stronger.
    "best": {
        "epochs": 40,
        "filters": 64,
        "pool_first": False,
        "rotation": 0.055,
        "zoom": 0.15,
        "shear": 0.2,
        "corruption": 0.0,
    },
    "tiny": {
        "epochs": 90,
        "filters": 8,
        "growth": 1.562,
        "pool_first": False,
        "dropout": 0.0,
        "learning_rate": 0.01,
        "corruption": 0.0,
        "precision": "float32",  # bfloat16 is slower for so few filters
    },
    "sprint": {"epochs": 2, "filters": 16, "corruption": 0.0},
    "sprint75": {"epochs": 5, "filters": 32, "corruption": 0.0},
}


@dataclass(frozen=True)
class Config(RunConfig):
    """Settings of a run; each is a flag, see --help."""

    recipes: ClassVar = RECIPES
    not_beside_start_from: ClassVar = ("filters", "growth", "pool_first", "ensemble")

    recipe: str = flag("default", "named set of values for the other flags", choices=tuple(RECIPES))
    epochs: int = flag(18, minimum=1)
    batch_size: int = flag(256, minimum=1)
    filters: int = flag(48, "filters of the first block's convolutions", minimum=1, maximum=1024)
    growth: float = flag(2.0, "how many times as many filters each later block has", minimum=1, maximum=4)
    pool_first: bool = flag(True, "halve the side before the second convolution of a block: faster")
    dropout: float = flag(0.3, "fraction of the features dropped before the classifier", minimum=0, maximum=0.95)
    learning_rate: float = flag(3e-3, "peak of the one-cycle schedule (AdamW)", minimum=0)
    warm_up: float = flag(0.2, "fraction of the steps until the peak", minimum=0, maximum=0.95)
    weight_decay: float = flag(0.02, "AdamW's decoupled decay, times the learning rate per step", minimum=0)
    label_smoothing: float = flag(0.1, "fraction of the target spread over all classes", minimum=0, maximum=0.95)
    shift: float = flag(0.1, "largest random move, as a fraction of the side", minimum=0, maximum=0.5)
    rotation: float = flag(0.035, "largest random rotation, as a fraction of a full turn", minimum=0, maximum=1)
    zoom: float = flag(0.12, "largest random change of scale", minimum=0, maximum=0.9)
    shear: float = flag(0.15, "largest random shear, in pixels per pixel of height", minimum=0, maximum=2)
    corruption: float = flag(
        0.5, "fraction of the training images with noise, blur, JPEG or another brightness", minimum=0, maximum=1
    )
    validation: float = flag(
        5 / 60, "fraction of the training images held out for validation", minimum=0.01, maximum=0.9
    )
    ensemble: int = flag(1, "models with 3x3, 5x5, 7x7 kernels whose probabilities are averaged", minimum=1, maximum=3)


KERNELS = (3, 5, 7)
SHAPE = (28, 28, 1)  # of MNIST's images, to which all others are scaled


def build_model(
    config: Config, kernel: int = 3, pixels: keras.KerasTensor | None = None, classes: int = 10
) -> keras.Model:
    """Three blocks of two convolutions, halving the side from block to block; raw pixels in.

    A digit is recognised by its strokes wherever they are, so the features are averaged over the
    last map instead of flattened: fewer weights, and shifts matter less.
    """
    member = f"kernel{kernel}_" if config.ensemble > 1 else ""  # members of one graph need names of their own

    def convolution(x, filters, name):
        return layers.Conv2D(filters, kernel, padding="same", use_bias=False, name=name)(x)

    def normalized(x, name):
        return layers.ReLU(name=f"{name}_relu")(
            train.fast_layers.FusedBatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
        )

    pixels = keras.Input(SHAPE, name="pixels") if pixels is None else pixels
    x = layers.Rescaling(1 / 127.5, offset=-1, dtype="float32", name=f"{member}normalize")(pixels)
    for number in (1, 2, 3):
        filters, block = round(config.filters * config.growth ** (number - 1)), f"{member}block{number}"
        if number > 1 and not config.pool_first:
            x = layers.MaxPooling2D(name=f"{block}_pool")(x)
        x = convolution(x, filters, f"{block}_conv1")
        if config.pool_first:  # normalization and ReLU then have a quarter of the values to go through
            x = layers.MaxPooling2D(name=f"{block}_pool")(x)
        x = convolution(normalized(x, f"{block}_conv1"), filters, f"{block}_conv2")
        x = normalized(x, f"{block}_conv2")
    x = layers.GlobalAveragePooling2D(name=f"{member}average")(x)
    x = layers.Dropout(config.dropout, name=f"{member}dropout")(x)
    logits = layers.Dense(classes, dtype="float32", name=f"{member}logits")(x)
    probabilities = layers.Softmax(dtype="float32", name=f"{member}probabilities")(logits)
    return keras.Model(pixels, probabilities, name=f"{member}custom_cnn")


def average(members: list[keras.Model]) -> keras.Model:
    """The mean of the members' probabilities as one model; An et al. 2020 (arXiv 2008.10400) take a majority vote."""
    if len(members) == 1:
        return members[0]
    mean = layers.Average(dtype="float32", name="probabilities")([member.output for member in members])
    return keras.Model(members[0].input, mean, name="custom_cnn")


def augmentation(config: Config) -> train.loop.Augment:
    """What a writer might have done; never a flip, which would make another character."""

    def distort(images: np.ndarray, rng: np.random.Generator, **_) -> np.ndarray:
        images = data.augment.affine(
            images,
            rng,
            shift=config.shift,
            rotation=config.rotation,
            zoom=config.zoom,
            shear=config.shear,
            fill_mode="constant",
        )
        return data.corrupt.corrupt(images, rng, config.corruption) if config.corruption else images

    return distort


def compile_model(model: keras.Model, config: Config, steps: int) -> None:
    """AdamW with one warm-up and one cosine decay to zero over all steps."""
    rate = train.recipe.one_cycle(config.learning_rate, steps, config.warm_up)
    optimizer = train.adam.AdamW(rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["beta", "gamma", "bias"])
    loss = train.recipe.SmoothedCrossEntropy(config.label_smoothing)
    train.recipe.compile_model(model, optimizer, loss)


def main(argv: list[str] | None = None) -> int:
    """Data, model, fit, evaluate, save."""
    config = parse(Config, argv, about=__doc__)
    files = ("custom_cnn", "custom_cnn_model.h5")
    if config.start_from:
        return train.fine_tuning.run(config, *files, augmentation(config), compile_model, dropout=config.dropout)
    dataset = data.datasets.prepare(config, SHAPE)
    run = train.run.Run(*files, "Custom CNN", config, dataset)
    if run.already_finished():
        return 0

    pixels = keras.Input(dataset.image_shape, name="pixels")
    classes = len(dataset.class_names)
    members = {kernel: build_model(config, kernel, pixels, classes) for kernel in KERNELS[: config.ensemble]}
    temperatures = []
    for kernel, model in members.items():
        compile_model(model, config, config.epochs * train.recipe.steps_per_epoch(dataset, config))
        train.loop.fit(
            run,
            model,
            dataset,
            epochs=config.epochs,
            augment=augmentation(config),
            name="checkpoint" if config.ensemble == 1 else f"kernel{kernel}_checkpoint",
            phase=f"{kernel}x{kernel} kernels",
        )
        temperatures.append(train.recipe.scale_temperature(model, dataset.x_validation, dataset.y_validation))
    temperature = temperatures[0] if config.ensemble == 1 else temperatures
    run.finish(average(list(members.values())), temperature=temperature)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
