"""Plot of the transfer experiment: test accuracy against the number of training images."""

from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.transfer_setups import CONV4, CONV5, CUSTOM, PRETRAINED, RANDOM
from pipeline.console import duration, percent
from pipeline.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LIMITS,
    NAVY,
    ORANGE,
    SKY,
    SMALL,
    accuracy_axis,
    heading,
    margins,
    save,
    spread,
)
from pipeline.system import lacks_bfloat16

# Panel -> color, marker and line style of each of its series (setup, size), so that none is known by its color alone.
PANELS = {
    "all layers trained": {
        (CUSTOM, 28): (GREEN, "D", "-"),
        (PRETRAINED, 32): (BLUE, "o", "-"),
        (RANDOM, 32): (ORANGE, "s", "--"),
    },
    "a head on frozen features, and controls": {
        (CONV4, 64): (NAVY, "v", "-."),
        (CONV4, 32): (SKY, "^", "-."),
        (CONV5, 64): (GREY, "+", ":"),
        (CONV5, 32): (GREY, "x", ":"),
    },
}
STYLES = {series: style for panel in PANELS.values() for series, style in panel.items()}
GAP = 50  # points between the middles of two labels, of four lines at most
LABELS, COLUMNS = 2.1, 27  # inches beside a panel for its labels, and letters in one of their lines


def draw(table: pd.DataFrame, data: str, path: Path) -> None:
    """Accuracy on a logit scale, images on a log scale; a bar from the worst subset to the best.

    Args:
        table: a row per training: setup, size (px), label, images, weights, test_accuracy in [0, 1],
            training_seconds, processor, cores, accelerator, bfloat16.
        data: name of the data set.
        path: .png to write.
    """
    subsets = table.groupby(["setup", "size", "images"]).size().max()
    bars = f"bars: worst to best of {subsets} subsets; " if subsets > 1 else ""
    machines = sorted({f"{row.processor}, cores: {row.cores}" for row in table.itertuples()})
    weights = sorted(set(table["weights"]) - {"none"})
    provenance = f"{data}; {bars}accuracy and time: of training on all images; weights: {', '.join(weights)}; "
    provenance += " / ".join(machines)
    wide, tall = 11.7, 5.4
    top, bottom = margins(finding(table), provenance, wide)
    figure = Figure(figsize=(wide, tall))
    heading(figure, finding(table), provenance)
    left, below = 0.75, bottom + 0.55  # inches; fixed, as the labels are placed by the axes' measures
    gap = 0.45  # for the ticks of the next panel
    each = (wide - left - (len(PANELS) - 1) * gap) / len(PANELS) - LABELS
    groups = dict(list(table.groupby(["setup", "size"])))
    for place, (name, styles) in enumerate(PANELS.items()):
        start = left + place * (each + LABELS + gap)
        axes = figure.add_axes((start / wide, below / tall, each / wide, 1 - (top + below + 0.3) / tall))
        _panel(axes, table, {series: groups[series] for series in styles if series in groups})
        axes.set_title(name, loc="left")
        if place == 0:
            axes.set_ylabel("test accuracy (logit scale)")
    save(figure, path)


def finding(table: pd.DataFrame) -> str:
    """What the networks that are trained as a whole reach with the fewest images, and which one is best throughout."""
    mean = table.groupby(["setup", "images"])["test_accuracy"].mean().unstack(0)
    fewest = mean.iloc[0]
    names = {CUSTOM: "the custom CNN", PRETRAINED: "ResNet50 with ImageNet weights", RANDOM: "without"}
    reached = [f"{name} {percent(fewest[setup])}" for setup, name in names.items() if setup in mean]
    if not reached:  # an interrupted experiment
        return "What ImageNet weights bring; the networks that are trained as a whole are still missing"
    text = f"{mean.index[0]:,} training images: {', '.join(reached)}"
    if {CUSTOM, PRETRAINED} <= set(mean) and (mean[CUSTOM] > mean[PRETRAINED]).all():
        text = f"The custom CNN beats ResNet50 at every number of training images; with {text}"
    return text


def _panel(axes, table: pd.DataFrame, groups: dict) -> None:
    """Lines of some series, with the axes that all panels have in common."""
    ends = []
    for place, (series, rows) in enumerate(groups.items()):
        aside = 1.035 ** (place - (len(groups) - 1) / 2)  # side by side, so that no bar hides another
        ends.append(_line(axes, rows, STYLES[series], aside))
    _axes(axes, table)
    if ends:
        _label(axes, ends)


def _line(axes, rows: pd.DataFrame, style: tuple[str, str, str], aside: float) -> tuple[float, float, str, str]:
    """Draw one series; the (x, y) of its last point, its label and its color."""
    color, marker, line = style
    accuracy = rows["test_accuracy"].clip(*LIMITS).groupby(rows["images"])
    mean, low, high = accuracy.mean(), accuracy.min(), accuracy.max()
    x = mean.index.to_numpy() * aside
    axes.errorbar(
        x, mean, [mean - low, high - mean], color=color, marker=marker, ls=line, ms=6, lw=1.6, capsize=3, mew=1.5
    )
    last = rows[rows["images"] == rows["images"].max()]
    took = duration(last["training_seconds"].mean())
    name = fill(rows["label"].iloc[0], COLUMNS, break_on_hyphens=False)
    label = f"{name}\n{percent(last['test_accuracy'].mean(), 2)}, {took}"
    if all(lacks_bfloat16(row) for row in last.to_dict("records")):
        label += "\nwithout bfloat16"
    return x[-1], mean.iloc[-1], label, color


def _axes(axes, table: pd.DataFrame) -> None:
    images = sorted(table["images"].unique())
    axes.set(xscale="log", xlabel="training images")
    axes.set_xlim(images[0] / 1.4, images[-1] * 1.3)
    accuracy_axis(axes, table["test_accuracy"].clip(*LIMITS))
    axes.set_xticks(images, [f"{n:,}" for n in images])
    axes.xaxis.set_minor_formatter("")
    axes.minorticks_off()
    axes.grid(True)


def _label(axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write each series' label beside its last point, moved apart where labels would overlap."""
    point = axes.figure.dpi / 72
    heights = np.array([axes.transData.transform((x, y))[1] / point for x, y, *_ in ends])
    for (x, y, text, color), height, place in zip(ends, heights, spread(heights, GAP), strict=True):
        to_the_edge = (axes.bbox.x1 - axes.transData.transform((x, y))[0]) / point
        axes.annotate(
            text,
            (x, y),
            xytext=(to_the_edge + 14, place - height),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=BLACK,
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.8, "shrinkA": 0, "shrinkB": 4, "relpos": (0, 0.5)},
            annotation_clip=False,
        )
