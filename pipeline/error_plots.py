"""Pictures of a model's errors: numbers and images to PNG."""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from pipeline.style import BLACK, BLUE, ORANGE, SMALL, heading, save, share_table, show


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
    share_table(axes, 100 * values, cells, "right superclass (%)", linewidths=0.5, xticklabels=False, yticklabels=rows)
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
