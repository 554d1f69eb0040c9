"""Trains and tests one row of the transfer experiment, with the recipes of the scripts."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import mnist_classification as mnist
import resnet50_transfer_learning as resnet
from experiments.transfer_setups import CONV4, CONV5, CUSTOM, FROZEN, RANDOM, Row, budget
from pipeline import backend
from pipeline.backend import keras, layers
from pipeline.data import augment, datasets
from pipeline.data.batches import Batches
from pipeline.models import saved_model
from pipeline.train import fine_tuning, loop, recipe, resnet_weights
from pipeline.train.loop import Progress

LAST_OF_CONV4 = "conv4_block6_out"
CALIBRATION = 512  # training images from which BatchNorm layers without loaded weights take their statistics


def subset(dataset: datasets.Dataset, row: Row) -> np.ndarray:
    """Indices (row.images,) of the row's training images: stratified, the same for every setup."""
    everything = np.arange(len(dataset.y_train))
    if row.images == len(everything):
        return everything
    y = dataset.y_train
    return train_test_split(everything, train_size=row.images, random_state=row.seed, stratify=y)[0]


class Steps(Batches):
    """A fixed number of batches, from one shuffled pass after the other, however few images there are."""

    def __init__(self, images, labels, batch_size: int, steps: int, seed: int, distort, phase: int):
        super().__init__(images, labels, batch_size=batch_size, seed=seed, epoch=phase, augment=distort)
        passes = -(-steps * batch_size // len(images))
        shuffled = [augment.stream(augment.ORDER, seed, phase, i).permutation(len(images)) for i in range(passes)]
        self.order, self.steps = np.concatenate(shuffled), steps

    def __len__(self):
        return self.steps


def fit(model: keras.Model, x, y, batch_size: int, steps: int, seed: int, distort=None, phase: int = 0) -> None:
    """Train a compiled model for so many steps; each phase of a row's fine-tuning has random numbers of its own."""
    loop.seed_layers(model, seed, phase)
    progress = Progress(0, 1, steps)  # holds no signal back: there is no checkpoint to save
    loop.one_epoch(model, Steps(x, y, batch_size, steps, seed, distort, phase), None, progress)
    progress.clear()


def fine_tune(row: Row, x, y, file: Path, all_images: int) -> keras.Model:
    """ResNet50 from the weights file or from a random initialization, all of it trained."""
    config = resnet.Config(seed=row.seed)
    model, distort = resnet.build_model(config), resnet.augmentation(config)
    if row.setup == RANDOM:
        resnet.compile_with(model, recipe.one_cycle(config.learning_rate, row.steps, config.warm_up))
        fit(model, x, y, row.batch_size, row.steps, row.seed, distort)
        # Averages with momentum 0.99 lag behind the weights of so few steps.
        resnet_weights.calibrate(model, x[:CALIBRATION], [layer.name for layer in model.layers])
        return model
    resnet_weights.calibrate(model, x[:CALIBRATION], resnet_weights.load_weights(model, file)["fresh"])
    head = fine_tuning.head_of(model)
    resnet.compile_with(head, config.head_learning_rate)
    features = saved_model.predict(keras.Model(model.input, model.get_layer("features").output), x)
    batch, steps = budget(row.images, all_images, config.batch_size, config.head_epochs)
    fit(head, features, y, batch, steps, row.seed)
    upper = row.steps * config.upper_epochs // config.epochs
    for phase, (steps, frozen) in enumerate(((upper, resnet.EARLY), (row.steps - upper, ()))):
        resnet.compile_fine_tuning(model, config, steps, frozen, batch_norm=not frozen)
        fit(model, x, y, row.batch_size, steps, row.seed, distort, phase)
    return model


def train_custom_cnn(row: Row, x, y) -> keras.Model:
    """The custom CNN, from a random initialization."""
    config = mnist.Config(seed=row.seed)
    model = mnist.build_model(config)
    mnist.compile_model(model, config, row.steps)
    fit(model, x, y, row.batch_size, row.steps, row.seed, mnist.augmentation(config))
    return model


def frozen_features(dataset: datasets.Dataset, file: Path, size: int) -> tuple[dict, dict, float]:
    """Features behind conv4 and conv5, averaged over each map, in one pass of all images through the backbone.

    Args:
        file: pretrained weights.
        size: side in pixels that the images are enlarged to.
    Returns:
        Setup -> (n, channels) float32 of the training images; the same of the test images; seconds per image.
    """
    keras.utils.set_random_seed(0)
    model = resnet.build_model(resnet.Config(image_size=size))
    resnet_weights.calibrate(model, dataset.x_train[:CALIBRATION], resnet_weights.load_weights(model, file)["fresh"])
    conv4 = layers.GlobalAveragePooling2D(dtype="float32")(model.get_layer(LAST_OF_CONV4).output)
    both = layers.Concatenate(dtype="float32")([conv4, model.get_layer("features").output])
    backbone, width = keras.Model(model.input, both), conv4.shape[-1]
    started, parts = time.monotonic(), []
    for kind, images in (("training", dataset.x_train), ("test", dataset.x_test)):
        rows = saved_model.predict(backbone, images, what=f"{kind} images through the backbone at {size} px")
        parts.append({CONV4: rows[:, :width], CONV5: rows[:, width:]})
    seconds = time.monotonic() - started
    return *parts, seconds / (len(dataset.x_train) + len(dataset.x_test))


def train_head(row: Row, x, y) -> keras.Model:
    """A head on frozen features (n, channels), with the recipe's dropout and learning rate."""
    config = resnet.Config(seed=row.seed)
    head = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            layers.Dropout(config.dropout),
            layers.Dense(10, activation="softmax", dtype="float32"),
        ]
    )
    resnet.compile_with(head, config.head_learning_rate)
    fit(head, x, y, row.batch_size, row.steps, row.seed)
    return head


def measure(row: Row, dataset: datasets.Dataset, file: Path, features) -> dict:
    """Train one row and read the test images once.

    Args:
        file: pretrained weights.
        features: what frozen_features() returns, as a function of the size in pixels.
    Returns:
        {"test_accuracy", "train_accuracy" (None for many images), "training_seconds", "source"}
    """
    backend.fresh_session(row.seed)
    chosen, seconds = subset(dataset, row), 0.0
    x, x_test, y = dataset.x_train, dataset.x_test, dataset.y_train[chosen]
    if row.setup in FROZEN:
        train, test, seconds_per_image = features(row.size)
        keras.utils.set_random_seed(row.seed)  # again: a pass through the backbone draws from it, a stored one does not
        x, x_test, seconds = train[row.setup], test[row.setup], seconds_per_image * len(chosen)
        scaler = StandardScaler().fit(x[chosen])  # leaves a feature alone that these images never vary
        x, x_test = scaler.transform(x[chosen]), scaler.transform(x_test)
    else:
        x = x[chosen]
    started = time.monotonic()
    if row.setup in FROZEN:
        model = train_head(row, x, y)
    elif row.setup == CUSTOM:
        model = train_custom_cnn(row, x, y)
    else:
        model = fine_tune(row, x, y, file, len(dataset.y_train))
    seconds += time.monotonic() - started
    if row.setup not in FROZEN:
        model = saved_model.inference_copy(model, dataset.image_shape)  # float32, as it would be saved

    def accuracy(images, labels):
        return float(np.mean(saved_model.predict(model, images).argmax(axis=1) == labels))

    return {
        "test_accuracy": accuracy(x_test, dataset.y_test),
        "train_accuracy": accuracy(x, y) if row.images <= 1_000 else None,
        "training_seconds": round(seconds, 1),
        "source": "resnet50_transfer.py",
    }
