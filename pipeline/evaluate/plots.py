"""Plots of data, training and evaluation: numbers to PNG. Every figure says what it was made on."""

import itertools
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from pipeline.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    INSIDE,
    ORANGE,
    SERIES,
    SMALL,
    accuracy_axis,
    heading,
    percent_table,
    save,
    show,
)
from pipeline.system import lacks_bfloat16


def data_overview(images, class_names, counts: dict, what: str, title: str, path: Path) -> None:
    """A row per class: its sample images, and a bar for how many images of it each part of the data holds.

    Args:
        images: (classes, n, h, w, 1 or 3) raw pixels.
        counts: name of the part -> (classes,) numbers of images.
        what, title: the data set's name, and where samples and parts come from.
    """
    classes, shown, height, width, channels = images.shape
    tiles = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    mosaic = tiles.transpose(0, 2, 1, 3, 4).reshape(classes * (height + 2), shown * (width + 2), channels)
    side, panel, gap, bottom = 0.5, 1.4, 0.2, 0.4  # inches: of a sample, of a bar's space
    names = 0.3 + 0.08 * max(map(len, class_names))
    inches = (names + shown * side + len(counts) * (gap + panel), 1.2 + classes * side + bottom)
    figure = Figure(figsize=inches)
    heading(figure, f"Samples and class balance: {what}", title, y=1 - 0.1 / inches[1])

    def column(left, wide):
        return figure.add_axes((left / inches[0], bottom / inches[1], wide / inches[0], classes * side / inches[1]))

    middle = np.arange(classes) + 0.5
    samples = column(names, shown * side)
    show(samples, mosaic, extent=(0, shown, classes, 0))
    samples.axis("on")
    samples.spines[:].set_visible(False)
    samples.tick_params(length=0)
    samples.set_yticks(middle, class_names)
    samples.set_xticks([])
    for place, (part, of_class) in enumerate(counts.items()):
        axes = column(names + shown * side + gap + place * (gap + panel), panel)
        bars = axes.barh(middle, of_class, color=BLUE)
        axes.bar_label(bars, fmt="{:,.0f}", padding=3)
        axes.set(ylim=(classes, 0), xlim=(0, 1.5 * max(of_class)), xticks=[], yticks=[], xlabel="images per class")
        axes.spines["bottom"].set_visible(False)
        axes.set_title(f"{part}: {sum(of_class):,}")
    save(figure, path)


def training_curves(history: list[dict], title: str, path: Path) -> None:
    """Loss, accuracy and learning rate against the epoch, train and validation."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    heading(figure, "Training curves", title)
    loss, accuracy, rate = figure.subplots(1, 3)
    epochs = np.arange(1, len(history) + 1)  # phases follow each other on one axis
    for axes, key, label in ((loss, "loss", "loss (nats)"), (accuracy, "accuracy", "accuracy")):
        axes.plot(epochs, [row[key] for row in history], color=BLUE, marker=".", label="train")
        held_out = [row["val_" + key] for row in history]
        axes.plot(epochs, held_out, color=ORANGE, marker="s", markersize=3, ls="--", label="validation")
        axes.set(xlabel="epoch", ylabel=label, ylim=(0, None) if key == "loss" else None)
        axes.legend()
        axes.grid(True)
    phases = [row.get("phase") for row in history]
    starts = [i for i in range(1, len(phases)) if phases[i] != phases[i - 1]]
    rates = np.array([row["learning_rate"] or np.nan for row in history])  # zero has no place on a log axis
    for phase in np.split(np.arange(len(history)), starts):  # each has a schedule of its own
        rate.plot(epochs[phase], rates[phase], color=GREEN, marker=".")
    rate.set(xlabel="epoch", ylabel="learning rate after the epoch\n(0 is not drawn)", yscale="log")
    rate.yaxis.set_major_formatter("{x:g}")
    rate.grid(True)
    for axes, y, edge in (
        (loss, 0.97, "top"),
        (accuracy, 0.03, "bottom"),
        (rate, 0.03, "bottom"),
    ):  # where curves are few
        axes.set_xlim(0.5, len(history) + 0.5)
        for start in starts:
            axes.axvline(start + 0.5, color=GREY, ls=":")
            axes.annotate(
                phases[start],
                (start + 0.5, y),
                xycoords=("data", "axes fraction"),
                xytext=(2, 0),
                textcoords="offset points",
                rotation="vertical",
                va=edge,
                color=GREY,
                path_effects=[withStroke(linewidth=3, foreground="white")],  # readable where a curve runs behind it
            )
        axes.xaxis.get_major_locator().set_params(integer=True)
    save(figure, path)


def confusion_matrix(matrix: np.ndarray, class_names, title: str, path: Path) -> None:
    """Counts with row percentages; colour is the row percentage."""
    n = len(class_names)
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.5 * n
    figure = Figure(figsize=(side + 2, side), layout="constrained")
    heading(figure, "Confusion matrix: count, and share of the true class in percent", title)
    axes = figure.subplots()
    cells = [
        [f"{count:,}\n{share:.1f}" if count else "" for count, share in zip(*row, strict=True)]
        for row in zip(matrix, percent, strict=True)
    ]
    names = {"xticklabels": class_names, "yticklabels": class_names}
    percent_table(axes, percent, cells, "share of the true class (%)", square=True, **names)
    axes.tick_params(axis="x", rotation=90 if n > 10 else 0)
    axes.set(xlabel="predicted class", ylabel="true class")
    save(figure, path)


def examples(images, y_true, probabilities, right, wrong, class_names, title: str, path: Path) -> None:
    """Right classifications above, wrong ones below; true and predicted class with probability.

    Args:
        images: (n, h, w, c) raw pixels; y_true: (n,); probabilities: (n, classes).
        right, wrong: indices to show, at most ten each.
    """
    groups = [("right", right), ("wrong", wrong)]
    rows = [(name, part) for name, chosen in groups for part in (chosen[:5], chosen[5:10]) if len(part)]
    figure = Figure(figsize=(12, 2.9 * len(rows)), layout="constrained")
    heading(figure, "Test images, right and wrong classifications", title)
    grid = figure.subplots(len(rows), 5, squeeze=False)
    for line, (name, part) in zip(grid, rows, strict=True):
        for axes in line:
            axes.axis("off")
        line[0].text(-0.04, 0.5, name, rotation=90, va="center", ha="right", transform=line[0].transAxes, weight="bold")
        for axes, index in zip(line, part, strict=False):
            guess = probabilities[index].argmax()
            show(axes, images[index])
            axes.set_title(
                f"{fill('true: ' + class_names[y_true[index]], 26)}\n"
                f"{fill('predicted: ' + class_names[guess], 26)} ({probabilities[index, guess]:.0%})",
                fontsize=SMALL,
            )
    save(figure, path)


def time_to_accuracy(
    runs: dict[str, list[dict]], title: str, path: Path, goal: tuple[float, str] | None = None
) -> None:
    """Validation accuracy against seconds of training, one thin line per seed, one colour per recipe.

    Runs on bare processors without bfloat16 end in a hollow marker.

    Args:
        runs: recipe -> its seeds' entries with "curve" [[seconds, accuracy], ...], "processor", "cores", "accelerator".
        goal: an accuracy to draw as a line, and its name.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    machines = sorted({f"{row['processor']}, {row['cores']} cores" for rows in runs.values() for row in rows})
    heading(figure, f"Validation accuracy against training time: {title}", "; ".join(machines))
    axes = figure.subplots()
    styles = zip(*map(itertools.cycle, SERIES), strict=False)
    note = {"textcoords": "offset points", "color": GREY, "fontsize": SMALL}
    note |= {"path_effects": [withStroke(linewidth=3, foreground="white")]}
    if goal:
        axes.axhline(goal[0], color=GREY, ls="--", lw=1)
        axes.annotate(goal[1], (0, goal[0]), xycoords=("axes fraction", "data"), xytext=(4, 3), **note)
    for (recipe, rows), (colour, marker, line) in zip(runs.items(), styles, strict=False):
        curves = [[(seconds, np.clip(share, *INSIDE)) for seconds, share in row["curve"]] for row in rows]
        for curve in curves:
            axes.plot(*zip(*curve, strict=True), color=colour, ls=line, lw=1, alpha=0.7)
        for row, curve in zip(rows, curves, strict=True):
            fill_colour = "white" if lacks_bfloat16(row) else colour
            axes.plot(*curve[-1], color=colour, marker=marker, markerfacecolor=fill_colour, ls="")
        axes.plot([], [], color=colour, marker=marker, ls=line, lw=1, label=f"{recipe}, n = {len(rows)}")
    if any(lacks_bfloat16(row) for rows in runs.values() for row in rows):
        axes.plot([], [], color=GREY, marker="o", markerfacecolor="white", ls="", label="hollow: without bfloat16")
    axes.set(xlabel="training time (s)", ylabel="validation accuracy", xscale="log")
    accuracy_axis(axes, [share for rows in runs.values() for row in rows for _, share in row["curve"]])
    low, high = axes.get_xlim()
    steps = [digit * 10**power for power in range(6) for digit in (1, 2, 5)]
    axes.set_xticks([step for step in steps if low <= step <= high])
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(True)
    axes.legend(loc="lower right")
    save(figure, path)


def confused_pairs(images, y_true, predicted, pairs, class_names, title: str, path: Path) -> None:
    """One row per pair of classes: how often each was taken for the other, and the first such test images.

    Args:
        images: (n, h, w, c) raw pixels; y_true, predicted: (n,) labels.
        pairs: [(a, b), ...] as metrics.confused_pairs gives them.
    """
    shown = 5
    figure = Figure(figsize=(13, 1.1 * len(pairs) + 1), layout="constrained")
    heading(figure, "Classes taken for each other most often, with the first such test images", title)
    widths = [2.6, *[1] * shown, 2.6, *[1] * shown]
    grid = figure.subplots(len(pairs), 2 + 2 * shown, squeeze=False, gridspec_kw={"width_ratios": widths})
    for axes in grid.flat:
        axes.axis("off")
    for line, (a, b) in zip(grid, pairs, strict=True):
        for start, true, guess in ((0, a, b), (1 + shown, b, a)):
            found = np.flatnonzero((y_true == true) & (predicted == guess))
            text = f"{fill(class_names[true], 22)}\ntaken for\n{fill(class_names[guess], 22)}\n{len(found)} times"
            line[start].text(0.5, 0.5, text, ha="center", va="center", fontsize=SMALL)
            for axes, index in zip(line[start + 1 :], found[:shown], strict=False):
                show(axes, images[index])
    save(figure, path)


def fine_accuracy(names, shares: np.ndarray, superclass_names, title: str, path: Path) -> None:
    """Share of each fine class that was put into its superclass, superclasses from worst to best.

    Args:
        names: for each superclass the names of its fine classes; shares: (superclasses, fine) in [0, 1].
    """
    order = np.argsort(shares.mean(axis=1))
    within = [np.argsort(shares[row]) for row in order]
    values = np.array([shares[row][inner] for row, inner in zip(order, within, strict=True)])
    cells = [
        [f"{names[row][i]}\n{shares[row][i]:.0%}" for i in inner] for row, inner in zip(order, within, strict=True)
    ]
    figure = Figure(figsize=(11, 0.52 * len(order) + 1.8), layout="constrained")
    heading(figure, "Fine classes: share of test images put into the right superclass", title)
    axes = figure.subplots()
    rows = [f"{superclass_names[row]}  {shares[row].mean():.0%}" for row in order]
    percent_table(
        axes, 100 * values, cells, "right superclass (%)", linewidths=0.5, xticklabels=False, yticklabels=rows
    )
    axes.set(xlabel="fine classes of the superclass, worst to best", ylabel="superclass and its mean")
    save(figure, path)


def reliability(count, accuracy, error: float, title: str, path: Path) -> None:
    """Accuracy against confidence, and how many test images have it.

    Args:
        count, accuracy: per range of confidence, see metrics.reliability; error: the expected one.
    """
    figure = Figure(figsize=(6.5, 7), layout="constrained")
    heading(figure, f"Reliability: expected calibration error {error:.3f}", title)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    edges = np.linspace(0, 1, len(count) + 1)
    outline = [withStroke(linewidth=3.5, foreground="white")]  # seen over the bars, too
    upper.plot([0, 1], [0, 1], color=BLACK, ls="--", zorder=3, path_effects=outline, label="as sure as right")
    upper.bar(edges[:-1], accuracy, np.diff(edges), align="edge", color=BLUE, edgecolor="white", label="share right")
    upper.set(ylabel="share right", ylim=(0, 1), xlim=(0, 1))
    none_right = (count > 0) & (accuracy == 0)
    if none_right.any():  # no bar, but not for want of images
        middles = edges[:-1][none_right] + np.diff(edges)[none_right] / 2
        upper.plot(middles, 0 * middles, "x", color=ORANGE, clip_on=False, zorder=3, label="none right")
    upper.legend(loc="upper left")
    lower.bar(edges[:-1], count, np.diff(edges), align="edge", color=BLUE, edgecolor="white")
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="test images", yscale="log")
    lower.set_ylim(0.5, None)  # one image is a bar, too
    lower.yaxis.set_major_formatter("{x:,g}")
    save(figure, path)


def captioned(images, captions: list[str], what: str, title: str, path: Path) -> None:
    """Images (n, h, w, c) of raw pixels in their order, each under its caption."""
    columns = min(5, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(max(7, 2.3 * columns), 2.4 * rows + 1), layout="constrained")
    figure.get_layout_engine().set(hspace=0.05)  # captions belong to what is below them
    heading(figure, what, title)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, image, caption in zip(figure.axes, images, captions, strict=False):
        show(axes, image)
        axes.set_title(caption, fontsize=SMALL)
    save(figure, path)
