"""ResNet50 on MNIST: a head on frozen features first, then conv4 and conv5, then all stages.

    python resnet50_transfer_learning.py --weights resnet50_imagenet_conv1_to_conv4.h5
    python resnet50_transfer_learning.py                                     # all ImageNet weights
    python resnet50_transfer_learning.py --dataset digits --weights none     # no download
    python resnet50_transfer_learning.py --dataset FOLDER --recipe photos    # your own photographs by class
    python resnet50_transfer_learning.py --dataset FOLDER --start-from output/resnet50_model.h5   # fine-tunes a model

Writes resnet50_model.h5 and its plots and metrics, prefix resnet50; see --output-dir for where.
What it reached, on what and in what time: output/resnet50_model_card.md.
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

RECIPES = {
    "default": {},
    # For a few hundred photographs: what a stage of random weights would have to learn, they cannot teach.
    "photos": {
        "image_size": 128,
        "fresh_stages": False,
        "head_epochs": 20,
        "upper_epochs": 12,
        "epochs": 12,
        "batch_size": 32,
        "learning_rate": 1e-4,
        "flip": True,
        "shift": 0.1,
        "rotation": 0.04,
        "zoom": 0.25,
        "corruption": 0.0,
    },
}


@dataclass(frozen=True)
class Config(RunConfig):
    """Settings of a run; each is a flag, see --help."""

    recipes: ClassVar = RECIPES
    fine_tuning_values: ClassVar = {
        "epochs": 15,
        "batch_size": 32,
        "learning_rate": 1e-4,
        "weights": "none",
        "corruption": 0.0,
    }
    # A random initialization needs more steps.
    random_values: ClassVar = {"epochs": 5, "batch_size": 32, "learning_rate": 5e-4, "corruption": 0.0}
    not_beside_start_from: ClassVar = ("weights", "image_size", "upper_epochs", "fresh_stages")
    dry_run_values: ClassVar = {"head_epochs": 1, "epochs": 2, "upper_epochs": 1}  # every phase once

    recipe: str = flag("default", "named set of values for the other flags", choices=tuple(RECIPES))
    weights: str = flag(
        "imagenet",
        "imagenet (downloads), none, or a file of Keras weights or of a whole model, perhaps of some layers only",
        file=True,
    )
    image_size: int = flag(
        32, "side in pixels that images are scaled to; ResNet50 takes 32 or more", minimum=32, maximum=512
    )
    head_epochs: int = flag(10, "passes of the new head over the frozen features", minimum=1)
    head_learning_rate: float = flag(2e-3, "Adam's rate for the head alone", minimum=0)
    epochs: int = flag(14, "passes of fine-tuning", minimum=1)
    upper_epochs: int = flag(2, "of these, the first ones, with conv1 to conv3 still frozen", minimum=0)
    fresh_stages: bool = flag(
        True, "keep the stages that the weights file lacks, randomly initialized; for few images better without"
    )
    batch_size: int = flag(
        256, "images per training step", minimum=1
    )  # Adam over 23.6 M weights costs as much as 128 images do: no smaller
    learning_rate: float = flag(5e-4, "peak rate of fine-tuning (Adam, one cycle per phase)", minimum=0)
    warm_up: float = flag(0.1, "fraction of a phase's steps until the peak", minimum=0, maximum=0.95)
    dropout: float = flag(0.2, "fraction of the features dropped before the classifier", minimum=0, maximum=0.95)
    flip: bool = flag(False, "mirror half of the images, which digits and letters do not survive")
    shift: float = flag(0.08, "largest random move, as a fraction of the side", minimum=0, maximum=0.5)
    rotation: float = flag(0.03, "largest random rotation, as a fraction of a full turn", minimum=0, maximum=1)
    zoom: float = flag(0.1, "largest random change of scale", minimum=0, maximum=0.9)
    corruption: float = flag(
        0.5, "fraction of the training images with noise, blur, JPEG or another brightness", minimum=0, maximum=1
    )


STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5")
EARLY = STAGES[:3]  # they hold edges and textures, of use for digits as they are
MEAN_BGR = (103.939, 116.779, 123.68)  # of the Caffe ImageNet weights, subtracted and nothing else


SHAPE = (28, 28, 1)  # of MNIST's images


def build_model(config: Config, classes: int = 10, shape: tuple[int, int, int] = SHAPE) -> keras.Model:
    """One flat graph: images of a shape, enlarged and made BGR, through ResNet50 into a new head.

    The head stands on base.output: a nested backbone could not be explained by Grad-CAM.
    """
    pixels = x = keras.Input(shape, name="pixels")
    size = config.image_size
    if shape[:2] != (size, size):
        x = layers.Resizing(size, size, dtype="float32", name="enlarge")(x)
    x = to_bgr(x, size, shape[2])
    x = layers.Rescaling(1.0, offset=[-mean for mean in MEAN_BGR], dtype="float32", name="subtract_mean")(x)
    base = keras.applications.ResNet50(include_top=False, weights=None, input_tensor=x)
    model = with_head(pixels, base.output, config, classes)
    return keras.models.clone_model(model, clone_function=train.fast_layers.faster)


def with_head(pixels: keras.KerasTensor, maps: keras.KerasTensor, config: Config, classes: int) -> keras.Model:
    """The network from the pixels to some maps, with a randomly initialized head on these."""
    x = layers.GlobalAveragePooling2D(dtype="float32", name="features")(maps)
    x = layers.Dropout(config.dropout, name="dropout")(x)
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(logits), name="resnet50")


def ending_at(model: keras.Model, stage: str, config: Config) -> keras.Model:
    """A model of build_model without the stages after one; it shares the layers, and has a head of its own."""
    last = [layer for layer in model.layers if layer.name.startswith(stage)][-1]
    return with_head(model.input, last.output, config, model.output.shape[1])


def to_bgr(x: keras.KerasTensor, size: int, channels: int) -> keras.KerasTensor:
    """Gray or RGB images with three channels in the order of the Caffe weights, by stock layers without weights."""
    if channels == 1:
        return layers.Concatenate(dtype="float32", name="grey_to_bgr")([x, x, x])
    x = layers.Reshape((size, size, 3, 1), dtype="float32", name="channels")(x)
    one = [
        layers.Cropping3D(((0, 0), (0, 0), (place, 2 - place)), dtype="float32", name=name)(x)
        for place, name in ((2, "blue"), (1, "green"), (0, "red"))
    ]
    x = layers.Concatenate(axis=3, dtype="float32", name="bgr")(one)
    return layers.Reshape((size, size, 3), dtype="float32", name="rgb_to_bgr")(x)


def augmentation(config: Config) -> train.loop.Augment:
    """Small moves, rotations, zooms, corruptions, and flips where asked for. Beside things on black there is black."""
    source = data.registry.SOURCES.get(config.dataset)
    fill_mode = "constant" if source and source.on_black else "reflect"

    def distort(images: np.ndarray, rng: np.random.Generator, **_) -> np.ndarray:
        images = data.augment.affine(
            images,
            rng,
            flip=config.flip,
            shift=config.shift,
            rotation=config.rotation,
            zoom=config.zoom,
            fill_mode=fill_mode,
        )
        return data.corrupt.corrupt(images, rng, config.corruption) if config.corruption else images

    return distort


def train_from_random(run: train.run.Run, model: keras.Model, dataset: data.datasets.Dataset) -> None:
    """All layers at once, BatchNorm with them; each residual branch begins at 0 (Goyal et al. 2017, 5.1)."""
    print("no pretrained weights: all layers learn from a random initialization")
    train_batch_norm(model)
    for layer in model.layers:
        if layer.name.endswith("_3_bn"):
            layer.gamma.assign(np.zeros(layer.gamma.shape))
    compile_one_cycle(model, run.config, run.config.epochs * train.recipe.steps_per_epoch(dataset, run.config))
    train.loop.fit(run, model, dataset, epochs=run.config.epochs, augment=augmentation(run.config))


def train_batch_norm(model: keras.Model) -> None:
    """BatchNorm learns, too: scale, shift and the running statistics of these images."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = True
            layer.momentum = 0.9  # of the stock 0.99 half the statistics would be from a hundred steps ago


def compile_with(model: keras.Model, rate) -> None:
    """Adam at a rate or schedule, cross-entropy."""
    train.recipe.compile_model(model, train.adam.Adam(rate), "sparse_categorical_crossentropy")


def compile_fine_tuning(
    model: keras.Model, config: Config, steps: int, frozen: tuple[str, ...] = (), batch_norm: bool = False
) -> None:
    """Every layer learns but those of frozen stages; BatchNorm keeps the statistics that it started with, or learns."""
    train.fine_tuning.unfreeze(model, frozen)
    if batch_norm:
        train_batch_norm(model)
    compile_one_cycle(model, config, steps)


def compile_one_cycle(model: keras.Model, config: Config, steps: int) -> None:
    """Adam with one cycle over all steps, cross-entropy."""
    compile_with(model, train.recipe.one_cycle(config.learning_rate, steps, config.warm_up))


def fine_tune(run: train.run.Run, model: keras.Model, dataset: data.datasets.Dataset) -> None:
    """Phases two and three, gradual unfreezing (Howard and Ruder 2018, arXiv 1801.06146, 3.3).

    conv4 and conv5 learn first, so that what the randomly initialized layers get wrong does not reach the early
    stages. BatchNorm learns in the last phase, but not from the few images of recipe photos.
    """
    config = run.config
    names = [layer.name for layer in model.layers]
    late = [stage for stage in STAGES if stage not in EARLY and any(name.startswith(stage) for name in names)]
    upper = 0
    if late:
        # Where every stage is pretrained, the early ones may stay frozen to the end.
        most = config.epochs - 1 if config.fresh_stages else config.epochs
        upper = min(config.upper_epochs, most)
    if upper:
        print(f"phase 2: fine-tuning {', '.join(late)}")
        fine_tune_phase(run, model, dataset, upper, "upper_checkpoint", ", ".join(late), frozen=EARLY)
    if upper == config.epochs:
        return
    print(f"phase {3 if upper else 2}: fine-tuning all stages")
    fine_tune_phase(
        run, model, dataset, config.epochs - upper, "checkpoint", "all stages", batch_norm=config.fresh_stages
    )


def fine_tune_phase(run, model, dataset, epochs: int, name: str, phase: str, **what) -> None:
    """One phase of fine-tuning, with a learning-rate cycle of its own; what learns: see compile_fine_tuning."""
    compile_fine_tuning(model, run.config, epochs * train.recipe.steps_per_epoch(dataset, run.config), **what)
    train.loop.fit(run, model, dataset, epochs=epochs, augment=augmentation(run.config), name=name, phase=phase)


def main(argv: list[str] | None = None) -> int:
    """Data, model, weights, three phases, evaluate, save."""
    config = parse(Config, argv, about=__doc__)
    files = ("resnet50", "resnet50_model.h5")
    if config.start_from:
        return train.fine_tuning.run(
            config,
            *files,
            augmentation(config),
            compile_one_cycle,
            dropout=config.dropout,
            head_epochs=config.head_epochs,
            head_learning_rate=config.head_learning_rate,
        )
    is_own = config.dataset not in data.registry.SOURCES
    dataset = data.datasets.prepare(config, (config.image_size, config.image_size, None) if is_own else None)
    file = train.resnet_weights.find(config.weights)
    named = {"none": "random initialization", "imagenet": "ImageNet weights"}
    weights = named.get(config.weights) or f"weights {file.stem}"
    digest = train.resnet_weights.fingerprint(file)
    run = train.run.Run(*files, f"ResNet50 ({weights})", config, dataset, digest)
    if run.already_finished():
        return 0
    model = build_model(config, len(dataset.class_names), dataset.image_shape)
    loaded = train.resnet_weights.load_weights(model, file)
    print(train.resnet_weights.summary(loaded))
    if loaded["loaded"] and not config.fresh_stages:
        last = train.resnet_weights.stages(loaded).split("-")[-1]
        model = ending_at(model, last, config)
        loaded["loaded"] = [name for name in loaded["loaded"] if name != "logits"]  # of a whole model of these classes
        loaded["fresh"] = ["logits"]
        print(f"the network ends at {last}")
    if config.weights == "none":
        train_from_random(run, model, dataset)
        run.finish(model, weights=loaded)
        return 0
    few = max(32, 512 * 32**2 // config.image_size**2)  # of large images fewer: all maps are in memory at once
    train.resnet_weights.calibrate(model, dataset.x_train[:few], loaded["fresh"])
    train.fine_tuning.train_head(run, model, dataset, config.head_epochs, config.head_learning_rate)
    fine_tune(run, model, dataset)
    run.finish(model, weights=loaded)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
