"""Plots of data, training and evaluation: arrays to PNG. The title is the finding, the footer what it was made on."""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from pipeline.console import duration, percent
from pipeline.evaluate import metrics
from pipeline.style import (
    BLACK,
    BLUE,
    EDGE,
    GREEN,
    GREY,
    LIGHT,
    LIMITS,
    ORANGE,
    SMALL,
    TEXT,
    accuracy_axis,
    heading,
    margins,
    percent_heatmap,
    save,
    show,
    text_color,
)

LEGIBLE = 30  # classes of a confusion matrix with numbers in it
SHORT = 7  # letters of a class name that fit the width of one of its cells
HIGH = 0.97  # validation accuracy beyond which a linear axis shows no difference any more
TIED = 3  # pairs of classes at most that are named as most often confused, where several are equally often
MANY = 40  # epochs from which on curves are drawn without markers
FEW = 20  # images in a bin of a reliability diagram below which its accuracy says little
OUTLINE = [withStroke(linewidth=3, foreground="white")]  # keeps text and lines readable over curves and bars


def data_overview(images, class_names, counts: dict, what: str, provenance: str, path: Path) -> None:
    """Sample images of each class, a row per class; where classes differ in size, their sizes as bars.

    Args:
        images: (n_classes, n, h, w, 1 or 3) raw pixels.
        counts: name of the part -> (n_classes,) numbers of images.
        what, provenance: the data set's name, and where samples and parts come from.
    """
    classes, shown, height, width, channels = images.shape
    tiles = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
    mosaic = tiles.transpose(0, 2, 1, 3, 4).reshape(classes * (height + 2), shown * (width + 2), channels)
    balanced = all(np.ptp(of_class) == 0 for of_class in counts.values())
    side, panel, gap = 0.5, 1.4, 0.2  # inches: of a sample, of a bar's space
    names = 0.3 + 0.08 * max(map(len, class_names))
    wide = names + shown * side + EDGE
    if not balanced:
        wide += len(counts) * (gap + panel)
    finding = f"{what}: {class_sizes(counts, balanced)}"
    top, bottom = margins(finding, provenance, wide)
    if not balanced:
        top, bottom = top + 0.3, bottom + 0.3
    tall = top + classes * side + bottom
    figure = Figure(figsize=(wide, tall))
    heading(figure, finding, provenance)

    def column(left, inches):
        return figure.add_axes((left / wide, bottom / tall, inches / wide, classes * side / tall))

    middle = np.arange(classes) + 0.5
    samples = column(names, shown * side)
    show(samples, mosaic, extent=(0, shown, classes, 0))
    samples.axis("on")
    samples.spines[:].set_visible(False)
    samples.tick_params(length=0)
    samples.set_yticks(middle, class_names)
    samples.set_xticks([])
    if not balanced:
        for place, (part, of_class) in enumerate(counts.items()):
            axes = column(names + shown * side + gap + place * (gap + panel), panel)
            bars = axes.barh(middle, of_class, color=BLUE)
            axes.bar_label(bars, fmt="{:,.0f}", padding=3)
            axes.set(ylim=(classes, 0), xlim=(0, 1.5 * max(of_class)), xticks=[], yticks=[], xlabel="images per class")
            axes.spines["bottom"].set_visible(False)
            axes.set_title(f"{part}: {sum(of_class):,}")
    save(figure, path)


def class_sizes(counts: dict, balanced: bool) -> str:
    """Number and size of the classes, in words; counts: name of the part -> (n_classes,) numbers of images."""
    training = next(iter(counts.values()))
    if not balanced:
        return f"{len(training)} classes of {min(training):,} to {max(training):,} training images"
    *others, last = (f"{of_class[0]:,} {part}" for part, of_class in counts.items())
    each = " and ".join([", ".join(others), last]) if others else last
    return f"{len(training)} classes of equal size, each with {each} images"


def training_curves(
    history: list[dict],
    test_accuracy: float,
    milestones: dict[str, int],
    provenance: str,
    path: Path,
    learned_classes: str = "",
    scaled: bool = False,
) -> None:
    """Training curves: cross-entropy, accuracy and learning rate against the epoch, phases one after the other.

    Args:
        history: a row per epoch with loss, accuracy, val_loss, val_accuracy, learning_rate, seconds; with cross_entropy
            and val_cross_entropy, these are drawn instead of the loss functions; with phase, the phases are told apart.
        test_accuracy: of the finished model, in [0, 1].
        milestones: what changes after an epoch -> that epoch, counted from 1.
        learned_classes: what the history's accuracies are of, "100 fine classes", where the test accuracy is of others;
            the curves have no test accuracy then.
        scaled: whether the finished model's probabilities have a temperature, which these curves are before.
    """
    epochs = np.arange(1, len(history) + 1)
    took = duration(sum(row["seconds"] for row in history))
    what = f"{len(history)} epochs" if len(history) > 1 else "1 epoch"
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    footer = f"{provenance}; curves before temperature scaling" if scaled else provenance
    heading(figure, f"Test accuracy {percent(test_accuracy)} after {what} in {took}", footer)
    loss, accuracy, rate = figure.subplots(1, 3)

    def curve(axes, key: str, label: str, **style) -> None:
        axes.plot(epochs, [row[key] for row in history], label=label, **style)

    training, validation = {"color": BLUE}, {"color": ORANGE, "ls": "--"}
    if len(history) < MANY:
        training["marker"], validation["marker"] = ".", "."
    name, what = "loss", "training loss function"
    if all("cross_entropy" in row and "val_cross_entropy" in row for row in history):
        name, what = "cross_entropy", "cross-entropy"
    for axes, key in ((loss, name), (accuracy, "accuracy")):
        curve(axes, key, "training, augmented", **training)
        curve(axes, f"val_{key}", "validation", **validation)
    loss.set(ylabel=f"{what} (nats per image)", ylim=(0, None))
    if learned_classes:
        zoom_accuracy(accuracy, history)
        accuracy.set_ylabel(f"{accuracy.get_ylabel()} ({learned_classes})")
    else:
        accuracy.plot(epochs[-1], test_accuracy, "*", color=BLACK, ms=11, label="test", clip_on=False, zorder=3)
        zoom_accuracy(accuracy, history, test_accuracy)

    phases = [row.get("phase") for row in history]
    starts = [i for i in range(1, len(phases)) if phases[i] != phases[i - 1]]
    rates = np.array([row["learning_rate"] for row in history])
    for phase in np.split(np.arange(len(history)), starts):  # each has a schedule of its own
        rate.plot(epochs[phase], rates[phase], color=GREEN, marker=training.get("marker"))
    rate.set(ylabel="learning rate after the epoch", ylim=(0, None))

    changes = {start: phases[start] for start in starts}
    changes.update({epoch: name for name, epoch in milestones.items() if epoch < len(history)})  # it may end early
    look = {"rotation": "vertical", "va": "top", "color": GREY, "fontsize": SMALL, "path_effects": OUTLINE}
    place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "xytext": (2, 0)}
    for epoch, name in changes.items():  # where names hide nothing: by then the rate is below its peak
        rate.annotate(name, (epoch + 0.5, 0.98), **place, **look)
    for axes in (loss, accuracy, rate):
        for epoch in changes:
            axes.axvline(epoch + 0.5, color=GREY, ls=":")
        axes.set(xlabel="epoch", xlim=(0.5, len(history) + 0.5))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(True)
    for axes in (loss, accuracy):  # above, clear of the curves
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=SMALL, columnspacing=1.2)
    save(figure, path)


def zoom_accuracy(axes, history: list[dict], *others: float) -> None:
    """Accuracy axis: linear from 0 to 1, or on a logit scale where the last accuracies lie close to 1."""
    drawn = [row[name] for row in history for name in ("accuracy", "val_accuracy")]
    if history[-1]["val_accuracy"] < HIGH:
        axes.set(ylabel="accuracy", ylim=(0, 1))
        return
    axes.set_ylabel("accuracy (logit scale)")
    accuracy_axis(axes, np.clip([*drawn, *others], *LIMITS))


def confusion_matrix(matrix: np.ndarray, class_names, provenance: str, path: Path) -> None:
    """Confusion matrix: counts; errors are colored by their percentage of the true class, on a scale of their own.

    Classes that are taken for each other stand side by side. More classes than LEGIBLE have no room for numbers.

    Args:
        matrix: (n_classes, n_classes) counts, row is the true class, column the predicted one.
    """
    n, order = len(class_names), metrics.similarity_order(matrix)
    finding = confusion_finding(matrix, class_names)
    matrix, names = matrix[np.ix_(order, order)], [class_names[k] for k in order]
    percentages = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    is_right = np.eye(n, dtype=bool)
    longest = max(map(len, names))
    is_crowded = n > 10 or longest > SHORT
    cell = 0.15
    if n <= LEGIBLE:
        cell = max(0.38, 0.15 + 0.09 * len(f"{matrix.max():,}"))  # inches
    below = 0.08 * longest if is_crowded else 0.2
    wide = max(7.0, n * cell + 0.08 * longest + 2.2)
    figure = Figure(figsize=(wide, n * cell + below + 1.2), layout="constrained")
    heading(figure, finding, f"{provenance}; classes in order of similarity")
    axes = figure.subplots()
    mesh = {"edgecolors": LIGHT, "linewidth": 0.5}
    right = axes.pcolormesh(np.ma.masked_where(~is_right, percentages), cmap="Blues", vmin=0, vmax=100, **mesh)
    most = max(percentages[~is_right].max(initial=0), 1e-9)
    errors = np.ma.masked_where(is_right | (matrix == 0), percentages)
    wrong = axes.pcolormesh(errors, cmap="Oranges", vmin=0, vmax=most, **mesh)
    if n <= LEGIBLE:
        for row, column in np.argwhere(matrix):
            scale = right if row == column else wrong
            color = text_color(scale.to_rgba(percentages[row, column])[:3])
            middle = column + 0.5, row + 0.5
            axes.text(*middle, f"{matrix[row, column]:,}", ha="center", va="center", color=color)
    figure.colorbar(wrong, ax=axes, shrink=0.6, label="errors: percentage of the true class")
    axes.set(xlim=(0, n), ylim=(n, 0), aspect="equal", xlabel="predicted class", ylabel="true class, its accuracy")
    size = TEXT if n <= LEGIBLE else SMALL
    middles = np.arange(n) + 0.5
    labels = [f"{name}  {percent(right / 100)}" for name, right in zip(names, percentages[is_right], strict=True)]
    axes.set_yticks(middles, labels, fontsize=size)
    axes.set_xticks(middles, names, rotation=90 if is_crowded else 0, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    save(figure, path)


def confusion_finding(matrix: np.ndarray, class_names) -> str:
    """Accuracy, the worst and the best class, and the pair most often confused, from a confusion matrix of counts."""
    images = matrix.sum(axis=1)
    recall = np.diag(matrix) / np.maximum(images, 1)
    there = np.flatnonzero(images)
    finding = f"Test accuracy {percent(np.trace(matrix) / max(images.sum(), 1))}"
    if len(there):
        worst, best = there[recall[there].argmin()], there[recall[there].argmax()]
        if recall[worst] < recall[best]:
            finding += f", from {percent(recall[worst])} ({class_names[worst]})"
            finding += f" to {percent(recall[best])} ({class_names[best]})"
    pairs = metrics.confused_pairs(matrix, TIED + 1)
    times = [int(matrix[a, b] + matrix[b, a]) for a, b in pairs]
    names = [f"{class_names[a]} and {class_names[b]}" for a, b in pairs[: times.count(max(times, default=0))]]
    if 0 < len(names) <= TIED:  # more of them are no finding
        often = f"{times[0]:,} times" if times[0] > 1 else "once"
        each = " each" if len(names) > 1 else ""
        finding += f"; most often confused, {often}{each}: {', '.join(names)}"
    return finding


def examples(images, y_true, probabilities, correct, wrong, class_names, provenance: str, path: Path) -> None:
    """Test images with true and predicted class and its probability: correct ones above, wrong ones below.

    Args:
        images: (n, h, w, c) raw pixels.
        y_true: (n,) int labels; probabilities: (n, n_classes).
        correct, wrong: indices to show, at most ten each.
    """
    groups = [("correct", correct), ("wrong", wrong)]
    rows = [(name, part) for name, chosen in groups for part in (chosen[:5], chosen[5:10]) if len(part)]
    figure = Figure(figsize=(12, 2.7 * len(rows) + 0.6), layout="constrained")
    errors = np.sum(probabilities.argmax(axis=1) != y_true)
    finding = f"Of {len(y_true):,} test images {errors:,} are wrong: the first {len(correct)} that are right"
    heading(figure, f"{finding}, and the first {len(wrong)} that are wrong", provenance)
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


def captioned(images, captions: list[str], what: str, provenance: str, path: Path) -> None:
    """Images (n, h, w, c) of raw pixels in their order, each under its caption."""
    columns = min(5, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(max(7, 2.3 * columns), 2.4 * rows + 1), layout="constrained")
    figure.get_layout_engine().set(hspace=0.05)  # captions belong to what is below them
    heading(figure, what, provenance)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, image, caption in zip(figure.axes, images, captions, strict=False):
        show(axes, image)
        axes.set_title("\n".join(fill(line, 34) for line in caption.splitlines()), fontsize=SMALL)
    save(figure, path)


def confused_pairs(images, y_true, predicted, pairs, class_names, provenance: str, path: Path) -> None:
    """Most confused pairs of classes, a row per pair: counts in both directions, and the first such test images.

    Args:
        images: (n, h, w, c) raw pixels.
        y_true, predicted: (n,) int labels.
        pairs: [(a, b), ...] as by metrics.confused_pairs.
    """
    shown = 5
    figure = Figure(figsize=(13, 1.1 * len(pairs) + 1), layout="constrained")
    (a, b), errors = pairs[0], np.sum(y_true != predicted)
    most = np.sum((y_true == a) & (predicted == b)) + np.sum((y_true == b) & (predicted == a))
    pair = f"{class_names[a]} and {class_names[b]}"
    finding = f"{pair} are confused most often: {most:,} of {errors:,} wrong test images"
    heading(figure, finding[0].upper() + finding[1:], f"{provenance}; of each pair the first such test images")
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


def fine_accuracy(names, accuracies: np.ndarray, superclass_names, provenance: str, path: Path) -> None:
    """Accuracy of the superclass predictions on each fine class, superclasses from worst to best.

    Args:
        names: for each superclass the names of its fine classes.
        accuracies: (n_superclasses, n_fine) in [0, 1].
    """
    rows, percentages, cells = [], [], []
    for superclass in np.argsort(accuracies.mean(axis=1)):
        of_fine = accuracies[superclass]
        order = np.argsort(of_fine)
        rows.append(f"{superclass_names[superclass]}  {of_fine.mean():.0%}")
        percentages.append(100 * of_fine[order])
        cells.append([f"{names[superclass][fine]}\n{of_fine[fine]:.0%}" for fine in order])
    figure = Figure(figsize=(11, 0.52 * len(rows) + 1.8), layout="constrained")
    every = {(fine, one): accuracies[one, place] for one, own in enumerate(names) for place, fine in enumerate(own)}
    worst, best = min(every, key=every.get), max(every, key=every.get)
    ends = [f"{percent(every[end], 0)} ({end[0]}, one of the {superclass_names[end[1]]})" for end in (worst, best)]
    heading(figure, f"Superclass accuracy by fine class: from {ends[0]} to {ends[1]}", provenance)
    axes = figure.subplots()
    options = {"linewidths": 0.5, "xticklabels": False, "yticklabels": rows}
    percent_heatmap(axes, np.array(percentages), cells, "superclass accuracy (%)", **options)
    axes.set(xlabel="fine classes of the superclass, worst to best", ylabel="superclass and its mean")
    save(figure, path)


def reliability(count, accuracy, error: float, provenance: str, path: Path) -> None:
    """Reliability diagram: accuracy against confidence, and the number of test images per bin.

    Args:
        count, accuracy: (bins,) as by metrics.reliability.
        error: expected calibration error.
    """
    figure = Figure(figsize=(6.5, 7), layout="constrained")
    finding = f"Confidence and accuracy differ by {100 * error:.1f} percentage points on average"
    heading(figure, finding, f"{provenance}; expected calibration error {error:.3f}")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    edges = np.linspace(0, 1, len(count) + 1)
    bars = {"width": np.diff(edges), "align": "edge", "edgecolor": "white"}
    few = (count > 0) & (count < FEW)
    upper.bar(edges[:-1], np.where(few, 0, accuracy), color=BLUE, label="accuracy", **bars)
    hollow = bars | {"color": "white", "edgecolor": BLUE, "ls": "--"}
    if few.any():
        upper.bar(
            edges[:-1][few], accuracy[few], label=f"fewer than {FEW} images", **hollow | {"width": 1 / len(count)}
        )
    upper.plot([0, 1], [0, 1], color=BLACK, ls="--", zorder=3, path_effects=OUTLINE, label="perfect calibration")
    upper.set(ylabel="accuracy", ylim=(0, 1), xlim=(0, 1))
    none_right = (count > 0) & (accuracy == 0)
    if none_right.any():  # no bar, but not for want of images
        middles = (edges[:-1] + edges[1:])[none_right] / 2
        upper.plot(middles, 0 * middles, "x", color=ORANGE, clip_on=False, zorder=3, label="accuracy 0")
    upper.legend(loc="upper left")
    lower.bar(edges[:-1], count, color=BLUE, **bars)
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="test images", yscale="log")
    lower.set_ylim(0.5, None)  # one image is a bar, too
    lower.yaxis.set_major_formatter("{x:,g}")
    save(figure, path)
