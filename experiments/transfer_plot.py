"""Plot of the transfer experiment: test accuracy against the number of training images."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.isotonic import isotonic_regression

from experiments.transfer_setups import CONV4, CONV5, CUSTOM, PRETRAINED, RANDOM
from pipeline.console import clock
from pipeline.style import BLACK, BLUE, GREEN, GREY, LIMITS, NAVY, ORANGE, SKY, SMALL, accuracy_axis, heading, save
from pipeline.system import lacks_bfloat16

# Color, marker and line style of each series (setup, size), so that none is known by its color alone.
STYLES = {
    (RANDOM, 32): (ORANGE, "s", "--"),
    (PRETRAINED, 32): (BLUE, "o", "-"),
    (CONV4, 32): (SKY, "^", "-."),
    (CONV4, 64): (NAVY, "v", "-."),
    (CONV5, 32): (GREY, "x", ":"),
    (CONV5, 64): (GREY, "+", ":"),
    (CUSTOM, 28): (GREEN, "D", "-"),
}
GAP = 30  # points between two labels


def draw(table: pd.DataFrame, data: str, path: Path) -> None:
    """Accuracy on a logit scale, images on a log scale; a bar from the worst subset to the best.

    Args:
        table: a row per training: setup, size (px), label, images, weights, test_accuracy in [0, 1],
            training_seconds, processor, cores, accelerator, bfloat16.
        data: name of the data set.
        path: .png to write.
    """
    figure = Figure(figsize=(12, 7))
    subsets = table.groupby(["setup", "size", "images"]).size().max()
    bars = f"; bars: from the worst to the best of {subsets} subsets" if subsets > 1 else ""
    machines = sorted({f"{row.processor}, cores: {row.cores}" for row in table.itertuples()})
    weights = sorted(set(table["weights"]) - {"none"})
    heading(
        figure,
        f"What ImageNet weights bring on {data}: test accuracy against training images{bars}",
        f"weights: {', '.join(weights)}; m:ss: training on all images ({' / '.join(machines)})",
    )
    axes = figure.add_axes((0.07, 0.09, 0.6, 0.78))  # fixed: the labels beside it are placed by its measures
    groups = dict(list(table.groupby(["setup", "size"])))
    series = [name for name in STYLES if name in groups]
    ends = []
    for place, name in enumerate(series):
        aside = 1.035 ** (place - (len(series) - 1) / 2)  # side by side, so that no bar hides another
        ends.append(_line(axes, groups[name], STYLES[name], aside))
    _axes(axes, table)
    _label(axes, ends)
    save(figure, path)


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
    label = f"{rows['label'].iloc[0]}\n{last['test_accuracy'].mean():.4f}, {clock(last['training_seconds'].mean())}"
    if all(lacks_bfloat16(row) for row in last.to_dict("records")):
        label += " without bfloat16"
    return x[-1], mean.iloc[-1], label, color


def _axes(axes, table: pd.DataFrame) -> None:
    images = sorted(table["images"].unique())
    axes.set(
        xscale="log",
        xlabel="training images (at the right: all but those held out for validation)",
        ylabel="test accuracy",
    )
    axes.set_xlim(images[0] / 1.4, images[-1] * 1.3)
    accuracy_axis(axes, table["test_accuracy"].clip(*LIMITS))
    axes.set_xticks(images, [f"{n:,}" for n in images])
    axes.xaxis.set_minor_formatter("")
    axes.minorticks_off()
    axes.grid(True)


def _label(axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write each series' label beside its last point, moved apart where labels would overlap."""
    point = axes.figure.dpi / 72
    heights = [axes.transData.transform((x, y))[1] / point for x, y, *_ in ends]
    order = np.argsort(heights)
    wanted = np.array(heights)[order]
    steps = GAP * np.arange(len(order))
    places = isotonic_regression(wanted - steps) + steps  # the nearest ones that are GAP apart
    for index, place, height in zip(order, places, wanted, strict=True):
        x, y, text, color = ends[index]
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
