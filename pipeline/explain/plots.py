"""Plots of heat maps and of their faithfulness; nothing is computed here but the layout."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pipeline.explain.faithfulness import ALIKE
from pipeline.style import (
    AMBER,
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LIGHT,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    heading,
    save,
    show,
    title_lines,
)

# An example on a sheet: raw image (h, w, c), caption, and its heat maps (h, w) in [0, 1].
Example = tuple[np.ndarray, str, list[np.ndarray]]
CELL, CAPTION = 1.35, 0.4  # inches: side of an image, height of the caption above it
STYLES = {
    "grad-cam": (BLUE, "o"),
    "grad-cam++": (SKY, "s"),
    "hires-cam": (GREEN, "^"),
    "layer-cam": (ORANGE, "D"),
    "eigen-cam": (PURPLE, "v"),
    "score-cam": (AMBER, "P"),
    "occlusion": (BLACK, "X"),
    "random": (GREY, "None"),
    "random pixels": (GREY, "x"),
    "gaussian": (GREY, "."),
}


def sheet(groups: dict[str, list[str]], rows: list[list[Example | str]], what: str, title: str, path: Path) -> None:
    """Sheet of examples: image, and a heat map and an overlay for each score that was explained.

    Args:
        groups: column head of an example's image -> names of the scores that its heat maps explain; one entry for
            each of the examples side by side.
        rows: an Example per group, or a text in place of a missing one.
        what, title: what the plot shows, and what it was made on.
    """
    widths = [CELL * (1 + 2 * len(scores)) for scores in groups.values()]
    width = 0.9 + sum(widths) + 0.4 * len(groups)
    top = 0.6 + 0.2 * len(title_lines(what, title, width))  # inches, of all titles
    height = top + 0.1 + len(rows) * (CELL + CAPTION)
    figure = Figure(figsize=(width, height))
    heading(figure, what, title, y=1 - 0.1 / height)

    def cell(left: float, bottom: float, column: int):
        """Axes of an image, one in a line of them that begins at (left, bottom) in inches."""
        side = 0.96 * CELL
        axes = figure.add_axes(((left + column * CELL) / width, bottom / height, side / width, side / height))
        axes.axis("off")
        return axes

    left, drawn = 0.1, None
    for group, (head, scores) in enumerate(groups.items()):
        heads = [head]
        for score in scores:
            heads += [f"map for\n{score}", "overlay"]
        for column, text in enumerate(heads):
            x = (left + (column + 0.5) * CELL) / width
            figure.text(x, 1 - (top - 0.05) / height, text, ha="center", va="bottom", fontsize=SMALL, color=GREY)
        for line, row in enumerate(rows):
            cells = partial(cell, left, height - top - (line + 1) * (CELL + CAPTION))
            if isinstance(row[group], str):
                cells(0).text(0, 0.5, row[group], va="center", fontsize=SMALL, color=GREY)
            else:
                drawn = draw_example(cells, *row[group])
        left += widths[group] + 0.4
    if drawn:
        tall = min(4.0, height - top - CAPTION)
        bottom = height - top - CAPTION - tall
        bar = figure.add_axes(((left - 0.25) / width, bottom / height, 0.15 / width, tall / height))
        figure.colorbar(drawn, cax=bar).set_label("evidence (1: maximum of the map)")
    save(figure, path)


def draw_example(cells: Callable, image: np.ndarray, caption: str, maps: list[np.ndarray]):
    """Draw the image, and for each heat map the map and its overlay, from left to right; returns the last map's artist.

    Args:
        cells: column -> axes.
    """
    first = cells(0)
    show(first, image)
    first.set_title(caption, fontsize=SMALL, loc="left", pad=3, parse_math=False)
    drawn = None
    for index, heat in enumerate(maps):
        alone, overlay = cells(1 + 2 * index), cells(2 + 2 * index)
        drawn = alone.imshow(heat, cmap="inferno", vmin=0, vmax=1)
        if not heat.any():
            center = {"ha": "center", "va": "center", "transform": alone.transAxes}
            alone.text(0.5, 0.5, "zero:\nno positive\nevidence", fontsize=SMALL, color="white", **center)
        show(overlay, image)
        overlay.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.7 * heat)
    return drawn


def faithfulness(rows: list[dict], curves: dict[tuple[str, str], tuple], title: str, path: Path) -> None:
    """Deletion curves, insertion curves and model randomization test of one model, and the gains of all rows.

    Args:
        rows: of the model's table by benchmarks/faithfulness.py, one per method and layer.
        curves: (method, layer) -> mean deletion and insertion curve, each (points,) from 0 to 100 % of the pixels.
    """
    figure = Figure(figsize=(13, max(9.5, 2.2 + 0.23 * len(rows))), layout="constrained")
    heading(figure, "Faithfulness of explanations", title)
    names = ("deletion", "insertion", "sanity")
    panels = figure.subplot_mosaic([[name, "gains"] for name in names], width_ratios=(1, 1.5))
    deletion, insertion, sanity = (panels[name] for name in names)
    for row in best_layers(rows):
        style = line_style(row)
        for axes, curve in zip((deletion, insertion), curves[row["method"], row["layer"]], strict=True):
            axes.plot(np.linspace(0, 100, len(curve)), curve, **style)
        # "likeness_40_percent_random" -> rank correlation; NaN for a control
        likeness = {key: value for key, value in row.items() if key.startswith("likeness") and not np.isnan(value)}
        if likeness:
            percent = [int(key.split("_")[1]) for key in likeness]
            sanity.plot(percent, list(likeness.values()), **style)
    probability = "probability of the\npredicted class"
    deletion.set(xlabel="pixels deleted, most important first (%)", ylabel=probability)
    deletion.set_title("Deletion: lower is better")
    insertion.set(xlabel="pixels inserted, most important first (%)", ylabel=probability)
    insertion.set_title("Insertion: higher is better")
    sanity.set_xlabel("layers randomized from the top (%; 0: the logits alone)")
    sanity.set_ylabel("rank correlation\nwith the original map")
    sanity.set_title("Model randomization: has to end in the grey band")
    sanity.axhline(0, color=GREY, lw=0.8)
    sanity.axhspan(-ALIKE, ALIKE, color=LIGHT, lw=0, zorder=0)
    sanity.set_ylim(-1.05, 1.05)
    for axes in (deletion, insertion, sanity):
        axes.grid(True)
    handles, labels = deletion.get_legend_handles_labels()
    about = "curves: best layer of each method"
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=SMALL, title=about)
    draw_gains(panels["gains"], rows)
    save(figure, path)


def best_layers(rows: list[dict]) -> list[dict]:
    """Row of each method with the largest difference of insertion and deletion area, in the order of STYLES."""
    best = {}
    for row in sorted(rows, key=lambda row: row["deletion_area"] - row["insertion_area"]):
        best.setdefault(row["method"], row)
    return [best[method] for method in STYLES if method in best]


def label_of(row: dict) -> str:
    """Method and layer of a row, as axes and legends name them."""
    return f"{row['method']} {row['layer']}".strip()


def line_style(row: dict) -> dict:
    """Matplotlib's line properties of a row's method; controls are grey and broken."""
    color, marker = STYLES[row["method"]]
    line = "--" if color == GREY else "-"
    if marker == "None":
        line = ":"
    return {"color": color, "marker": marker, "ms": 5, "lw": 1.4, "ls": line, "label": label_of(row)}


def draw_gains(axes, rows: list[dict]) -> None:
    """Deletion and insertion gain of each row over the random control, with 95 % intervals, best on top."""
    rows = [row for row in rows if row["method"] != "random"]
    rows.sort(key=lambda row: row["insertion_area"] - row["deletion_area"])
    places = np.arange(len(rows))
    for what, color, marker, move in (("deletion", BLUE, "o", 0.15), ("insertion", ORANGE, "s", -0.15)):
        gain = [row[f"{what}_gain_over_random"] for row in rows]
        error = [row[f"{what}_gain_over_random_error"] for row in rows]
        axes.errorbar(gain, places + move, xerr=error, fmt=marker, color=color, ms=4, lw=1.2, label=what)
    verdicts = {"yes": "", "no": " (no better than random)"}
    verdict = [verdicts.get(row["beats_random"], f" (better {row['beats_random']})") for row in rows]
    labels = [label_of(row) + text for row, text in zip(rows, verdict, strict=True)]
    axes.set_yticks(places, labels, fontsize=SMALL)
    for label, text in zip(axes.get_yticklabels(), verdict, strict=True):
        label.set_color(GREY if text else BLACK)
    axes.axvline(0, color=GREY, lw=0.8)
    axes.set(xlabel="gain in area over smooth random maps, 95 % interval", ylim=(-0.7, len(rows) - 0.3))
    axes.set_title("Above 0: more faithful than chance")
    axes.legend(loc="best")
    axes.grid(True)
