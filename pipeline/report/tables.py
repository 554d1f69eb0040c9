"""The Markdown tables of the documents, by name, each from result files; here those on accuracy."""

import statistics
from pathlib import Path

import pandas as pd

from pipeline.console import clock
from pipeline.evaluate.metrics import over_seeds
from pipeline.models.saved_model import MODELS
from pipeline.report import reliability, speed
from pipeline.report.markdown import percent, read, read_table, result_of, results_file, spread, table
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
# The networks of the table of settings, and the optimizer that the script of each gives it.
OPTIMIZERS = {
    ("cifar100", "baseline"): "Adam",
    ("cifar100", "fast"): "Muon",
    ("cifar100", "best"): "Muon",
    ("cifar100", "transformer"): "Muon",
    ("custom_cnn", "default"): "AdamW",
    ("resnet50", "default"): "Adam",
}
# Settings of a run, as the table calls them, with their format.
SETTINGS = {
    "learning_rate": ("peak learning rate", "g"),
    "weight_decay": ("weight decay", "g"),
    "batch_size": ("batch size", "d"),
    "small_epochs": ("first epochs at 24×24 pixels", "d"),
    "label_smoothing": ("label smoothing", "g"),
    "dropout": ("dropout", "g"),
    "shift": ("largest shift (pixels, or fraction of the side)", "g"),
    "rotation": ("largest rotation (fraction of a turn)", "g"),
    "zoom": ("largest zoom", "g"),
    "shear": ("largest shear", "g"),
    "cutmix": ("batches mixed by CutMix", ".0%"),
    "corruption": ("training images corrupted", ".0%"),
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

    Accuracies are means over the seeds, times those of the fastest: others may have run beside other work.
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
        minutes = min(run["wall_seconds"] for run in runs) / 60
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


def settings() -> str:
    """The settings of every network: a column for each, a row per setting, empty where a recipe has none."""
    columns = [_settings(prefix, recipe) for prefix, recipe in OPTIMIZERS]
    return table([(name, *(column[name] for column in columns)) for name in columns[0]], left=1)


def _settings(prefix: str, recipe: str) -> dict[str, str]:
    """A column of the table of settings: its head, and the cells by the rows' names."""
    if prefix == "resnet50":
        run = read("resnet50_metrics.json")
        config, head = run["config"], "ResNet50"
    else:
        result = result_of(read(results_file(prefix))["results"], recipe)
        config, run = result["config"], result["runs"][0]
        head = "custom CNN" if prefix == "custom_cnn" else f"CIFAR-100 {recipe}"
    optimizer = OPTIMIZERS[prefix, recipe]
    column = {
        "setting": head,
        "parameters": f"{run['parameters']:,}",
        "training images": f"{run['n_train']:,}",
        "epochs": str(run["epochs"]),
        "optimizer": optimizer,
    }
    for name, (label, form) in SETTINGS.items():
        used = name in config and (name != "weight_decay" or optimizer == "AdamW")  # the others take none
        column[label] = format(config[name], form) if used else ""
    return column


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


def provenance() -> str:
    """Where each saved model comes from."""
    rows = [("file", "recipe", "seed", "finished", "commit", "processor", "Keras", "TensorFlow", "SHA-256 of the data")]
    for prefix, model in MODELS.items():
        run = read(f"{prefix}_metrics.json")
        rows.append(
            (
                f"`{model.file}`",
                run["recipe"],
                str(run["seed"]),
                run.get("finished", "")[:10],
                f"`{run['commit']}`",
                run["hardware"]["processor"],
                run["versions"]["keras"],
                run["versions"]["tensorflow"],
                f"`{run['data_sha256'][:12]}…`",
            )
        )
    return table(rows, left=9)


def cifar100_in_brief() -> str:
    """Accuracy and cost of each recipe of cifar100_cnn.py, lowest accuracy first."""
    rows = [
        ("recipe", "parameters", "PFLOP", "test accuracy (%)", "with test-time augmentation (%)", "n", "time (min:s)")
    ]
    results = read("cifar100_results.json")["results"]
    for result in sorted(results, key=lambda result: result["test_accuracy"]["mean"]):
        first, over = result["runs"][0], result["test_accuracy"]
        augmented = percent(result["tta_accuracy"]) if "tta_accuracy" in result else ""
        name = named(result["recipe"], result["settings"])
        rows.append((name, f"{first['parameters']:,}", _petaflops(first), percent(over), augmented, str(over["n"])))
        rows[-1] += (_times(result["runs"]),)
    return table(rows, left=1)


def mnist_in_brief() -> str:
    """Accuracy and cost of each recipe of mnist_classification.py and of ResNet50, lowest accuracy first."""
    rows = [("network", "parameters", "PFLOP", "test accuracy (%)", "n", "time (min:s)")]
    resnet50 = read("resnet50_metrics.json")
    measured = [
        ("custom CNN, " + named(result["recipe"], result["settings"]), result["test_accuracy"], result["runs"])
        for result in read("custom_cnn_results.json")["results"]
    ]
    alone = {"mean": resnet50["test_accuracy"], "std": None, "n": 1}
    measured.append(("ResNet50, ImageNet conv1-conv4", alone, [resnet50["hardware"] | resnet50]))
    for name, over, found in sorted(measured, key=lambda row: row[1]["mean"]):
        flops = _petaflops(found[0]) if "training_flops" in found[0] else ""
        rows.append((name, f"{found[0]['parameters']:,}", flops, percent(over), str(over["n"]), _times(found)))
    return table(rows, left=1)


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
    """How the plateau schedule of the baseline went: its best epoch, its rate, train against validation."""
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


def transfer_in_brief() -> str:
    """Test accuracy in percent of the networks that are trained in all stages, per number of training images."""
    measured = read_table("resnet50_transfer.csv")
    sets = sorted(measured["images"].unique())
    rows = [("network", *(f"{images:,} images (%)" for images in sets))]
    for label, found in measured[~measured["setup"].str.startswith("frozen")].groupby("label", sort=False):
        accuracies = [found[found["images"] == images]["test_accuracy"] for images in sets]
        rows.append((label, *(percent(over_seeds(list(few))) if len(few) else "" for few in accuracies)))
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


def own_pictures_in_brief() -> str:
    """Test accuracy with few pictures, by what the training starts from."""
    rows = [("pictures", "training pictures", "network", "initialized from", "test accuracy (%)", "n")]
    digits = read("start_from.json")
    for row in digits["rows"]:
        few = f"{digits['training_images_per_class']} a class" if row["epochs"] else "none"
        over = over_seeds(row["test_accuracy"])
        rows.append(("digits of other writers", few, "custom CNN", row["start"], percent(over), str(over["n"])))
    for row in read("own_photos.json")["rows"]:
        over = over_seeds([run["test_accuracy"] for run in row["runs"]])
        start = "random initialization" if row["weights"] == "none" else "ImageNet conv1-conv4"
        few = f"{row['runs'][0]['n_train']:,}"
        rows.append(("ants and bees", few, row["network"], start, percent(over), str(over["n"])))
    return table(rows, left=4)


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
        settings,
        runs,
        provenance,
        baseline,
        cifar100_in_brief,
        cifar100_recipes,
        mnist_in_brief,
        custom_cnn_recipes,
        transfer_in_brief,
        transfer,
        own_pictures_in_brief,
        own_photos,
        start_from,
        ablation,
        speed.scaling,
        speed.epoch_account,
        speed.peers,
        speed.step_times,
        speed.two_hosts,
        speed.from_disk,
        speed.comparison_in_brief,
        speed.comparison,
        speed.differences,
        speed.exports,
        speed.answering,
        speed.start_up,
        speed.page,
        reliability.confidence,
        reliability.robustness_in_brief,
        reliability.robustness,
        reliability.novelty,
        reliability.novelty_scores,
        reliability.digit_reading,
        reliability.faithfulness_in_brief,
        reliability.faithfulness,
        reliability.faults,
    )
}
