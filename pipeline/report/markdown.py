"""Result files in, Markdown out: what the tables of the texts are made with."""

from pipeline import PROJECT, atomic_io
from pipeline.errors import UserError


def read(name: str) -> dict:
    """One result file of output/; UserError where it is missing or damaged."""
    path = PROJECT / "output" / name
    if not path.exists():
        raise UserError(f"{path} is missing; git checkout output brings back the one of this project")
    return atomic_io.read_json(path)


def spread(figures: dict) -> str:
    """Mean and sample standard deviation of some runs."""
    return f"{figures['mean']:.4f}" + ("" if figures["std"] is None else f" ± {figures['std']:.4f}")


def table(rows: list[tuple[str, ...]], left: int) -> str:
    """A table from its header and rows; columns after the first `left` are aligned to the right."""
    rule = tuple("---" if column < left else "--:" for column in range(len(rows[0])))
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))
