"""Put tables of measured numbers into the README, technical_report.md and docs/, and write the model cards.

    python -m pipeline.report

Works on the folder it is started in: its documents and its output/. A table in a document stands between
<!-- table NAME --> and <!-- /table --> and is replaced in place; NAME is a function of pipeline.report.tables. The
cards, output/<prefix>_model_card.md, are by pipeline.report.cards.
"""

import re
import sys
from pathlib import Path

from pipeline import atomic_io
from pipeline.errors import UserError, exit_code
from pipeline.report.cards import cards
from pipeline.report.tables import TABLES

DOCUMENTS = ("README.md", "README.tr.md", "technical_report.md")  # and those of docs/
TABLE = re.compile(r"<!-- table (\w+) -->\n(.*?)<!-- /table -->", re.DOTALL)


def documents(folder: Path = Path()) -> list[Path]:
    """The documents of a folder that may show measured numbers."""
    named = [folder / name for name in DOCUMENTS]
    return [path for path in named if path.exists()] + sorted(folder.glob("docs/*.md"))


def render(text: str) -> str:
    """The text with every table made again from output/."""
    return TABLE.sub(lambda m: f"<!-- table {m[1]} -->\n{made(m[1])}\n<!-- /table -->", text)


def made(name: str) -> str:
    """A table from the result files; UserError where there is no such table, or they lack what it shows."""
    if name not in TABLES:
        raise UserError(f"a document asks for table {name}; there are {', '.join(TABLES)}")
    try:
        return TABLES[name]()
    except KeyError as error:
        raise UserError(
            f"the result files have no {error}, which table {name} shows; run their scripts again"
        ) from error


def main() -> int:
    """Rewrite the documents and cards that differ."""
    if not Path("README.md").exists():
        raise UserError("there is no README.md in this folder; start python -m pipeline.report in the project's folder")
    rendered = {path: render(path.read_text(encoding="utf-8")) for path in documents()}
    rewritten = []
    for path, new in {**rendered, **cards()}.items():
        if not path.exists() or path.read_text(encoding="utf-8") != new:
            with atomic_io.replacing(path) as temporary:
                temporary.write_text(new, encoding="utf-8")
            rewritten.append(path.as_posix())
    print(f"rewritten: {', '.join(rewritten) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
