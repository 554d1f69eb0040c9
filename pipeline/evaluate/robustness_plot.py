"""Plot of robustness: accuracy of each model on each kind of corrupted image."""

import itertools
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pipeline.console import percent
from pipeline.style import GREY, SERIES, SMALL, heading, save

ROW = 0.3  # inches
DODGE = 0.24  # rows between the models' marks


def draw(entries: list[dict], path: Path) -> None:
    """Accuracy by kind, a panel per data set: markers are means over severities, lines reach from lowest to highest.

    Args:
        entries: models of robustness.json.
        path: .png to write.
    """
    datasets = list(dict.fromkeys(entry["dataset"] for entry in entries))
    panels = [[entry for entry in entries if entry["dataset"] == dataset] for dataset in datasets]
    rows = max(2 + len(panel[0]["kinds"]) + len(panel[0]["everyday"]) for panel in panels)
    figure = Figure(figsize=(6.6 * len(panels), 2.2 + ROW * rows), layout="constrained")
    lost = sorted((100 * (one["clean"]["accuracy"] - one["mean"]["accuracy"]), one["network"]) for one in entries)
    (least, robust), (most, fragile) = lost[0], lost[-1]
    finding = f"Corruption costs {least:.0f} points of accuracy ({robust})"
    if len(entries) > 1:
        finding += f" to {most:.0f} ({fragile})"
    provenance = "On test images, at five severities of each kind; marker: their mean, line: lowest to highest"
    heading(figure, finding, provenance)
    for axes, dataset, panel in zip(figure.subplots(1, len(panels), squeeze=False).flat, datasets, panels, strict=True):
        _panel(axes, dataset, panel)
    save(figure, path)


def _panel(axes, dataset: str, entries: list[dict]) -> None:
    """Rows from the top: clean images, everyday changes, kinds of corruption from the mildest to the worst."""
    means = np.mean([[np.mean(kind["accuracy"]) for kind in entry["kinds"]] for entry in entries], axis=0)
    order = np.argsort(-means, kind="stable")
    names = [
        "clean",
        *(change["kind"] for change in entries[0]["everyday"]),
        *(entries[0]["kinds"][place]["kind"] for place in order),
    ]
    colors, markers, _ = SERIES
    for place, (entry, color, marker) in enumerate(zip(entries, itertools.cycle(colors), itertools.cycle(markers))):
        accuracies = [
            [entry["clean"]["accuracy"]],
            *([change["accuracy"]] for change in entry["everyday"]),
            *(entry["kinds"][kind]["accuracy"] for kind in order),
        ]
        heights = np.arange(len(names)) + DODGE * (place - (len(entries) - 1) / 2)
        axes.hlines(heights, [min(row) for row in accuracies], [max(row) for row in accuracies], color=color, lw=1.5)
        worst, mean = entry["worst"], entry["mean"]["accuracy"]
        label = f"{entry['network']}, {entry['images']:,} images:\nmean of kinds {percent(mean)}, "
        label += f"worst {percent(worst['accuracy'])} ({worst['kind']})"
        averages = [np.mean(row) for row in accuracies]
        axes.plot(averages, heights, marker, ls="", color=color, label=label, clip_on=False, zorder=3)
    for line in (0.5, 0.5 + len(entries[0]["everyday"])):
        axes.axhline(line, color=GREY, lw=0.8)
    axes.set(xlabel="test accuracy", xlim=(0, 1), ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(True, axis="x")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), title=dataset, alignment="left", fontsize=SMALL)
