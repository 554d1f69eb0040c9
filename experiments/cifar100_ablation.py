"""Ablation study on CIFAR-100: recipe fast at a short budget, with one change at a time.

    python experiments/cifar100_ablation.py                      # all variants; the same again after an interruption
    python experiments/cifar100_ablation.py CutMix "no shifts"   # these variants and the reference
    python experiments/cifar100_ablation.py CutMix --seeds 3     # with three seeds, for a narrower estimate

The reference is recipe fast of cifar100_cnn.py with 5 epochs (the first 3 at 24x24 pixels) and five seeds. A variant
changes one thing in it and has one seed. Accuracy is that of the 5,000 validation images; the test images are never
read. What fights overfitting rarely pays after so few epochs.

Writes cifar100_ablation.csv (a row per run, after each run), .json and .png. Runs that are in the table are skipped.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

import cifar100_cnn
import experiments
from pipeline import atomic_io, backend, data, evaluate, models, train
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.console import clock
from pipeline.errors import UserError, exit_code
from pipeline.train import identity

REFERENCE_SEEDS = 5  # three give too rough an estimate of the spread between runs


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help. All others are those of recipe fast."""

    dry_run_values: ClassVar = {"epochs": 1}

    variants: tuple[str, ...] = flag((), "variants to measure; default: all", positional="VARIANT")
    dataset: str = flag("cifar100", "real CIFAR-100, or synthetic images", choices=("cifar100", "synthetic"))
    epochs: int = flag(5, minimum=1)
    batch_size: int = flag(512, minimum=1)
    seeds: int = flag(1, f"runs of each variant; the reference has at least {REFERENCE_SEEDS}", minimum=1)
    limit: int | None = flag(None, minimum=1)
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"))
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(None, "folder for results; else output/, for trials output/demo/")
    dry_run: bool = flag(False)


def settings(config: Config, variant: experiments.variants.Variant, seed: int) -> cifar100_cnn.Config:
    """Recipe fast's settings for one run."""
    shared = ("dataset", "batch_size", "limit", "precision", "data_dir", "dry_run")
    values = {name: getattr(config, name) for name in shared}
    values |= {"seed": seed, "epochs": config.epochs * variant.length, "validation": 0.1}
    return cifar100_cnn.Config(**(values | variant.settings))


def plan(config: Config) -> list[tuple[str, experiments.variants.Variant, int]]:
    """(name, variant, seed) of every run, a reference's first.

    The references are spread over the whole time, in which the machine's speed may change.

    Raises:
        UserError: a variant that there is not.
    """
    variants = experiments.variants.VARIANTS
    known = [*variants, *experiments.variants.TTA_VARIANTS]
    if unknown := [name for name in config.variants if name not in known]:
        raise UserError(f"no variant is called {', '.join(unknown)}; there are: {', '.join(known)}")
    chosen = [name for name in variants if not config.variants or name in config.variants]
    changed = [(name, variants[name], seed) for name in chosen for seed in range(config.seeds)]
    references, runs = max(REFERENCE_SEEDS, config.seeds), []
    for seed in range(references):
        part = slice(seed * len(changed) // references, (seed + 1) * len(changed) // references)
        runs.append((experiments.ablation_table.REFERENCE, experiments.variants.Variant(), seed))
        runs += changed[part]
    return runs


def fit(
    variant: experiments.variants.Variant, config: cifar100_cnn.Config, dataset: data.datasets.Dataset
) -> tuple[keras.Model, float]:
    """The trained model, and the seconds that its epochs took."""
    backend.fresh_session(config.seed)
    model = variant.build(len(dataset.class_names))
    variant.prepare(model, config, dataset)
    augment = cifar100_cnn.augmentation(config)
    labeled = data.augment.with_soft_labels(dataset) if variant.mix else dataset

    def distort_and_augment(images, rng, **place):
        if variant.distort:
            images = variant.distort(images, rng)
        return augment(images, rng, **place)

    def mix(images, labels, rng, epoch):
        return variant.mix(images, labels, rng)

    averages = [experiments.optimization.Average(variant.average)] if variant.average else []
    vectors = train.loop.FiniteCheck.of_vectors(model)
    started = time.monotonic()
    for epoch in range(config.epochs):
        train.loop.seed_layers(model, config.seed, epoch)
        batches = data.batches.Batches(
            labeled.x_train,
            labeled.y_train,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
            augment=distort_and_augment,
            mix=mix if variant.mix else None,
        )
        progress = train.loop.Progress(epoch, config.epochs, len(batches), vectors=vectors)
        model.fit(batches, shuffle=False, verbose=0, callbacks=[progress, *averages])
        progress.refuse_broken(train.loop.FiniteCheck(model.weights))
        progress.clear()
    for average in averages:
        average.apply()
    return model, time.monotonic() - started


def measure(
    name: str, variant: experiments.variants.Variant, config: cifar100_cnn.Config, dataset: data.datasets.Dataset
) -> list[dict]:
    """Rows of one training: the variant's; for the reference, those of test-time augmentation as well."""
    model, seconds = fit(variant, config, dataset)
    change = experiments.variants.changes()
    shared = {
        "seed": config.seed,
        "seconds": round(seconds, 1),
        "epochs": config.epochs,
        "parameters": model.count_params(),
    }

    def row(name, kind, probabilities):
        accuracy = float(np.mean(probabilities.argmax(axis=1) == dataset.y_validation))
        return {"variant": name, "kind": kind, "change": change[name], "accuracy": accuracy, **shared}

    rows = [row(name, variant.kind, models.saved_model.predict(model, dataset.x_validation))]
    if name == experiments.ablation_table.REFERENCE:
        for label, tta in experiments.variants.TTA_VARIANTS.items():
            views = evaluate.evaluation.TTA[tta]
            rows.append(row(label, "added", evaluate.evaluation.tta_predict(model, dataset.x_validation, views)))
    return rows


def up_to_date(path: Path, found: list[dict]) -> list[dict]:
    """The rows of the table at `path` that were measured with the variants of today."""
    table, changes = experiments.ablation_table, experiments.variants.changes()
    rows = [row for row in found if changes.get(row["variant"]) == row["change"]]
    outdated = {row["variant"] for row in found if row not in rows}
    if outdated & set(experiments.variants.TTA_VARIANTS):  # they are measured on the reference's models
        rows = [row for row in rows if row["variant"] != table.REFERENCE]
        outdated.add(table.REFERENCE)
    if outdated:
        print(f"{path}: left out, because the variant has changed: {', '.join(sorted(outdated))}")
    return rows


def describe(config: Config, dataset: data.datasets.Dataset) -> dict:
    """What the table was made on: the reference's settings, its data, this machine."""
    recorded = identity.recorded(settings(config, experiments.variants.Variant(), 0))
    reference = {name: value for name, value in recorded.items() if name not in ("seed", "tta")}  # in the rows
    reference["precision"] = backend.use_precision(config.precision)
    return {
        "settings": reference,
        "files": dataset.sources,
        "data_sha256": dataset.sha256,
        "n_train": len(dataset.y_train),
        "n_validation": len(dataset.y_validation),
        **backend.provenance(),
    }


def fill(path: Path, config: Config, runs: list[tuple[str, experiments.variants.Variant, int]]) -> list[str]:
    """Train what the table lacks, one run after the other; the names of the variants that failed."""
    table, reference = experiments.ablation_table, experiments.variants.Variant()
    dataset = data.datasets.prepare(settings(config, reference, 0))
    dataset = dataclasses.replace(dataset, x_test=None, y_test=None, fine_test=None)
    about = describe(config, dataset)
    rows = up_to_date(path, table.read(path, about))
    present = {(row["variant"], row["seed"]) for row in rows}
    missing = [(name, variant, seed) for name, variant, seed in runs if (name, seed) not in present]
    title = f"{dataset.title}, recipe fast, epochs: {config.epochs}; {about['n_train']:,} training, "
    title += f"{about['n_validation']:,} validation images"
    machine = "{processor}, cores: {cores}, GPU: {accelerator}".format(**about["hardware"])
    print(f"{title}\n{len(missing)} of {len(runs)} runs to do; writing to {path}", flush=True)
    started, failed = time.monotonic(), []
    for done, (name, variant, seed) in enumerate(missing, 1):
        print(f"\nrun {done} of {len(missing)}: {name}, seed {seed}", flush=True)
        try:
            measured = measure(name, variant, settings(config, variant, seed), dataset)
        except UserError as error:
            if name == table.REFERENCE:
                raise
            print(f"{name}, seed {seed} failed: {error}", file=sys.stderr)
            failed.append(name)
            continue
        rows = table.merged(rows, [{**row, "commit": about["commit"], "machine": machine} for row in measured])
        table.write(path, rows, about, title)
        left = (time.monotonic() - started) / done * (len(missing) - done)
        accuracy, seconds = measured[0]["accuracy"], measured[0]["seconds"]
        points = 100 * (accuracy - table.summary(rows)["reference"]["mean"])
        print(f"accuracy {accuracy:.4f} ({points:+.2f} points), {seconds:.0f} s; {clock(left)} left", flush=True)
    if not missing:
        table.write(path, rows, about, title)
    return failed


def main(argv: list[str] | None = None) -> int:
    """Fill the table; 1 where a variant's training failed."""
    config = parse(Config, argv, about=__doc__)
    runs = plan(config)
    trial = config.dataset != "cifar100" or config.limit is not None or config.dry_run
    path = identity.results_folder(config.output_dir, trial) / "cifar100_ablation.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_io.lock(path.with_name(f".{path.stem}.lock")):
        failed = fill(path, config, runs)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
