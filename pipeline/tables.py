"""The tables of the texts, by name; here those about training, the others in model_tables."""

import pandas as pd

from pipeline import PROJECT, model_tables
from pipeline.console import clock
from pipeline.markdown import read, spread, table
from pipeline.models import MODELS
from pipeline.plot_transfer import name_of
from pipeline.processor import lacks_bfloat16
from pipeline.statistics import over_seeds


def headline() -> str:
    """Each model's recipe over its seeds, beside the first published figure for one network on the same task."""
    others = _published()
    rows = [("model", "test accuracy", "n", "published", "parameters", "whole run on two cores (min:s)")]
    for prefix, model in MODELS.items():
        run, family = read(f"{prefix}_metrics.json"), prefix.removesuffix("-best")
        seeds = read(f"{family}_results.json").get(model.recipe, {}) if model.recipe else {}
        command = model.script + (" --recipe best" if model.recipe == "best" else "")
        accuracy = seeds.get("test_accuracy", {"mean": run["test_accuracy"], "std": None, "n": 1})
        other = next(others[others["prefix"] == family].itertuples(), None)
        rows.append(
            (
                f"{model.network}, {model.task} (`{command}`)",
                spread(accuracy),
                str(accuracy["n"]),
                f"{other.accuracy} ([{other.source}]({other.link}))" if other else "none found",
                f"{run['parameters']:,}",
                _times(seeds["runs"] if seeds else [run["hardware"] | run]),
            )
        )
    return table(rows, left=1)


def published() -> str:
    """What others report for the same data and labels."""
    rows = [("data", "network", "test accuracy", "source")]
    for row in _published().itertuples():
        rows.append((MODELS[row.prefix].task, row.network, row.accuracy, f"[{row.source}]({row.link})"))
    return table(rows, left=2)


def _published() -> pd.DataFrame:
    return pd.read_csv(PROJECT / "docs" / "published_figures.csv", dtype=str)


def runs() -> str:
    """What each training script reached."""
    rows = [("model", "data", "recipe", "epochs", "training images")]
    rows[0] += ("test accuracy", "test loss", "macro F1", "parameters", "time (min:s)")
    for prefix, model in MODELS.items():
        run = read(f"{prefix}_metrics.json")
        start = f", start: {run['weights']['file']}" if "weights" in run else ""
        rows.append(
            (
                model.network + start,
                run["dataset"],
                f"{run['recipe']}, seed {run['seed']}",
                str(run["epochs"]),
                f"{run['n_train']:,}",
                *(f"{run[figure]:.4f}" for figure in ("test_accuracy", "test_loss", "macro_f1")),
                f"{run['parameters']:,}",
                _times([run["hardware"] | run]),
            )
        )
    return table(rows, left=3)


def cifar100_recipes() -> str:
    """What each recipe of cifar100_cnn.py reached, over its seeds."""
    rows = [("recipe", "labels in training", "training images", "epochs", "test accuracy", "n")]
    rows[0] += ("with test-time augmentation", "macro F1", "time (min:s)")
    for result in read("cifar100_results.json").values():
        config, first = result["config"], result["runs"][0]
        rows.append(
            (
                config["recipe"],
                config["labels"],
                f"{first['n_train']:,}",
                str(first["epochs"]),
                spread(result["test_accuracy"]),
                str(result["test_accuracy"]["n"]),
                spread(result["tta_accuracy"]) if "tta_accuracy" in result else "not measured",
                spread(result["macro_f1"]),
                _times(result["runs"]),
            )
        )
    return table(rows, left=2)


def _times(runs: list[dict], of: str = "wall_seconds") -> str:
    """The shortest and the longest of the runs' times, those on bare processors without bfloat16 apart."""
    found = []
    for slow, said in ((False, ""), (True, " without bfloat16")):
        seconds = [run[of] for run in runs if lacks_bfloat16(run) is slow]
        if seconds:
            shortest, longest = clock(min(seconds)), clock(max(seconds))
            found.append((shortest if shortest == longest else f"{shortest} to {longest}") + said)
    return "; ".join(found)


def baseline() -> str:
    """How the description's own schedule went: its best epoch, its rate, train against validation."""
    rows = [("", "epoch", "training loss", "validation loss", "training accuracy", "validation accuracy")]
    run = read("cifar100_results.json")["baseline"]["runs"][0]
    for name, epoch in (("best", run["plateau"]["best_epoch"]), ("last", run["epochs"])):
        at = run["plateau"][name]
        figures = (at["loss"], at["val_loss"], at["accuracy"], at["val_accuracy"])
        rows.append((f"{name} epoch", str(epoch), *(f"{value:.4f}" for value in figures)))
    fell = ", ".join(str(epoch) for epoch in run["plateau"]["rate_fell_before_epochs"]) or "none so far"
    reached = f"Test accuracy {run['test_accuracy']:.4f}, loss {run['test_loss']:.4f}, macro F1 {run['macro_f1']:.4f}"
    return f"{table(rows, left=1)}\n\n{reached}. The learning rate was halved before these epochs: {fell}."


def custom_cnn_recipes() -> str:
    """What each recipe of mnist_classification.py reached, over its seeds."""
    rows = [
        (
            "recipe",
            "parameters",
            "epochs",
            "test accuracy",
            "n",
            "validation accuracy",
            "training (min:s)",
            "whole process (min:s)",
        )
    ]
    for recipe, result in read("custom_cnn_results.json").items():
        runs = result["runs"]
        rows.append(
            (
                recipe.replace("-ensemble", ", ensemble of "),
                f"{runs[0]['parameters']:,}",
                str(result["config"]["epochs"]),
                spread(result["test_accuracy"]),
                str(result["test_accuracy"]["n"]),
                spread(over_seeds([run["validation_accuracy"] for run in runs])),
                _times(runs, "training_seconds"),
                _times(runs),
            )
        )
    return table(rows, left=1)


def transfer() -> str:
    """What ImageNet weights bring: a row per way, a column per number of training images."""
    measured = pd.read_csv(PROJECT / "output" / "resnet50_transfer.csv")
    sets = sorted(measured["images"].unique())
    rows = [("way", *(f"{images:,} images" for images in sets))]
    for (way, size), found in measured.groupby(["way", "size"], sort=False):
        cells = []
        for images in sets:
            few = found[found["images"] == images]
            figures = over_seeds(list(few["test_accuracy"])) if len(few) else {}
            slow = " without bfloat16" if all(map(lacks_bfloat16, few.to_dict("records"))) else ""
            cells.append(f"{spread(figures)} ({few['training_seconds'].mean():,.0f} s{slow})" if len(few) else "")
        rows.append((name_of(way, size, found["covers"].iloc[0]), *cells))
    return table(rows, left=1)


def ablation() -> str:
    """What each idea changed at the short budget."""
    result = read("cifar100_ablation.json")
    rows = [("change", "what", "validation accuracy", "difference (points)", "n", "training time (times)")]
    own = result["reference"]
    rows.append(("reference", "", spread(own), "", str(own["n"]), "1.0"))
    for idea in result["ideas"]:
        points, times = f"{round(100 * idea['difference'], 1) + 0.0:+.1f}", idea["times_reference_seconds"]
        rows.append((idea["idea"], idea["kind"], f"{idea['accuracy']:.4f}", points, str(idea["n"])))
        rows[-1] += ("" if times is None else f"{times:.1f}",)
    return table(rows, left=2)


TABLES = {
    "headline": headline,
    "published": published,
    "runs": runs,
    "ablation": ablation,
    "baseline": baseline,
    "cifar100_recipes": cifar100_recipes,
    "custom_cnn_recipes": custom_cnn_recipes,
    "comparison": model_tables.comparison,
    "differences": model_tables.differences,
    "exports": model_tables.exports,
    "faithfulness": model_tables.faithfulness,
    "transfer": transfer,
    "scaling": model_tables.scaling,
    "faults": model_tables.faults,
}
