"""A CNN, or a small transformer, from scratch on CIFAR-100 with its 20 coarse labels.

    python cifar100_cnn.py                        # recipe fast; sprint: the same network, few minutes
    python cifar100_cnn.py --recipe best          # the same network, hours; baseline: a plain network
    python cifar100_cnn.py --recipe transformer   # a compact convolutional transformer
    python cifar100_cnn.py --dataset synthetic    # drawn shapes, no download
    python cifar100_cnn.py --dataset FOLDER       # your own pictures, a folder for each class
    python cifar100_cnn.py --dataset FOLDER --start-from output/cifar100_cnn_scratch.h5    # fine-tunes a model

Writes cifar100_cnn_scratch.h5 and cifar100_*; recipe best cifar100_cnn_best.h5 and cifar100-best_*, transformer
cifar100_transformer.h5 and cifar100-transformer_*; see --output-dir.
What it reached, on what and in what time: output/cifar100_model_card.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from pipeline import data, evaluate, train
from pipeline.backend import keras, layers
from pipeline.config import RunConfig, flag, parse
from pipeline.errors import exit_code

RECIPES = {
    "fast": {},
    "sprint": {"epochs": 5, "small_epochs": 3, "validation": 0.1, "corruption": 0.0},
    "best": {"epochs": 48, "small_epochs": 24, "learning_rate": 0.06, "warm_up": 0.1, "shift": 4, "cutmix": 0.5},
    "transformer": {"epochs": 28, "small_epochs": 14, "learning_rate": 0.05},
    "baseline": {"epochs": 120, "batch_size": 256, "learning_rate": 1e-3, "validation": 0.1, "corruption": 0.0},
}
# Prefix of the files, model file and network's name of the recipes that have their own.
FILES = {
    "best": ("cifar100-best", "cifar100_cnn_best.h5", "CNN from scratch"),
    "transformer": ("cifar100-transformer", "cifar100_transformer.h5", "transformer from scratch"),
}
MEAN, STD = (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)  # of CIFAR-100's training pixels, in [0, 255]
SHAPE = (32, 32, 3)  # of its images


@dataclass(frozen=True)
class Config(RunConfig):
    """Settings of a run; each is a flag, see --help."""

    recipes: ClassVar = RECIPES
    fine_tuning_values: ClassVar = {"epochs": 30, "batch_size": 32, "learning_rate": 3e-4}
    not_beside_start_from: ClassVar = ("image_size", "labels", "small_epochs", "cutmix")

    recipe: str = flag("fast", "named set of values for the other flags", choices=tuple(RECIPES))
    dataset: str = flag("cifar100")
    image_size: int = flag(32, "side in pixels that images are scaled to", minimum=32, maximum=128)
    labels: str = flag("coarse", "to train on; fine: 100 classes, then summed to the 20", choices=("coarse", "fine"))
    epochs: int = flag(22, minimum=1)
    batch_size: int = flag(512, minimum=1)
    validation: float = flag(0.02, minimum=0.01, maximum=0.9)
    learning_rate: float = flag(0.13, "peak rate of Muon; baseline: Adam's initial one", minimum=0)
    weight_decay: float = flag(0.009, "of AdamW, for --start-from: decoupled, times the rate per step", minimum=0)
    warm_up: float = flag(0.2, "all but baseline: fraction of the steps until the peak", minimum=0, maximum=0.95)
    label_smoothing: float = flag(
        0.1, "all but baseline: fraction of the target spread over all classes", minimum=0, maximum=0.95
    )
    shift: int = flag(2, "all but baseline: largest random move in pixels", minimum=0, maximum=16)
    corruption: float = flag(
        0.5,
        "all but baseline: fraction of the training images with noise, blur, JPEG or another brightness",
        minimum=0,
        maximum=1,
    )
    cutmix: float = flag(
        0.0, "all but baseline: fraction of batches with parts of others, not at the end", minimum=0, maximum=1
    )
    small_epochs: int = flag(
        11, "all but baseline: first epochs, at most half (rounded up), never the last, at 3/4 size", minimum=0
    )
    tta: bool = flag(
        False, "also test with flips and shifts of each image, chosen on validation images", recorded=False
    )

    @property
    def milestones(self) -> dict[str, int]:
        """The epochs after which the images are of full size, and whole."""
        found = {}
        if self.recipe == "baseline" or self.start_from:
            return found
        if small_epochs(self):
            found[f"{self.image_size * 3 // 4} → {self.image_size} pixels"] = small_epochs(self)
        if self.cutmix:
            found["CutMix ends"] = data.augment.cutmix_epochs(self.epochs)
        return found

    @property
    def learned_classes(self) -> str:
        """The fine classes, which the finished model sums to superclasses."""
        return "100 fine classes" if self.labels == "fine" else ""


def normalization(channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (channels,) float32 that pixels are normalized by; gray: the colors' means."""
    if channels == 3:
        return np.float32(MEAN), np.float32(STD)
    return np.float32([np.mean(MEAN)]), np.float32([np.mean(STD)])


def build_baseline(classes: int, shape: tuple[int, int, int] = SHAPE) -> keras.Model:
    """A plain network: 64, 128, 256 filters, 1.29 M parameters; raw pixels in."""

    def normalized(x, name):
        return layers.ReLU(name=f"{name}_relu")(train.fast_layers.FusedBatchNormalization(name=f"{name}_bn")(x))

    pixels = keras.Input(shape, name="pixels")
    x = layers.Rescaling(1 / 255, dtype="float32", name="normalize")(pixels)
    for block, (filters, dropout) in enumerate(((64, 0.2), (128, 0.3), (256, 0.4)), 1):
        for part in (1, 2):
            name = f"block{block}_conv{part}"
            decay = keras.regularizers.L2(1e-4)
            conv = layers.Conv2D(
                filters, 3, padding="same", kernel_initializer="he_normal", kernel_regularizer=decay, name=name
            )
            x = normalized(conv(x), name)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
        x = layers.Dropout(dropout, name=f"block{block}_dropout")(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    x = normalized(layers.Dense(512, kernel_initializer="he_normal", name="dense")(x), "dense")
    x = layers.Dropout(0.5, name="dropout")(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="cifar100_cnn")


def build_fast(
    classes: int, widths: tuple = (64, 192, 512), inner: tuple = (64, 160, 320), channels: int = 3
) -> keras.Model:
    """After airbench (Jordan 2024, arXiv 2404.00498): few operations before the first pooling.

    A 2x2 convolution with fixed whitening filters, then three blocks: a convolution to `widths` filters, pooled, and
    two more, the first of these to `inner` filters, with a shortcut around them. ReLU instead of GELU, which is slow
    on a CPU.
    """
    conv = partial(train.fast_layers.FastConv2D, kernel_size=3, padding="same", use_bias=False)
    norm = partial(train.fast_layers.FusedBatchNormalization, momentum=0.6, scale=False)
    pixels = keras.Input((None, None, channels), name="pixels")  # smaller images at first
    mean, std = (MEAN, STD) if channels == 3 else normalization(channels)
    x = layers.Normalization(mean=mean, variance=np.square(std), dtype="float32", name="normalize")(pixels)
    x = layers.Conv2D(8 * channels, 2, activation="relu", name="whiten")(x)
    for number, (filters, few) in enumerate(zip(widths, inner, strict=True), 1):
        block = f"block{number}"
        x = layers.MaxPooling2D(name=f"{block}_pool")(conv(filters, name=f"{block}_conv1")(x))
        x = shortcut = layers.ReLU(name=f"{block}_relu1")(norm(name=f"{block}_bn1")(x))
        x = norm(name=f"{block}_bn2")(conv(few, name=f"{block}_conv2")(x))
        x = layers.ReLU(name=f"{block}_relu2")(x)
        x = norm(name=f"{block}_bn3")(conv(filters, name=f"{block}_conv3")(x))
        x = layers.Add(name=f"{block}_add")([x, shortcut])
        x = layers.ReLU(name=f"{block}_relu3")(x)
    x = layers.GlobalMaxPooling2D(dtype="float32", name="maximum")(x)
    x = layers.Rescaling(1 / 9, dtype="float32", name="temper")(x)  # keeps the first softmaxes flat
    logits = layers.Dense(classes, use_bias=False, dtype="float32", name="logits")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="cifar100_cnn")


def build_transformer(
    classes: int, filters: tuple = (64, 192, 192, 384), depth: int = 3, heads: int = 6, channels: int = 3
) -> keras.Model:
    """Compact convolutional transformer (Hassani et al. 2021, arXiv 2104.05704), for images of any size.

    Four convolutions, the third one not pooled, make the tokens: 16 of an image of 32x32 pixels. `depth` encoder blocks
    follow: an attention of all tokens to all, then two dense layers, each with a shortcut around it. The output is the
    mean of the tokens, weighted by a score (sequence pooling). No position embedding: the convolutions' zero padding
    tells where an image ends. BatchNorm instead of LayerNorm, which is slow on a CPU (Yao et al. 2021, "Leveraging
    batch normalization for vision transformers").
    """
    norm = partial(train.fast_layers.FusedBatchNormalization, momentum=0.6, scale=False)
    pixels = keras.Input((None, None, channels), name="pixels")  # smaller images at first
    mean, std = normalization(channels)
    x = layers.Normalization(mean=mean, variance=np.square(std), dtype="float32", name="normalize")(pixels)
    for number, width in enumerate(filters, 1):
        name = f"tokens{number}"
        x = train.fast_layers.FastConv2D(width, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
        if number != 3:
            x = layers.MaxPooling2D(name=f"{name}_pool")(x)
        x = layers.ReLU(name=f"{name}_relu")(norm(name=f"{name}_bn")(x))
    for number in range(1, depth + 1):
        block = f"block{number}"
        y = norm(name=f"{block}_bn1")(x)
        attention = layers.MultiHeadAttention(heads, width // heads, attention_axes=(1, 2), name=f"{block}_attention")
        x = layers.Add(name=f"{block}_add1")([x, attention(y, y)])
        y = norm(name=f"{block}_bn2")(x)
        y = layers.Dense(2 * width, activation="relu", name=f"{block}_dense1")(y)
        y = layers.Dense(width, name=f"{block}_dense2")(y)
        x = layers.Add(name=f"{block}_add2")([x, y])
    x = layers.ReLU(name="relu")(norm(name="bn")(x))
    x = layers.Reshape((-1, width), name="sequence")(x)
    scores = layers.Dense(1, dtype="float32", name="score")(x)
    weights = layers.Softmax(axis=1, dtype="float32", name="weights")(scores)
    x = layers.Dot(1, dtype="float32", name="pool")([weights, x])
    x = layers.Flatten(dtype="float32", name="flat")(x)
    x = layers.Rescaling(1 / 9, dtype="float32", name="temper")(x)  # keeps the first softmaxes flat
    logits = layers.Dense(classes, use_bias=False, dtype="float32", name="logits")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="cifar100_cnn")


def build_model(config: Config, classes: int = 20, shape: tuple[int, int, int] = SHAPE) -> keras.Model:
    """The recipe's network for so many classes (fine labels: 100) of images of a shape, randomly initialized."""
    classes = 100 if config.labels == "fine" else classes
    if config.recipe == "baseline":
        return build_baseline(classes, shape)
    if config.recipe == "transformer":
        return build_transformer(classes, channels=shape[2])
    return build_fast(classes, channels=shape[2])


def small_epochs(config: Config) -> int:
    """Epochs at three quarters of the side: at most half of all, rounded up, and never the last."""
    if config.start_from:  # a saved model takes images of one size
        return 0
    return min(config.small_epochs, (config.epochs + 1) // 2, config.epochs - 1)


def augmentation(config: Config) -> train.loop.Augment:
    """Baseline: flip, rotation 0.1 and zoom 0.1 in Keras' units. All others: alternating flip, shifts, corruptions."""

    def distort(images: np.ndarray, rng: np.random.Generator, **_) -> np.ndarray:
        return data.augment.affine(images, rng, flip=True, rotation=0.1, zoom=0.1)

    def move(images: np.ndarray, rng: np.random.Generator, indices: np.ndarray, epoch: int) -> np.ndarray:
        images = data.augment.shift(images, rng, config.shift)
        images = data.augment.alternating_flip(images, indices, epoch, config.seed)
        if epoch < small_epochs(config):
            images = data.augment.shrink(images, config.image_size * 3 // 4)
        return data.corrupt.corrupt(images, rng, config.corruption) if config.corruption else images

    return distort if config.recipe == "baseline" else move


def prepare_baseline(model: keras.Model, config: Config, dataset: data.datasets.Dataset) -> train.recipe.Plateau:
    """Adam at a rate that falls when the validation loss does not."""
    adam = train.adam.Adam(config.learning_rate)
    train.recipe.compile_model(model, adam, "sparse_categorical_crossentropy")
    return train.recipe.Plateau(config.learning_rate, factor=0.5, patience=5, stop_after=20)


def prepare_fast(model: keras.Model, config: Config, dataset: data.datasets.Dataset) -> None:
    """Whitening of the first convolution; then prepare_muon()."""
    mean, std = normalization(dataset.image_shape[2])
    few = dataset.x_train[: data.rows.at_once(5000, dataset.image_shape, fewest=100)]
    train.recipe.whiten(model.get_layer("whiten"), (few - mean) / std)
    prepare_muon(model, config, dataset)


def prepare_muon(model: keras.Model, config: Config, dataset: data.datasets.Dataset) -> None:
    """Dirac initialization of the 3x3 convolutions; Muon with one cycle."""
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D) and layer.kernel_size == (3, 3):
            train.recipe.dirac_initialization(layer)
    steps = config.epochs * train.recipe.steps_per_epoch(dataset, config)
    rate = train.recipe.one_cycle(config.learning_rate, steps, config.warm_up)
    train.recipe.compile_model(model, train.muon.Muon(rate), train.recipe.SmoothedCrossEntropy(config.label_smoothing))


PREPARE = {"baseline": prepare_baseline, "transformer": prepare_muon}


def compile_fine_tuning(model: keras.Model, config: Config, steps: int) -> None:
    """For --start-from: AdamW with one cycle. SGD's steps are too large for a network whose BatchNorm is frozen."""
    rate = train.recipe.one_cycle(config.learning_rate, steps, config.warm_up)
    optimizer = train.adam.AdamW(rate, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["beta", "bias"])
    train.recipe.compile_model(model, optimizer, train.recipe.SmoothedCrossEntropy(config.label_smoothing))


def main(argv: list[str] | None = None) -> int:
    """Data, model, fit, evaluate, save."""
    config = parse(Config, argv, about=__doc__)
    *files, network = FILES.get(config.recipe, ("cifar100", "cifar100_cnn_scratch.h5", "CNN from scratch"))
    tta = evaluate.evaluation.TTA if config.tta else None
    if config.start_from:
        return train.fine_tuning.run(
            config,
            *files,
            augmentation(config),
            compile_fine_tuning,
            head_learning_rate=0.02,  # ten times that of others, as the features before this head are a ninth
            tta=tta,
        )
    dataset = data.datasets.prepare(config, (config.image_size, config.image_size, None))
    run = train.run.Run(*files, network, config, dataset)
    if run.already_finished():
        return 0

    model = saved = build_model(config, len(dataset.class_names), dataset.image_shape)
    if config.labels == "fine":
        dataset = data.datasets.with_fine_labels(dataset)
        saved = train.recipe.sum_to_superclasses(model, dataset.superclasses)
    prepare = PREPARE.get(config.recipe, prepare_fast)
    plateau = prepare(model, config, dataset)
    labelled, mix = dataset, None
    if config.cutmix and config.recipe != "baseline":
        labelled = data.augment.with_soft_labels(dataset)
        mix = data.augment.cutmix_schedule(config.epochs, config.cutmix)
    train.loop.fit(
        run,
        model,
        labelled,
        epochs=config.epochs,
        augment=augmentation(config),
        mix=mix,
        plateau=plateau,
        on_best=partial(run.save_best, saved),
    )
    temperature = train.recipe.scale_temperature(model, dataset.x_validation, dataset.y_validation)
    run.finish(saved, tta=tta, temperature=temperature)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
