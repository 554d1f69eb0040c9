"""The Markdown tables of the documents, by name, each from result files; here those on accuracy."""

import statistics
from pathlib import Path

import pandas as pd

from pipeline.console import clock
from pipeline.evaluate.metrics import over_seeds
from pipeline.models.saved_model import MODELS
from pipeline.report import reliability, speed
from pipeline.report.markdown import read, read_table, result_of, results_file, spread, table
from pipeline.system import lacks_bfloat16
from pipeline.train.identity import named

# Columns of a run's history, as a table calls them.
HISTORY = {
    "loss": "training loss",
    "val_loss": "validation loss",
    "val_cross_entropy": "validation cross-entropy",
    "accuracy": "training accuracy",
    "val_accuracy": "validation accuracy",
}

# Rows of the first table of README: a model, and the recipe of its script (None: it has no collected runs).
HEADLINE = (
    ("custom_cnn", "sprint"),
    ("custom_cnn", "default"),
    ("resnet50", None),
    ("cifar100", "sprint"),
    ("cifar100", "fast"),
    ("cifar100-best", "best"),
)


def headline() -> str:
    """What each command reaches, in what time and with how many parameters, for the first screen of README.

    Accuracies are means over the seeds, times their medians.
    """
    rows = [("model", "command", "test accuracy", "minutes", "parameters")]
    for prefix, recipe in HEADLINE:
        model = MODELS[prefix]
        if recipe:
            runs = result_of(read(results_file(prefix))["results"], recipe)["runs"]
            flags = "" if recipe in ("default", "fast") else f" --recipe {recipe}"
        else:
            runs = [read(f"{prefix}_metrics.json")]
            flags = " --weights FILE"
        data = model.task.partition(",")[0]  # the superclasses stand below the table
        accuracy = statistics.mean(run["test_accuracy"] for run in runs)
        minutes = statistics.median(run["wall_seconds"] for run in runs) / 60
        rows.append(
            (
                f"{model.network}, {data}",
                f"`python {model.script}{flags}`",
                f"{100 * accuracy:.1f} %",
                f"{minutes:.1f}" if minutes < 1 else f"{minutes:.0f}",
                f"{runs[0]['parameters'] / 1e6:.2f} M",
            )
        )
    return table(rows, left=2)


def published() -> str:
    """What others report for the same data and labels."""
    rows = [("data", "network", "test accuracy", "source")]
    for row in _published().itertuples():
        rows.append((MODELS[row.prefix].task, row.network, row.accuracy, f"[{row.source}]({row.link})"))
    return table(rows, left=2)


def _published() -> pd.DataFrame:
    return pd.read_csv(Path("docs", "published_figures.csv"), dtype=str)


def runs() -> str:
    """What each training script reached; the validation loss where a run has recorded it."""
    found = {prefix: read(f"{prefix}_metrics.json") for prefix in MODELS}
    metrics = ["test_accuracy", "test_loss", "macro_f1"]
    if any("validation_loss" in run for run in found.values()):
        metrics.insert(0, "validation_loss")
    named_so = [name.replace("_f1", " F1").replace("_", " ") for name in metrics]
    rows = [("model", "data", "recipe", "epochs", "training images", *named_so, "parameters", "time (min:s)")]
    for prefix, run in found.items():
        start = f", initialized from {run['weights']['file']}" if "weights" in run else ""
        rows.append(
            (
                MODELS[prefix].network + start,
                run["dataset"],
                f"{run['recipe']}, seed {run['seed']}",
                str(run["epochs"]),
                f"{run['n_train']:,}",
                *(f"{run[name]:.4f}" if name in run else "" for name in metrics),
                f"{run['parameters']:,}",
                _times([run["hardware"] | run]),
            )
        )
    return table(rows, left=3)


def cifar100_recipes() -> str:
    """What each recipe of cifar100_cnn.py reached, over its seeds."""
    rows = [("recipe", "training images", "epochs", "PFLOP", "test accuracy", "n")]
    rows[0] += ("with test-time augmentation", "macro F1", "time (min:s)")
    for result in read("cifar100_results.json")["results"]:
        first = result["runs"][0]
        rows.append(
            (
                named(result["recipe"], result["settings"]),
                f"{first['n_train']:,}",
                str(first["epochs"]),
                _petaflops(first),
                spread(result["test_accuracy"]),
                str(result["test_accuracy"]["n"]),
                spread(result["tta_accuracy"]) if "tta_accuracy" in result else "not measured",
                spread(result["macro_f1"]),
                _times(result["runs"]),
            )
        )
    return table(rows, left=1)


def _petaflops(run: dict) -> str:
    """Floating-point operations of a training in units of 10^15."""
    return f"{run['training_flops'] / 1e15:.2g}"


def _times(runs: list[dict], of: str = "wall_seconds") -> str:
    """The shortest and the longest of the runs' times; on CPUs without bfloat16 only where there are no others.

    What a run takes in float32 stands in another table, made from steps that had the machine to themselves.
    """
    usual = [run for run in runs if not lacks_bfloat16(run)]
    seconds = [run[of] for run in usual or runs]
    shortest, longest = clock(min(seconds)), clock(max(seconds))
    said = "" if usual else " without bfloat16"
    return (shortest if shortest == longest else f"{shortest} to {longest}") + said


def baseline() -> str:
    """How the description's own schedule went: its best epoch, its rate, train against validation."""
    run = result_of(read("cifar100_results.json")["results"], "baseline")["runs"][0]
    plateau = run["plateau"]
    shown = [name for name in HISTORY if name in plateau["best"]]
    rows = [("", "epoch", *(HISTORY[name] for name in shown))]
    for name, epoch in (("best", plateau["best_epoch"]), ("last", run["epochs"])):
        rows.append((f"{name} epoch", str(epoch), *(f"{plateau[name][column]:.4f}" for column in shown)))
    fell = ", ".join(str(epoch) for epoch in plateau["rate_fell_before_epochs"]) or "none so far"
    reached = f"Test accuracy {run['test_accuracy']:.4f}, loss {run['test_loss']:.4f}, macro F1 {run['macro_f1']:.4f}"
    return f"{table(rows, left=1)}\n\n{reached}. The learning rate was halved before these epochs: {fell}."


def custom_cnn_recipes() -> str:
    """What each recipe of mnist_classification.py reached, over its seeds."""
    rows = [("recipe", "parameters", "epochs", "PFLOP", "test accuracy", "n", "validation accuracy")]
    rows[0] += ("training (min:s)", "whole process (min:s)")
    for result in read("custom_cnn_results.json")["results"]:
        runs = result["runs"]
        rows.append(
            (
                named(result["recipe"], result["settings"]),
                f"{runs[0]['parameters']:,}",
                str(result["config"]["epochs"]),
                _petaflops(runs[0]),
                spread(result["test_accuracy"]),
                str(result["test_accuracy"]["n"]),
                spread(over_seeds([run["validation_accuracy"] for run in runs])),
                _times(runs, "training_seconds"),
                _times(runs),
            )
        )
    return table(rows, left=1)


def transfer() -> str:
    """What ImageNet weights bring: a row per setup, a column per number of training images."""
    measured = read_table("resnet50_transfer.csv")
    sets = sorted(measured["images"].unique())
    rows = [("setup", *(f"{images:,} images" for images in sets))]
    for label, found in measured.groupby("label", sort=False):
        cells = []
        for images in sets:
            few = found[found["images"] == images]
            over = over_seeds(list(few["test_accuracy"])) if len(few) else {}
            slow = " without bfloat16" if all(map(lacks_bfloat16, few.to_dict("records"))) else ""
            cells.append(f"{spread(over)} ({few['training_seconds'].mean():,.0f} s{slow})" if len(few) else "")
        rows.append((label, *cells))
    return table(rows, left=1)


def own_photos() -> str:
    """ResNet50 and the CNN from scratch on a folder of photographs."""
    rows = [("network", "initialized from", "side (pixels)", "training photos", "test photos")]
    rows[0] += ("test accuracy", "n", "parameters", "whole run (min:s)")
    for row in read("own_photos.json")["rows"]:
        runs, first = row["runs"], row["runs"][0]
        accuracy = over_seeds([run["test_accuracy"] for run in runs])
        rows.append(
            (
                f"{row['network']} (`{row['script']}`, recipe {row['recipe']})",
                "random numbers" if row["weights"] == "none" else row["weights"],
                str(first["image_shape"][0]),
                f"{first['n_train']:,}",
                f"{first['n_test']:,}",
                spread(accuracy),
                str(accuracy["n"]),
                f"{first['parameters']:,}",
                _times([run["hardware"] | run for run in runs]),
            )
        )
    return table(rows, left=2)


def start_from() -> str:
    """What --start-from brings with few images: a row per start."""
    result = read("start_from.json")
    rows = [("start", "epochs", "test accuracy", "draws")]
    for row in result["rows"]:
        accuracies = row["test_accuracy"]
        rows.append((row["start"], str(row["epochs"]), spread(over_seeds(accuracies)), str(len(accuracies))))
    return table(rows, left=1)


def ablation() -> str:
    """What each variant changes at the short budget."""
    result = read("cifar100_ablation.json")
    rows = [("variant", "kind", "validation accuracy", "difference (points)", "n", "relative training time")]
    own = result["reference"]
    rows.append(("reference", "", spread(own), "", str(own["n"]), "1.0"))
    for variant in result["variants"]:
        points, time = f"{round(100 * variant['difference'], 1) + 0.0:+.1f}", variant["relative_time"]
        rows.append((variant["variant"], variant["kind"], f"{variant['accuracy']:.4f}", points, str(variant["n"])))
        rows[-1] += ("" if time is None else f"{time:.1f}",)
    return table(rows, left=2)


TABLES = {
    made.__name__: made
    for made in (
        headline,
        published,
        runs,
        ablation,
        baseline,
        cifar100_recipes,
        custom_cnn_recipes,
        speed.comparison,
        speed.differences,
        speed.exports,
        reliability.faithfulness,
        transfer,
        own_photos,
        start_from,
        speed.scaling,
        speed.epoch_account,
        speed.run_times,
        speed.peers,
        speed.step_times,
        speed.answering,
        speed.start_up,
        reliability.digit_reading,
        reliability.novelty,
        reliability.novelty_scores,
        reliability.robustness,
        reliability.faults,
    )
}
