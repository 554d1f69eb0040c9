"""Plot of a sweep."""

from pathlib import Path

from matplotlib.figure import Figure

from pipeline.console import percent
from pipeline.style import BLUE, GREY, SMALL, heading, save


def draw(groups: list[dict], title: str, path: Path) -> None:
    """Dot plot: a row per setting, best on top, with every seed's validation accuracy, their mean and deviation.

    Args:
        groups: of plan.sweep.results(), best first.
        title: what all runs have in common.
    """
    figure = Figure((8, 2 + 0.4 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for row, group in enumerate(groups):
        accuracies = [run["validation_accuracy"] for run in group["runs"]]
        axes.plot(accuracies, [row] * len(accuracies), "o", color=GREY, markersize=5)
        axes.errorbar(group["mean"], row, xerr=group["std"] or 0, fmt="D", color=BLUE, capsize=4)
    axes.plot([], [], "o", color=GREY, markersize=5, label="one seed")
    axes.plot([], [], "D-", color=BLUE, label="mean ± standard deviation")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=SMALL)
    axes.set_yticks(range(len(groups)), [group["label"] for group in groups])
    axes.set(xlabel="validation accuracy", ylim=(len(groups) - 0.4, -0.6))
    axes.grid(axis="x")
    best = groups[0]
    heading(figure, f"{best['label']} is best on validation: {percent(best['mean'])}", title)
    save(figure, path)
