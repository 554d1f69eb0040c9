"""How digits are read in photographs, scans, screenshots and plots: 20 synthetic pictures of each kind.

    python benchmarks/digit_reading.py            # about two minutes

Digits are MNIST's test digits; seeds, sizes, papers and desks are others than those that reading was tuned on. Right
is a picture whose whole number is; of the wrong ones, confident are those whose largest digit has a probability of 90 %
or more and is not marked by the novelty score. Writes digit_reading.json.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import digit_pictures, results
from pipeline import data, models
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.console import counter
from pipeline.errors import exit_code
from pipeline.train.identity import OUTPUT

FIRST_SEED = 1000  # of the pictures; earlier ones are for tuning
CONFIDENT = 0.9  # probability


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    pictures: int = flag(20, "pictures of each kind", minimum=1)
    model: str = flag("custom_cnn_model.h5", "saved digit model in the output folder")
    data_dir: str | None = flag(None, recorded=False)
    output_dir: str | None = flag(
        None, "folder with the model, and for the result; else output/, results of trials output/demo/", recorded=False
    )


class Reader:
    """A saved digit model: pictures in, the number and how sure the model is of the largest digit out."""

    def __init__(self, path: Path, dataset):
        saved = models.saved_model.open_model(path)
        self.model = saved.model
        statistics = models.novelty.stored(saved) or models.novelty.fit(saved.model, dataset)
        self.scorer = keras.Model(saved.model.input, models.novelty.score(saved.model, statistics))

    def __call__(self, picture) -> tuple[str, float, bool] | None:
        """Number, probability of the largest digit, and whether that looks like no digit; None where there is none."""
        found = data.digits.find(np.asarray(picture.convert("L")))
        if not found:
            return None
        rows = models.saved_model.predict(self.model, np.stack([digit.pixels for digit in found]))
        main = int(np.argmax([data.digits.area(digit.box) for digit in found]))
        foreign = models.saved_model.predict(self.scorer, found[main].pixels[None])[0] > 1
        return "".join(map(str, rows.argmax(axis=1))), float(rows[main].max()), bool(foreign)


def measure(kind: str, reader: Reader, dataset, pictures: int) -> dict:
    """Counts of one kind: pictures read right, without a digit found, wrong, and wrong but confident."""
    counts = {"kind": kind, "pictures": pictures, "right": 0, "not_found": 0, "wrong": 0, "confident": 0}
    for seed in range(FIRST_SEED, FIRST_SEED + pictures):
        digits = dataset.x_test[..., 0]
        picture, number = digit_pictures.draw(kind, digits, dataset.y_test, seed, digit_pictures.HELD_OUT)
        answer = reader(picture)
        if answer is None:
            counts["not_found"] += 1
            continue
        read, probability, foreign = answer
        if read == number:
            counts["right"] += 1
            continue
        counts["wrong"] += 1
        if probability >= CONFIDENT and not foreign:
            counts["confident"] += 1
    return counts


def main(argv: list[str] | None = None) -> int:
    """Measure every kind."""
    config = parse(Config, argv, about=__doc__)
    path = Path(config.output_dir or OUTPUT) / config.model
    about = models.saved_model.metadata(path)
    whole = data.datasets.load(about["dataset"], config.data_dir)
    dataset = data.datasets.split(whole, about.get("validation", 0.1))
    reader = Reader(path, dataset)
    kinds = []
    for done, kind in enumerate(digit_pictures.KINDS, start=1):
        counts = measure(kind, reader, dataset, config.pictures)
        kinds.append(counts)
        said = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts.items() if name != "kind")
        print(f"{kind}: {said}", flush=True)
        counter(done, len(digit_pictures.KINDS), "kinds")
    results.write("digit_reading.json", config, {"model": path.name, "kinds": kinds})
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
