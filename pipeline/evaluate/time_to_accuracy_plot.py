"""Plot of the accuracy that each recipe reaches, over the minutes that it takes."""

import itertools
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from pipeline.console import duration, percent
from pipeline.evaluate.plots import HIGH, OUTLINE
from pipeline.style import EDGE, LIMITS, SERIES, TEXT, accuracy_axis, heading, margins, save
from pipeline.system import lacks_bfloat16


def draw(runs: dict[str, list[dict]], data: str, path: Path) -> None:
    """Accuracy against minutes, a line per recipe: validation accuracy so far, and at its end the finished model.

    Where seeds are several, line and time are those of the fastest run, as others may have run beside other work; the
    accuracy at the end is the mean over seeds. Recipes of bare processors without bfloat16 end
    in a hollow marker.

    Args:
        runs: recipe -> entry of each seed: "curve" [[seconds, accuracy], ...], "test_accuracy", "wall_seconds", and
            the machine's "processor", "cores", "accelerator" and "bfloat16".
        data: name of the data set.
    """
    shown = [fastest(of_recipe) for of_recipe in runs.values()]
    machines = sorted({f"{run['processor']}, {run['cores']} cores" for run in shown})
    seeds = ", ".join(f"{recipe}\N{NO-BREAK SPACE}{len(of_recipe)}" for recipe, of_recipe in runs.items())
    provenance = "Lines: best validation accuracy so far; markers: test accuracy and time of the whole run. "
    provenance += f"Mean accuracy and fastest run of the seeds: {seeds}. {'; '.join(machines)}"
    if any(map(lacks_bfloat16, shown)):
        provenance += "; hollow: without bfloat16"
    ends = {recipe: finished(of_recipe) for recipe, of_recipe in runs.items()}
    best = max(ends, key=lambda recipe: ends[recipe][1])
    shortest = min(ends, key=lambda recipe: ends[recipe][0])
    finding = reached(shortest, ends)
    if best != shortest:
        finding += f"; {reached(best, ends)}"
    finding, (wide, tall) = f"{data}: {finding}", (9, 5.4)
    figure = Figure(figsize=(wide, tall))
    heading(figure, finding, provenance)
    top, bottom = margins(finding, provenance, wide)
    left, bottom = 0.75, bottom + 0.55  # inches; fixed, as the labels are placed by the axes' measures
    axes = figure.add_axes((left / wide, bottom / tall, 1 - (left + EDGE) / wide, 1 - (top + bottom) / tall))
    drawn = [accuracy for _, accuracy in ends.values()]
    styles = zip(*map(itertools.cycle, SERIES), strict=False)
    for (recipe, of_recipe), (color, marker, line) in zip(runs.items(), styles, strict=False):
        minutes, accuracies = curve(fastest(of_recipe))
        end_minutes, end_accuracy = ends[recipe]
        drawn.extend(accuracies)
        axes.plot(minutes, np.clip(accuracies, *LIMITS), color=color, ls=line, lw=1.6)
        inside = "white" if lacks_bfloat16(fastest(of_recipe)) else color
        end = {"color": color, "marker": marker, "ms": 9, "markerfacecolor": inside, "ls": "", "zorder": 4}
        axes.plot(end_minutes, np.clip(end_accuracy, *LIMITS), label=recipe, **end)
        last = [accuracies[-1], end_accuracy]
        axes.plot([minutes[-1], end_minutes], np.clip(last, *LIMITS), color=color, lw=0.8, alpha=0.6)
    axes.set(xlabel="minutes (logarithmic)", ylabel="accuracy (logit scale)", xscale="log")
    accuracy_axis(axes, drawn)
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * (high / low) ** 0.28)  # room for the labels
    ticks = [digit * 10.0**power for power in range(-2, 5) for digit in (1, 2, 5)]
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(True)
    label_ends(axes, ends)
    save(figure, path)


def reached(recipe: str, ends: dict) -> str:
    """What a recipe reaches, in words; ends: recipe -> (minutes, test accuracy)."""
    minutes, accuracy = ends[recipe]
    return f"{recipe} {percent(accuracy)} in {duration(60 * minutes)}"


def finished(runs: list[dict]) -> tuple[float, float]:
    """Minutes of the fastest and mean test accuracy of all finished runs of a recipe."""
    return fastest(runs)["wall_seconds"] / 60, float(np.mean([run["test_accuracy"] for run in runs]))


def fastest(runs: list[dict]) -> dict:
    """The run that took the least time."""
    return min(runs, key=lambda run: run["wall_seconds"])


def curve(run: dict) -> tuple[np.ndarray, np.ndarray]:
    """Minutes and best validation accuracy so far, each (epochs,)."""
    seconds, accuracies = np.array(run["curve"]).T
    return seconds / 60, np.maximum.accumulate(accuracies)


def beside(n: int) -> list[tuple[tuple[int, int], str, str]]:
    """Places of a label around its marker: offset in points, and which part of the label lies there.

    Args:
        n: places to the right on either side of the marker's height, for markers that lie on each other.
    """
    around = [((9, 0), "left", "center"), ((0, 9), "center", "bottom")]
    around += [((0, -9), "center", "top"), ((-9, 0), "right", "center")]
    farther = [((9, side * 2 * TEXT * row), "left", "center") for row in range(1, n + 1) for side in (1, -1)]
    return around + farther


def label_ends(axes, ends: dict) -> None:
    """Write each recipe with its accuracy and time beside its end.

    A label stands where it hides no marker and no other label, and as little of the lines as can be, near its end.
    """
    renderer = FigureCanvasAgg(axes.figure).get_renderer()
    lines = np.concatenate([along(axes.transData.transform(line.get_xydata())) for line in axes.lines])
    points = [(minutes, np.clip(accuracy, *LIMITS)) for minutes, accuracy in ends.values()]
    markers = [Bbox.from_extents(*(center - 8), *(center + 8)) for center in axes.transData.transform(points)]
    taken = []
    for which in np.argsort([-minutes for minutes, _ in points]):  # the last ends have the most room
        recipe, (minutes, accuracy) = list(ends.items())[which]
        text = f"{recipe} {percent(accuracy, 2 if accuracy > HIGH else 0)}, {duration(60 * minutes)}"
        others, tried = markers[:which] + markers[which + 1 :], []
        for offset, side, height in beside(len(points)):
            look = {"ha": side, "va": height, "path_effects": OUTLINE, "annotation_clip": False, "zorder": 5}
            label = axes.annotate(text, points[which], xytext=offset, textcoords="offset points", **look)
            box = label.get_window_extent(renderer)
            cost = 10_000 * box.count_overlaps([*others, *taken]) + box.count_contains(lines)
            cost += 100 * (abs(offset[1]) // TEXT)  # away from its marker
            if not (axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max)):
                cost += 10_000
            tried.append((cost, len(tried), label, box))
        *_, label, box = min(tried)
        taken.append(box)
        for *_, other, _ in tried:
            if other is not label:
                other.remove()


def along(path: np.ndarray) -> np.ndarray:
    """Points (m, 2) along a path (n, 2), twenty of each of its parts."""
    steps = np.linspace(0, len(path) - 1, 20 * len(path))
    return np.stack([np.interp(steps, np.arange(len(path)), path[:, axis]) for axis in (0, 1)], axis=1)
