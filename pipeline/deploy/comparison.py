"""Comparison of models and runtimes: speeds, speedups, significance tests and tables of what was measured.

An entry is one model as in model_comparison.json: name, dataset, multiply_accumulates and the like, and under
"runtimes" a dict for each: runtime, accuracy, memory, and "batches", batch size -> speed.
"""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.evaluate import metrics


def names(paths: list[Path]) -> list[str]:
    """Names of models in tables: the file's name, with its folder where two files have the same."""
    stems = [path.stem for path in paths]
    return [path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}/{path.stem}" for path in paths]


def accuracy(correct: np.ndarray) -> dict:
    """Test accuracy in [0, 1] and its 95 % interval, from (n,) bool: which test images were classified correctly."""
    low, high = metrics.wilson(int(correct.sum()), len(correct))
    return {"test_accuracy": float(correct.mean()), "accuracy_low": low, "accuracy_high": high}


def speed(batch: int, seconds: list[float]) -> dict:
    """Median and 95th percentile of a call's milliseconds, and images per second at the median."""
    median = float(np.median(seconds))
    return {
        "median_ms": 1000 * median,
        "p95_ms": 1000 * float(np.percentile(seconds, 95)),
        "images_per_second": batch / median,
    }


def add_ratios(entry: dict, peaks: dict[str, float]) -> None:
    """Add to each speed of an entry its GFLOP/s, its speedup over Keras predict, and its fractions of the peaks.

    Args:
        peaks: arithmetic -> fastest matrix product of the same run in GFLOP/s.
    """
    reference = next(timed["batches"] for timed in entry["runtimes"] if timed["runtime"] == "Keras predict")
    for timed in entry["runtimes"]:
        for batch, measured in timed["batches"].items():
            measured["gflops"] = 2 * entry["multiply_accumulates"] * measured["images_per_second"] / 1e9
            for kind, peak in peaks.items():
                measured[f"fraction_of_{kind}_peak"] = measured["gflops"] / peak
            measured["speedup"] = measured["images_per_second"] / reference[batch]["images_per_second"]


def differences(entries: list[dict], correct: list[dict[str, np.ndarray]]) -> list[dict]:
    """McNemar's test between models of one data set in Keras, and of each model between Keras and int8.

    Args:
        entries: the models' entries.
        correct: for each entry, runtime -> (n,) bool: which test images were classified correctly.
    """
    keras, int8 = "Keras predict", "LiteRT int8"
    rows = []
    for (one, correct_one), (other, correct_other) in itertools.combinations(zip(entries, correct, strict=True), 2):
        if one["dataset"] == other["dataset"]:
            rows.append(_difference(one, keras, correct_one[keras], other, keras, correct_other[keras]))
    for entry, by_runtime in zip(entries, correct, strict=True):
        if int8 in by_runtime:
            rows.append(_difference(entry, keras, by_runtime[keras], entry, int8, by_runtime[int8]))
    return rows


def _difference(a: dict, runtime_a: str, correct_a: np.ndarray, b: dict, runtime_b: str, correct_b: np.ndarray) -> dict:
    only_a, only_b, p_value = metrics.mcnemar(correct_a, correct_b)
    return {
        "dataset": a["dataset"],
        "a": f"{a['name']}, {runtime_a}",
        "b": f"{b['name']}, {runtime_b}",
        "only_a": only_a,
        "only_b": only_b,
        "p_value": p_value,
    }


def table(entries: list[dict]) -> pd.DataFrame:
    """One row per model, runtime and batch size, with all that was measured."""
    rows = []
    for entry in entries:
        model = {key: value for key, value in entry.items() if key != "runtimes"}
        for timed in entry["runtimes"]:
            runtime = {key: value for key, value in timed.items() if key != "batches"}
            for batch, measured in timed["batches"].items():
                rows.append({**model, **runtime, "batch": int(batch), **measured})
    return pd.DataFrame(rows)


def text(result: dict) -> str:
    """The comparison as aligned lines for a terminal.

    Args:
        result: content of model_comparison.json.
    """
    wide = 2 + max(20, *(len(entry["name"]) for entry in result["models"]))
    lines = [
        f"{'model':<{wide}}{'runtime':<16}{'accuracy (95 % interval)':>26}{'MB':>7}{'1 image ms (p95)':>18}"
        f"{'images/s at 32':>16}{'at 256':>9}{'memory MB':>11}"
    ]
    for entry in result["models"]:
        for timed in entry["runtimes"]:
            one, some, many = (timed["batches"][batch] for batch in ("1", "32", "256"))
            interval = f"{timed['test_accuracy']:.4f} ({timed['accuracy_low']:.4f}-{timed['accuracy_high']:.4f})"
            times = f"{one['median_ms']:.2f} ({one['p95_ms']:.2f})"
            memory = f"{timed['peak_megabytes']:,.0f}" if timed["peak_megabytes"] else "unknown"
            lines.append(
                f"{entry['name']:<{wide}}{timed['runtime']:<16}{interval:>26}{timed['file_megabytes']:>7.1f}{times:>18}"
                f"{some['images_per_second']:>16,.0f}{many['images_per_second']:>9,.0f}{memory:>11}"
            )
    for row in result["differences"]:
        verdict = "differ" if row["p_value"] < 0.05 else "no difference shown"
        lines.append(
            f"{row['a']} against {row['b']}: {verdict} (McNemar p = {row['p_value']:.2g}; "
            f"only the first correct {row['only_a']} times, only the second {row['only_b']})"
        )
    peaks = " and ".join(f"{peak:,.0f} GFLOP/s in {kind}" for kind, peak in result["matrix_peak_gflops"].items())
    return "\n".join([*lines, f"threads: {result['threads']}; fastest matrix products of the same run: {peaks}"])
