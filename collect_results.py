"""The finished runs of both CNNs, one file for each: every recipe's seeds, their metrics, mean, deviation.

    python collect_results.py           # after runs with --seed 0, 1, 2 ...

Looks in output/ and output/runs/*/, takes the runs on real data with a recipe's own settings (or with fine labels, or
an ensemble of three), and writes output/<prefix>_results.json and <prefix>_time_to_accuracy.png. Seeds whose folder is
gone stay in the file as they were. The default recipe's best seed on validation becomes the model in output/; so does
that of CIFAR-100's recipe best, beside it, and ResNet50's run in output/runs/resnet50-pretrained-seed0/. The training
curves and confusion matrices of the runs in output/ are drawn again from their histories and metrics.
"""

import contextlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cifar100_cnn
import mnist_classification
import resnet50_transfer_learning
from pipeline import atomic_io, data, evaluate, models, train
from pipeline.config import RunConfig, flag, parse
from pipeline.errors import UserError, exit_code

CONFIGS = {"cifar100": cifar100_cnn.Config, "custom_cnn": mnist_classification.Config}
PREFIXES = CONFIGS | {"cifar100-best": cifar100_cnn.Config, "resnet50": resnet50_transfer_learning.Config}
SHIPPED = {"cifar100": ("fast", "best"), "custom_cnn": ("default",)}
RESNET50 = Path("runs", "resnet50-pretrained-seed0", "resnet50_metrics.json")  # in the folder of results
# What may differ from a recipe in runs that are collected, as a result of their own.
COLLECTED = ({}, {"labels": "fine"}, {"ensemble": 3})
# The baseline stops by itself, and does not use the settings of the other recipes.
UNUSED = {"weight_decay", "warm_up", "label_smoothing", "shift", "corruption", "cutmix", "small_epochs"}
FREE = {"baseline": {"epochs", *UNUSED}}


@dataclass(frozen=True)
class Config:
    """Settings; each is a flag, see --help."""

    output_dir: str = flag("output", "folder with the results, its runs in runs/")


def decisive(config: dict) -> dict:
    """A run's recorded settings, but for those in which runs of the same result may differ."""
    ignored = train.identity.REPEATS | FREE.get(config["recipe"], set())
    return {name: value for name, value in config.items() if name not in ignored}


def differing(config: dict, script: type[RunConfig]) -> dict:
    """The settings in which a run differs from its recipe as it is today.

    Args:
        config: what the run recorded.
        script: the Config of the script that has the recipe.
    """
    recipe, own = config["recipe"], decisive(config)
    usual = decisive(train.identity.recorded(script(**{**script.recipes[recipe], "recipe": recipe})))
    return {name: own.get(name) for name in train.identity.differences(own, usual)}


def entry(path: Path, metrics: dict) -> dict:
    """One seed's metrics, with its validation accuracy against seconds of training.

    Raises:
        ValueError, KeyError or TypeError: damaged.
    """
    import pandas as pd  # here: --help needs none

    history = pd.read_csv(path.with_name(path.name.replace("_metrics.json", "_history.csv")))
    seconds = np.cumsum(history["seconds"]).round(1)
    kept = ["seed", "test_accuracy", "test_loss", "macro_f1", "validation_accuracy", "epochs", "n_train", "parameters"]
    kept += [name for name in ("validation_loss", "training_flops", "tta") if name in metrics]
    found = {name: metrics[name] for name in [*kept, "wall_seconds", "training_seconds"]}
    for name, value in found.items():
        if name != "tta" and not isinstance(value, (int, float)):
            raise TypeError(f"{name} is no number")
    found |= {name: metrics["hardware"][name] for name in ("processor", "cores", "accelerator", "bfloat16")}
    found["commit"] = metrics["commit"]
    if metrics["recipe"] == "baseline":
        found["plateau"] = plateau(history)
    found["curve"] = [list(point) for point in zip(seconds, history["val_accuracy"].round(4), strict=True)]
    return found


def plateau(history) -> dict:
    """Best epoch of the baseline, the epochs before which its rate fell, and its metrics in the best and last epoch.

    Args:
        history: DataFrame, a row per epoch; its training accuracy has augmentation and dropout.
    """
    rates, best = history["learning_rate"].to_numpy(), int(history["val_loss"].to_numpy().argmin())
    columns = ["accuracy", "loss", "val_accuracy", "val_loss", "val_cross_entropy"]
    shown = history[[name for name in columns if name in history]].astype(float).round(4)
    return {
        "best_epoch": best + 1,
        "rate_fell_before_epochs": [int(epoch) + 2 for epoch in np.flatnonzero(np.diff(rates) < 0)],
        "best": shown.iloc[best].to_dict(),
        "last": shown.iloc[-1].to_dict(),
    }


def summary(group: dict) -> dict:
    """The runs of a group with mean and deviation: an entry of the results file.

    Args:
        group: {"recipe", "settings" (that differ from it), "config" (all that its runs share), "runs": seed -> entry}.
    """
    runs = [group["runs"][seed] for seed in sorted(group["runs"])]
    best = max(runs, key=lambda run: run["validation_accuracy"])["seed"]
    over = {name: evaluate.metrics.over_seeds([run[name] for run in runs]) for name in ("test_accuracy", "macro_f1")}
    if all("tta" in run for run in runs):
        over["tta_accuracy"] = evaluate.metrics.over_seeds([run["tta"]["test_accuracy"] for run in runs])
    named = {name: group[name] for name in ("recipe", "settings")}
    return {**named, **over, "best_on_validation": best, "config": group["config"], "runs": runs}


@contextlib.contextmanager
def refuse_damaged(what: str):
    """A block that reads what may not be as this project writes it; then UserError."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{what} is damaged; delete it or do that run again") from error


def earlier(path: Path, script: type[RunConfig]) -> dict[str, dict]:
    """The groups that a results file has, by label, without those that ran with other settings than today's."""
    groups = {}
    for result in atomic_io.read_json(path)["results"] if path.exists() else []:
        label = train.identity.named(result["recipe"], result["settings"])
        if result["recipe"] not in script.recipes or differing(result["config"], script) != result["settings"]:
            print(f"{label}: earlier seeds dropped, they ran with other settings than the recipe of today")
            continue
        groups[label] = result | {"runs": {run["seed"]: run for run in result["runs"]}}
    return groups


def collect(prefix: str, folder: Path) -> tuple[dict[str, dict], dict[tuple[str, int], Path]]:
    """The results of one script, by label, and the metrics.json of each (label, seed) that is there.

    Raises:
        UserError: a damaged file.
    """
    script, path, files = CONFIGS[prefix], folder / f"{prefix}_results.json", {}
    with refuse_damaged(str(path)):
        groups = earlier(path, script)
    there = [*folder.glob(f"{prefix}*_metrics.json"), *(folder / "runs").glob(f"*/{prefix}*_metrics.json")]
    found = [(atomic_io.read_json(file), file) for file in there]
    # Of two runs of a seed the newer counts; a file's own time is that of its copy.
    found.sort(key=lambda run: (str(run[0].get("finished", "")), run[1].stat().st_mtime, run[1]))
    for metrics, file in found:
        with refuse_damaged(f"{file} or its history"):
            if "source" in metrics:  # a model from elsewhere, see import_model.py
                continue
            recipe, config, seed = metrics["recipe"], metrics["config"], metrics["seed"]
            if recipe not in script.recipes:
                print(f"{file.parent}: left out, there is no recipe {recipe} today")
                continue
            settings = differing(config, script)
            if settings not in COLLECTED:
                print(f"{file.parent}: left out, other settings than recipe {recipe}: {', '.join(settings)}")
                continue
            label = train.identity.named(recipe, settings)
            new = {"recipe": recipe, "settings": settings, "config": decisive(config), "runs": {}}
            groups.setdefault(label, new)["runs"][seed] = entry(file, metrics)
            files[label, seed] = file
    with refuse_damaged(str(path)):
        return {label: summary(groups[label]) for label in sorted(groups)}, files


def ship(recipe: str, results: dict, files: dict, folder: Path) -> None:
    """Copy a recipe's best run on validation to the folder of results, unless it lies there."""
    if recipe not in results:
        return
    seed = results[recipe]["best_on_validation"]
    best = files.get((recipe, seed))
    if best is None:
        print(f"{recipe}: seed {seed} did best on validation, but its files are gone; {folder} stays as it is")
        return
    if copy_run(best, folder):
        print(f"{folder}: now holds the run of {best.parent}, the best of its recipe on validation")


def copy_run(best: Path, folder: Path) -> bool:
    """Copy a finished run, given by its metrics.json, unless it lies in the folder already; whether it was copied."""
    if (folder / best.name).exists() and atomic_io.read_json(folder / best.name) == atomic_io.read_json(best):
        return False
    for file in (*others_of(best), best):  # the metrics last: they stand for all
        with atomic_io.replacing(folder / file.name) as temporary:
            shutil.copyfile(file, temporary)
    return True


def others_of(metrics: Path) -> list[Path]:
    """What a finished run has left beside its metrics.json, and no file of another run in that folder."""
    prefix = metrics.name.removesuffix("_metrics.json")
    model = models.saved_model.MODELS[prefix].file
    names = [*(f"{prefix}_{name}" for name in train.run.FILES), model, f"best_{model}"]
    found = [metrics.with_name(name) for name in names]
    return [file for file in found if file.exists() and file != metrics]


def redraw(folder: Path) -> None:
    """Draw the training curves and the confusion matrix of each run in a folder again, from its own files."""
    import pandas as pd

    for prefix, script in PREFIXES.items():
        metrics, history = folder / f"{prefix}_metrics.json", folder / f"{prefix}_history.csv"
        if not (metrics.exists() and history.exists()):
            continue
        with refuse_damaged(f"{metrics} or its history"):
            run, rows = atomic_io.read_json(metrics), pd.read_csv(history).to_dict("records")
            config = script(**run["config"])
            curves, confusion = (folder / f"{prefix}_{name}.png" for name in ("training_curves", "confusion_matrix"))
            accuracy, milestones, learned = run["test_accuracy"], config.milestones, config.learned_classes
            scaled = "temperature" in run
            evaluate.plots.training_curves(rows, accuracy, milestones, run["title"], curves, learned, scaled)
            matrix = np.array(run["confusion_matrix"])
            evaluate.plots.confusion_matrix(matrix, run["class_names"], run["title"], confusion)
        print(f"{curves}, {confusion}")


def main(argv: list[str] | None = None) -> int:
    """One results file per script that has runs."""
    folder = Path(parse(Config, argv, about=__doc__).output_dir)
    empty = True
    for prefix in CONFIGS:
        results, files = collect(prefix, folder)
        if not results:
            continue
        empty = False
        atomic_io.write_json(folder / f"{prefix}_results.json", {"schema": 1, "results": list(results.values())})
        # Fine labels are a task of their own, and an ensemble has no curve.
        plain = {result["recipe"]: result["runs"] for result in results.values() if not result["settings"]}
        if plain:
            path = folder / f"{prefix}_time_to_accuracy.png"
            evaluate.time_to_accuracy_plot.draw(plain, data.registry.title(CONFIGS[prefix].dataset), path)
        for recipe in SHIPPED[prefix]:
            ship(recipe, results, files, folder)
        for label, result in results.items():
            over = result["test_accuracy"]
            deviation = "" if over["std"] is None else f" ± {over['std']:.4f}"
            print(f"{prefix} {label}: test accuracy {over['mean']:.4f}{deviation}, n = {over['n']}")
    if (folder / RESNET50).exists() and copy_run(folder / RESNET50, folder):
        print(f"{folder}: now holds the run of {(folder / RESNET50).parent}")
    redraw(folder)
    if empty:
        raise UserError(f"no finished run of a recipe in {folder} or {folder / 'runs'}; run {cifar100_cnn.__name__}.py")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
