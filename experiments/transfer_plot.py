"""What pretraining brings, as a picture: test accuracy against the number of training images."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.isotonic import isotonic_regression

from pipeline.console import clock
from pipeline.style import BLACK, BLUE, GREEN, GREY, LIMITS, NAVY, ORANGE, SKY, SMALL, accuracy_axis, heading, save
from pipeline.system import lacks_bfloat16

SETUPS = ("random initialization", "pretrained", "frozen conv4", "frozen conv5", "custom CNN")
RANDOM, PRETRAINED, CONV4, CONV5, CUSTOM = SETUPS
# Colour, marker and line of each series, so that none is known by its colour alone.
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


def name_of(setup: str, size: int, covers: str) -> str:
    """What a series is called: where its weights come from, and what was trained."""
    conv5 = "ImageNet's" if covers.endswith("conv5") else "random, a control"
    return {
        RANDOM: "ResNet50, random initialization, all trained",
        PRETRAINED: f"ResNet50, ImageNet {covers}, fine-tuned",
        CONV4: f"frozen at conv4, {size} px, head trained",
        CONV5: f"frozen at conv5 ({conv5}), {size} px",
        CUSTOM: "custom CNN, random initialization",
    }[setup]


def draw(table: pd.DataFrame, data: str, path: Path) -> None:
    """Accuracy on a logit scale, images on a log scale; a bar from the worst draw to the best.

    Args:
        table: a row per measurement: setup, size (px), images, seed, covers, weights, test_accuracy in [0, 1],
            training_seconds, processor, cores.
        data: name of the data set.
        path: .png to write.
    """
    figure = Figure(figsize=(12, 7))
    draws = table.groupby(["setup", "size", "images"]).size()
    spread = f"; bars: from the worst to the best of {draws.max()} draws" if draws.max() > 1 else ""
    machine = " / ".join(sorted({f"{row.processor}, cores: {row.cores}" for row in table.itertuples()}))
    weights = ", ".join(sorted(set(table["weights"]) - {"none"}))
    heading(
        figure,
        f"What ImageNet weights bring on {data}: test accuracy against training images{spread}",
        f"weights: {weights}; m:ss: training on all images ({machine})",
    )
    axes = figure.add_axes((0.07, 0.09, 0.6, 0.78))  # fixed: the labels beside it are placed by its measures
    shown = table.assign(test_accuracy=table["test_accuracy"].clip(*LIMITS))
    ends, order = [], [series for series in STYLES if (shown[["setup", "size"]] == list(series)).all(axis=1).any()]
    for place, series in enumerate(order):
        colour, marker, line = STYLES[series]
        rows = shown[(shown["setup"] == series[0]) & (shown["size"] == series[1])]
        groups = rows.groupby("images")["test_accuracy"]
        mean, low, high = groups.mean(), groups.min(), groups.max()
        x = mean.index.to_numpy() * 1.035 ** (place - (len(order) - 1) / 2)  # side by side, so that no bar hides
        axes.errorbar(
            x, mean, [mean - low, high - mean], color=colour, marker=marker, ls=line, ms=6, lw=1.6, capsize=3, mew=1.5
        )
        last = rows[rows["images"] == rows["images"].max()]
        accuracy, seconds = last["test_accuracy"].mean(), last["training_seconds"].mean()
        real = table.loc[last.index, "test_accuracy"].mean()
        label = f"{name_of(*series, rows['covers'].iloc[0])}\n{real:.4f}, {clock(seconds)}"
        label += " without bfloat16" if all(map(lacks_bfloat16, last.to_dict("records"))) else ""
        ends.append((x[-1], accuracy, label, colour))
    _axes(axes, shown)
    _label(axes, ends)
    save(figure, path)


def _axes(axes, shown: pd.DataFrame) -> None:
    images = sorted(shown["images"].unique())
    axes.set(
        xscale="log",
        xlabel="training images (at the right: all but those held out for validation)",
        ylabel="test accuracy",
    )
    axes.set_xlim(images[0] / 1.4, images[-1] * 1.3)
    accuracy_axis(axes, shown["test_accuracy"])
    axes.set_xticks(images, [f"{n:,}" for n in images])
    axes.xaxis.set_minor_formatter("")
    axes.minorticks_off()
    axes.grid(True)


def _label(axes, ends: list[tuple]) -> None:
    """Each series' name beside its last point, moved apart where they would lie on each other."""
    point = axes.figure.dpi / 72
    heights = [axes.transData.transform((x, y))[1] / point for x, y, *_ in ends]
    order = np.argsort(heights)
    wanted = np.array(heights)[order]
    steps = GAP * np.arange(len(order))
    places = isotonic_regression(wanted - steps) + steps  # the nearest ones that are GAP apart
    for index, place, height in zip(order, places, wanted, strict=True):
        x, y, text, colour = ends[index]
        to_the_edge = (axes.bbox.x1 - axes.transData.transform((x, y))[0]) / point
        axes.annotate(
            text,
            (x, y),
            xytext=(to_the_edge + 14, place - height),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=BLACK,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.8, "shrinkA": 0, "shrinkB": 4, "relpos": (0, 0.5)},
            annotation_clip=False,
        )
