"""The ablation's table: a row per run on disk at any time, what it adds up to, and its picture."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline import cli, storage
from pipeline.errors import BadInput
from pipeline.statistics import over_seeds, single_run_band
from pipeline.style import BLACK, BLUE, GREEN, GREY, LIGHT, ORANGE, SMALL, heading, save

REFERENCE = "reference"
COLUMNS = ("idea", "accuracy", "difference", "seconds", "kind", "change", "seed", "epochs", "parameters")
COLUMNS += ("commit", "machine")
# One colour and one shape per kind, told apart in grey and by colour-blind readers.
KINDS = {
    "added": (BLUE, "o", "added to the recipe"),
    "replaced": (GREEN, "D", "in place of a part"),
    "removed": (ORANGE, "s", "a part left out"),
}
LOWEST = -8.0  # points; what lies below is drawn at the edge, with its number


def read(path: Path, settings: dict, usual: dict) -> list[dict]:
    """The rows of an earlier start, none where there is no table.

    Args:
        path: of the .csv; the .json beside it says what the reference was.
        settings, usual: the reference's knobs today, and every knob's value by default.
    Raises:
        BadInput: the table is damaged, or was made with another reference.
    """
    if not path.exists():
        return []
    try:
        then = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["settings"]
        rows = pd.read_csv(path, keep_default_na=False, dtype={"commit": str})[list(COLUMNS)].to_dict("records")
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(
            f"{path} or the .json beside it is damaged; delete both or choose another --output-dir"
        ) from error
    if changed := cli.changed(then, settings, usual):
        listed = ", ".join(f"{name} {how}" for name, how in changed.items())
        raise BadInput(f"{path} has another reference: {listed}; choose another --output-dir or delete it")
    return rows


def merged(rows: list[dict], new: list[dict]) -> list[dict]:
    """Rows with new ones, each in place of an older one of its idea and seed; differences made anew."""
    taken = {(row["idea"], row["seed"]) for row in new}
    rows = [dict(row) for row in rows if (row["idea"], row["seed"]) not in taken] + [dict(row) for row in new]
    mean = np.mean([row["accuracy"] for row in rows if row["idea"] == REFERENCE])
    for row in rows:
        row["difference"] = float(row["accuracy"] - mean)
    return rows


def summary(rows: list[dict]) -> dict:
    """{"reference": {mean, std, n, band}, "ideas": [one per idea, best first]}; std is the sample's.

    The band: so near to the reference's mean fall 95 % of single runs that differ in their seed alone. Seconds are
    compared with those of the reference on the same machine, None where it has not run there.
    """
    of_idea = {}
    for row in rows:
        of_idea.setdefault(row["idea"], []).append(row)
    accuracies = [row["accuracy"] for row in of_idea[REFERENCE]]
    seconds = {}
    for row in of_idea[REFERENCE]:
        seconds.setdefault(row["machine"], []).append(row["seconds"])

    def times(own):
        found = [row["seconds"] / np.mean(seconds[row["machine"]]) for row in own if row["machine"] in seconds]
        return float(np.mean(found)) if found else None

    reference = over_seeds(accuracies)
    reference["band"] = single_run_band(reference["std"], reference["n"]) if reference["n"] > 1 else None
    ideas = [
        {
            **{key: own[0][key] for key in ("idea", "kind", "change", "epochs", "parameters")},
            "accuracy": float(np.mean([row["accuracy"] for row in own])),
            "difference": float(np.mean([row["difference"] for row in own])),
            "n": len(own),
            "times_reference_seconds": times(own),
        }
        for name, own in of_idea.items()
        if name != REFERENCE
    ]
    return {"reference": reference, "ideas": sorted(ideas, key=lambda idea: -idea["difference"])}


def write(path: Path, rows: list[dict], about: dict, title: str) -> None:
    """The table, its summary and its picture, each whole or not at all; the settings are on disk first.

    Args:
        about: plain data for the .json, with "settings".
        title: what it was made on.
    """
    found = summary(rows)
    storage.write_json(path.with_suffix(".json"), about | found)
    storage.write_csv(path, pd.DataFrame(rows, columns=list(COLUMNS)))
    picture(rows, found, title, path.with_suffix(".png"))


def picture(rows: list[dict], found: dict, title: str, path: Path) -> None:
    """Differences in points, sorted, over the band in which a run without effect falls.

    A line joins the runs of an idea that has several.
    """
    reference, ideas = found["reference"], found["ideas"]
    points = {}
    for row in rows:
        points.setdefault(row["idea"], []).append(max(100 * row["difference"], LOWEST))
    figure = Figure(figsize=(9, 2.6 + 0.3 * len(ideas)), layout="constrained")
    heading(figure, "What each idea changes after a short training", title)
    axes = figure.subplots()
    beside = {"xycoords": ("axes fraction", "data"), "va": "center", "ha": "right"}
    for place, idea in zip(range(len(ideas), 0, -1), ideas, strict=True):
        colour, shape, _ = KINDS[idea["kind"]]
        difference, own = 100 * idea["difference"], points[idea["idea"]]
        shown = max(difference, LOWEST)
        axes.plot([min(own), max(own)], [place, place], color=colour, lw=1.5)
        axes.plot(shown, place, shape if shown == difference else "<", color=colour, markersize=8)
        right = difference >= 0 or shown > difference
        end, move, align = (max(own), 8, "left") if right else (min(own), -8, "right")
        offset = {"xytext": (move, 0), "textcoords": "offset points", "va": "center", "ha": align}
        axes.annotate(f"{round(difference, 1) + 0.0:+.1f}".replace("-", "−"), (end, place), **offset)
        times = idea["times_reference_seconds"]
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
    names = [f"reference ({reference['n']} seeds)", *reversed([idea["idea"] for idea in ideas])]
    axes.set_yticks(range(len(names)), names)
    every = [value for own in points.values() for value in own]
    axes.set(ylim=(-0.7, len(ideas) + 0.7), xlim=(min(every) - 1, max(every) + 1.4))  # room for the numbers
    axes.set_xlabel(f"difference to the reference's validation accuracy of {reference['mean']:.1%} (percentage points)")
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0)
    save(figure, path)
