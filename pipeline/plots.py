"""Numbers to PNG. Computes nothing but the layout; every figure says what it was made on."""

import textwrap
from pathlib import Path

import matplotlib
import numpy as np
import seaborn
from matplotlib.figure import Figure

from pipeline.artifacts import replacing

# Okabe & Ito's colours, told apart by colour-blind readers, and different in grey.
BLUE, ORANGE, GREEN, PURPLE, BLACK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#555555"
matplotlib.rcParams.update({"font.size": 10, "axes.grid": False, "axes.spines.top": False, "axes.spines.right": False})


def save(figure: Figure, path: Path) -> None:
    """Write a figure at 120 dots per inch, atomically."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, bbox_inches="tight", facecolor="white")


def heading(figure: Figure, what: str, title: str, width: int = 90) -> None:
    """Two-line title: what the picture shows, and the model, data and recipe it was made on."""
    figure.suptitle(what + "\n" + textwrap.fill(title, width), fontsize=12)


def training_curves(history: list[dict], title: str, path: Path) -> None:
    """Loss, accuracy and learning rate against the epoch, train and validation."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    heading(figure, "Training curves", title, 120)
    loss, accuracy, rate = figure.subplots(1, 3)
    epochs = np.arange(1, len(history) + 1)  # phases follow each other on one axis
    for axes, key, label in ((loss, "loss", "loss (nats)"), (accuracy, "accuracy", "accuracy")):
        axes.plot(epochs, [row[key] for row in history], color=BLUE, marker=".", label="train")
        held_out = [
            (epoch, row["val_" + key]) for epoch, row in zip(epochs, history, strict=True) if "val_" + key in row
        ]
        if held_out:
            axes.plot(*zip(*held_out, strict=True), color=ORANGE, marker="s", markersize=3, ls="--", label="validation")
        axes.set(xlabel="epoch", ylabel=label, ylim=(0, None) if key == "loss" else None)
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    steps = [(epoch, row["learning_rate"]) for epoch, row in zip(epochs, history, strict=True) if row["learning_rate"]]
    rate.plot(*zip(*steps, strict=True), color=GREEN, marker=".")  # a rate of zero has no place on a log axis
    phases = [row.get("phase") for row in history]
    starts = [i for i in range(1, len(phases)) if phases[i] != phases[i - 1]]
    rate.set(xlabel="epoch", ylabel="learning rate after the epoch", yscale="log")
    rate.grid(alpha=0.3)
    for axes in (loss, accuracy, rate):
        axes.set_xlim(0.5, len(history) + 0.5)
        for start in starts:
            axes.axvline(start + 0.5, color=GREY, ls=":")
            axes.annotate(
                f" {phases[start]}", (start + 0.5, 1), xycoords=("data", "axes fraction"), va="top", color=GREY
            )
        axes.xaxis.get_major_locator().set_params(integer=True)
    save(figure, path)


def confusion_matrix(matrix: np.ndarray, class_names, title: str, path: Path) -> None:
    """Counts with row percentages; colour is the row percentage."""
    n = len(class_names)
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.62 * n
    figure = Figure(figsize=(side + 2, side), layout="constrained")
    heading(figure, "Confusion matrix: count, and share of the true class in percent", title)
    axes = figure.subplots()
    cells = [
        [f"{count}\n{share:.1f}" if count else "" for count, share in zip(*row, strict=True)]
        for row in zip(matrix, percent, strict=True)
    ]
    seaborn.heatmap(
        percent,
        ax=axes,
        annot=np.array(cells),
        fmt="",
        annot_kws={"fontsize": 7.5},
        cmap="Blues",
        vmin=0,
        vmax=100,
        square=True,
        xticklabels=class_names,
        yticklabels=class_names,
        cbar_kws={"shrink": 0.6, "label": "share of the true class (%)"},
    )
    axes.tick_params(axis="x", rotation=90 if n > 10 else 0)
    axes.tick_params(axis="y", rotation=0)
    axes.set(xlabel="predicted class", ylabel="true class")
    save(figure, path)


def show(axes, image: np.ndarray) -> None:
    """Draw one raw image (h, w, 1 or 3) without axes."""
    axes.imshow(np.squeeze(image).astype(np.uint8), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.axis("off")


def wrapped(text: str, width: int = 20) -> str:
    """Break a long class name over lines."""
    return textwrap.fill(text, width)


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
        for axes, index in zip(line, part, strict=False):
            guess = probabilities[index].argmax()
            show(axes, images[index])
            axes.set_title(
                f"{wrapped('true: ' + class_names[y_true[index]], 26)}\n"
                f"{wrapped('predicted: ' + class_names[guess], 26)} ({probabilities[index, guess]:.0%})",
                fontsize=9,
                color=GREY if name == "right" else ORANGE,
            )
    save(figure, path)


def time_to_accuracy(
    runs: dict[str, list[dict]], title: str, path: Path, goal: tuple[float, str] | None = None
) -> None:
    """Validation accuracy against seconds of training, one thin line per seed, one colour per recipe.

    Args:
        runs: recipe -> its seeds' entries with "curve" [[seconds, accuracy], ...] and "processor".
        goal: an accuracy to draw as a line, and its name.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    machines = sorted({f"{row['processor']}, {row['cores']} cores" for rows in runs.values() for row in rows})
    heading(figure, f"Validation accuracy against training time: {title}", "; ".join(machines), 80)
    axes = figure.subplots()
    styles = zip((BLUE, ORANGE, GREEN, PURPLE, BLACK), ("o", "s", "^", "D", "v"), strict=True)
    if goal:
        axes.axhline(goal[0], color=GREY, ls="--", lw=1)
        axes.annotate(
            goal[1],
            (0, goal[0]),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            color=GREY,
        )
    for (recipe, rows), (colour, marker) in zip(runs.items(), styles, strict=False):
        for row in rows:
            axes.plot(*zip(*row["curve"], strict=True), color=colour, lw=1, alpha=0.7)
        ends = [row["curve"][-1] for row in rows]
        axes.plot(*zip(*ends, strict=True), marker, color=colour, ls="", label=f"{recipe}, n = {len(rows)}")
    axes.set(xlabel="training time (s)", ylabel="validation accuracy", xscale="log")
    low, high = axes.get_xlim()
    steps = [digit * 10**power for power in range(6) for digit in (1, 2, 5)]
    axes.set_xticks([step for step in steps if low <= step <= high])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    save(figure, path)
