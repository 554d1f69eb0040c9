"""Plot of a sweep."""

from pathlib import Path

from matplotlib.figure import Figure

from pipeline.console import percent
from pipeline.style import BLUE, GREY, SMALL, heading, save


def draw(groups: list[dict], title: str, path: Path) -> None:
    """Dot plot: a row per setting, best on top, with every seed's validation accuracy, their mean and deviation.

    Args:
        groups: of plan.sweep.results().
        title: what all runs have in common.
    """
    figure = Figure((8, 2 + 0.4 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for row, group in enumerate(groups):
        accuracies = [run["validation_accuracy"] for run in group["runs"]]
        if group["stopped_after"] is not None:
            axes.plot(group["mean"], row, "D", color=GREY, fillstyle="none")
            continue
        axes.plot(accuracies, [row] * len(accuracies), "o", color=GREY, markersize=5)
        axes.errorbar(group["mean"], row, xerr=group["std"] or 0, fmt="D", color=BLUE, capsize=4)
    axes.plot([], [], "o", color=GREY, markersize=5, label="one seed")
    axes.plot([], [], "D-", color=BLUE, label="mean ± standard deviation")
    if any(group["stopped_after"] is not None for group in groups):
        axes.plot([], [], "D", color=GREY, fillstyle="none", label="when it was stopped early")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=SMALL)
    axes.set_yticks(range(len(groups)), [tick(group) for group in groups])
    axes.set(xlabel="validation accuracy", ylim=(len(groups) - 0.4, -0.6))
    axes.grid(axis="x")
    best = groups[0]
    heading(figure, f"{best['label']} is best on validation: {percent(best['mean'])}", title)
    save(figure, path)


def tick(group: dict) -> str:
    """A setting's name, with the epochs of a trial that was stopped early."""
    if group["stopped_after"] is None:
        return group["label"]
    return f"{group['label']} ({group['stopped_after']} epochs)"
