"""Result files of the working folder in, Markdown out: what the tables and the cards are made with."""

from pathlib import Path

import pandas as pd

from pipeline import atomic_io
from pipeline.errors import UserError
from pipeline.train.identity import OUTPUT


def read(name: str) -> dict:
    """A JSON file of output/; UserError where it is missing or damaged."""
    return atomic_io.read_json(_existing(name))


def read_table(name: str) -> pd.DataFrame:
    """A CSV file of output/, an empty cell as ""; UserError where it is missing or damaged."""
    path = _existing(name)
    try:
        return pd.read_csv(path, keep_default_na=False)
    except ValueError as error:
        raise UserError(f"{path} is damaged; delete it or do that run again") from error


def results_file(prefix: str) -> str:
    """The file in which collect_results.py gathers the runs of a model's script."""
    return f"{prefix.removesuffix('-best')}_results.json"


def result_of(results: list[dict], recipe: str) -> dict:
    """The entry of a recipe as it stands; KeyError where there is none."""
    for entry in results:
        if entry["recipe"] == recipe and not entry["settings"]:
            return entry
    raise KeyError(recipe)


def spread(over: dict) -> str:
    """Mean and sample standard deviation over some runs."""
    return f"{over['mean']:.4f}" + ("" if over["std"] is None else f" ± {over['std']:.4f}")


def percent(over: dict) -> str:
    """Mean and sample standard deviation of accuracies in [0, 1], in percent."""
    return f"{100 * over['mean']:.2f}" + ("" if over["std"] is None else f" ± {100 * over['std']:.2f}")


def table(rows: list[tuple[str, ...]], left: int) -> str:
    """A table from its header and rows; columns after the first `left` are aligned to the right."""
    rule = tuple("---" if column < left else "--:" for column in range(len(rows[0])))
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def _existing(name: str) -> Path:
    path = OUTPUT / name
    if not path.exists():
        raise UserError(f"{path} is missing; git checkout output brings back the one of this project")
    return path
