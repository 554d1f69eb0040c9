"""What each variant is worth: recipe fast at a short budget, with one thing changed at a time.

    python experiments/cifar100_ablation.py                      # all; to go on where it stopped, the same
    python experiments/cifar100_ablation.py CutMix "no shifts"   # these variants and the reference
    python experiments/cifar100_ablation.py CutMix --seeds 3     # with three seeds, to be surer

The reference is recipe fast of cifar100_cnn.py with 5 epochs (the first 3 at 24x24 pixels) and five seeds.
An variant changes one thing in it and has one seed. Accuracy is that of the 5,000 validation images; the test
images are never read. What fights overfitting rarely pays after so few epochs.

Writes cifar100_ablation.csv (a row per run, added when it is finished), .json and .png to output/. Runs that
are in the table are skipped.
"""

import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cifar100_cnn
from experiments import ablation_table, optimization
from experiments.variants import TTA, VARIANTS, Variant, change, told
from pipeline import atomic_io, backend
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.console import clock
from pipeline.data import augment, datasets
from pipeline.data.batches import Batches
from pipeline.errors import UserError, exit_code
from pipeline.evaluate import evaluation
from pipeline.train import identity, loop
from pipeline.train.loop import Progress

REFERENCES = 5  # seeds; what one run without effect may bring is hard to tell from three


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help. What is not here is as in recipe fast."""

    variants: tuple[str, ...] = flag((), "variants to measure; default: all", positional="VARIANT")
    dataset: str = flag("cifar100", "real CIFAR-100, or drawn shapes", choices=("cifar100", "synthetic"))
    epochs: int = flag(5, minimum=1)
    batch_size: int = flag(256, minimum=1)
    seeds: int = flag(1, "runs of each variant; the reference has five at least", minimum=1)
    limit: int | None = flag(None, minimum=1)
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"))
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None, "folder for results; else output/, for trials output/demo/")
    dry_run: bool = flag(False)


def settings(config: Config, variant: Variant, seed: int) -> cifar100_cnn.Config:
    """Recipe fast's settings for one run."""
    same = ("dataset", "batch_size", "limit", "precision", "data_dir", "dry_run")
    values = {name: getattr(config, name) for name in same} | {"seed": seed, "epochs": config.epochs * variant.length}
    return cifar100_cnn.Config(**(values | variant.settings))


def plan(config: Config) -> list[tuple[str, Variant, int]]:
    """(name, variant, seed) of every run, a reference's first.

    The references are spread over the hours, in which the machine's speed may change.
    """
    known = [*VARIANTS, *TTA]
    if unknown := [name for name in config.variants if name not in known]:
        raise UserError(f"no variant is called {', '.join(unknown)}; there are: {', '.join(known)}")
    chosen = [name for name in VARIANTS if not config.variants or name in config.variants]
    changed = [(name, VARIANTS[name], seed) for name in chosen for seed in range(config.seeds)]
    references, runs = max(REFERENCES, config.seeds), []
    for seed in range(references):
        part = slice(seed * len(changed) // references, (seed + 1) * len(changed) // references)
        runs += [(ablation_table.REFERENCE, Variant(), seed), *changed[part]]
    return runs


def train(variant: Variant, config: cifar100_cnn.Config, dataset: datasets.Dataset) -> tuple[keras.Model, float]:
    """The trained model, and the seconds that its epochs took."""
    backend.fresh_session(config.seed)
    model = variant.build(len(dataset.class_names))
    variant.prepare(model, config, dataset)
    move = cifar100_cnn.augmentation(config)
    labelled = augment.with_soft_labels(dataset) if variant.mix else dataset

    def distort_and_move(images, rng, **place):
        return move(variant.distort(images, rng) if variant.distort else images, rng, **place)

    def mix(images, labels, rng, epoch):
        return variant.mix(images, labels, rng)

    averages = [optimization.Average(variant.average)] if variant.average else []
    common = {
        "batch_size": config.batch_size,
        "seed": config.seed,
        "augment": distort_and_move,
        "mix": variant.mix and mix,
    }
    started = time.monotonic()
    for epoch in range(config.epochs):
        loop.seed_layers(model, config.seed, epoch)
        batches = Batches(labelled.x_train, labelled.y_train, epoch=epoch, **common)
        progress = Progress(epoch, config.epochs, len(batches))
        model.fit(batches, shuffle=False, verbose=0, callbacks=[progress, *averages])
        progress.refuse_broken(model.variables)
        progress.clear()
    for average in averages:
        average.apply()
    return model, time.monotonic() - started


def measure(name: str, variant: Variant, config: cifar100_cnn.Config, dataset: datasets.Dataset) -> list[dict]:
    """One run's row of the table; the reference's comes with those of test-time augmentation."""
    model, seconds = train(variant, config, dataset)
    views = {name: (variant.kind, change(variant), lambda images: [images])}
    if name == ablation_table.REFERENCE:
        views |= {label: ("added", told(make), make) for label, make in TTA.items()}
    rows, truth = [], dataset.y_validation
    for label, (kind, changed, make) in views.items():
        probabilities = evaluation.tta_predict(model, dataset.x_validation, make)
        row = {"variant": label, "kind": kind, "change": changed, "seed": config.seed, "seconds": round(seconds, 1)}
        row["accuracy"] = float(np.mean(probabilities.argmax(axis=1) == truth))
        rows.append(row | {"epochs": config.epochs, "parameters": model.count_params()})
    return rows


def fill(path: Path, config: Config, runs: list[tuple[str, Variant, int]]) -> list[str]:
    """Train what the table lacks, one run after the other; the names of the variants that failed."""
    reference = settings(config, Variant(), 0)
    dataset = dataclasses.replace(datasets.prepare(reference), x_test=None, y_test=None, fine_test=None)
    recorded = identity.recorded(reference) | {
        "precision": backend.use_precision(config.precision),
        "files": dataset.files,
    }
    about = {"settings": {name: value for name, value in recorded.items() if name != "seed"}}
    about |= {"n_train": len(dataset.y_train), "n_validation": len(dataset.y_validation)}
    about |= backend.provenance()
    today = {name: told(make) for name, make in TTA.items()}
    today |= {name: change(variant) for name, variant in ({ablation_table.REFERENCE: Variant()} | VARIANTS).items()}
    found = ablation_table.read(path, about["settings"])
    rows = [row for row in found if today.get(row["variant"]) == row["change"]]
    if {row["variant"] for row in found if row not in rows} & set(TTA):  # they are measured on the reference's models
        rows = [row for row in rows if row["variant"] != ablation_table.REFERENCE]
    if gone := sorted({row["variant"] for row in found if row not in rows}):
        print(f"{path}: left out, not the variant of today: {', '.join(gone)}")
    there = {(row["variant"], row["seed"]) for row in rows}
    todo = [one for one in runs if (one[0], one[2]) not in there]
    title = f"{dataset.title}, recipe fast, epochs: {config.epochs}; {len(dataset.y_train):,} training, "
    title += f"{len(dataset.y_validation):,} validation images"
    machine = "{processor}, cores: {cores}, GPU: {accelerator}".format(**about["hardware"])
    print(f"{title}\n{len(todo)} of {len(runs)} runs to do; writing to {path}", flush=True)
    started, failed = time.monotonic(), []
    for done, (name, variant, seed) in enumerate(todo):
        print(f"\nrun {done + 1} of {len(todo)}: {name}, seed {seed}", flush=True)
        try:
            new = measure(name, variant, settings(config, variant, seed), dataset)
        except UserError as error:
            if name == ablation_table.REFERENCE:
                raise
            print(f"{name}, seed {seed} failed: {error}", file=sys.stderr)
            failed.append(name)
            continue
        where = {"commit": about["commit"], "machine": machine}
        rows = ablation_table.merged(rows, [row | where for row in new])
        ablation_table.write(path, rows, about, title)
        left = (time.monotonic() - started) / (done + 1) * (len(todo) - done - 1)
        points = 100 * (new[0]["accuracy"] - ablation_table.summary(rows)["reference"]["mean"])
        said = f"accuracy {new[0]['accuracy']:.4f} ({points:+.2f} points), {new[0]['seconds']:.0f} s"
        print(f"{said}; {clock(left)} left", flush=True)
    if not todo:
        ablation_table.write(path, rows, about, title)
    return failed


def main(argv: list[str] | None = None) -> int:
    """Fill the table; 1 where an variant's training failed."""
    config = parse(Config, argv, about=__doc__)
    runs = plan(config)
    trial = config.dataset in datasets.TOY or config.limit or config.dry_run
    path = Path(config.output_dir or ("output/demo" if trial else "output")) / "cifar100_ablation.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    held = atomic_io.lock(path.with_suffix(".lock"))
    try:
        failed = fill(path, config, runs)
    finally:
        held.release()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
