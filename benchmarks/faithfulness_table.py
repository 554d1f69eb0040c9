"""The table of faithfulness.py: gains over a control, one model's rows as text, and among other models'."""

from pathlib import Path

import pandas as pd

from pipeline.errors import UserError
from pipeline.explain import faithfulness


def gains(own, control, name: str) -> dict:
    """How much better than a control: smaller deletion and larger insertion area, each with its 95 % half-width."""
    deletion, deletion_error = faithfulness.mean_and_error(control[0] - own[0])
    insertion, insertion_error = faithfulness.mean_and_error(own[1] - control[1])
    better = [
        what
        for what, gain, error in (("deletion", deletion, deletion_error), ("insertion", insertion, insertion_error))
        if gain > error
    ]
    return {
        f"deletion_gain_over_{name}": deletion,
        f"deletion_gain_over_{name}_error": deletion_error,
        f"insertion_gain_over_{name}": insertion,
        f"insertion_gain_over_{name}_error": insertion_error,
        f"beats_{name}": {0: "no", 1: f"in {''.join(better)} alone", 2: "yes"}[len(better)],
    }


def summary(rows: list[dict]) -> str:
    """The rows of one model as aligned text, best first; what does not beat a control is named as such."""
    head = f"{'method':<19}{'layer':<21}{'deletion':>9}{'insertion':>10}{'zero maps':>10}  "
    lines = [head + f"{'beats random':<20}{'beats gaussian':<20}likeness with random weights"]
    for row in sorted(rows, key=lambda row: row["deletion_area"] - row["insertion_area"]):
        likeness = f"{row['likeness_100_percent_random']:.2f}" if "loses_likeness" in row else ""
        lines.append(
            f"{row['method']:<19}{row['layer']:<21}{row['deletion_area']:>9.3f}{row['insertion_area']:>10.3f}"
            f"{row['zero_maps_percent']:>9.1f}%  {row['beats_random']:<20}{row['beats_gaussian']:<20}{likeness}"
            + (" (stays alike)" if row.get("loses_likeness") == "no" else "")
        )
    return "\n".join(lines)


def merged(table: Path, rows: list[dict]) -> pd.DataFrame:
    """The table with one model's rows, in the place of its earlier ones; other models' stay as they were."""
    new = pd.DataFrame(rows)
    if not table.exists():
        return new
    try:
        had = pd.read_csv(table)
        others = had[had["model"] != new["model"][0]]
    except (KeyError, ValueError) as error:
        raise UserError(f"{table} is damaged; delete it or choose another --output-dir") from error
    return pd.concat([others, new]).sort_values("model", kind="stable") if len(others) else new
