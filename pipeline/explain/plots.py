"""Heat maps and their faithfulness as pictures. Computes nothing but the layout."""

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
    """Examples side by side: image, and a map and an overlay for each score that was explained.

    Args:
        groups: for each of the examples in a row, the head of its image, and the names of the scores that its maps
            explain.
        rows: an Example per group, or a text in the place of one that there is none of.
        what, title: what the picture shows, and what it was made on.
    """
    widths = [1 + 2 * len(names) for names in groups.values()]
    width = 0.9 + sum(widths) * CELL + 0.4 * len(groups)
    top = 0.6 + 0.2 * len(title_lines(what, title, width))  # inches, of all titles
    height = top + 0.1 + len(rows) * (CELL + CAPTION)
    figure = Figure(figsize=(width, height))
    heading(figure, what, title, y=1 - 0.1 / height)
    shown, left = None, 0.1
    for group, (head_of_image, names) in enumerate(groups.items()):
        heads = [head_of_image, *(head for name in names for head in (f"map for\n{name}", "overlay"))]
        for column, head in enumerate(heads):
            x = (left + (column + 0.5) * CELL) / width
            figure.text(x, 1 - (top - 0.05) / height, head, ha="center", va="bottom", fontsize=SMALL, color=GREY)
        for line, row in enumerate(rows):
            bottom = height - top - (line + 1) * (CELL + CAPTION)

            def cell(column, bottom=bottom, left=left):
                side = 0.96 * CELL
                axes = figure.add_axes(((left + column * CELL) / width, bottom / height, side / width, side / height))
                axes.axis("off")
                return axes

            if isinstance(row[group], str):
                cell(0).text(0, 0.5, row[group], va="center", fontsize=SMALL, color=GREY)
                continue
            image, caption, maps = row[group]
            first = cell(0)
            show(first, image)
            first.set_title(caption, fontsize=SMALL, loc="left", pad=3, parse_math=False)
            for index, heat in enumerate(maps):
                map_, overlay = cell(1 + 2 * index), cell(2 + 2 * index)
                shown = map_.imshow(heat, cmap="inferno", vmin=0, vmax=1)
                if not heat.any():
                    map_.text(0.5, 0.5, "zero:\nno positive\nevidence", transform=map_.transAxes, fontsize=SMALL)
                    map_.texts[0].set(color="white", ha="center", va="center")
                show(overlay, image)
                overlay.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.7 * heat)
        left += widths[group] * CELL + 0.4
    if shown:
        tall = min(4.0, height - top - CAPTION)
        bar = figure.add_axes(
            ((left - 0.25) / width, (height - top - CAPTION - tall) / height, 0.15 / width, tall / height)
        )
        figure.colorbar(shown, cax=bar).set_label("evidence (1: that map's maximum)")
    save(figure, path)


def faithfulness(rows: list[dict], curves: dict[tuple[str, str], tuple], title: str, path: Path) -> None:
    """Deletion curves, insertion curves and sanity check of a model below each other, gains beside them.

    Args:
        rows: of the model's table, one per method and layer.
        curves: (method, layer) -> mean deletion and insertion curve, each (points,) from 0 to 100 % of the pixels.
    """
    figure = Figure(figsize=(13, max(9.5, 2.2 + 0.23 * len(rows))), layout="constrained")
    heading(figure, "Faithfulness of explanations", title)
    names = ("deletion", "insertion", "sanity")
    panels = figure.subplot_mosaic([[name, "gains"] for name in names], width_ratios=(1, 1.5))
    deletion, insertion, sanity = (panels[name] for name in names)
    for row in best_layers(rows):
        style = style_of(row)
        for axes, curve in zip((deletion, insertion), curves[row["method"], row["layer"]], strict=True):
            axes.plot(np.linspace(0, 100, len(curve)), curve, **style)
        likeness = {key: value for key, value in row.items() if key.startswith("likeness") and value == value}
        if likeness:
            shares = [int(key.split("_")[1]) for key in likeness]
            sanity.plot(shares, list(likeness.values()), **style)
    probability = "probability of the\npredicted class"
    deletion.set(xlabel="pixels deleted, most important first (%)", ylabel=probability)
    deletion.set_title("Deletion: the lower the better")
    insertion.set(xlabel="pixels inserted, most important first (%)", ylabel=probability)
    insertion.set_title("Insertion: the higher the better")
    sanity.set(xlabel="layers randomized from the top (%; 0: the logits)", ylabel="rank correlation\nwith the map")
    sanity.set_title("Sanity: likeness has to end in the band")
    sanity.axhline(0, color=GREY, lw=0.8)
    sanity.axhspan(-ALIKE, ALIKE, color=LIGHT, lw=0, zorder=0)  # where it has to end
    for axes in (deletion, insertion, sanity):
        axes.grid(True)
    sanity.set_ylim(-1.05, 1.05)
    lines = deletion.get_legend_handles_labels()
    about = "curves: best layer of each method"
    figure.legend(*lines, loc="outside lower center", ncols=4, fontsize=SMALL, title=about)
    draw_gains(panels["gains"], rows)
    save(figure, path)


def best_layers(rows: list[dict]) -> list[dict]:
    """Of each method the row with the largest insertion area less its deletion area."""
    best = {}
    for row in sorted(rows, key=lambda row: row["deletion_area"] - row["insertion_area"]):
        best.setdefault(row["method"], row)
    return [best[method] for method in STYLES if method in best]


def style_of(row: dict) -> dict:
    """Line style of a method; controls are grey and broken."""
    color, marker = STYLES[row["method"]]
    control = color == GREY
    label = f"{row['method']} {row['layer']}".strip()
    return {
        "color": color,
        "marker": marker,
        "ms": 5,
        "lw": 1.4,
        "ls": ":" if marker == "None" else "--" if control else "-",
        "label": label,
    }


def draw_gains(axes, rows: list[dict]) -> None:
    """Deletion and insertion gain over the random control of every row, with 95 % intervals, best first."""
    rows = sorted(
        (row for row in rows if row["method"] != "random"), key=lambda row: row["insertion_area"] - row["deletion_area"]
    )
    places = np.arange(len(rows))
    for what, color, marker, move in (("deletion", BLUE, "o", 0.15), ("insertion", ORANGE, "s", -0.15)):
        gain = [row[f"{what}_gain_over_random"] for row in rows]
        error = [row[f"{what}_gain_over_random_error"] for row in rows]
        axes.errorbar(gain, places + move, xerr=error, fmt=marker, color=color, ms=4, lw=1.2, label=what)
    labels = [f"{row['method']} {row['layer']}".strip() for row in rows]
    verdicts = {"yes": "", "no": " (no better than random)"}
    marks = [verdicts.get(row["beats_random"], f" (better {row['beats_random']})") for row in rows]
    axes.set_yticks(places, [label + mark for label, mark in zip(labels, marks, strict=True)], fontsize=SMALL)
    for text, mark in zip(axes.get_yticklabels(), marks, strict=True):
        text.set_color(GREY if mark else BLACK)
    axes.axvline(0, color=GREY, lw=0.8)
    axes.set(xlabel="gain in area over smooth random maps, 95 % interval", ylim=(-0.7, len(rows) - 0.3))
    axes.set_title("Above 0: more faithful than chance")
    axes.legend(loc="best")
    axes.grid(True)
