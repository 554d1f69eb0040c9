"""Ablation study on CIFAR-100: recipe fast at a short budget, with one change at a time.

    python experiments/cifar100_ablation.py                      # all variants; the same again after an interruption
    python experiments/cifar100_ablation.py CutMix "no shifts"   # these variants and the reference
    python experiments/cifar100_ablation.py CutMix --seed 0      # one run alone, on any machine
    python experiments/cifar100_ablation.py --collect output/runs/cifar100_ablation    # the table of such runs

The reference is recipe fast of cifar100_cnn.py with 5 epochs (the first 3 at 24x24 pixels) and five seeds. A variant
changes one thing in it and has three. Accuracy is that of the 5,000 validation images; the test images are never
read. What fights overfitting rarely pays after so few epochs.

Writes cifar100_ablation.csv (a row per run, after each run), .json and .png. Runs that are in the table are skipped.
A run alone writes its rows to a file of its own, and is skipped where that is there.
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
from experiments.ablation_runs import REFERENCE, REFERENCE_SEEDS, SEEDS
from pipeline import atomic_io, backend, data, evaluate, models, train
from pipeline.backend import keras
from pipeline.config import flag, parse
from pipeline.console import clock
from pipeline.errors import UserError, exit_code
from pipeline.train import identity


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help. All others are those of recipe fast."""

    dry_run_values: ClassVar = {"epochs": 1}

    variants: tuple[str, ...] = flag((), "variants to measure; default: all", positional="VARIANT")
    dataset: str = flag("cifar100", "real CIFAR-100, or synthetic images", choices=("cifar100", "synthetic"))
    epochs: int = flag(5, minimum=1)
    batch_size: int = flag(512, minimum=1)
    seeds: int = flag(SEEDS, f"runs of each variant; the reference has at least {REFERENCE_SEEDS}", minimum=1)
    seed: int | None = flag(None, "train one run alone: VARIANT, or reference, with this random seed", minimum=0)
    collect: str | None = flag(None, "train nothing: add to the table what --seed has left in this folder")
    limit: int | None = flag(None, minimum=1)
    precision: str = flag("auto", choices=("auto", "float32", "bfloat16"))
    data_dir: str | None = flag(None)
    output_dir: str | None = flag(
        None, "folder for results; else output/, for trials output/demo/; with --seed, runs/cifar100_ablation/ in it"
    )
    dry_run: bool = flag(False)


def settings(config: Config, variant: experiments.variants.Variant, seed: int) -> cifar100_cnn.Config:
    """Recipe fast's settings for one run."""
    shared = ("dataset", "batch_size", "limit", "precision", "data_dir", "dry_run")
    values = {name: getattr(config, name) for name in shared}
    values |= {"seed": seed, "epochs": config.epochs * variant.length, "validation": 0.1}
    return cifar100_cnn.Config(**(values | variant.settings))


def plan(config: Config) -> list[tuple[str, experiments.variants.Variant, int]]:
    """(name, variant, seed) of every run, in the order of experiments.ablation_runs; the one alone with --seed.

    Raises:
        UserError: a variant that there is not, or --seed without one variant.
    """
    variants = experiments.variants.VARIANTS
    everything = {REFERENCE: experiments.variants.Variant(), **variants}
    if config.seed is not None:
        if len(config.variants) != 1 or config.variants[0] not in everything:
            raise UserError(f"--seed trains one run; name one variant of: {', '.join(everything)}")
        name = config.variants[0]
        return [(name, everything[name], config.seed)]
    known = [*variants, *experiments.variants.TTA_VARIANTS]
    if unknown := [name for name in config.variants if name not in known]:
        raise UserError(f"no variant is called {', '.join(unknown)}; there are: {', '.join(known)}")
    chosen = [name for name in variants if not config.variants or name in config.variants]
    return [(name, everything[name], seed) for name, seed in experiments.ablation_runs.ordered(chosen, config.seeds)]


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
    if name == REFERENCE:
        for label, tta in experiments.variants.TTA_VARIANTS.items():
            views = evaluate.evaluation.TTA[tta]
            rows.append(row(label, "added", evaluate.evaluation.tta_predict(model, dataset.x_validation, views)))
    return rows


def up_to_date(path: Path, found: list[dict]) -> list[dict]:
    """The rows of the table at `path` that were measured with the variants of today."""
    changes = experiments.variants.changes()
    rows = [row for row in found if changes.get(row["variant"]) == row["change"]]
    outdated = {row["variant"] for row in found if row not in rows}
    if outdated & set(experiments.variants.TTA_VARIANTS):  # they are measured on the reference's models
        rows = [row for row in rows if row["variant"] != REFERENCE]
        outdated.add(REFERENCE)
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


def prepare(config: Config) -> tuple[data.datasets.Dataset, dict, str]:
    """The data without test images, what the table is made on, and its title."""
    dataset = data.datasets.prepare(settings(config, experiments.variants.Variant(), 0))
    dataset = dataclasses.replace(dataset, x_test=None, y_test=None, fine_test=None)
    about = describe(config, dataset)
    title = f"{dataset.title}, recipe fast, epochs: {config.epochs}; {about['n_train']:,} training, "
    title += f"{about['n_validation']:,} validation images"
    return dataset, about, title


def with_origin(rows: list[dict], about: dict) -> list[dict]:
    """Rows with the commit and the machine that they were measured with."""
    machine = "{processor}, cores: {cores}, GPU: {accelerator}".format(**about["hardware"])
    return [{**row, "commit": about["commit"], "machine": machine} for row in rows]


def measure_or_tell(name: str, variant: experiments.variants.Variant, run_config, dataset) -> list[dict]:
    """measure(), but [] and a line where a variant's training fails; UserError where the reference's does."""
    try:
        return measure(name, variant, run_config, dataset)
    except UserError as error:
        if name == REFERENCE:
            raise
        print(f"{name}, seed {run_config.seed} failed: {error}", file=sys.stderr)
        return []


def fill(path: Path, config: Config, runs: list[tuple[str, experiments.variants.Variant, int]]) -> list[str]:
    """Train what the table lacks, one run after the other; the names of the variants that failed."""
    table = experiments.ablation_table
    dataset, about, title = prepare(config)
    rows = up_to_date(path, table.read(path, about))
    present = {(row["variant"], row["seed"]) for row in rows}
    missing = [(name, variant, seed) for name, variant, seed in runs if (name, seed) not in present]
    print(f"{title}\n{len(missing)} of {len(runs)} runs to do; writing to {path}", flush=True)
    started, failed = time.monotonic(), []
    for done, (name, variant, seed) in enumerate(missing, 1):
        print(f"\nrun {done} of {len(missing)}: {name}, seed {seed}", flush=True)
        measured = measure_or_tell(name, variant, settings(config, variant, seed), dataset)
        if not measured:
            failed.append(name)
            continue
        rows = table.merged(rows, with_origin(measured, about))
        table.write(path, rows, about, title)
        left = (time.monotonic() - started) / done * (len(missing) - done)
        accuracy, seconds = measured[0]["accuracy"], measured[0]["seconds"]
        points = 100 * (accuracy - table.summary(rows)["reference"]["mean"])
        print(f"accuracy {accuracy:.4f} ({points:+.2f} points), {seconds:.0f} s; {clock(left)} left", flush=True)
    if not missing:
        table.write(path, rows, about, title)
    return failed


def train_alone(path: Path, config: Config, run: tuple[str, experiments.variants.Variant, int]) -> list[str]:
    """Train one run unless its file has it, and write that; the variant's name where it failed."""
    table, (name, variant, seed) = experiments.ablation_table, run
    dataset, about, title = prepare(config)
    if is_in(path, about):
        print(f"{name}, seed {seed} is in {path}")
        return []
    print(f"{title}\n{name}, seed {seed}; writing to {path}", flush=True)
    measured = measure_or_tell(name, variant, settings(config, variant, seed), dataset)
    if not measured:
        return [name]
    table.write_run(path, with_origin(measured, about), about, title)
    print(f"accuracy {measured[0]['accuracy']:.4f}, {measured[0]['seconds']:.0f} s", flush=True)
    return []


def is_in(path: Path, about: dict) -> bool:
    """Whether a file of train_alone() has the rows of its run, of this reference and of the variants of today."""
    run = experiments.ablation_table.read_run(path)
    if run is None or run["rows"] != up_to_date(path, run["rows"]):
        return False
    reference_of = experiments.ablation_table.reference_of
    return reference_of(run["about"]) == reference_of(about)


def collect(path: Path, folder: Path, runs: list[tuple[str, experiments.variants.Variant, int]]) -> list[str]:
    """Add the runs that were trained alone to the table; the names of the variants of which it lacks a run.

    Args:
        path: of the table's .csv; folder: with the files of train_alone().
    Raises:
        UserError: there is none of the reference, or a file or the table has another reference than the first file.
    """
    table, reference_of = experiments.ablation_table, experiments.ablation_table.reference_of
    files = [folder / experiments.ablation_runs.file_of(name, seed) for name, _, seed in runs]
    found = {file: run for file in files if (run := table.read_run(file))}
    new = [row for file, run in found.items() for row in up_to_date(file, run["rows"])]
    if not any(row["variant"] == REFERENCE for row in new):
        raise UserError(f"{folder} has no run of the reference; train it with: {REFERENCE} --seed 0")
    first = next(iter(found.values()))
    for file, run in found.items():
        if changed := identity.differences(reference_of(first["about"]), reference_of(run["about"])):
            listed = ", ".join(f"{name} {how}" for name, how in changed.items())
            raise UserError(f"{file} has another reference: {listed}; delete it and train the run again")
    rows = up_to_date(path, table.read(path, first["about"]))
    rows = table.merged(rows, new)
    table.write(path, rows, first["about"], first["title"])
    print(f"{first['title']}\n{len(found)} of {len(runs)} runs are in {folder}; written to {path}")
    present = {(row["variant"], row["seed"]) for row in rows}
    lacking = [name for name, _, seed in runs if (name, seed) not in present]
    if lacking:
        print(f"no run of: {', '.join(lacking)}", file=sys.stderr)
    return lacking


def main(argv: list[str] | None = None) -> int:
    """Fill the table, or train one run alone; 1 where a variant's training failed."""
    config = parse(Config, argv, about=__doc__)
    if config.collect and config.seed is not None:
        raise UserError("--seed trains a run and --collect none; give one of them")
    runs = plan(config)
    trial = config.dataset != "cifar100" or config.limit is not None or config.dry_run
    folder = identity.results_folder(config.output_dir, trial)
    path = folder / "cifar100_ablation.csv"
    if config.seed is not None:
        folder = folder if config.output_dir else folder / "runs" / path.stem
        path = folder / experiments.ablation_runs.file_of(runs[0][0], config.seed)
    folder.mkdir(parents=True, exist_ok=True)
    lock = atomic_io.lock(path.with_name(f".{path.stem}.lock"))
    try:
        if config.seed is not None:
            failed = train_alone(path, config, runs[0])
        elif config.collect:
            failed = collect(path, Path(config.collect), runs)
        else:
            failed = fill(path, config, runs)
    finally:
        lock.release()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
