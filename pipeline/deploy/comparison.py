"""The comparison of models and runtimes: ratios, significance, text and plot from what was measured."""

import itertools
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import offset_copy

from pipeline.evaluate import metrics
from pipeline.style import BLUE, GREEN, GREY, ORANGE, SMALL, WINE, heading, save


def names(paths: list[Path]) -> list[str]:
    """What tables call each model: its file's name, with its folder where two files have the same."""
    stems = [path.stem for path in paths]
    return [path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}/{path.stem}" for path in paths]


def accuracy(right: np.ndarray) -> dict:
    """Share of right answers, from (n,) bool, and its 95 % interval."""
    low, high = metrics.wilson(int(right.sum()), len(right))
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
                figures[f"fraction_of_{kind}_peak"] = figures["gflops"] / peak
            figures["speedup"] = figures["images_per_second"] / usual[batch]["images_per_second"]


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
        only_a, only_b, p = metrics.mcnemar(*(right[index][runtime] for index, runtime in (one, other)))
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


# The two best models' points are labelled too, so nothing hangs on the colour.
COLOURS = {
    "Keras predict": WINE,
    "Keras call": GREY,
    "ONNX Runtime": BLUE,
    "LiteRT float32": GREEN,
    "LiteRT int8": ORANGE,
}
LABEL_WIDTH, LABEL_HEIGHT = 0.19, 25  # as a share of the axis, and in points
SAME = 0.01  # share of the axis below which two points' lines cannot be told apart
LABEL_GAP = 20  # points between a model's most distant point and its first label: a large file's radius and more
BATCHES = (("1", "one image at a time: ms per image"), ("256", "batches of 256: ms per image"))


def _answer(entry: dict, batch: str) -> str:
    """A sentence: the fastest runtime of a model at a batch size, and against what."""
    best = min(entry["runtimes"], key=lambda timed: timed["batches"][batch]["median_ms"])
    figures = best["batches"][batch]
    each, times = figures["median_ms"] / int(batch), figures["speedup"]
    faster = f"{times:.0f}" if times >= 10 else f"{times:.1f}"
    return f"{entry['name']}: {best['runtime']}, {each:.2g} ms, {faster} times as fast as Keras predict"


def draw(result: dict, path: Path) -> None:
    """Accuracy against time per image, a panel per data set and batch size; area is file size.

    Args:
        result: what model_comparison.py measured: models with their runtimes and batches.
        path: .png to write.
    """
    datasets = list(dict.fromkeys(entry["dataset"] for entry in result["models"]))
    largest = max(timed["file_megabytes"] for entry in result["models"] for timed in entry["runtimes"])
    figure = Figure(figsize=(6.4 * len(BATCHES), 1.4 + 5.4 * len(datasets)), layout="constrained")
    heading(
        figure,
        "Which model, in which runtime? Further left is faster, further up is more often right",
        "Median times; area is file size, bands are 95 % intervals of the accuracy; "
        f"{result['hardware']['processor']}, threads: {result['threads']}",
    )
    grid = figure.subplots(len(datasets), len(BATCHES), squeeze=False)
    for line, dataset in zip(grid, datasets, strict=True):
        entries = sorted(
            (entry for entry in result["models"] if entry["dataset"] == dataset),
            key=lambda entry: -entry["runtimes"][0]["test_accuracy"],
        )
        for axes, (batch, label) in zip(line, BATCHES, strict=True):
            _frame(axes, entries, batch)
            for rank, entry in enumerate(entries):
                _series(axes, entry, batch, largest, above=rank == 0, labelled=rank < 2)
            answers = "\n".join(_answer(entry, batch) for entry in entries)
            axes.set_title(f"Fastest on {dataset}\n{answers}", loc="left")
            axes.set(xlabel=label, ylabel=f"test accuracy ({entries[0]['n_test']:,} images)")
    save(figure, path)


def _frame(axes, entries: list[dict], batch: str) -> None:
    """Log axis, with room for the labels above the best model and below the second."""
    times = [t["batches"][batch]["median_ms"] / int(batch) for entry in entries for t in entry["runtimes"]]
    ends = [t[key] for entry in entries for t in entry["runtimes"] for key in ("accuracy_low", "accuracy_high")]
    span = max(ends) - min(ends) + 1e-4
    below, above = (0.1, 0.55) if len(entries) == 1 else (3.0, 3.0)  # five labels may stand on each other
    right = 6 * max(times)
    axes.set(xscale="log", xlim=(min(times) / (right / min(times)) ** 0.27, right))  # a label's width on the left
    axes.set_ylim(min(ends) - below * span, max(ends) + above * span)
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in axes.get_yticks() if max(low, 0) <= tick <= min(high, 1)])
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if max(times) < 300 * min(times) else (1,)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(True, axis="x")


def _series(axes, entry: dict, batch: str, largest: float, above: bool, labelled: bool) -> None:
    """One model: a point per runtime, joined by a line that carries the model's name."""
    timings = entry["runtimes"]
    points = [(one["batches"][batch]["median_ms"] / int(batch), one["test_accuracy"], one) for one in timings]
    points.sort(key=lambda point: point[0])
    times = [x for x, _, _ in points]
    band = [[timed[key] for _, _, timed in points] for key in ("accuracy_low", "accuracy_high")]
    axes.fill_between(times, *band, color=GREY, alpha=0.12, lw=0, zorder=0)
    axes.plot(times, [y for _, y, _ in points], color=GREY, lw=0.8, zorder=1)
    low, high = np.log(axes.get_xlim())
    furthest = (max if above else min)(y for _, y, _ in points)  # labels stand on each other from there on
    labels = []  # place and height of those already there
    places = (np.log(times) - low) / (high - low)
    for n, ((x, y, timed), place) in enumerate(zip(points, places, strict=True)):
        colour = COLOURS[timed["runtime"]]
        axes.scatter(x, y, s=30 + 700 * timed["file_megabytes"] / largest, color=colour, alpha=0.45, zorder=3, lw=0)
        axes.scatter(x, y, s=12, color=colour, zorder=4)
        if not labelled:
            continue
        # A label ends at its point and stands above those that reach there: no line crosses another's label. Of the
        # last two at one place the second begins there, since one line would hide the other.
        twin = n == len(points) - 1 or places[n + 1] - place > LABEL_WIDTH
        twin = twin and bool(labels) and place - labels[-1][0] < SAME
        height = max((level + 1 for earlier, level in labels if place - earlier < LABEL_WIDTH), default=0) - twin
        labels.append((place + LABEL_WIDTH * twin, height))
        away = (LABEL_GAP + LABEL_HEIGHT * height) * (1 if above else -1)
        raised = offset_copy(axes.transData, axes.figure, 0, away, units="points")
        beside = offset_copy(raised, axes.figure, 5 * twin, 0, units="points")
        line = {"arrowstyle": "-", "color": colour, "lw": 0.9, "shrinkA": 0, "shrinkB": 2}
        axes.annotate("", (x, y), (x, furthest), textcoords=raised, arrowprops=line, zorder=2)
        axes.text(
            x,
            furthest,
            f"{timed['runtime']}\n{timed['file_megabytes']:.1f} MB",
            transform=beside,
            ha="left" if twin else "right",
            va="bottom" if above else "top",
            fontsize=SMALL,
            zorder=5,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        )
    axes.annotate(entry["name"], points[-1][:2], xytext=(20, 0), textcoords="offset points", va="center", weight="bold")
