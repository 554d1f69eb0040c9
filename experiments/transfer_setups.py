"""The rows of resnet50_transfer.py: what each is, and how it is trained and tested with the scripts' recipes."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import mnist_classification as mnist
import resnet50_transfer_learning as resnet
from experiments import transfer_plot
from pipeline import backend
from pipeline.backend import keras
from pipeline.data import augment, datasets
from pipeline.data.batches import Batches
from pipeline.models import saved_model
from pipeline.train import loop, recipe, resnet_weights
from pipeline.train.loop import Progress

RANDOM, PRETRAINED, CONV4, CONV5, CUSTOM = transfer_plot.SETUPS
LAST_OF_CONV4 = "conv4_block6_out"
DRAWS = {100: 3, 1_000: 3}  # of the sets that are drawn more than once
LARGEST_BATCH = {100: 64, 1_000: 128}
LEAST = 1 / 4  # of a recipe's steps on all images


@dataclass(frozen=True)
class Row:
    """One point of the picture, apart from what is measured."""

    setup: str
    size: int  # pixels, the side of the images that the network sees
    images: int
    seed: int
    batch_size: int
    steps: int

    def guess(self) -> float:
        """Seconds on two cores with bfloat16; after the first rows only the ratios matter."""
        if self.setup == CUSTOM:
            return 10 + self.steps * self.batch_size / 780
        if self.setup in (RANDOM, PRETRAINED):
            return 45 + self.steps * (self.batch_size + 128) / 220  # a step of Adam costs as much as 128 images
        return 5 + 0.006 * self.steps


def budget(images: int, of_all: int, batch_size: int, epochs: int) -> tuple[int, int]:
    """Batch size and steps of a recipe with such a batch size and so many epochs, on some of all images."""
    batch = min(batch_size, LARGEST_BATCH.get(images, batch_size), images)
    least = LEAST * epochs * max(1, of_all // batch_size)
    return batch, max(epochs * (images // batch), round(least))


def plan(of_all: int) -> list[Row]:
    """Every row for a data set of so many training images, cheap ones first."""
    r, c = resnet.Config(), mnist.Config()
    setups = [(setup, size, r.batch_size, r.head_epochs) for size in (64, 32) for setup in (CONV4, CONV5)]
    setups += [(CUSTOM, 28, c.batch_size, c.epochs)]
    setups += [(setup, 32, r.batch_size, r.epochs) for setup in (PRETRAINED, RANDOM)]
    sets = [*(n for n in (100, 1_000, 10_000) if n < of_all), of_all]
    rows = [
        Row(setup, size, images, seed, *budget(images, of_all, batch_size, epochs))
        for setup, size, batch_size, epochs in setups
        for images in sets
        for seed in range(DRAWS.get(images, 1))
    ]
    tuned = [row for row in rows if row.setup in (PRETRAINED, RANDOM)]
    return [row for row in rows if row not in tuned] + sorted(tuned, key=lambda row: row.images)


def draw(dataset: datasets.Dataset, row: Row) -> np.ndarray:
    """Indices of the row's training images: stratified, the same for every setup."""
    everything = np.arange(len(dataset.y_train))
    if row.images == len(everything):
        return everything
    y = dataset.y_train
    return train_test_split(everything, train_size=row.images, random_state=row.seed, stratify=y)[0]


class Steps(Batches):
    """A number of batches from one shuffled pass after the other, however few images there are."""

    def __init__(self, images, labels, batch_size: int, steps: int, seed: int, distort, phase: int):
        super().__init__(images, labels, batch_size=batch_size, seed=seed, epoch=phase, augment=distort)
        passes = -(-steps * batch_size // len(images))
        shuffled = [augment.stream(augment.ORDER, seed, phase, i).permutation(len(images)) for i in range(passes)]
        self.order, self.steps = np.concatenate(shuffled), steps

    def __len__(self):
        return self.steps


def learn(model: keras.Model, x, y, batch_size: int, steps: int, seed: int, distort=None, phase: int = 0) -> None:
    """So many steps of a compiled model, in one go; a row's fine-tuning phases draw random numbers of their own."""
    loop.seed_layers(model, seed, phase)
    progress = Progress(0, 1, steps)  # holds no signal back: there is no state to save
    loop.one_epoch(model, Steps(x, y, batch_size, steps, seed, distort, phase), None, progress)
    progress.clear()


def fine_tuned(row: Row, x, y, file: Path, of_all: int) -> keras.Model:
    """ResNet50 from the weights file or from a random initialization, all of it trained."""
    config = resnet.Config(seed=row.seed)
    model, distort = resnet.build_model(config), resnet.augmentation(config)
    if row.setup == RANDOM:
        resnet.compile_with(model, recipe.one_cycle(config.learning_rate, row.steps, config.warm_up))
        learn(model, x, y, row.batch_size, row.steps, row.seed, distort)
        # Averages with momentum 0.99 lag behind the weights of so few steps.
        resnet_weights.calibrate(model, x[:512], [layer.name for layer in model.layers])
        return model
    resnet_weights.calibrate(model, x[:512], resnet_weights.load_weights(model, file)["fresh"])
    head = resnet.head_of(model)
    resnet.compile_with(head, config.head_learning_rate)
    features = saved_model.predict(keras.Model(model.input, model.get_layer("features").output), x)
    batch, steps = budget(row.images, of_all, config.batch_size, config.head_epochs)
    learn(head, features, y, batch, steps, row.seed)
    upper = row.steps * config.upper_epochs // config.epochs
    for phase, (steps, frozen) in enumerate(((upper, resnet.EARLY), (row.steps - upper, ()))):
        resnet.compile_fine_tuning(model, config, steps, frozen)
        learn(model, x, y, row.batch_size, steps, row.seed, distort, phase)
    return model


def custom(row: Row, x, y) -> keras.Model:
    """The custom CNN, from a random initialization of its own."""
    config = mnist.Config(seed=row.seed)
    model = mnist.build_model(config)
    mnist.compile_model(model, config, row.steps)
    learn(model, x, y, row.batch_size, row.steps, row.seed, mnist.augmentation(config))
    return model


def through_backbone(dataset: datasets.Dataset, file: Path, size: int) -> tuple[dict, dict, float]:
    """Features behind conv4 and conv5 of all training images and of all test images, and seconds per image."""
    keras.utils.set_random_seed(0)
    model = resnet.build_model(resnet.Config(image_size=size))
    resnet_weights.calibrate(model, dataset.x_train[:512], resnet_weights.load_weights(model, file)["fresh"])
    conv4 = keras.layers.GlobalAveragePooling2D(dtype="float32")(model.get_layer(LAST_OF_CONV4).output)
    both = keras.layers.Concatenate(dtype="float32")([conv4, model.get_layer("features").output])
    backbone, width = keras.Model(model.input, both), conv4.shape[-1]
    started, parts = time.monotonic(), []
    for kind, images in (("training", dataset.x_train), ("test", dataset.x_test)):
        rows = saved_model.predict(backbone, images, what=f"{kind} images through the backbone at {size} px")
        parts.append({CONV4: rows[:, :width], CONV5: rows[:, width:]})
    seconds = time.monotonic() - started
    return *parts, seconds / (len(dataset.x_train) + len(dataset.x_test))


def head_alone(row: Row, x, y) -> keras.Model:
    """A head on frozen features (n, width), with the recipe's dropout and rate."""
    config = resnet.Config(seed=row.seed)
    layers = keras.layers
    head = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            layers.Dropout(config.dropout),
            layers.Dense(10, activation="softmax", dtype="float32"),
        ]
    )
    resnet.compile_with(head, config.head_learning_rate)
    learn(head, x, y, row.batch_size, row.steps, row.seed)
    return head


def measure(row: Row, dataset: datasets.Dataset, file: Path, features) -> dict:
    """Train one row and read the test images once.

    Args:
        file: of the pretrained weights.
        features: what through_backbone() gives, as a function of the size in pixels.
    Returns:
        {"test_accuracy", "train_accuracy" (None for many images), "training_seconds", "source"}
    """
    backend.fresh_session(row.seed)
    chosen, seconds = draw(dataset, row), 0.0
    x, x_test, y = dataset.x_train, dataset.x_test, dataset.y_train[chosen]
    if row.setup in (CONV4, CONV5):
        train, test, each = features(row.size)
        keras.utils.set_random_seed(row.seed)  # again: a pass through the backbone draws from it, a stored one does not
        x, x_test, seconds = train[row.setup], test[row.setup], each * len(chosen)
        scaler = StandardScaler().fit(x[chosen])  # leaves a feature alone that these images never vary
        x, x_test = scaler.transform(x[chosen]), scaler.transform(x_test)
    else:
        x = x[chosen]
    started = time.monotonic()
    if row.setup == CUSTOM:
        model = custom(row, x, y)
    elif row.setup in (RANDOM, PRETRAINED):
        model = fine_tuned(row, x, y, file, len(dataset.y_train))
    else:
        model = head_alone(row, x, y)
    seconds += time.monotonic() - started
    if row.setup not in (CONV4, CONV5):
        model = saved_model.inference_copy(model, dataset.image_shape)  # float32, as it would be saved

    def accuracy(images, labels):
        return float(np.mean(saved_model.predict(model, images).argmax(axis=1) == labels))

    return {
        "test_accuracy": accuracy(x_test, dataset.y_test),
        "train_accuracy": accuracy(x, y) if row.images <= 1_000 else None,
        "training_seconds": round(seconds, 1),
        "source": "resnet50_transfer.py",
    }
