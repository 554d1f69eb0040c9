"""The tables about finished models: how fast they answer, how they differ, what explains them, what a run survives."""

from pathlib import Path

import pandas as pd

from pipeline import PROJECT
from pipeline.console import clock
from pipeline.markdown import read, table
from pipeline.models import MODELS
from pipeline.processor import lacks_bfloat16


def comparison() -> str:
    """Accuracy, speed, size and memory of the saved models in every runtime."""
    result = read("model_comparison.json")
    peaks = dict(result["matrix_peak_gflops"])
    if lacks_bfloat16(result["hardware"]):
        del peaks["bfloat16"]  # an emulated one says nothing about the models, which are in float32
    rows = [
        (
            *("model", "runtime", "test accuracy (95 % interval)", "file (MB)"),
            *("one image: ms (95th percentile)", "times Keras predict"),
            *("batch 32: images/s", "batch 256: images/s", "times Keras predict", "peak memory (MB)"),
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
                    f"{one['times_keras_predict']:.1f}",
                    f"{some['images_per_second']:,.0f}",
                    f"{many['images_per_second']:,.0f}",
                    f"{many['times_keras_predict']:.1f}",
                    f"{memory:,.0f}" if memory else "unknown",
                    *(f"{many[f'share_of_{kind}_peak']:.0%}" for kind in peaks),
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
    rows = [("model", "format", "file (MB)", "largest difference of a probability", "test accuracy", "Keras", "kept")]
    for model in MODELS.values():
        stem = Path(model.file).stem
        for name, check in read(f"{stem}_exports.json")["exports"].items():
            measured = (
                ("megabytes", ".1f"),
                ("difference", ".1g"),
                ("accuracy_after", ".4f"),
                ("accuracy_before", ".4f"),
            )
            figures = ("" if check[key] is None else format(check[key], form) for key, form in measured)
            rows.append((stem, name.replace("_", " "), *figures, "no" if check["failure"] else "yes"))
    return table(rows, left=2)


def faithfulness() -> str:
    """How faithful each method is on its best layer, by deletion and insertion, beside the controls."""
    measured = pd.read_csv(PROJECT / "output" / "gradcam_faithfulness.csv", keep_default_na=False)
    head = ("model", "method, at its best layer", "map", "deletion area", "insertion area")
    rows = [(*head, "beats random maps", "beats a centred Gaussian", "likeness with random weights")]
    measured["score"] = measured["insertion_area"] - measured["deletion_area"]
    best = measured.sort_values("score", ascending=False, kind="stable").drop_duplicates(["model", "method"])
    for name in measured["model"].unique():
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
    return table(rows, left=3)


def scaling() -> str:
    """What an epoch costs against the number of images, the batch and the cores."""
    result = read("benchmark_scaling.json")
    rows = [("images", "batch", "cores", "seconds an epoch", "images/s", "peak memory (GB)")]
    for row in result["rows"]:
        images, seconds = row["images"], row["epoch_seconds"]
        sizes = (f"{images:,}", f"{row['batch']:,}", str(row["cores"]))
        rows.append((*sizes, f"{seconds:.1f}", f"{images / seconds:,.0f}", f"{row['peak_gigabytes']:.1f}"))
    return table(rows, left=0)


def faults() -> str:
    """What `make faults` did, how often, and what came of it; made from its record, if there is one."""
    if not (PROJECT / "output" / "faults.json").exists():
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
