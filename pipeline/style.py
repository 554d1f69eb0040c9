"""Style of every plot: colors, sizes, font, title, images, and how a file is written.

Color never encodes anything alone: a marker, a line style or a label says it, too, so that a plot can be read in
grey. Text is black or grey, nine points at least, so that it can be read at half size.
"""

import textwrap
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure

from pipeline.atomic_io import replacing

# Okabe & Ito's colors (2008), told apart by color-blind readers.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, AMBER, BLACK = "#56B4E9", "#E69F00", "#000000"
# Beside these: a dark purple and a dark blue, and two greys, for what stands back and for bands.
NAVY, GREY, LIGHT = "#003B5C", "#555555", "#D9D9D9"
# Colors, markers and lines for any number of series: as pairs colors and markers repeat only after all 56.
SERIES = (
    (BLUE, ORANGE, GREEN, PURPLE, BLACK, SKY, AMBER),
    ("o", "s", "^", "D", "v", "P", "X", "*"),
    ("-", "--", ":", "-.", (0, (8, 2, 1, 2, 1, 2))),
)
TITLE, TEXT, SMALL = 13, 10, 9  # points
TICKS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)  # of accuracies on a logit axis
LIMITS = (0.02, 0.9995)  # of an accuracy axis; what lies beyond is drawn at its end
DARK = 0.179  # luminance below which white text contrasts more than black (WCAG 2.2)
EDGE = 0.1  # inches between a figure's edge and its title or footer

matplotlib.rcParams.update(
    {
        "font.family": "DejaVu Sans",  # comes with Matplotlib and has every sign that the plots use
        "font.size": TEXT,
        "axes.titlesize": TEXT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.alpha": 0.3,
        "legend.frameon": False,
    }
)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG at 120 dots per inch, atomically."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, bbox_inches="tight", facecolor="white")


def heading(figure, finding: str, provenance: str) -> None:
    """Title and footer of a figure, wrapped to its width: what it shows, and small what it was made on."""
    width, height = figure.get_size_inches()
    place = {"x": EDGE / width, "ha": "left"}
    top, bottom = {}, {}
    if figure.get_layout_engine() is None:  # else the layout places them, and the axes between them
        top, bottom = {"y": 1 - EDGE / height}, {"y": EDGE / 2 / height}
    title = "\n".join(title_lines(finding, width))
    footer = "\n".join(footer_lines(provenance, width))
    figure.suptitle(title, fontsize=TITLE, weight="bold", **place, **top)
    figure.supxlabel(footer, fontsize=SMALL, color=GREY, **place, **bottom)


def title_lines(finding: str, inches: float) -> list[str]:
    """Lines of a title that fit a width; one that is too long is broken after a semicolon first."""
    columns = int(9 * inches)  # letters of a title: a little more than nine an inch
    if len(finding) <= columns:
        return [finding]
    clauses = finding.replace("; ", ";\n").splitlines()
    return [line for clause in clauses for line in balanced(clause, columns)]


def footer_lines(provenance: str, inches: float) -> list[str]:
    """Lines of a footer that fit a width."""
    return textwrap.wrap(provenance, int(14 * inches))


def margins(finding: str, provenance: str, inches: float) -> tuple[float, float]:
    """Inches that heading() needs at the top and at the bottom of a figure of a width."""
    lines, small = title_lines(finding, inches), footer_lines(provenance, inches)
    return 2 * EDGE + 0.23 * len(lines), EDGE + 0.16 * len(small)


def spread(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Places (n,) of labels: the nearest to the wanted ones (n,) that are at least `gap` apart."""
    from sklearn.isotonic import isotonic_regression  # slow to import, and only this needs it

    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(order))
    places = np.empty(len(order))
    places[order] = isotonic_regression(np.asarray(wanted, float)[order] - steps) + steps
    return places


def text_color(background) -> str:
    """Black or white, whichever contrasts more with a color (relative luminance of WCAG 2.2)."""
    value = np.asarray(to_rgb(background))
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return "white" if linear @ [0.2126, 0.7152, 0.0722] < DARK else BLACK


def balanced(text: str, columns: int) -> list[str]:
    """Text wrapped to as few lines of at most `columns` letters as possible, none much shorter than the others."""
    lines = textwrap.wrap(text, columns)
    while columns > 1 and len(narrower := textwrap.wrap(text, columns - 1)) == len(lines):
        lines, columns = narrower, columns - 1
    return lines


def show(axes, image: np.ndarray, **place) -> None:
    """Draw an image of raw pixels (h, w, 1 or 3) in [0, 255], without axes."""
    axes.imshow(np.squeeze(image).astype(np.uint8), cmap="gray", vmin=0, vmax=255, interpolation="nearest", **place)
    axes.axis("off")


def accuracy_axis(axes, accuracies) -> None:
    """Make the y axis a logit axis of accuracies: from 0.99 to 0.995 is as far as from 0.5 to 0.67.

    Args:
        accuracies: all that are drawn, in [0, 1]; the axis goes a little beyond them, but not beyond LIMITS,
            to which the caller has to clip what it draws.
    """
    low, high = np.clip([min(accuracies), max(accuracies)], *LIMITS)
    odds = np.array([low / (1 - low) / 1.4, high / (1 - high) * 1.6])
    axes.set(yscale="logit", ylim=odds / (1 + odds))
    axes.set_yticks([tick for tick in TICKS if axes.get_ylim()[0] <= tick <= axes.get_ylim()[1]])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    axes.yaxis.set_minor_formatter("")


def percent_heatmap(axes, percentages: np.ndarray, cells: list[list[str]], label: str, **options) -> None:
    """Annotated heat map of percentages.

    Args:
        percentages: (rows, columns) in [0, 100].
        cells: text of each cell.
        label: of the color bar.
        options: of seaborn.heatmap().
    """
    import seaborn  # slow to import, and only this needs it

    seaborn.heatmap(
        percentages,
        ax=axes,
        annot=np.array(cells),
        fmt="",
        annot_kws={"fontsize": TEXT},
        cmap="Blues",
        cbar_kws={"shrink": 0.5, "label": label},
        **{"norm": Normalize(0, 100), **options},
    )
    mesh = axes.collections[0]
    for text, value in zip(axes.texts, percentages.flat, strict=True):
        text.set_color(text_color(mesh.to_rgba(value)[:3]))
    axes.tick_params(axis="y", rotation=0)
