"""One page that answers "which model, in which runtime?"."""

import textwrap
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pipeline.plots import BLUE, GREEN, GREY, ORANGE, save

# Okabe & Ito's; every point is labelled too, so nothing hangs on the colour.
COLOURS = {
    "Keras predict": GREY,
    "Keras call": "#000000",
    "ONNX Runtime": BLUE,
    "LiteRT float32": GREEN,
    "LiteRT int8": ORANGE,
}
BATCHES = (("1", "one image at a time: ms per image"), ("256", "batches of 256: ms per image"))


def _best(entry: dict, batch: str) -> dict:
    return min(entry["runtimes"], key=lambda timed: timed["batches"][batch]["median_ms"])


def _answer(entry: dict, batch: str) -> str:
    """A sentence: the fastest runtime of a model at a batch size, and against what."""
    best = _best(entry, batch)
    figures = best["batches"][batch]
    each = figures["median_ms"] / int(batch)
    return f"{entry['name']}: {best['runtime']}, {each:.3g} ms, {figures['times_keras_predict']:.1f}× Keras predict"


def draw(result: dict, path: Path) -> None:
    """Accuracy against time per image, a panel per data set and batch size; area is file size.

    Args:
        result: what model_comparison.py measured: models with their runtimes and batches.
        path: .png to write.
    """
    datasets = list(dict.fromkeys(entry["dataset"] for entry in result["models"]))
    largest = max(timed["file_megabytes"] for entry in result["models"] for timed in entry["runtimes"])
    figure = Figure(figsize=(6.2 * len(BATCHES), 1.9 + 4.1 * len(datasets)), layout="constrained")
    machine = f"{result['hardware']['processor']}, {result['threads']} threads"
    figure.suptitle(
        "Which model, in which runtime? Further left is faster, further up is more often right\n"
        + textwrap.fill(f"Median times on the CPU: {machine}. Area is file size; bars are 95 % intervals.", 125),
        fontsize=12,
    )
    grid = figure.subplots(len(datasets), len(BATCHES), squeeze=False)
    for line, dataset in zip(grid, datasets, strict=True):
        entries = [entry for entry in result["models"] if entry["dataset"] == dataset]
        for axes, (batch, label) in zip(line, BATCHES, strict=True):
            for entry in entries:
                _series(axes, entry, batch, largest)
            _frame(axes, entries, batch)
            answers = "\n".join(_answer(entry, batch) for entry in entries)
            axes.set_title(f"Fastest on {dataset}\n{answers}", fontsize=9.5, loc="left")
            axes.set(xlabel=label, ylabel=f"test accuracy ({entries[0]['n_test']:,} images)")
    save(figure, path)


def _series(axes, entry: dict, batch: str, largest: float) -> None:
    """One model: a point per runtime, joined by a line that carries the model's name."""
    points = [
        (timed["batches"][batch]["median_ms"] / int(batch), timed["test_accuracy"], timed)
        for timed in entry["runtimes"]
    ]
    points.sort(key=lambda point: point[0])
    axes.plot([x for x, _, _ in points], [y for _, y, _ in points], color=GREY, lw=0.8, alpha=0.6, zorder=1)
    for place, (x, y, timed) in enumerate(points):
        colour = COLOURS[timed["runtime"]]
        low, high = y - timed["accuracy_low"], timed["accuracy_high"] - y
        axes.errorbar(x, y, yerr=[[max(low, 0)], [max(high, 0)]], color=colour, lw=1, capsize=2, zorder=2)
        area = 30 + 900 * timed["file_megabytes"] / largest
        axes.scatter(x, y, s=area, color=colour, alpha=0.45, zorder=3)
        axes.scatter(x, y, s=12, color=colour, zorder=4)
        # Neighbours on a log axis: one label above, the next below, leaning away from the points.
        above = place % 2 == 0
        axes.annotate(
            f"{timed['runtime']}\n{timed['file_megabytes']:.1f} MB",
            (x, timed["accuracy_high"] if above else timed["accuracy_low"]),
            xytext=(0, 14 if above else -14),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=8,
            color=colour,
        )
    x, y, _ = points[-1]
    axes.annotate(f"  {entry['name']}", (x, y), xytext=(16, 0), textcoords="offset points", va="center", weight="bold")


def _frame(axes, entries: list[dict], batch: str) -> None:
    """Log axis with room for the labels."""
    times = [t["batches"][batch]["median_ms"] / int(batch) for entry in entries for t in entry["runtimes"]]
    ends = [t[key] for entry in entries for t in entry["runtimes"] for key in ("accuracy_low", "accuracy_high")]
    room = 0.35 * (max(ends) - min(ends)) + 1e-4
    axes.set(xscale="log", xlim=(min(times) / 2, max(times) * 5), ylim=(min(ends) - room, max(ends) + room))
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="x", alpha=0.3)
