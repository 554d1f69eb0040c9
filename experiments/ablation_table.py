"""Table of the ablation study: a row per run, the summary over seeds, and their plot."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.ablation_runs import REFERENCE
from pipeline import atomic_io
from pipeline.console import percent
from pipeline.errors import UserError
from pipeline.evaluate.metrics import over_seeds, pooled_deviation, single_run_band
from pipeline.style import BLACK, BLUE, GREEN, GREY, LIGHT, ORANGE, SMALL, heading, save
from pipeline.train import identity

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
        then = reference_of(earlier)
        rows = pd.read_csv(path, keep_default_na=False, dtype={"commit": str})[list(COLUMNS)].to_dict("records")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} or the .json beside it is damaged; delete both or choose another --output-dir"
        ) from error
    if changed := identity.differences(then, reference_of(about)):
        listed = ", ".join(f"{name} {how}" for name, how in changed.items())
        raise UserError(f"{path} has another reference: {listed}; choose another --output-dir or delete it")
    return rows


def reference_of(about: dict) -> dict:
    """What rows of one table have in common: the reference's settings and its data."""
    return {**about["settings"], "data": about["data_sha256"]}


def write_run(path: Path, rows: list[dict], about: dict, title: str) -> None:
    """The rows of a run that was trained alone, without "difference"; the other arguments are those of write()."""
    atomic_io.write_json(path, {"schema": 1, "title": title, "about": about, "rows": rows})


def read_run(path: Path) -> dict | None:
    """What write_run() wrote: {"title", "about", "rows"}; None where there is no such file.

    Raises:
        UserError: it is damaged.
    """
    if not path.exists():
        return None
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        reference_of(run["about"])
        return {name: run[name] for name in ("title", "about", "rows")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged; delete it and train the run again") from error


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
        95 % of single runs that differ in their seed alone fall within the band around the reference's mean. Its
        width is of the deviation between seeds, which all variants share (None with one seed of each).
        "relative_time" is to the reference on the same machine (None where it has not run there).
    """
    runs = {}
    for row in rows:
        runs.setdefault(row["variant"], []).append(row)
    references = runs.pop(REFERENCE)
    reference = over_seeds([row["accuracy"] for row in references])
    trained = [references, *(own for own in runs.values() if not own[0]["change"].startswith("tta="))]
    deviation, freedom = pooled_deviation([[row["accuracy"] for row in own] for own in trained])
    reference["band"] = single_run_band(deviation, freedom, reference["n"]) if freedom else None
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
    """Differences to the reference in percentage points with 95 % intervals, sorted, over the band of seed noise.

    Args:
        result: what summary() returns for the rows.
    """
    reference, variants = result["reference"], result["variants"]
    runs = {}
    for row in rows:
        runs.setdefault(row["variant"], []).append(100 * row["difference"])
    figure = Figure(figsize=(9, 2.4 + 0.3 * len(variants)), layout="constrained")
    heading(figure, finding(result), f"{title}; lines: 95 % intervals")
    axes = figure.subplots()
    for place, variant in zip(range(len(variants), 0, -1), variants, strict=True):
        _variant(axes, place, variant, 100 * half_interval(reference, variant["n"]))
    axes.plot(runs[REFERENCE], [0] * reference["n"], "|", color=BLACK, markersize=12, markeredgewidth=2)
    _time(axes, 0, "1.0")
    axes.annotate("training\ntime (×)", (1.06, 1), xycoords="axes fraction", va="bottom", ha="right")
    if reference["band"]:
        _band(axes, 100 * reference["band"])
    axes.axvline(0, color=GREY, lw=1)
    for color, marker, label in KINDS.values():
        axes.plot([], [], marker, color=color, markersize=8, label=label)
    axes.legend(loc="lower right", fontsize=SMALL)
    names = [f"reference ({reference['n']} seeds)", *reversed([variant["variant"] for variant in variants])]
    axes.set_yticks(range(len(names)), names)
    shown = [max(100 * variant["difference"], LOWEST) for variant in variants] + runs[REFERENCE]
    reach = 100 * half_interval(reference, 1) + 1.6  # room for intervals and numbers
    axes.set(ylim=(-0.7, len(variants) + 0.7), xlim=(min(shown) - reach, max(shown) + reach))
    accuracy = percent(reference["mean"])
    axes.set_xlabel(f"difference to the reference's validation accuracy of {accuracy} (percentage points)")
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0)
    save(figure, path)


def finding(result: dict) -> str:
    """The variant that helps most, and how many are no better or worse than another seed, in words."""
    variants, band = result["variants"], result["reference"]["band"]
    if not variants:
        return "The reference alone"
    best = variants[0]
    text = f"{best['variant']}: {signed(100 * best['difference'])} points, the best of {len(variants)} variants"
    if band:
        within = sum(abs(variant["difference"]) <= band for variant in variants)
        text += f"; {within} of them stay within seed noise"
    return text[0].upper() + text[1:]


def half_interval(reference: dict, n: int) -> float:
    """Half the width of the 95 % interval of a difference between the means of n runs and of the reference's runs.

    The reference's band is that of a single run; 0 where there is one seed of each.
    """
    if not reference["band"]:
        return 0.0
    return reference["band"] * np.sqrt((1 / n + 1 / reference["n"]) / (1 + 1 / reference["n"]))


def signed(points: float) -> str:
    """Percentage points with their sign: "+5.2", "−1.4"."""
    return f"{round(points, 1) + 0.0:+.1f}".replace("-", "−")


def _variant(axes, place: int, variant: dict, interval: float) -> None:
    """Draw one variant: its mean difference, the 95 % interval of that, and its time over the reference's."""
    color, marker, _ = KINDS[variant["kind"]]
    difference = 100 * variant["difference"]
    shown, side = max(difference, LOWEST), 1 if difference >= 0 else -1
    if shown > difference:
        axes.plot(shown, place, "<", color=color, markersize=8)
        interval, side = 0.0, 1
    else:
        axes.errorbar(shown, place, xerr=interval, fmt=marker, color=color, markersize=8, lw=1.3, capsize=2)
    near = {"xytext": (8 * side, 0), "textcoords": "offset points", "va": "center"}
    axes.annotate(signed(difference), (shown + side * interval, place), ha="left" if side > 0 else "right", **near)
    if variant["relative_time"] is not None:
        _time(axes, place, f"{variant['relative_time']:.1f}")


def _time(axes, place: int, text: str) -> None:
    axes.annotate(text, (1.06, place), xycoords=("axes fraction", "data"), va="center", ha="right")


def _band(axes, width: float) -> None:
    axes.axvspan(-width, width, color=LIGHT, lw=0, zorder=0)
    axes.annotate(
        f"seed noise, 95 %\n(± {width:.1f} points)",
        (0, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=SMALL,
    )
