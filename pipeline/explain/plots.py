"""Plots of heat maps and of their faithfulness; nothing is computed here but the layout and the overlays."""

import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from pipeline.explain.faithfulness import CONTROLS, REMOVALS
from pipeline.style import BLACK, BLUE, GREEN, GREY, LIGHT, ORANGE, SMALL, TEXT, heading, margins, save, show

# An example on a sheet: raw image (h, w, c), caption, and its heat maps (h, w) in [0, 1].
Example = tuple[np.ndarray, str, list[np.ndarray]]
# An example of the overview: raw image (h, w, c), the model's answer, what the image is, heat map (h, w) in [0, 1].
Answered = tuple[np.ndarray, str, str, np.ndarray]
CELL, CAPTION = 1.35, 0.4  # inches: side of an image, height of the caption above it
HEADS = 0.5  # inches: height of a sheet's column heads
ROWS_PER_PAGE = 5
LARGE, LINE = 1.75, 0.18  # inches: side of an image on a page, height of a line of the caption above it
SHARPNESS = 8  # pixels of an overlay per pixel of the image
STYLES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (BLACK, "D"))  # of the methods of a faithfulness plot


def sheet(groups: dict[str, list[str]], rows: list[list[Example | str]], what: str, title: str, path: Path) -> None:
    """Sheet of examples: image, and a heat map and an overlay for each score that was explained.

    The column heads are repeated above every ROWS_PER_PAGE rows: a long sheet is read in parts.

    Args:
        groups: column head of an example's image -> names of the scores that its heat maps explain; one entry for
            each of the examples side by side.
        rows: an Example per group, or a text in place of a missing one.
        what, title: what the plot shows, and what it was made on.
    """
    widths = [CELL * (1 + 2 * len(scores)) for scores in groups.values()]
    width = 0.9 + sum(widths) + 0.4 * len(groups)
    top, foot = margins(what, title, width)
    pages = -(-len(rows) // ROWS_PER_PAGE)
    height = top + foot + pages * HEADS + len(rows) * (CELL + CAPTION)
    figure = Figure(figsize=(width, height))
    heading(figure, what, title)

    def cell(left: float, bottom: float, column: int):
        """Axes of an image, one in a line of them that begins at (left, bottom) in inches."""
        side = 0.96 * CELL
        axes = figure.add_axes(((left + column * CELL) / width, bottom / height, side / width, side / height))
        axes.axis("off")
        return axes

    drawn, bottom = None, height - top
    for line, row in enumerate(rows):
        if line % ROWS_PER_PAGE == 0:
            bottom -= HEADS
            column_heads(figure, groups, widths, bottom)
        bottom -= CELL + CAPTION
        left = 0.1
        for of_group, group_width in zip(row, widths, strict=True):
            cells = partial(cell, left, bottom)
            if isinstance(of_group, str):
                cells(0).text(0, 0.5, of_group, va="center", fontsize=SMALL, color=GREY)
            else:
                drawn = draw_example(cells, *of_group)
            left += group_width + 0.4
    if drawn:
        tall = min(4.0, height - top - HEADS - CAPTION)
        place = (width - 0.85) / width, (height - top - HEADS - CAPTION - tall) / height
        bar = figure.add_axes((*place, 0.15 / width, tall / height))
        figure.colorbar(drawn, cax=bar).set_label("evidence (1: maximum of the map)")
    save(figure, path)


def column_heads(figure, groups: dict[str, list[str]], widths: list[float], bottom: float) -> None:
    """Write the heads of a sheet's columns, their lower edge `bottom` inches above that of the figure."""
    width, height = figure.get_size_inches()
    left = 0.1
    for (head, scores), group_width in zip(groups.items(), widths, strict=True):
        heads = [head]
        for score in scores:
            heads += [f"map for\n{score}", "overlay"]
        for column, text in enumerate(heads):
            x = (left + (column + 0.48) * CELL) / width
            figure.text(x, (bottom + 0.02) / height, text, ha="center", va="bottom", fontsize=SMALL, color=GREY)
        left += group_width + 0.4


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


def page(heads: list[str], examples: list[Example], what: str, title: str, path: Path) -> None:
    """Page of a few large examples, two side by side: the image, and each heat map over it.

    Args:
        heads: of the heat maps of an example.
    """
    columns = min(2, len(examples))
    rows = -(-len(examples) // columns)
    each = LARGE * (1 + len(heads))  # inches, of an example
    width = 0.2 + columns * (each + 0.3)
    top, foot = margins(what, title, width)
    captions = [wrapped(caption, each) for _, caption, _ in examples]
    tall = LARGE + 0.3 + LINE * max(len(lines) for lines in captions)
    height = top + foot + rows * tall
    figure = Figure(figsize=(width, height))
    heading(figure, what, title)
    for index, (image, _, maps) in enumerate(examples):
        line, column = divmod(index, columns)
        left, bottom = 0.15 + column * (each + 0.3), height - top - (line + 1) * tall
        place = left / width, (bottom + LARGE + 0.15) / height
        figure.text(*place, "\n".join(captions[index]), va="bottom", fontsize=TEXT, parse_math=False)
        pictures = {"what the model sees": smoothly(image)}
        pictures |= {head: overlay(image, heat) for head, heat in zip(heads, maps, strict=True)}
        for place, (head, picture) in enumerate(pictures.items()):
            side = 0.96 * LARGE
            axes = figure.add_axes(
                ((left + place * LARGE) / width, bottom / height, side / width, side / height), anchor="NW"
            )
            show(axes, picture)
            axes.set_title(head, fontsize=SMALL, color=GREY, loc="left", pad=2)
    save(figure, path)


def wrapped(caption: str, inches: float) -> list[str]:
    """The lines of a caption, broken where they are wider than an example."""
    return [part for line in caption.split("\n") for part in textwrap.wrap(line, int(12 * inches))]


def overview(examples: list[Answered], finding: str, provenance: str, path: Path) -> None:
    """A few large examples, three side by side: the image, and the heat map over it.

    Args:
        finding, provenance: title and footer.
    """
    columns = min(3, len(examples))
    rows = -(-len(examples) // columns)
    side, gap, caption = 1.8, 0.35, 0.65  # inches
    wide = 0.15 + columns * (2 * side + gap)
    top, bottom = margins(finding, provenance, wide)
    tall = top + bottom + rows * (side + caption)
    figure = Figure(figsize=(wide, tall))
    heading(figure, finding, provenance)
    for index, (image, answer, truth, heat) in enumerate(examples):
        line, column = divmod(index, columns)
        left, below = 0.12 + column * (2 * side + gap), tall - top - (line + 1) * (side + caption) + 0.08
        answered = {"fontsize": TEXT, "weight": "bold", "va": "bottom", "parse_math": False}
        figure.text(left / wide, (below + side + 0.25) / tall, answer, **answered)
        pictures = {truth: smoothly(image), "evidence for the answer": overlay(image, heat)}
        for place, (head, picture) in enumerate(pictures.items()):
            corner = (left + place * side) / wide, below / tall
            axes = figure.add_axes((*corner, 0.97 * side / wide, 0.97 * side / tall), anchor="SW")
            show(axes, picture)
            axes.set_title(head, fontsize=SMALL, color=GREY, loc="left", pad=4)
    save(figure, path)


def smoothly(image: np.ndarray) -> np.ndarray:
    """Image (h, w, 1 or 3) of raw pixels, enlarged SHARPNESS times without steps, (H, W, 3) uint8."""
    pixels = Image.fromarray(np.squeeze(image).astype(np.uint8)).convert("RGB")
    return np.asarray(pixels.resize((SHARPNESS * pixels.width, SHARPNESS * pixels.height), Image.Resampling.BICUBIC))


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Heat map (h, w) in [0, 1] over its image, which is grey and darker where the map is low; as smoothly()."""
    large = smoothly(image)
    size = large.shape[1::-1]
    heat = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))
    heat = np.clip(heat, 0, 1)[:, :, None]
    grey = large.mean(axis=2, keepdims=True)
    # Without the colormap's darkest part, and a little stronger than the heat, weak evidence is seen on black, too.
    color = 255 * matplotlib.colormaps["inferno"](0.25 + 0.75 * heat[:, :, 0])[:, :, :3]
    strength = 0.8 * heat**0.75
    return ((1 - strength) * grey + strength * color).astype(np.uint8)


def faithfulness(rows: list[dict], title: str, path: Path) -> None:
    """Gains of the explanations over each control, per model: deletion and insertion, under each way of removal.

    Args:
        rows: of the table by benchmarks/faithfulness.py, those of controls left out; models and methods are named as
            they are to be read.
    """
    models = list(dict.fromkeys(row["model"] for row in rows))
    places = [(model, control) for model in models for control in CONTROLS]
    figure = Figure(figsize=(11, 2 + 2 * 0.3 * len(places)), layout="constrained")
    provenance = f"With 95 % intervals; an explanation beats a control where its interval lies right of 0; {title}"
    heading(figure, more_faithful(rows, places), provenance)
    panels = figure.subplots(2, 2, sharey=True)
    for line, removal in zip(panels, REMOVALS, strict=True):
        for axes, measure in zip(line, ("deletion", "insertion"), strict=True):
            draw_gains(axes, rows, places, f"{measure}_gain_over", removal)
            axes.set_title(f"{measure.capitalize()}, {REMOVALS[removal]}")
    for axes in panels[:, 0]:
        names = [f"{model}: {CONTROLS[control]}" for model, control in places]
        axes.set_yticks(range(len(places)), names, fontsize=SMALL)
        axes.set_ylim(len(places) - 0.4, -0.6)
    # Beside the title: in a panel it would hide points.
    key = figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="upper right", fontsize=SMALL)
    key.set_in_layout(False)
    save(figure, path)


def more_faithful(rows: list[dict], places: list[tuple[str, str]]) -> str:
    """In how many comparisons each method beats the controls, in words; places: (model, control)."""
    won, compared = {}, 0
    measures = [f"{measure}_gain_over" for measure in ("deletion", "insertion")]
    for row in rows:
        controls = [control for model, control in places if model == row["model"]]
        names = [f"{start}_{one}_{removal}" for start in measures for one in controls for removal in REMOVALS]
        beaten = sum(row[name] > row[f"{name}_error"] for name in names)
        won[row["method"]] = won.get(row["method"], 0) + beaten
        if row["method"] == rows[0]["method"]:
            compared += len(names)
    first, *others = sorted(won, key=won.get, reverse=True)
    text = f"{first} beats maps that know nothing of the image in {won[first]} of {compared} comparisons"
    return ", ".join([text, *(f"{method} in {won[method]}" for method in others)])


def draw_gains(axes, rows: list[dict], places: list[tuple[str, str]], measure: str, removal: str) -> None:
    """Gain of each row over each control with its 95 % interval; above 0 it is more faithful than the control."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    for number, method in enumerate(methods):
        of_model = {row["model"]: row for row in rows if row["method"] == method}
        shift = 0.3 * (number - (len(methods) - 1) / 2)
        shown = [(line, place) for line, place in enumerate(places) if place[0] in of_model]
        names = [f"{measure}_{control}_{removal}" for _, (_, control) in shown]
        gains = [of_model[model][name] for (_, (model, _)), name in zip(shown, names, strict=True)]
        errors = [of_model[model][f"{name}_error"] for (_, (model, _)), name in zip(shown, names, strict=True)]
        color, marker = STYLES[number]
        lines = [line + shift for line, _ in shown]
        axes.errorbar(gains, lines, xerr=errors, fmt=marker, color=color, ms=5, lw=1.4, label=method)
    axes.axvline(0, color=GREY, lw=1)
    for line in range(len(CONTROLS), len(places), len(CONTROLS)):  # between models
        axes.axhline(line - 0.5, color=LIGHT, lw=1)
    axes.set_xlabel("gain over the control (area between the curves)")
    axes.grid(True, axis="x")
