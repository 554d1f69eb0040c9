"""What the comparison's measurements come to: plain numbers in, plain numbers out."""

import itertools
from pathlib import Path

import numpy as np

from pipeline import statistics


def names(paths: list[Path]) -> list[str]:
    """What tables call each model: its file's name, with its folder where two files have the same."""
    stems = [path.stem for path in paths]
    return [path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}/{path.stem}" for path in paths]


def accuracy(right: np.ndarray) -> dict:
    """Share of right answers, from (n,) bool, and its 95 % interval."""
    low, high = statistics.wilson(int(right.sum()), len(right))
    return {"test_accuracy": float(right.mean()), "accuracy_low": low, "accuracy_high": high}


def speed(batch: int, seconds) -> dict:
    """Median and 95th percentile in ms of one call, and images per second at the median."""
    median = float(np.median(seconds))
    return {
        "median_ms": 1000 * median,
        "p95_ms": 1000 * float(np.percentile(seconds, 95)),
        "images_per_second": batch / median,
    }


def add_ratios(entry: dict, peaks: dict[str, float]) -> None:
    """Add to each runtime's speeds how many times Keras predict they are, and their share of the peaks.

    Args:
        entry: a model's entry, with multiply_accumulates and runtimes.
        peaks: arithmetic -> fastest matrix product of the same run in GFLOP/s.
    """
    usual = next(timed["batches"] for timed in entry["runtimes"] if timed["runtime"] == "Keras predict")
    for timed in entry["runtimes"]:
        for batch, figures in timed["batches"].items():
            figures["gflops"] = 2 * entry["multiply_accumulates"] * figures["images_per_second"] / 1e9
            for kind, peak in peaks.items():
                figures[f"share_of_{kind}_peak"] = figures["gflops"] / peak
            figures["times_keras_predict"] = figures["images_per_second"] / usual[batch]["images_per_second"]


def differences(entries: list[dict], right: list[dict[str, np.ndarray]]) -> list[dict]:
    """McNemar's test between models of one data set in Keras, and of each model between Keras and int8.

    Args:
        entries: the models' entries, with name and dataset.
        right: for each, runtime -> (n,) bool, which test images it got right.
    """
    pairs = [
        ((a, "Keras predict"), (b, "Keras predict"))
        for a, b in itertools.combinations(range(len(entries)), 2)
        if entries[a]["dataset"] == entries[b]["dataset"]
    ]
    pairs += [((a, "Keras predict"), (a, "LiteRT int8")) for a in range(len(entries)) if "LiteRT int8" in right[a]]
    rows = []
    for one, other in pairs:
        only_a, only_b, p = statistics.mcnemar(*(right[index][runtime] for index, runtime in (one, other)))
        a, b = (f"{entries[index]['name']}, {runtime}" for index, runtime in (one, other))
        rows.append(
            {"dataset": entries[one[0]]["dataset"], "a": a, "b": b, "only_a": only_a, "only_b": only_b, "p_value": p}
        )
    return rows


def flat(entries: list[dict]) -> list[dict]:
    """One row per model, runtime and batch size."""
    return [
        {
            **{key: value for key, value in entry.items() if key != "runtimes"},
            **{key: value for key, value in timed.items() if key != "batches"},
            "batch": int(batch),
            **figures,
        }
        for entry in entries
        for timed in entry["runtimes"]
        for batch, figures in timed["batches"].items()
    ]


def text(result: dict) -> str:
    """The comparison as aligned lines, from all that model_comparison.py measured."""
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
            f"only the first right {row['only_a']} times, only the second {row['only_b']})"
        )
    peaks = " and ".join(f"{peak:,.0f} GFLOP/s in {kind}" for kind, peak in result["matrix_peak_gflops"].items())
    return "\n".join([*lines, f"threads: {result['threads']}; fastest matrix products of the same run: {peaks}"])
