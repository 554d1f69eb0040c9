"""The ablation's table: a row per run on disk at any time, what it adds up to, and its picture."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline import atomic_io
from pipeline.errors import UserError
from pipeline.evaluate.metrics import over_seeds, single_run_band
from pipeline.style import BLACK, BLUE, GREEN, GREY, LIGHT, ORANGE, SMALL, heading, save
from pipeline.train import identity

REFERENCE = "reference"
COLUMNS = ("variant", "accuracy", "difference", "seconds", "kind", "change", "seed", "epochs", "parameters")
COLUMNS += ("commit", "machine")
# One colour and one shape per kind, told apart in grey and by colour-blind readers.
KINDS = {
    "added": (BLUE, "o", "added to the recipe"),
    "replaced": (GREEN, "D", "in place of a part"),
    "removed": (ORANGE, "s", "a part left out"),
}
LOWEST = -8.0  # points; what lies below is drawn at the edge, with its number


def read(path: Path, settings: dict) -> list[dict]:
    """The rows of an earlier start, none where there is no table.

    Args:
        path: of the .csv; the .json beside it says what the reference was.
        settings: the reference's today.
    Raises:
        UserError: the table is damaged, or was made with another reference.
    """
    if not path.exists():
        return []
    try:
        then = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["settings"]
        rows = pd.read_csv(path, keep_default_na=False, dtype={"commit": str})[list(COLUMNS)].to_dict("records")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} or the .json beside it is damaged; delete both or choose another --output-dir"
        ) from error
    if changed := identity.differences(then, settings):
        listed = ", ".join(f"{name} {how}" for name, how in changed.items())
        raise UserError(f"{path} has another reference: {listed}; choose another --output-dir or delete it")
    return rows


def merged(rows: list[dict], new: list[dict]) -> list[dict]:
    """Rows with new ones, each in place of an older one of its variant and seed; differences made anew."""
    taken = {(row["variant"], row["seed"]) for row in new}
    rows = [dict(row) for row in rows if (row["variant"], row["seed"]) not in taken] + [dict(row) for row in new]
    mean = np.mean([row["accuracy"] for row in rows if row["variant"] == REFERENCE])
    for row in rows:
        row["difference"] = float(row["accuracy"] - mean)
    return rows


def summary(rows: list[dict]) -> dict:
    """{"reference": {mean, std, n, band}, "variants": [one per variant, best first]}; std is the sample's.

    The band: so near to the reference's mean fall 95 % of single runs that differ in their seed alone. Seconds are
    compared with those of the reference on the same machine, None where it has not run there.
    """
    of_idea = {}
    for row in rows:
        of_idea.setdefault(row["variant"], []).append(row)
    accuracies = [row["accuracy"] for row in of_idea[REFERENCE]]
    seconds = {}
    for row in of_idea[REFERENCE]:
        seconds.setdefault(row["machine"], []).append(row["seconds"])

    def times(own):
        found = [row["seconds"] / np.mean(seconds[row["machine"]]) for row in own if row["machine"] in seconds]
        return float(np.mean(found)) if found else None

    reference = over_seeds(accuracies)
    reference["band"] = single_run_band(reference["std"], reference["n"]) if reference["n"] > 1 else None
    variants = [
        {
            **{key: own[0][key] for key in ("variant", "kind", "change", "epochs", "parameters")},
            "accuracy": float(np.mean([row["accuracy"] for row in own])),
            "difference": float(np.mean([row["difference"] for row in own])),
            "n": len(own),
            "relative_time": times(own),
        }
        for name, own in of_idea.items()
        if name != REFERENCE
    ]
    return {"reference": reference, "variants": sorted(variants, key=lambda variant: -variant["difference"])}


def write(path: Path, rows: list[dict], about: dict, title: str) -> None:
    """The table, its summary and its picture, each whole or not at all; the settings are on disk first.

    Args:
        about: plain data for the .json, with "settings".
        title: what it was made on.
    """
    found = summary(rows)
    atomic_io.write_json(path.with_suffix(".json"), about | found)
    atomic_io.write_csv(path, pd.DataFrame(rows, columns=list(COLUMNS)))
    picture(rows, found, title, path.with_suffix(".png"))


def picture(rows: list[dict], found: dict, title: str, path: Path) -> None:
    """Differences in points, sorted, over the band in which a run without effect falls.

    A line joins the runs of an variant that has several.
    """
    reference, variants = found["reference"], found["variants"]
    points = {}
    for row in rows:
        points.setdefault(row["variant"], []).append(max(100 * row["difference"], LOWEST))
    figure = Figure(figsize=(9, 2.6 + 0.3 * len(variants)), layout="constrained")
    heading(figure, "What each variant changes after a short training", title)
    axes = figure.subplots()
    beside = {"xycoords": ("axes fraction", "data"), "va": "center", "ha": "right"}
    for place, variant in zip(range(len(variants), 0, -1), variants, strict=True):
        colour, shape, _ = KINDS[variant["kind"]]
        difference, own = 100 * variant["difference"], points[variant["variant"]]
        shown = max(difference, LOWEST)
        axes.plot([min(own), max(own)], [place, place], color=colour, lw=1.5)
        axes.plot(shown, place, shape if shown == difference else "<", color=colour, markersize=8)
        right = difference >= 0 or shown > difference
        end, move, align = (max(own), 8, "left") if right else (min(own), -8, "right")
        offset = {"xytext": (move, 0), "textcoords": "offset points", "va": "center", "ha": align}
        axes.annotate(f"{round(difference, 1) + 0.0:+.1f}".replace("-", "−"), (end, place), **offset)
        times = variant["relative_time"]
        axes.annotate("" if times is None else f"{times:.1f}", (1.06, place), **beside)
    axes.plot(points[REFERENCE], [0] * reference["n"], "|", color=BLACK, markersize=12, markeredgewidth=2)
    axes.annotate("1.0", (1.06, 0), **beside)
    axes.annotate("training\ntime (×)", (1.06, 1), xycoords="axes fraction", va="bottom", ha="right")
    if reference["band"]:
        width = 100 * reference["band"]
        axes.axvspan(-width, width, color=LIGHT, lw=0, zorder=0)
        said = f"where 95 % of single runs without effect fall\n(± {width:.1f} points, from {reference['n']} seeds)"
        above = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": SMALL}
        axes.annotate(said, (0, 1), xycoords=("data", "axes fraction"), **above)
    axes.axvline(0, color=GREY, lw=1)
    for colour, shape, label in KINDS.values():
        axes.plot([], [], shape, color=colour, markersize=8, label=label)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    names = [f"reference ({reference['n']} seeds)", *reversed([variant["variant"] for variant in variants])]
    axes.set_yticks(range(len(names)), names)
    every = [value for own in points.values() for value in own]
    axes.set(ylim=(-0.7, len(variants) + 0.7), xlim=(min(every) - 1, max(every) + 1.4))  # room for the numbers
    axes.set_xlabel(f"difference to the reference's validation accuracy of {reference['mean']:.1%} (percentage points)")
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0)
    save(figure, path)
