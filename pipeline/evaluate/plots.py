"""Plots of data, training and evaluation: arrays to PNG. Every title says what the plot was made on."""

import itertools
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from pipeline.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LIMITS,
    ORANGE,
    SERIES,
    SMALL,
    accuracy_axis,
    heading,
    percent_heatmap,
    save,
    show,
)
from pipeline.system import lacks_bfloat16

LEGIBLE = 30  # classes of a confusion matrix with numbers in it
OUTLINE = [withStroke(linewidth=3, foreground="white")]  # keeps text and lines readable over curves and bars


def data_overview(images, class_names, counts: dict, what: str, title: str, path: Path) -> None:
    """Sample images of each class, a row per class, and the class balance of each part of the data as bars.

    Args:
        images: (n_classes, n, h, w, 1 or 3) raw pixels.
        counts: name of the part -> (n_classes,) numbers of images.
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
    """Training curves: loss, accuracy and learning rate against the epoch, phases one after the other.

    Args:
        history: a row per epoch with loss, accuracy, val_loss, val_accuracy, learning_rate; with val_cross_entropy,
            that is the validation loss that is drawn; with phase, the phases are told apart.
    """
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    heading(figure, "Training curves", title)
    loss, accuracy, rate = figure.subplots(1, 3)
    epochs = np.arange(1, len(history) + 1)

    def curves(axes, key: str, label: str, validation_key: str, validation_label: str) -> None:
        axes.plot(epochs, [row[key] for row in history], color=BLUE, marker=".", label=label)
        validation = [row[validation_key] for row in history]
        axes.plot(epochs, validation, color=ORANGE, marker="s", ms=3, ls="--", label=validation_label)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=SMALL)  # above, clear of the curves

    validation_loss = ("val_loss", "validation (training loss function)")
    if all("val_cross_entropy" in row for row in history):
        validation_loss = ("val_cross_entropy", "validation, plain cross-entropy")
    objective = "training objective (label smoothing,\nL2 and augmentation included)"
    curves(loss, "loss", objective, *validation_loss)
    loss.set(ylabel="loss (nats)", ylim=(0, None))
    curves(accuracy, "accuracy", "training, augmented images", "val_accuracy", "validation")
    accuracy.set(ylabel="accuracy")

    phases = [row.get("phase") for row in history]
    starts = [i for i in range(1, len(phases)) if phases[i] != phases[i - 1]]
    rates = np.array([row["learning_rate"] or np.nan for row in history])  # zero has no place on a log axis
    for phase in np.split(np.arange(len(history)), starts):  # each has a schedule of its own
        rate.plot(epochs[phase], rates[phase], color=GREEN, marker=".")
    rate.set(ylabel="learning rate after the epoch\n(0 is not drawn)", yscale="log")
    rate.yaxis.set_major_formatter("{x:g}")

    look = {"rotation": "vertical", "color": GREY, "path_effects": OUTLINE}
    place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "xytext": (2, 0)}
    # Phases are named where few curves run: at the top of the loss, at the bottom of the others.
    for axes, y, edge in ((loss, 0.97, "top"), (accuracy, 0.03, "bottom"), (rate, 0.03, "bottom")):
        for start in starts:
            axes.axvline(start + 0.5, color=GREY, ls=":")
            axes.annotate(phases[start], (start + 0.5, y), va=edge, **place, **look)
        axes.set(xlabel="epoch", xlim=(0.5, len(history) + 0.5))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(True)
    save(figure, path)


def time_to_accuracy(
    runs: dict[str, list[dict]], title: str, path: Path, goal: tuple[float, str] | None = None
) -> None:
    """Validation accuracy against seconds of training, one thin line per seed, one color per recipe.

    Runs on bare processors without bfloat16 end in a hollow marker.

    Args:
        runs: recipe -> entry of each seed: "curve" [[seconds, accuracy], ...], and the machine's "processor", "cores",
            "accelerator" and "bfloat16".
        goal: an accuracy to draw as a line, and its name.
    """
    every_run = list(itertools.chain.from_iterable(runs.values()))
    machines = sorted({f"{run['processor']}, {run['cores']} cores" for run in every_run})
    figure = Figure(figsize=(8, 5), layout="constrained")
    heading(figure, f"Validation accuracy against training time: {title}", "; ".join(machines))
    axes = figure.subplots()
    drawn = [accuracy for run in every_run for _, accuracy in run["curve"]]
    if goal:
        accuracy, name = goal
        drawn.append(accuracy)
        axes.axhline(accuracy, color=GREY, ls="--", lw=1)
        note = {"color": GREY, "fontsize": SMALL, "path_effects": OUTLINE}
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "xytext": (4, 3)}
        axes.annotate(name, (0, accuracy), **place, **note)
    styles = zip(*map(itertools.cycle, SERIES), strict=False)
    for (recipe, of_recipe), (color, marker, line) in zip(runs.items(), styles, strict=False):
        for run in of_recipe:
            seconds, accuracies = np.transpose(run["curve"])
            accuracies = np.clip(accuracies, *LIMITS)
            axes.plot(seconds, accuracies, color=color, ls=line, lw=1, alpha=0.7)
            inside = "white" if lacks_bfloat16(run) else color
            axes.plot(seconds[-1], accuracies[-1], color=color, marker=marker, markerfacecolor=inside, ls="")
        axes.plot([], [], color=color, marker=marker, ls=line, lw=1, label=f"{recipe}, n = {len(of_recipe)}")
    if any(map(lacks_bfloat16, every_run)):
        axes.plot([], [], color=GREY, marker="o", markerfacecolor="white", ls="", label="hollow: without bfloat16")
    axes.set(xlabel="training time (s)", ylabel="validation accuracy", xscale="log")
    accuracy_axis(axes, drawn)
    low, high = axes.get_xlim()
    ticks = [digit * 10**power for power in range(6) for digit in (1, 2, 5)]
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(True)
    axes.legend(loc="lower right")
    save(figure, path)


def confusion_matrix(matrix: np.ndarray, class_names, title: str, path: Path) -> None:
    """Confusion matrix: counts, and as color and below them the percentage of the true class.

    More classes than LEGIBLE have no room for numbers: there the color is that of the percentage's square root, so
    that confusions of a few percent are seen.

    Args:
        matrix: (n_classes, n_classes) counts, row is the true class, column the predicted one.
    """
    n = len(class_names)
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    names = {"xticklabels": class_names, "yticklabels": class_names}
    label = "percentage of the true class"
    if n > LEGIBLE:
        side, what = 2.5 + 0.15 * n, "Confusion matrix: percentage of the true class"
        cells, scale = None, {"norm": PowerNorm(0.5, 0, 100)}
    else:
        side, what = 2.5 + 0.5 * n, "Confusion matrix: count, and percentage of the true class"
        cells, scale = [[""] * n for _ in range(n)], {}
        for row, column in np.argwhere(matrix):
            cells[row][column] = f"{matrix[row, column]:,}\n{percent[row, column]:.1f}"
    figure = Figure(figsize=(side + 2, side), layout="constrained")
    heading(figure, what, title)
    axes = figure.subplots()
    percent_heatmap(axes, percent, cells, label, square=True, **names, **scale)
    axes.tick_params(axis="x", rotation=90 if n > 10 else 0)
    if n > LEGIBLE:
        axes.tick_params(labelsize=SMALL)
    axes.set(xlabel="predicted class", ylabel="true class")
    save(figure, path)


def examples(images, y_true, probabilities, correct, wrong, class_names, title: str, path: Path) -> None:
    """Test images with true and predicted class and its probability: correct ones above, wrong ones below.

    Args:
        images: (n, h, w, c) raw pixels.
        y_true: (n,) int labels; probabilities: (n, n_classes).
        correct, wrong: indices to show, at most ten each.
    """
    groups = [("correct", correct), ("wrong", wrong)]
    rows = [(name, part) for name, chosen in groups for part in (chosen[:5], chosen[5:10]) if len(part)]
    figure = Figure(figsize=(12, 2.9 * len(rows)), layout="constrained")
    heading(figure, "Test images, classified correctly and wrongly", title)
    grid = figure.subplots(len(rows), 5, squeeze=False)
    for line, (name, part) in zip(grid, rows, strict=True):
        for axes in line:
            axes.axis("off")
        line[0].text(-0.04, 0.5, name, rotation=90, va="center", ha="right", transform=line[0].transAxes, weight="bold")
        for axes, index in zip(line, part, strict=False):
            guess = probabilities[index].argmax()
            true = fill(f"true: {class_names[y_true[index]]}", 26)
            predicted = fill(f"predicted: {class_names[guess]} ({probabilities[index, guess]:.0%})", 26)
            show(axes, images[index])
            axes.set_title(f"{true}\n{predicted}", fontsize=SMALL)
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


def confused_pairs(images, y_true, predicted, pairs, class_names, title: str, path: Path) -> None:
    """Most confused pairs of classes, a row per pair: counts in both directions, and the first such test images.

    Args:
        images: (n, h, w, c) raw pixels.
        y_true, predicted: (n,) int labels.
        pairs: [(a, b), ...] as by metrics.confused_pairs.
    """
    shown = 5
    figure = Figure(figsize=(13, 1.1 * len(pairs) + 1), layout="constrained")
    heading(figure, "Most confused pairs of classes, with the first such test images", title)
    widths = [2.6, *[1] * shown, 2.6, *[1] * shown]
    grid = figure.subplots(len(pairs), 2 + 2 * shown, squeeze=False, gridspec_kw={"width_ratios": widths})
    for axes in grid.flat:
        axes.axis("off")
    for line, (a, b) in zip(grid, pairs, strict=True):
        for start, true, guess in ((0, a, b), (1 + shown, b, a)):
            found = np.flatnonzero((y_true == true) & (predicted == guess))
            names = f"{fill(class_names[true], 22)}\npredicted as\n{fill(class_names[guess], 22)}"
            text = f"{names}\ntest images: {len(found)}"
            line[start].text(0.5, 0.5, text, ha="center", va="center", fontsize=SMALL)
            for axes, index in zip(line[start + 1 :], found[:shown], strict=False):
                show(axes, images[index])
    save(figure, path)


def fine_accuracy(names, accuracies: np.ndarray, superclass_names, title: str, path: Path) -> None:
    """Accuracy of the superclass predictions on each fine class, superclasses from worst to best.

    Args:
        names: for each superclass the names of its fine classes.
        accuracies: (n_superclasses, n_fine) in [0, 1].
    """
    rows, percent, cells = [], [], []
    for superclass in np.argsort(accuracies.mean(axis=1)):
        of_fine = accuracies[superclass]
        order = np.argsort(of_fine)
        rows.append(f"{superclass_names[superclass]}  {of_fine.mean():.0%}")
        percent.append(100 * of_fine[order])
        cells.append([f"{names[superclass][fine]}\n{of_fine[fine]:.0%}" for fine in order])
    figure = Figure(figsize=(11, 0.52 * len(rows) + 1.8), layout="constrained")
    heading(figure, "Superclass accuracy on the test images of each fine class", title)
    axes = figure.subplots()
    options = {"linewidths": 0.5, "xticklabels": False, "yticklabels": rows}
    percent_heatmap(axes, np.array(percent), cells, "superclass accuracy (%)", **options)
    axes.set(xlabel="fine classes of the superclass, worst to best", ylabel="superclass and its mean")
    save(figure, path)


def reliability(count, accuracy, error: float, title: str, path: Path) -> None:
    """Reliability diagram: accuracy against confidence, and the number of test images per bin.

    Args:
        count, accuracy: (bins,) as by metrics.reliability.
        error: expected calibration error.
    """
    figure = Figure(figsize=(6.5, 7), layout="constrained")
    heading(figure, f"Reliability diagram: expected calibration error {error:.3f}", title)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    edges = np.linspace(0, 1, len(count) + 1)
    bars = {"width": np.diff(edges), "align": "edge", "color": BLUE, "edgecolor": "white"}
    upper.plot([0, 1], [0, 1], color=BLACK, ls="--", zorder=3, path_effects=OUTLINE, label="perfect calibration")
    upper.bar(edges[:-1], accuracy, label="accuracy", **bars)
    upper.set(ylabel="accuracy", ylim=(0, 1), xlim=(0, 1))
    none_right = (count > 0) & (accuracy == 0)
    if none_right.any():  # no bar, but not for want of images
        middles = (edges[:-1] + edges[1:])[none_right] / 2
        upper.plot(middles, 0 * middles, "x", color=ORANGE, clip_on=False, zorder=3, label="accuracy 0")
    upper.legend(loc="upper left")
    lower.bar(edges[:-1], count, **bars)
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="test images", yscale="log")
    lower.set_ylim(0.5, None)  # one image is a bar, too
    lower.yaxis.set_major_formatter("{x:,g}")
    save(figure, path)
