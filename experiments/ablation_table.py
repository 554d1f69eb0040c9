"""Table of the ablation study: a row per run, the summary over seeds, and their plot."""

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
# One color and one marker per kind, so that they differ in gray and for color-blind readers.
KINDS = {
    "added": (BLUE, "o", "added to the recipe"),
    "replaced": (GREEN, "D", "in place of a part"),
    "removed": (ORANGE, "s", "a part left out"),
}
LOWEST = -8.0  # percentage points; what lies below is drawn at the edge, with its number


def read(path: Path, about: dict) -> list[dict]:
    """Rows of an earlier, perhaps interrupted study; none where there is no table.

    Args:
        path: of the .csv; the .json beside it says what the rows were measured with.
        about: the same of today: {"settings" (of the reference), "data_sha256"}
    Raises:
        UserError: the table is damaged, or was made with another reference.
    """
    if not path.exists():
        return []
    try:
        earlier = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        then = {**earlier["settings"], "data": earlier["data_sha256"]}
        rows = pd.read_csv(path, keep_default_na=False, dtype={"commit": str})[list(COLUMNS)].to_dict("records")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} or the .json beside it is damaged; delete both or choose another --output-dir"
        ) from error
    now = {**about["settings"], "data": about["data_sha256"]}
    if changed := identity.differences(then, now):
        listed = ", ".join(f"{name} {how}" for name, how in changed.items())
        raise UserError(f"{path} has another reference: {listed}; choose another --output-dir or delete it")
    return rows


def merged(rows: list[dict], new: list[dict]) -> list[dict]:
    """Rows and new ones, each of which replaces an earlier one of its variant and seed.

    "difference" is computed again, to the mean accuracy of all reference rows.
    """
    replaced = {(row["variant"], row["seed"]) for row in new}
    kept = [row for row in rows if (row["variant"], row["seed"]) not in replaced]
    both = [dict(row) for row in kept + new]
    mean = np.mean([row["accuracy"] for row in both if row["variant"] == REFERENCE])
    for row in both:
        row["difference"] = float(row["accuracy"] - mean)
    return both


def summary(rows: list[dict]) -> dict:
    """Accuracies over seeds, of the reference and of each variant.

    Returns:
        {"reference": {"mean", "std" (the sample's), "n", "band"}, "variants": [one dict per variant, best first]};
        95 % of single runs that differ in their seed alone fall within the band around the reference's mean (None
        with one seed); "relative_time" is to the reference on the same machine (None where it has not run there).
    """
    runs = {}
    for row in rows:
        runs.setdefault(row["variant"], []).append(row)
    references = runs.pop(REFERENCE)
    reference = over_seeds([row["accuracy"] for row in references])
    reference["band"] = single_run_band(reference["std"], reference["n"]) if reference["n"] > 1 else None
    variants = [
        {
            **{key: own[0][key] for key in ("variant", "kind", "change", "epochs", "parameters")},
            "accuracy": float(np.mean([row["accuracy"] for row in own])),
            "difference": float(np.mean([row["difference"] for row in own])),
            "n": len(own),
            "relative_time": _relative_time(own, references),
        }
        for own in runs.values()
    ]
    variants.sort(key=lambda variant: -variant["difference"])
    return {"reference": reference, "variants": variants}


def _relative_time(own: list[dict], references: list[dict]) -> float | None:
    seconds = {}
    for row in references:
        seconds.setdefault(row["machine"], []).append(row["seconds"])
    ratios = [row["seconds"] / np.mean(seconds[row["machine"]]) for row in own if row["machine"] in seconds]
    return float(np.mean(ratios)) if ratios else None


def write(path: Path, rows: list[dict], about: dict, title: str) -> None:
    """The .json, the .csv and the plot, in this order: read() needs the settings of any rows there are.

    Args:
        path: of the .csv.
        about: plain data for the .json, see read().
        title: what the table was made on.
    """
    result = summary(rows)
    atomic_io.write_json(path.with_suffix(".json"), {"schema": 1, **about, **result})
    atomic_io.write_csv(path, pd.DataFrame(rows, columns=list(COLUMNS)))
    plot(rows, result, title, path.with_suffix(".png"))


def plot(rows: list[dict], result: dict, title: str, path: Path) -> None:
    """Differences to the reference in percentage points, sorted, over the band of runs without effect.

    A line joins the runs of a variant that has several.

    Args:
        result: what summary() returns for the rows.
    """
    reference, variants = result["reference"], result["variants"]
    points = {}
    for row in rows:
        points.setdefault(row["variant"], []).append(max(100 * row["difference"], LOWEST))
    figure = Figure(figsize=(9, 2.6 + 0.3 * len(variants)), layout="constrained")
    heading(figure, "What each variant changes after a short training", title)
    axes = figure.subplots()
    for place, variant in zip(range(len(variants), 0, -1), variants, strict=True):
        _variant(axes, place, variant, points[variant["variant"]])
    axes.plot(points[REFERENCE], [0] * reference["n"], "|", color=BLACK, markersize=12, markeredgewidth=2)
    _time(axes, 0, "1.0")
    axes.annotate("training\ntime (×)", (1.06, 1), xycoords="axes fraction", va="bottom", ha="right")
    if reference["band"]:
        _band(axes, 100 * reference["band"], reference["n"])
    axes.axvline(0, color=GREY, lw=1)
    for color, marker, label in KINDS.values():
        axes.plot([], [], marker, color=color, markersize=8, label=label)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    names = [f"reference ({reference['n']} seeds)", *reversed([variant["variant"] for variant in variants])]
    axes.set_yticks(range(len(names)), names)
    drawn = [value for own in points.values() for value in own]
    axes.set(ylim=(-0.7, len(variants) + 0.7), xlim=(min(drawn) - 1, max(drawn) + 1.4))  # room for the numbers
    axes.set_xlabel(f"difference to the reference's validation accuracy of {reference['mean']:.1%} (percentage points)")
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0)
    save(figure, path)


def _variant(axes, place: int, variant: dict, points: list[float]) -> None:
    """Draw one variant: its mean difference, its runs, and its time over the reference's."""
    color, marker, _ = KINDS[variant["kind"]]
    difference = 100 * variant["difference"]
    shown = max(difference, LOWEST)
    below = shown > difference
    axes.plot([min(points), max(points)], [place, place], color=color, lw=1.5)
    axes.plot(shown, place, "<" if below else marker, color=color, markersize=8)
    end, offset, align = (min(points), -8, "right")
    if difference >= 0 or below:
        end, offset, align = (max(points), 8, "left")
    number = f"{round(difference, 1) + 0.0:+.1f}".replace("-", "−")
    axes.annotate(number, (end, place), xytext=(offset, 0), textcoords="offset points", va="center", ha=align)
    if variant["relative_time"] is not None:
        _time(axes, place, f"{variant['relative_time']:.1f}")


def _time(axes, place: int, text: str) -> None:
    axes.annotate(text, (1.06, place), xycoords=("axes fraction", "data"), va="center", ha="right")


def _band(axes, width: float, seeds: int) -> None:
    axes.axvspan(-width, width, color=LIGHT, lw=0, zorder=0)
    axes.annotate(
        f"where 95 % of single runs without effect fall\n(± {width:.1f} points, from {seeds} seeds)",
        (0, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=SMALL,
    )
