"""The Markdown tables of the documents, by name, each from a result file."""

from pathlib import Path

import pandas as pd

from pipeline.console import clock
from pipeline.evaluate.metrics import over_seeds
from pipeline.explain.faithfulness import CONTROLS, REMOVALS
from pipeline.models.saved_model import MODELS
from pipeline.report.markdown import read, read_table, result_of, results_file, spread, table
from pipeline.system import lacks_bfloat16
from pipeline.train.identity import OUTPUT, named

# Columns of a run's history, as a table calls them.
HISTORY = {
    "loss": "training loss",
    "val_loss": "validation loss",
    "val_cross_entropy": "validation cross-entropy",
    "accuracy": "training accuracy",
    "val_accuracy": "validation accuracy",
}


def headline() -> str:
    """Each model's recipe over its seeds, beside the first published result of one network on the same task."""
    others = _published()
    rows = [("model", "test accuracy", "n", "published", "parameters", "whole run on two cores (min:s)")]
    for prefix, model in MODELS.items():
        run = read(f"{prefix}_metrics.json")
        accuracy, measured = {"mean": run["test_accuracy"], "std": None, "n": 1}, [run["hardware"] | run]
        if model.recipe:
            result = result_of(read(results_file(prefix))["results"], model.recipe)
            accuracy, measured = result["test_accuracy"], result["runs"]
        command = model.script + (" --recipe best" if model.recipe == "best" else "")
        other = next(others[others["prefix"] == prefix.removesuffix("-best")].itertuples(), None)
        rows.append(
            (
                f"{model.network}, {model.task} (`{command}`)",
                spread(accuracy),
                str(accuracy["n"]),
                f"{other.accuracy} ([{other.source}]({other.link}))" if other else "none found",
                f"{run['parameters']:,}",
                _times(measured),
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
    rows = [("recipe", "training images", "epochs", "test accuracy", "n")]
    rows[0] += ("with test-time augmentation", "macro F1", "time (min:s)")
    for result in read("cifar100_results.json")["results"]:
        first = result["runs"][0]
        rows.append(
            (
                named(result["recipe"], result["settings"]),
                f"{first['n_train']:,}",
                str(first["epochs"]),
                spread(result["test_accuracy"]),
                str(result["test_accuracy"]["n"]),
                spread(result["tta_accuracy"]) if "tta_accuracy" in result else "not measured",
                spread(result["macro_f1"]),
                _times(result["runs"]),
            )
        )
    return table(rows, left=1)


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
    rows = [("recipe", "parameters", "epochs", "test accuracy", "n", "validation accuracy")]
    rows[0] += ("training (min:s)", "whole process (min:s)")
    for result in read("custom_cnn_results.json")["results"]:
        runs = result["runs"]
        rows.append(
            (
                named(result["recipe"], result["settings"]),
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


def comparison() -> str:
    """Accuracy, speed, size and memory of the saved models in every runtime."""
    result = read("model_comparison.json")
    peaks = dict(result["matrix_peak_gflops"])
    if lacks_bfloat16(result["hardware"]):
        del peaks["bfloat16"]  # an emulated one says nothing about the models, which are in float32
    rows = [
        (
            *("model", "runtime", "test accuracy (95 % interval)", "file (MB)"),
            *("one image: ms (95th percentile)", "one image: speedup"),
            *("batch 32: images/s", "batch 256: images/s", "batch 256: speedup", "peak memory (MB)"),
            *(f"at 256: of the {peak:,.0f} GFLOP/s of {kind} products" for kind, peak in peaks.items()),
        )
    ]
    for entry in result["models"]:
        for timed in entry["runtimes"]:
            one, some, many = (timed["batches"][batch] for batch in ("1", "32", "256"))
            memory = timed["peak_megabytes"]
            rows.append(
                (
                    f"{entry['name']} ({entry['dataset']})",
                    timed["runtime"],
                    f"{timed['test_accuracy']:.4f} ({timed['accuracy_low']:.4f} to {timed['accuracy_high']:.4f})",
                    f"{timed['file_megabytes']:.1f}",
                    f"{one['median_ms']:.2f} ({one['p95_ms']:.2f})",
                    f"{one['speedup']:.1f}",
                    f"{some['images_per_second']:,.0f}",
                    f"{many['images_per_second']:,.0f}",
                    f"{many['speedup']:.1f}",
                    f"{memory:,.0f}" if memory else "unknown",
                    *(f"{many[f'fraction_of_{kind}_peak']:.0%}" for kind in peaks),
                )
            )
    return table(rows, left=2)


def differences() -> str:
    """Which models really differ on the test images, by McNemar's test."""
    rows = [("data", "model A", "model B", "only A right", "only B right", "p (McNemar)")]
    for row in read("model_comparison.json")["differences"]:
        p = "< 0.0001" if row["p_value"] < 1e-4 else f"{row['p_value']:.2g}"
        rows.append((row["dataset"], row["a"], row["b"], str(row["only_a"]), str(row["only_b"]), p))
    return table(rows, left=3)


def exports() -> str:
    """What the check of every export measured, beside Keras."""
    stems = [Path(model.file).stem for model in MODELS.values()]
    checks = [
        (stem, name.replace("_", " "), check)
        for stem in stems
        for name, check in read(f"{stem}_exports.json")["exports"].items()
    ]
    columns = {
        "megabytes": ("file (MB)", ".1f"),
        "agreement": ("same class as Keras", ".1%"),
        "difference": ("largest difference of a probability", ".1g"),
        "accuracy_after": ("test accuracy", ".4f"),
        "accuracy_before": ("Keras", ".4f"),
    }
    shown = [key for key in columns if any(key in check for *_, check in checks)]  # earlier records have no agreement
    rows = [("model", "format", *(columns[key][0] for key in shown), "kept")]
    for stem, name, check in checks:
        cells = ["" if check.get(key) is None else format(check[key], columns[key][1]) for key in shown]
        rows.append((stem, name, *cells, "no" if check["failure"] else "yes"))
    return table(rows, left=2)


def faithfulness() -> str:
    """How faithful each method is on its best layer, by deletion and insertion, beside the controls."""
    measured = read_table("gradcam_faithfulness.csv")
    head = ("model", "method, at its best layer", "map", "deletion, blank", "insertion, blank", "deletion, ROAD")
    head += ("insertion, ROAD", "controls it does not beat", "rank correlation with random weights")
    rows = [head]
    measured["score"] = 0.0
    for removal in REMOVALS:
        measured["score"] += measured[f"insertion_area_{removal}"] - measured[f"deletion_area_{removal}"]
    best = measured.sort_values("score", ascending=False, kind="stable").drop_duplicates(["model", "method"])
    for name in measured["model"].unique():
        for row in best[best["model"] == name].to_dict("records"):
            control = row["method"] in CONTROLS
            layer = f", {row['layer']}" if row["layer"] else ""
            alike = row["likeness_100_percent_random"]
            rows.append(
                (
                    name,
                    f"*{row['method']}* (control)" if control else row["method"] + layer,
                    row["map"],
                    f"{row['deletion_area_blank']:.3f}",
                    f"{row['insertion_area_blank']:.3f}",
                    f"{row['deletion_area_road']:.3f}",
                    f"{row['insertion_area_road']:.3f}",
                    "" if control else _unbeaten(row),
                    "" if control or alike == "" else f"{float(alike):.2f}",
                )
            )
    return table(rows, left=3)


def _unbeaten(row: dict) -> str:
    """Controls that a method does not beat, and in what: "gaussian (deletion, ROAD)"."""
    found = []
    for control in CONTROLS:
        for removal in REMOVALS:
            beats = row[f"beats_{control}_{removal}"]
            failed = {"no": "both", "in deletion alone": "insertion", "in insertion alone": "deletion"}.get(beats)
            if failed:
                found.append(f"{control} ({failed}, {'ROAD' if removal == 'road' else removal})")
    return ", ".join(found) or "none"


def scaling() -> str:
    """What an epoch costs against the number of images, the batch and the cores."""
    result = read("benchmark_scaling.json")
    rows = [("images", "batch", "cores", "seconds an epoch", "images/s", "peak memory (GB)")]
    for row in result["rows"]:
        images, seconds = row["images"], row["epoch_seconds"]
        sizes = (f"{images:,}", f"{row['batch']:,}", str(row["cores"]))
        rows.append((*sizes, f"{seconds:.1f}", f"{images / seconds:,.0f}", f"{row['peak_gigabytes']:.1f}"))
    return table(rows, left=0)


def epoch_account() -> str:
    """Where the time of an epoch goes, per network, image size and arithmetic."""
    head = ("network", "arithmetic", "side", "images/s", "convolutions", "their speed", "BatchNorm, ReLU, pooling")
    head += ("optimizer", "waiting for input", "Keras and Python", "validation, checkpoint", "rest", "sum / epoch")
    grouped = {
        "convolutions": ("convolutions, forward", "convolutions, by data", "convolutions, by weights"),
        "maps": ("BatchNorm", "ReLU", "pooling"),
        "optimizer": ("optimizer",),
        "input": ("waiting for input",),
        "python": ("Keras and Python",),
        "after": ("validation", "checkpoint"),
        "rest": ("casts to and from bfloat16", "other operations"),
    }
    rows = [head]
    for row in read("benchmark_epoch_account.json")["rows"]:
        seconds, whole = row["seconds"], row["seconds_in_all"]
        cells = {name: f"{sum(seconds[part] for part in parts) / whole:.1%}" for name, parts in grouped.items()}
        spent = sum(seconds[part] for part in grouped["convolutions"])
        speed = sum(row["seconds_at_the_matrix_product_rate"].values()) / spent
        rows.append(
            (
                f"`{row['case']}`",
                row["precision"],
                str(row["side"]),
                f"{row['images_per_second']:,.0f}",
                cells["convolutions"],
                f"{speed:.0%}",
                *(cells[name] for name in ("maps", "optimizer", "input", "python", "after", "rest")),
                f"{row['watched_over_unwatched']:.3f}",
            )
        )
    return table(rows, left=2)


def run_times() -> str:
    """How long the epochs of each recipe take, from steps that had the machine to themselves."""
    rows = [("recipe", "epochs", "float32 (min:s)", "bfloat16 (min:s)")]
    for run in read("benchmark_epoch_account.json")["runs"]:
        script = run["case"].split()[0]
        times = (clock(run["seconds"][precision]) for precision in ("float32", "bfloat16"))
        rows.append((f"`{script}`, {run['recipe']}", str(run["epochs"]), *times))
    return table(rows, left=1)


def peers() -> str:
    """Training speed beside what people would use instead."""
    rows = [("trained with", "arithmetic", "images/s", "lowest to highest", "this project / it")]
    for row in read("benchmark_peers.json")["rows"]:
        rows.append(
            (
                row["setup"],
                row["precision"],
                f"{row['images_per_second']:,.0f}",
                f"{row['lowest']:,.0f} to {row['highest']:,.0f}",
                f"{row['this_project_over_it']:.2f}",
            )
        )
    return table(rows, left=2)


def answering() -> str:
    """How fast saved models answer in each runtime, beside the machine's matrix product."""
    head = ("model", "runtime", "1 image (ms)", "256 images (ms)", "of the float32 matrix product")
    rows = [(*head, "speedup over Keras predict")]
    for model in read("benchmark_answering.json")["models"]:
        for timed in model["runtimes"]:
            one, many = timed["batches"]["1"], timed["batches"]["256"]
            rows.append(
                (
                    model["name"],
                    timed["runtime"],
                    f"{one['median_ms']:.2f}",
                    f"{many['median_ms']:.0f}",
                    f"{many['fraction_of_float32_peak']:.0%}",
                    f"{many['speedup']:.2f}",
                )
            )
    return table(rows, left=2)


def start_up() -> str:
    """Seconds from the command to the first training step, and from the command to an answer."""
    rows = [("from the command to", "seconds (median)")]
    for script, seconds in read("benchmark_start_up.json")["medians"].items():
        rows.append((f"the first step of `{script}.py`", f"{seconds:.1f}"))
    for kind, seconds in read("benchmark_answering.json")["seconds_to_answer"]["medians"].items():
        rows.append((f"the answer of `predict.py`, {kind}", f"{seconds:.2f}"))
    return table(rows, left=1)


def digit_reading() -> str:
    """How digits are read in each kind of picture."""
    rows = [("kind of picture", "pictures", "read right", "no digit found", "wrong", "wrong at 90 % or more")]
    for row in read("digit_reading.json")["kinds"]:
        rows.append((row["kind"], *(str(row[key]) for key in ("pictures", "right", "not_found", "wrong", "confident"))))
    return table(rows, left=1)


def novelty() -> str:
    """What the novelty score recognizes as foreign among the test images of each model, and among others."""
    rows = [("model", "images", "number", "nothing found in", "above 1, of the others")]
    for model in read("novelty.json")["models"]:
        for row in model["test"]:
            (foreign,) = row["foreign"].values()
            missing = str(row["nothing_found"] or "")
            network = MODELS[model["model"]].network
            rows.append((network, row["kind"], f"{row['images'] + row['nothing_found']:,}", missing, f"{foreign:.1%}"))
    return table(rows, left=2)


def novelty_scores() -> str:
    """Novelty scores compared on validation images, each with the same fraction of false alarms."""
    models = read("novelty.json")["models"]
    rows = [("model", "images", *models[0]["validation"][0]["foreign"])]
    for model in models:
        network = MODELS[model["model"]].network
        for row in model["validation"]:
            rows.append((network, row["kind"], *(f"{foreign:.1%}" for foreign in row["foreign"].values())))
    return table(rows, left=2)


def faults() -> str:
    """What `make faults` did, how often, and what came of it; made from its record, if there is one."""
    if not (OUTPUT / "faults.json").exists():
        return "not run yet"
    record = read("faults.json")
    rows, done = [("what was done", "how often", "what came of it")], {}
    for entry in record["tried"]:
        counts = done.setdefault(entry["what"], {})  # a short and a long test of the same thing count together
        for name, n in entry["counts"].items():
            extreme = name.startswith(("slowest", "peak", "largest"))
            counts[name] = max(counts.get(name, n), n) if extreme else counts.get(name, 0) + n
    for what, counts in done.items():
        times, *outcomes = (f"{name.replace('_', ' ')}: {n:,}" for name, n in counts.items())
        rows.append((what, times.removeprefix("times: "), ", ".join(outcomes)))
    where = f"{record['hardware']['cores']} cores ({record['hardware']['processor']})"
    end = f"{record['failed']} tests failed; {clock(record['seconds'])} on {where}."
    return "\n".join([table(rows, left=3), "", end, *(f"Skipped: {reason}." for reason in record["skipped"])])


TABLES = {
    "headline": headline,
    "published": published,
    "runs": runs,
    "ablation": ablation,
    "baseline": baseline,
    "cifar100_recipes": cifar100_recipes,
    "custom_cnn_recipes": custom_cnn_recipes,
    "comparison": comparison,
    "differences": differences,
    "exports": exports,
    "faithfulness": faithfulness,
    "transfer": transfer,
    "own_photos": own_photos,
    "start_from": start_from,
    "scaling": scaling,
    "epoch_account": epoch_account,
    "run_times": run_times,
    "peers": peers,
    "answering": answering,
    "start_up": start_up,
    "digit_reading": digit_reading,
    "novelty": novelty,
    "novelty_scores": novelty_scores,
    "faults": faults,
}
