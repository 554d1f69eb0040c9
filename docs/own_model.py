"""A model of your own on MNIST: copy this file beside the other scripts, then change the network.

    cp docs/own_model.py my_model.py       # on Windows: copy docs\\own_model.py my_model.py
    python my_model.py --dataset digits    # toy digits, no download
    python my_model.py                     # real MNIST

Writes my_model.h5, its plots and metrics, prefix my_model, where the other scripts write theirs.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from pipeline import data, train
from pipeline.backend import keras, layers
from pipeline.config import RunConfig, flag, parse
from pipeline.errors import exit_code


@dataclass(frozen=True)
class Config(RunConfig):
    """Settings of a run; each is a flag, see --help."""

    learning_rate: float = flag(3e-3, "peak of the one-cycle schedule (AdamW)", minimum=0)
    epochs: int = flag(10, minimum=1)
    batch_size: int = flag(128, minimum=1)


def build_model() -> keras.Model:
    """Two residual blocks (He et al. 2015, arXiv 1512.03385); raw pixels in [0, 255] in, probabilities out."""
    pixels = keras.Input((28, 28, 1), name="pixels")
    x = layers.Rescaling(1 / 255, dtype="float32", name="normalize")(pixels)
    for number, filters in enumerate((16, 32), start=1):
        shortcut = layers.Conv2D(filters, 3, strides=2, padding="same", name=f"block{number}_down")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"block{number}_bn1")(shortcut)
        x = layers.ReLU(name=f"block{number}_relu1")(x)
        x = layers.Conv2D(filters, 3, padding="same", name=f"block{number}_conv")(x)
        x = layers.Add(name=f"block{number}_add")([shortcut, x])
        x = layers.BatchNormalization(momentum=0.9, name=f"block{number}_bn2")(x)
        x = layers.ReLU(name=f"block{number}_relu2")(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    logits = layers.Dense(10, dtype="float32", name="logits")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="my_model")


def moved(images, rng, **_):
    """Training images, each moved by up to two pixels."""
    return data.augment.shift(images, rng, pixels=2, mode="constant")


def compile_model(model: keras.Model, config: Config, steps: int) -> None:
    """AdamW with one cycle over all steps, cross-entropy."""
    rate = train.recipe.one_cycle(config.learning_rate, steps, warm_up=0.2)
    train.recipe.compile_model(model, keras.optimizers.AdamW(rate), train.recipe.SmoothedCrossEntropy())


def main(argv: list[str] | None = None) -> int:
    """Data, model, fit, evaluate, save."""
    config = parse(Config, argv, about=__doc__)
    files = ("my_model", "my_model.h5")
    if config.start_from:
        return train.fine_tuning.run(config, *files, moved, compile_model)
    dataset = data.datasets.prepare(config)
    run = train.run.Run(*files, "My model", config, dataset)
    if run.already_finished():
        return 0
    model = build_model()
    compile_model(model, config, config.epochs * train.recipe.steps_per_epoch(dataset, config))
    train.loop.fit(run, model, dataset, epochs=config.epochs, augment=moved)
    temperature = train.recipe.scale_temperature(model, dataset.x_validation, dataset.y_validation)
    run.finish(model, temperature=temperature)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
