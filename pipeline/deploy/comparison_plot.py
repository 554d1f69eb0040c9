"""Plot of the comparison of models and runtimes: milliseconds per image, and beside them accuracy and file size."""

import itertools
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pipeline.console import percent
from pipeline.data import registry
from pipeline.style import BLACK, GREY, SERIES, SMALL, heading, save

ONE, MANY = "1", "256"  # batch sizes
ROW = 0.27  # inches
COLUMNS = {"ms": 50, "accuracy": 115, "MB": 165}  # of the numbers: right edges, in points from the axes


def draw(result: dict, path: Path) -> None:
    """Bars of the milliseconds per image, fastest first, a panel per data set; the color is the model's.

    Args:
        result: content of model_comparison.json.
        path: .png to write.
    """
    datasets = list(dict.fromkeys(entry["dataset"] for entry in result["models"]))
    panels = [rows_of(result["models"], dataset) for dataset in datasets]
    count = sum(map(len, panels))
    figure = Figure(figsize=(10.5, 1.2 + ROW * count + 0.95 * len(panels)), layout="constrained")
    fastest = [
        f"{of_data[0]['runtime']} on {registry.title(dataset)}, {of_data[0]['ms']:.2g}\N{NO-BREAK SPACE}ms"
        for dataset, of_data in zip(datasets, panels, strict=True)
    ]
    speedup = max(row["speedup"] for of_data in panels for row in of_data)
    heading(
        figure,
        f"Fastest for one image: {', and '.join(fastest)}; up to {speedup:,.0f} times as fast as Keras predict",
        "bars: one image at a time; diamonds: per image in batches of 256; medians; accuracy on all test images; "
        f"{result['hardware']['processor']}, threads: {result['threads']}",
    )
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=[len(panel) + 2 for panel in panels])
    for axes, dataset, panel in zip(grid.flat, datasets, panels, strict=True):
        draw_panel(axes, dataset, panel)
    save(figure, path)


def rows_of(models: list[dict], dataset: str) -> list[dict]:
    """A row per model and runtime of a data set, fastest first."""
    rows = [
        {
            "model": entry["name"],
            "runtime": timed["runtime"],
            "ms": milliseconds(timed, ONE),
            "ms in batches": milliseconds(timed, MANY),
            "speedup": timed["batches"][ONE]["speedup"],
            "accuracy": timed["test_accuracy"],
            "MB": timed["file_megabytes"],
        }
        for entry in models
        if entry["dataset"] == dataset
        for timed in entry["runtimes"]
    ]
    return sorted(rows, key=lambda row: row["ms"])


def milliseconds(timed: dict, batch: str) -> float:
    """Median time per image."""
    return timed["batches"][batch]["median_ms"] / int(batch)


def draw_panel(axes, dataset: str, rows: list[dict]) -> None:
    """Bars of one data set, their numbers in columns at the right."""
    models = dict.fromkeys(row["model"] for row in rows)
    colors = dict(zip(models, itertools.cycle(SERIES[0]), strict=False))
    places = range(len(rows))
    left = min(min(row["ms"], row["ms in batches"]) for row in rows) / 2
    for model, color in colors.items():
        own = [place for place in places if rows[place]["model"] == model]
        axes.barh(own, [rows[place]["ms"] - left for place in own], left=left, color=color, label=model)
    batches = [row["ms in batches"] for row in rows]
    axes.plot(batches, places, "D", ls="", color=BLACK, ms=5, mec="white", label="in batches of 256")
    axes.set(xscale="log", xlim=(left, 1.3 * max(max(row["ms"] for row in rows), max(batches))))
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel="milliseconds per image (logarithmic)")
    axes.set_yticks(places, [f"{row['model']}, {row['runtime']}" for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1,)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(True, axis="x")
    axes.set_axisbelow(True)
    for name, right in COLUMNS.items():
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "xytext": (right, 0)}
        look = {"ha": "right", "va": "center", "annotation_clip": False}
        for place, row in zip(places, rows, strict=True):
            axes.annotate(number(name, row[name]), (1, place), **at, **look)
        axes.annotate(name, (1, -1), color=GREY, fontsize=SMALL, **at, **look)
    legend = {"loc": "lower left", "bbox_to_anchor": (0, 1), "alignment": "left", "fontsize": SMALL}
    axes.legend(title=registry.title(dataset), ncols=len(colors) + 1, **legend)


def number(name: str, value: float) -> str:
    """A cell of the columns."""
    if name == "accuracy":
        return percent(value, 2)
    return f"{value:.1f}" if name == "MB" or value >= 10 else f"{value:.2f}"
