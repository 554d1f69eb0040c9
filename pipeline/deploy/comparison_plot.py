"""Plot of the comparison of models and runtimes: accuracy against time per image."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import offset_copy

from pipeline.style import BLUE, GREEN, GREY, ORANGE, SMALL, WINE, heading, save

# The two best models' points are labeled too, so that nothing depends on the color.
COLORS = {
    "Keras predict": WINE,
    "Keras call": GREY,
    "ONNX Runtime": BLUE,
    "LiteRT float32": GREEN,
    "LiteRT int8": ORANGE,
}
LABEL_WIDTH, LABEL_HEIGHT = 0.19, 25  # as a fraction of the axis, and in points
SAME = 0.01  # fraction of the axis below which the lines of two points cannot be told apart
LABEL_GAP = 20  # points between a model's most distant point and its first label: a large file's radius and more
BATCHES = (("1", "one image at a time: ms per image"), ("256", "batches of 256: ms per image"))


def draw(result: dict, path: Path) -> None:
    """Accuracy against time per image, a panel per data set and batch size; the area of a point is its file's size.

    Args:
        result: content of model_comparison.json.
        path: .png to write.
    """
    datasets = list(dict.fromkeys(entry["dataset"] for entry in result["models"]))
    largest = max(timed["file_megabytes"] for entry in result["models"] for timed in entry["runtimes"])
    figure = Figure(figsize=(6.4 * len(BATCHES), 1.4 + 5.4 * len(datasets)), layout="constrained")
    heading(
        figure,
        "Which model, in which runtime? Further left is faster, further up is more accurate",
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
                _series(axes, entry, batch, largest, above=rank == 0, labeled=rank < 2)
            fastest = "\n".join(_fastest(entry, batch) for entry in entries)
            axes.set_title(f"Fastest on {dataset}\n{fastest}", loc="left")
            axes.set(xlabel=label, ylabel=f"test accuracy ({entries[0]['n_test']:,} images)")
    save(figure, path)


def _fastest(entry: dict, batch: str) -> str:
    """Name of a model, its fastest runtime at a batch size, and that one's time and speedup."""
    best = min(entry["runtimes"], key=lambda timed: timed["batches"][batch]["median_ms"])
    measured = best["batches"][batch]
    milliseconds, speedup = measured["median_ms"] / int(batch), measured["speedup"]
    digits = 0 if speedup >= 10 else 1
    return f"{entry['name']}: {best['runtime']}, {milliseconds:.2g} ms, speedup {speedup:.{digits}f} over Keras predict"


def _milliseconds(timed: dict, batch: str) -> float:
    """Median time per image."""
    return timed["batches"][batch]["median_ms"] / int(batch)


def _frame(axes, entries: list[dict], batch: str) -> None:
    """Logarithmic axis of time, with room for the labels above the best model and below the second."""
    runtimes = [timed for entry in entries for timed in entry["runtimes"]]
    times = [_milliseconds(timed, batch) for timed in runtimes]
    lowest = min(timed["accuracy_low"] for timed in runtimes)
    highest = max(timed["accuracy_high"] for timed in runtimes)
    span = highest - lowest + 1e-4
    below, above = (0.1, 0.55) if len(entries) == 1 else (3.0, 3.0)  # five labels may stand on each other
    right = 6 * max(times)
    axes.set(xscale="log", xlim=(min(times) / (right / min(times)) ** 0.27, right))  # a label's width on the left
    axes.set_ylim(lowest - below * span, highest + above * span)
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in axes.get_yticks() if max(low, 0) <= tick <= min(high, 1)])
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if max(times) < 300 * min(times) else (1,)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(True, axis="x")


def _series(axes, entry: dict, batch: str, largest: float, above: bool, labeled: bool) -> None:
    """One model: a point per runtime, joined by a line with the model's name at its end."""
    runtimes = sorted(entry["runtimes"], key=lambda timed: _milliseconds(timed, batch))
    times = [_milliseconds(timed, batch) for timed in runtimes]
    accuracies = [timed["test_accuracy"] for timed in runtimes]
    low = [timed["accuracy_low"] for timed in runtimes]
    high = [timed["accuracy_high"] for timed in runtimes]
    axes.fill_between(times, low, high, color=GREY, alpha=0.12, lw=0, zorder=0)
    axes.plot(times, accuracies, color=GREY, lw=0.8, zorder=1)
    for x, y, timed in zip(times, accuracies, runtimes, strict=True):
        color, area = COLORS[timed["runtime"]], 30 + 700 * timed["file_megabytes"] / largest
        axes.scatter(x, y, s=area, color=color, alpha=0.45, zorder=3, lw=0)
        axes.scatter(x, y, s=12, color=color, zorder=4)
    if labeled:
        _labels(axes, runtimes, times, accuracies, above)
    end = (times[-1], accuracies[-1])
    axes.annotate(entry["name"], end, xytext=(20, 0), textcoords="offset points", va="center", weight="bold")


def _labels(axes, runtimes: list[dict], times: list[float], accuracies: list[float], above: bool) -> None:
    """Runtime and size of each point, above or below all of them, joined to it by a line.

    A label ends at its point and stands on those that reach there, so that no line crosses another's label. Of the
    last two at one place the second begins there, beside the first: one line would hide the other.
    """
    left, right = np.log(axes.get_xlim())
    places = (np.log(times) - left) / (right - left)  # fractions of the axis
    base = max(accuracies) if above else min(accuracies)
    placed = []  # (where it ends, level) of the labels so far
    for n, (x, y, timed, place) in enumerate(zip(times, accuracies, runtimes, places, strict=True)):
        is_last = n == len(places) - 1 or places[n + 1] - place > LABEL_WIDTH
        beside = is_last and bool(placed) and place - placed[-1][0] < SAME
        level = max((level + 1 for end, level in placed if place - end < LABEL_WIDTH), default=0)
        if beside:
            level -= 1
        placed.append((place + LABEL_WIDTH if beside else place, level))
        height = LABEL_GAP + LABEL_HEIGHT * level
        raised = offset_copy(axes.transData, axes.figure, 0, height if above else -height, units="points")
        line = {"arrowstyle": "-", "color": COLORS[timed["runtime"]], "lw": 0.9, "shrinkA": 0, "shrinkB": 2}
        axes.annotate("", (x, y), (x, base), textcoords=raised, arrowprops=line, zorder=2)
        axes.text(
            x,
            base,
            f"{timed['runtime']}\n{timed['file_megabytes']:.1f} MB",
            transform=offset_copy(raised, axes.figure, 5 if beside else 0, 0, units="points"),
            ha="left" if beside else "right",
            va="bottom" if above else "top",
            fontsize=SMALL,
            zorder=5,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        )
