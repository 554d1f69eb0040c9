"""The finished runs of both CNNs, one file for each: every recipe's seeds, their figures, mean, deviation.

    python collect_results.py           # after runs with --seed 0, 1, 2 ...

Looks in output/ and output/runs/*/, takes the runs on real data with the recipe's own settings, and
writes output/<prefix>_results.json and <prefix>_time_to_accuracy.png. Seeds whose folder is gone stay
in the file as they were. The default recipe's best seed on validation becomes the model in output/; so
does that of CIFAR-100's recipe best, beside it.
"""

import dataclasses
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import cifar100_cnn
import mnist_classification
from pipeline import atomic_io
from pipeline.config import flag, parse
from pipeline.errors import UserError, exit_code
from pipeline.evaluate import plots
from pipeline.evaluate.metrics import over_seeds
from pipeline.train import identity

SCRIPTS = {"cifar100": cifar100_cnn, "custom_cnn": mnist_classification}
SHIPPED = {"cifar100": ("fast", "best"), "custom_cnn": ("default",)}
TITLES = {"cifar100": "CIFAR-100, 20 superclasses, coarse labels", "custom_cnn": "MNIST"}
GOALS = {"cifar100": (0.75, "0.75: the original description,\non test images")}
# May differ from run to run without being another recipe.
OWN = {"seed", "precision", "files", "backend"}
# The baseline stops by itself, and does not use the settings of the other recipes.
NOT_USED = {"momentum", "weight_decay", "warm_up", "label_smoothing", "shift", "cutmix", "small_epochs"}
FREE = {("cifar100", "baseline"): {"epochs", *NOT_USED}}


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    output_dir: str = flag("output", "folder with the results, its runs in runs/")


def settings(script, recipe: str) -> dict:
    """What a recipe ("fast", "fast-fine" with fine labels, "default-ensemble3") is, as a run records it."""
    name, *rest = recipe.split("-")
    values = dict(script.RECIPES[name])
    for part in rest:
        values |= {"labels": "fine"} if part == "fine" else {"ensemble": int(part.removeprefix("ensemble"))}
    return identity.recorded(dataclasses.replace(script.Config(recipe=name), **values))


def entry(path: Path, metrics: dict) -> dict:
    """One seed's figures, with its validation accuracy against seconds of training."""
    history = pd.read_csv(path.with_name(path.name.replace("_metrics.json", "_history.csv")))
    kept = ("seed", "test_accuracy", "test_loss", "macro_f1", "validation_accuracy", "epochs", "n_train", "parameters")
    seconds = np.cumsum(history["seconds"]).round(1)
    return {
        **{name: metrics[name] for name in kept},
        **({"tta": metrics["tta"]} if "tta" in metrics else {}),
        "wall_seconds": metrics["wall_seconds"],
        "training_seconds": metrics["training_seconds"],
        "processor": metrics["hardware"]["processor"],
        "cores": metrics["hardware"]["cores"],
        "accelerator": metrics["hardware"]["accelerator"],
        "commit": metrics["commit"],
        **({"plateau": plateau(history)} if metrics["recipe"] == "baseline" else {}),
        "curve": [list(point) for point in zip(seconds, history["val_accuracy"].round(4), strict=True)],
    }


def plateau(history: pd.DataFrame) -> dict:
    """Where the baseline stopped getting better, when its rate fell, and how far train and validation part there.

    Training accuracy is that of the training steps, with augmentation and dropout.
    """
    rates, best = history["learning_rate"].to_numpy(), int(history["val_loss"].to_numpy().argmin())
    return {
        "best_epoch": best + 1,
        "rate_fell_before_epochs": [int(epoch) + 2 for epoch in np.flatnonzero(np.diff(rates) < 0)],
        "best": history.iloc[best][["accuracy", "loss", "val_accuracy", "val_loss"]].astype(float).round(4).to_dict(),
        "last": history.iloc[-1][["accuracy", "loss", "val_accuracy", "val_loss"]].astype(float).round(4).to_dict(),
    }


def differing(had: dict, own: dict) -> list[str]:
    """The settings in which a run differs from its recipe as it is today."""
    return sorted(identity.differences(had, own).keys() - OWN - free(own))


def free(own: dict) -> set[str]:
    """The settings that may differ between the runs of this recipe."""
    return FREE.get((own["dataset"], own["recipe"]), set())


def collect(prefix: str, folder: Path) -> tuple[dict, dict[tuple, Path]]:
    """The results of one family, and the metrics file of each (recipe, seed) that is there."""
    script, path, files, seeds = SCRIPTS[prefix], folder / f"{prefix}_results.json", {}, {}
    for recipe, earlier in (atomic_io.read_json(path) if path.exists() else {}).items():
        try:
            known = recipe.split("-")[0] in script.RECIPES
            if not known or differing(earlier["config"], settings(script, recipe)):
                print(f"{recipe}: earlier seeds dropped, they ran with other settings than the recipe of today")
                continue
            seeds[recipe] = {row["seed"]: row for row in earlier["runs"]}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path} is damaged; delete it or do that run again") from error
    there = [*folder.glob(f"{prefix}*_metrics.json"), *(folder / "runs").glob(f"*/{prefix}*_metrics.json")]
    runs = [(atomic_io.read_json(file), file) for file in there]
    # Of two runs of a seed the newer counts; a file's own time is that of its copy.
    for metrics, file in sorted(
        runs, key=lambda run: (str(run[0].get("finished", "")), run[1].stat().st_mtime, run[1])
    ):
        try:
            recipe = metrics["recipe"]
            if recipe.split("-")[0] not in script.RECIPES:
                print(f"{file.parent}: left out, there is no recipe {recipe} today")
                continue
            if differs := differing(metrics["config"], settings(script, recipe)):
                print(f"{file.parent}: left out, not the recipe {recipe} of today ({', '.join(differs)})")
                continue
            seeds.setdefault(recipe, {})[metrics["seed"]] = entry(file, metrics)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{file} or its history is damaged; delete it or do that run again") from error
        files[recipe, metrics["seed"]] = file
    results = {}
    for recipe, of_seed in sorted(seeds.items()):
        own = settings(script, recipe)
        rows = [of_seed[seed] for seed in sorted(of_seed)]
        columns = {key: [row[key] for row in rows] for key in ("test_accuracy", "macro_f1")}
        if all("tta" in row for row in rows):
            columns["tta_accuracy"] = [row["tta"]["test_accuracy"] for row in rows]
        results[recipe] = {
            **{key: over_seeds(values) for key, values in columns.items()},
            "best_on_validation": max(rows, key=lambda row: row["validation_accuracy"])["seed"],
            "config": {setting: value for setting, value in own.items() if setting not in free(own)},
            "runs": rows,
        }
    return results, files


def ship(family: str, recipe: str, results: dict, files: dict, folder: Path) -> None:
    """Copy a recipe's best run on validation to output/, unless it lies there."""
    if recipe not in results:
        return
    seed = results[recipe]["best_on_validation"]
    best = files.get((recipe, seed))
    if best is None:
        print(f"{recipe}: seed {seed} did best on validation, but its files are gone; {folder} stays as it is")
        return
    prefix = best.name.removesuffix("metrics.json")
    if (folder / best.name).exists() and atomic_io.read_json(folder / best.name) == atomic_io.read_json(best):
        return
    beside = {file for file in best.parent.glob(f"{prefix}*") if file.suffix in (".json", ".csv", ".png")}
    others = sorted({*beside, *best.parent.glob(f"*{family}_*.h5")} - {best})
    for file in (*others, best):  # the figures last: they stand for all
        with atomic_io.replacing(folder / file.name) as temporary:
            shutil.copyfile(file, temporary)
    print(f"{folder}: now holds the run of {best.parent}, the best of its recipe on validation")


def main(argv: list[str] | None = None) -> int:
    """One results file per family that has runs."""
    folder = Path(parse(Config, argv, about=__doc__).output_dir)
    found = False
    for prefix in SCRIPTS:
        results, files = collect(prefix, folder)
        if not results:
            continue
        found = True
        atomic_io.write_json(folder / f"{prefix}_results.json", results)
        # Fine labels are a task of their own, and an ensemble has no curve.
        if plain := {name: result["runs"] for name, result in results.items() if "-" not in name}:
            path = folder / f"{prefix}_time_to_accuracy.png"
            plots.time_to_accuracy(plain, TITLES[prefix], path, GOALS.get(prefix))
        for recipe in SHIPPED[prefix]:
            ship(prefix, recipe, results, files, folder)
        for recipe, result in results.items():
            figures = result["test_accuracy"]
            deviation = "" if figures["std"] is None else f" ± {figures['std']:.4f}"
            print(f"{prefix} {recipe}: test accuracy {figures['mean']:.4f}{deviation}, n = {figures['n']}")
    if not found:
        raise UserError(f"no finished run of a recipe in {folder} or {folder / 'runs'}; run {cifar100_cnn.__name__}.py")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
