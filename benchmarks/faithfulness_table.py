"""Table of the faithfulness benchmark: gains over the controls, a summary of one model, and its rows among others'."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline import explain
from pipeline.errors import UserError
from pipeline.explain.faithfulness import CONTROLS, REMOVALS
from pipeline.models.saved_model import MODELS

if TYPE_CHECKING:
    import pandas

Areas = tuple[np.ndarray, np.ndarray]  # of the deletion and the insertion curve of each image, (n,) and (n,)


def gains(own: Areas, control: Areas, name: str) -> dict:
    """Columns of a row: deletion and insertion gain over a control, each with the half-width of its 95 % interval.

    A gain is the mean difference of areas per image, positive where the method is better than the control.
    """
    deletion, deletion_error = explain.faithfulness.mean_and_error(control[0] - own[0])
    insertion, insertion_error = explain.faithfulness.mean_and_error(own[1] - control[1])
    return {
        f"deletion_gain_over_{name}": deletion,
        f"deletion_gain_over_{name}_error": deletion_error,
        f"insertion_gain_over_{name}": insertion,
        f"insertion_gain_over_{name}_error": insertion_error,
        f"beats_{name}": verdict(deletion > deletion_error, insertion > insertion_error),
    }


def verdict(deletion: bool, insertion: bool) -> str:
    """Whether a method beats a control, from whether it does in deletion and in insertion."""
    if deletion and insertion:
        return "yes"
    if deletion:
        return "in deletion alone"
    return "in insertion alone" if insertion else "no"


def summary(rows: list[dict]) -> str:
    """The rows of one model as aligned text, best first: areas by both removals, controls not beaten, likeness."""
    line = "{:<27}{:<21}" + 4 * "{:>10}" + "  {:<48}{}"
    head = ("method", "layer", "del blank", "ins blank", "del ROAD", "ins ROAD", "does not beat")
    lines = [line.format(*head, "likeness with random weights")]
    for row in sorted(rows, key=score, reverse=True):
        likeness = ""
        if "loses_likeness" in row:
            likeness = f"{row['likeness_100_percent_random']:.2f}"
            likeness += " (stays alike)" if row["loses_likeness"] == "no" else ""
        areas = (f"{row[f'{area}_area_{removal}']:.3f}" for removal in REMOVALS for area in ("deletion", "insertion"))
        lines.append(line.format(row["method"], row["layer"], *areas, ", ".join(unbeaten(row)), likeness))
    return "\n".join(lines)


def score(row: dict) -> float:
    """What the rows are sorted by: insertion less deletion area, mean over both ways of removal."""
    return np.mean([row[f"insertion_area_{removal}"] - row[f"deletion_area_{removal}"] for removal in REMOVALS])


def unbeaten(row: dict) -> list[str]:
    """Controls that a row does not beat in deletion and insertion under both removals."""
    own = [control for control in CONTROLS if control != row["method"]]
    return [control for control in own if any(row[f"beats_{control}_{removal}"] != "yes" for removal in REMOVALS)]


def shown(table: pandas.DataFrame) -> list[dict]:
    """Rows of the summary plot: of each model the default explanation, and Grad-CAM at the layer it has by default.

    That layer is Score-CAM's, which is measured at no other.
    """
    rows = table.to_dict("records")
    layers = {row["model"]: row["layer"] for row in rows if row["method"] == "score-cam"}
    default = [row for row in rows if row["method"] == explain.explainer.DEFAULT_METHOD]
    usual = [row for row in rows if (row["method"], row["layer"]) == ("grad-cam", layers[row["model"]])]
    return [row | names(row) for row in (*default, *usual)]


def names(row: dict) -> dict[str, str]:
    """Model and method of a row, as a reader knows them."""
    model = MODELS[row["model"]].network if row["model"] in MODELS else row["model"]
    return {"model": model, "method": explain.explainer.NAMES[row["method"]]}


def merged(table: Path, rows: list[dict]) -> pandas.DataFrame:
    """The table at a path with one model's rows in place of its earlier ones; those of other models stay.

    Raises:
        UserError: the table is damaged.
    """
    import pandas as pd

    new = pd.DataFrame(rows)
    if not table.exists():
        return new
    try:
        earlier = pd.read_csv(table)
        others = earlier[earlier["model"] != new["model"][0]]
    except (KeyError, ValueError) as error:
        raise UserError(f"{table} is damaged; delete it or choose another --output-dir") from error
    if not len(others):
        return new
    return pd.concat([others, new]).sort_values("model", kind="stable")
