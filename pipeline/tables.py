"""The tables of the texts: result files in output/ to Markdown."""

import json
from pathlib import Path

import pandas as pd

from pipeline.plot_transfer import name_of
from pipeline.progress import clock

PROJECT = Path(__file__).resolve().parent.parent
RUNS = {
    "baseline/cifar100": "CNN from scratch",
    "cifar100": "CNN from scratch",
    "custom_cnn": "custom CNN",
    "resnet50": "ResNet50",
}


def read(name: str) -> dict:
    """One result file of output/."""
    return json.loads((PROJECT / "output" / name).read_text(encoding="utf-8"))


def runs() -> str:
    """What each training script reached."""
    lines = [
        "| model | data | recipe | epochs | training images "
        "| test accuracy | test loss | macro F1 | parameters | time |",
        "| --- | --- | --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for prefix, name in RUNS.items():
        run = read(f"{prefix}_metrics.json")
        start = f", start: {run['weights']['file']}" if "weights" in run else ""
        lines.append(
            f"| {name}{start} | {run['dataset']} | {run['recipe']}, seed {run['seed']} "
            f"| {run['epochs']} | {run['n_train']:,} "
            f"| {run['test_accuracy']:.4f} | {run['test_loss']:.4f} | {run['macro_f1']:.4f} | {run['parameters']:,} "
            f"| {clock(run['wall_seconds'])} |"
        )
    return "\n".join(lines)


def comparison() -> str:
    """Accuracy, speed, size and memory of the saved models in every runtime."""
    result = read("model_comparison.json")
    peaks = result["matrix_peak_gflops"]
    rows = [
        (
            *("model", "runtime", "test accuracy (95 % interval)", "file (MB)"),
            *("one image: ms (95th percentile)", "times Keras predict"),
            *("batch 32: images/s", "batch 256: images/s", "times Keras predict", "peak memory (MB)"),
            f"of the {peaks['float32']:,.0f} GFLOP/s of float32 products",
            f"of the {peaks['bfloat16']:,.0f} of bfloat16",
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
                    f"{one['times_keras_predict']:.1f}",
                    f"{some['images_per_second']:,.0f}",
                    f"{many['images_per_second']:,.0f}",
                    f"{many['times_keras_predict']:.1f}",
                    f"{memory:,.0f}" if memory else "unknown",
                    f"{many['share_of_float32_peak']:.0%}",
                    f"{many['share_of_bfloat16_peak']:.0%}",
                )
            )
    return _markdown(rows, left=2)


def cifar100_recipes() -> str:
    """What each recipe of cifar100_cnn.py reached, over its seeds."""
    lines = [
        "| recipe | labels in training | epochs | test accuracy | n | with test-time augmentation | macro F1 | time |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for result in read("cifar100_results.json").values():
        config, epochs = result["config"], result["runs"][0]["epochs"]
        lines.append(
            f"| {config['recipe']} | {config['labels']} | {epochs} | {spread(result['test_accuracy'])} "
            f"| {result['test_accuracy']['n']} "
            f"| {spread(result['tta_accuracy']) if 'tta_accuracy' in result else 'not measured'} "
            f"| {spread(result['macro_f1'])} | {clock(result['wall_seconds']['mean'])} |"
        )
    return "\n".join(lines)


def baseline() -> str:
    """How the description's own schedule went: its best epoch, its rate, train against validation."""
    rows = [("", "epoch", "training loss", "validation loss", "training accuracy", "validation accuracy")]
    (run,) = read("cifar100_results.json")["baseline"]["runs"]
    for name, epoch in (("best", run["plateau"]["best_epoch"]), ("last", run["epochs"])):
        at = run["plateau"][name]
        figures = (at["loss"], at["val_loss"], at["accuracy"], at["val_accuracy"])
        rows.append((f"{name} epoch", str(epoch), *(f"{value:.4f}" for value in figures)))
    fell = ", ".join(str(epoch) for epoch in run["plateau"]["rate_fell_before_epochs"]) or "none so far"
    reached = f"Test accuracy {run['test_accuracy']:.4f}, loss {run['test_loss']:.4f}, macro F1 {run['macro_f1']:.4f}"
    return f"{_markdown(rows, left=1)}\n\n{reached}. The learning rate was halved before these epochs: {fell}."


def custom_cnn_recipes() -> str:
    """What each recipe of mnist_classification.py reached, over its seeds."""
    rows = [("recipe", "parameters", "epochs", "test accuracy", "n", "training", "whole process")]
    for recipe, result in read("custom_cnn_results.json").items():
        runs = result["runs"]
        training = sum(run["training_seconds"] for run in runs) / len(runs)
        rows.append(
            (
                recipe.replace("-ensemble", ", ensemble of "),
                f"{runs[0]['parameters']:,}",
                str(result["config"]["epochs"]),
                spread(result["test_accuracy"]),
                str(result["test_accuracy"]["n"]),
                f"{training:.0f} s",
                clock(result["wall_seconds"]["mean"]),
            )
        )
    return _markdown(rows, left=1)


def spread(figures: dict) -> str:
    """Mean and sample standard deviation of some runs."""
    return f"{figures['mean']:.4f}" + ("" if figures["std"] is None else f" ± {figures['std']:.4f}")


def transfer() -> str:
    """What ImageNet weights bring: a row per way, a column per number of training images."""
    table = pd.read_csv(PROJECT / "output" / "resnet50_transfer.csv")
    sets = sorted(table["images"].unique())
    rows = [("way", *(f"{images:,} images" for images in sets))]
    for (way, size), found in table.groupby(["way", "size"], sort=False):
        cells = []
        for images in sets:
            few = found[found["images"] == images]
            figures = {"mean": few["test_accuracy"].mean(), "std": few["test_accuracy"].std() if len(few) > 1 else None}
            cells.append(f"{spread(figures)} ({few['training_seconds'].mean():,.0f} s)" if len(few) else "")
        rows.append((name_of(way, size, found["covers"].iloc[0]), *cells))
    return _markdown(rows, left=1)


def faithfulness() -> str:
    """How faithful each method is on its best layer, by deletion and insertion, beside the controls."""
    table = pd.read_csv(PROJECT / "output" / "gradcam_faithfulness.csv", keep_default_na=False)
    head = ("model", "method, at its best layer", "map", "deletion area", "insertion area")
    rows = [(*head, "beats random maps", "beats a centred Gaussian", "likeness with random weights")]
    table["score"] = table["insertion_area"] - table["deletion_area"]
    best = table.sort_values("score", ascending=False, kind="stable").drop_duplicates(["model", "method"])
    for name in table["model"].unique():
        for row in best[best["model"] == name].to_dict("records"):
            control = row["method"] in ("random", "random pixels", "gaussian")
            layer = f", {row['layer']}" if row["layer"] else ""
            alike = row["likeness_100_percent_random"]
            rows.append(
                (
                    name,
                    f"*{row['method']}* (control)" if control else row["method"] + layer,
                    row["map"],
                    f"{row['deletion_area']:.3f}",
                    f"{row['insertion_area']:.3f}",
                    "" if row["method"] == "random" else row["beats_random"],
                    "" if row["method"] == "gaussian" else row["beats_gaussian"],
                    "" if control or alike == "" else f"{float(alike):.2f}",
                )
            )
    return _markdown(rows, left=3)


def differences() -> str:
    """Which models really differ on the test images, by McNemar's test."""
    rows = [("data", "model A", "model B", "only A right", "only B right", "p (McNemar)")]
    for row in read("model_comparison.json")["differences"]:
        p = "< 0.0001" if row["p_value"] < 1e-4 else f"{row['p_value']:.2g}"
        rows.append((row["dataset"], row["a"], row["b"], str(row["only_a"]), str(row["only_b"]), p))
    return _markdown(rows, left=3)


def ablation() -> str:
    """What each idea changed at the short budget."""
    result = read("cifar100_ablation.json")
    rows = [("change", "what", "validation accuracy", "difference (points)", "n", "training time (times)")]
    own = result["reference"]
    rows.append(("reference", "", f"{own['mean']:.4f} ± {own['std']:.4f}", "", str(own["n"]), "1.0"))
    for idea in result["ideas"]:
        points, times = f"{100 * idea['difference']:+.1f}", f"{idea['times_reference_seconds']:.1f}"
        rows.append((idea["idea"], idea["kind"], f"{idea['accuracy']:.4f}", points, str(idea["n"]), times))
    return _markdown(rows, left=2)


def faults() -> str:
    """What `make faults` did, how often, and what came of it; made from its record, if there is one."""
    if not (PROJECT / "output" / "faults.json").exists():
        return "not run yet"
    record = read("faults.json")
    rows = [("what was done", "how often", "what came of it")]
    for entry in record["tried"]:
        times, *outcomes = (f"{name.replace('_', ' ')}: {n:,}" for name, n in entry["counts"].items())
        rows.append((entry["what"], times.removeprefix("times: "), ", ".join(outcomes)))
    where = f"{record['hardware']['cores']} cores ({record['hardware']['processor']})"
    end = f"{record['failed']} tests failed; {clock(record['seconds'])} on {where}."
    return "\n".join([_markdown(rows, left=1), "", end, *(f"Skipped: {reason}." for reason in record["skipped"])])


def _markdown(rows: list[tuple[str, ...]], left: int) -> str:
    """A table from its header and rows; columns after the first `left` are aligned to the right."""
    rule = tuple("---" if column < left else "--:" for column in range(len(rows[0])))
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


TABLES = {
    "runs": runs,
    "ablation": ablation,
    "baseline": baseline,
    "cifar100_recipes": cifar100_recipes,
    "custom_cnn_recipes": custom_cnn_recipes,
    "comparison": comparison,
    "differences": differences,
    "faithfulness": faithfulness,
    "transfer": transfer,
    "faults": faults,
}
