"""How well novelty scores tell what is no digit, or none of the classes, from the test images of the saved models.

    python benchmarks/novelty.py            # about ten minutes

Every score is compared on validation images, with the same fraction of them above its threshold; the chosen one, of
pipeline.models.novelty, is then measured once on test images. Digit models get CIFAR-100's pictures in gray, shrunk to
28 x 28 and as the digit reader finds something in them, scribbles, and photographed digits of the clean kinds, which
should pass. CIFAR models get digits in color, scribbles in color, and noise. Writes novelty.json.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import digit_pictures, results
from pipeline import data, models
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.errors import exit_code
from pipeline.train.identity import OUTPUT

TEST_SEED = 1000  # of what is drawn for the test; from 0 on for validation
NEIGHBORS = 10


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    images: int = flag(500, "images of each kind", minimum=1)
    data_dir: str | None = flag(None, recorded=False)
    output_dir: str | None = flag(
        None, "folder with the models, and for the result; else output/, results of trials output/demo/", recorded=False
    )


@dataclass(frozen=True)
class Part:
    """Validation or test images: of MNIST (n, 28, 28) with labels, of CIFAR-100 (n, 32, 32, 3); seed of the rest."""

    digits: np.ndarray
    labels: np.ndarray
    photos: np.ndarray
    seed: int


def read(pictures) -> tuple[np.ndarray, int]:
    """The largest digit that is found in each picture, (found, 28, 28, 1) uint8, and the number of those without."""
    found = [data.digits.find(np.asarray(picture.convert("L"))) for picture in pictures]
    pixels = [data.digits.largest(digits).pixels for digits in found if digits]
    return np.array(pixels, np.uint8).reshape(-1, 28, 28, 1), len(found) - len(pixels)


def for_digits(part: Part, n: int) -> dict[str, tuple[np.ndarray, int]]:
    """Name -> images (m, 28, 28, 1) uint8 for a digit model, and the number of pictures in which nothing was found."""
    photos = [Image.fromarray(photo).convert("L") for photo in part.photos[:n]]
    small = [np.asarray(photo.resize((28, 28), Image.Resampling.LANCZOS)) for photo in photos]
    random = np.random.default_rng(part.seed)
    each = -(-n // len(digit_pictures.CLEAN))
    clean = [
        digit_pictures.draw(kind, part.digits, part.labels, seed)[0]
        for kind in digit_pictures.CLEAN
        for seed in range(part.seed, part.seed + each)
    ]
    return {
        "digits photographed": read(clean),
        "CIFAR-100 in gray, 28 x 28": (np.stack(small)[..., None], 0),
        "CIFAR-100 in gray, as read": read(photos),
        "scribbles, as read": read(digit_pictures.strokes(random) for _ in range(n)),
    }


def for_photos(part: Part, n: int) -> dict[str, tuple[np.ndarray, int]]:
    """Name -> images (n, 32, 32, 3) uint8 for a CIFAR model, and 0."""
    random = np.random.default_rng(part.seed)
    masks = np.pad(part.digits[:n], ((0, 0), (2, 2), (2, 2)))
    strokes = [digit_pictures.strokes(random).resize((32, 32), Image.Resampling.LANCZOS) for _ in range(n)]
    noise = random.integers(0, 256, (n, 32, 32, 3), np.uint8)
    clouds = [Image.fromarray(one[:6, :6]).resize((32, 32), Image.Resampling.BICUBIC) for one in noise]
    shuffled = part.photos[:n].reshape(n, -1, 3)[:, random.permutation(32 * 32)].reshape(n, 32, 32, 3)
    return {
        "digits in color": (_colored(masks, random), 0),
        "scribbles in color": (_colored(255 - np.stack([np.asarray(one) for one in strokes]), random), 0),
        "noise": (noise, 0),
        "smooth noise": (np.stack([np.asarray(one) for one in clouds]), 0),
        "CIFAR-100, pixels shuffled": (shuffled, 0),
    }


def _colored(masks: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Ink of a random color on a random color, (n, h, w, 3) uint8, from masks (n, h, w) uint8."""
    masks = masks[..., None] / 255
    ink, paper = random.uniform(0, 255, (2, len(masks), 1, 1, 3))
    return (masks * ink + (1 - masks) * paper).astype(np.uint8)


class Scores:
    """Novelty scores of a saved model's images, higher for what is more unlike its training images."""

    def __init__(self, saved, dataset):
        model = saved.model
        statistics = models.novelty.stored(saved) or models.novelty.fit(model, dataset)
        self.layers = list(statistics)
        last = model.get_layer(self.layers[-1]).output
        outputs = [models.novelty.score(model, statistics)[:, None], model.outputs[0]]
        outputs += [keras.ops.mean(last, axis=(1, 2))]
        self.classes = model.outputs[0].shape[1]
        self.logits = isinstance(model.layers[-1], keras.layers.Softmax)
        outputs.append(model.layers[-1].input if self.logits else model.outputs[0])
        self.reader = keras.Model(model.input, keras.ops.concatenate(outputs, axis=1))
        train = self._read(dataset.x_train[: models.novelty.IMAGES])
        labels = dataset.y_train[: models.novelty.IMAGES]
        self.whitening, self.means = models.novelty.whitened(train["features"].astype(np.float64), labels)
        self.neighbors = _normalized(train["features"])

    def _read(self, images: np.ndarray) -> dict[str, np.ndarray]:
        values = models.saved_model.predict(self.reader, images)
        ends = np.cumsum([1, self.classes, values.shape[1] - 1 - 2 * self.classes])
        names = ("chosen", "probabilities", "features", "logits")
        return dict(zip(names, np.split(values, ends, axis=1), strict=True))

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Score by method -> (n,)."""
        read = self._read(images)
        scores = {"largest probability": -read["probabilities"].max(axis=1)}
        if self.logits:
            largest = read["logits"].max(axis=1, keepdims=True)
            scores["largest logit"] = -largest[:, 0]
            scores["energy"] = -largest[:, 0] - np.log(np.exp(read["logits"] - largest).sum(axis=1))
        scores["Mahalanobis, last features"] = models.novelty.distances(read["features"], self.whitening, self.means)
        likeness = _normalized(read["features"]) @ self.neighbors.T
        scores["nearest neighbors, last features"] = -np.partition(likeness, -NEIGHBORS, axis=1)[:, -NEIGHBORS]
        scores["Mahalanobis, last features of each size"] = read["chosen"][:, 0]
        return scores


def _normalized(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def measure(path: Path, parts: dict[str, Part], config: Config) -> dict:
    """Fraction of each kind that every score recognizes on validation images, and the chosen one on test images."""
    saved = models.saved_model.open_model(path)
    about = saved.metadata
    digits = data.registry.is_digits(about["dataset"])
    whole = data.datasets.load(about["dataset"], config.data_dir)
    dataset = data.datasets.split(whole, about.get("validation", 0.1))
    scores = Scores(saved, dataset)
    rate = models.novelty.FALSE_ALARMS_DIGITS if digits else models.novelty.FALSE_ALARMS
    thresholds = {name: np.quantile(values, 1 - rate) for name, values in scores(dataset.x_validation).items()}
    made = {name: (for_digits if digits else for_photos)(part, config.images) for name, part in parts.items()}
    made["test"] = {"test images": (whole.x_test, 0), **made["test"]}
    found = {"model": about["prefix"], "layers": scores.layers, "false_alarms_on_validation": rate}
    for part, kinds in made.items():
        found[part] = []
        for kind, (images, missing) in kinds.items():
            foreign = {name: float(np.mean(values > thresholds[name])) for name, values in scores(images).items()}
            if part == "test":
                foreign = dict([foreign.popitem()])  # the chosen score
            row = {"kind": kind, "images": len(images), "nothing_found": missing, "foreign": foreign}
            print(f"{about['prefix']}, {part}: {row}", flush=True)
            found[part].append(row)
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure the saved models of a folder."""
    config = parse(Config, argv, about=__doc__)
    mnist = data.datasets.split(data.datasets.load("mnist", config.data_dir))
    cifar100 = data.datasets.split(data.datasets.load("cifar100", config.data_dir))
    parts = {
        "validation": Part(mnist.x_validation[..., 0], mnist.y_validation, cifar100.x_validation, 0),
        "test": Part(mnist.x_test[..., 0], mnist.y_test, cifar100.x_test, TEST_SEED),
    }
    folder = Path(config.output_dir or OUTPUT)
    measured = [measure(path, parts, config) for path in models.saved_model.finished(folder)]
    results.write("novelty.json", config, {"images": config.images, "models": measured})
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
