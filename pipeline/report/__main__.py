"""Put measured numbers into README.md, README.tr.md, technical_report.md and docs/, and write the model cards.

    python -m pipeline.report

Works on the folder it is started in: its documents and its output/. A number in a document stands between two
comments that name its source, and is replaced in place:

    <!-- cifar100_metrics.json test_accuracy .4f -->0.1234<!-- / -->

The first word is a file in output/, the second a path of keys into it (in a list of results, of a recipe's name),
the third a Python format. A whole table stands between <!-- table NAME --> and <!-- /table -->; NAME is a function
of pipeline.report.tables. The cards, output/<prefix>_model_card.md, are by pipeline.report.cards.
"""

import re
import sys
from pathlib import Path

from pipeline import atomic_io
from pipeline.console import clock
from pipeline.errors import UserError, exit_code
from pipeline.report.cards import cards
from pipeline.report.markdown import read, result_of
from pipeline.report.tables import TABLES

DOCUMENTS = ("README.md", "README.tr.md", "technical_report.md")  # and those of docs/
NUMBER = re.compile(r"<!-- (\S+\.json) (\S+) (\S+) -->(.*?)<!-- / -->", re.DOTALL)
TABLE = re.compile(r"<!-- table (\w+) -->\n(.*?)<!-- /table -->", re.DOTALL)


def documents(folder: Path = Path()) -> list[Path]:
    """The documents of a folder that may show measured numbers."""
    named = [folder / name for name in DOCUMENTS]
    return [path for path in named if path.exists()] + sorted(folder.glob("docs/*.md"))


def number(name: str, keys: str, form: str) -> str:
    """A number from a result file; form is a Python format, or "clock" for seconds as h:mm:ss."""
    value = read(name)
    try:
        for key in keys.split("."):
            value = _inside(value, key)
    except (IndexError, KeyError) as error:
        raise UserError(f"output/{name} has no {keys}, which a document shows; run its script again") from error
    return clock(value) if form == "clock" else format(value, form)


def _inside(value: dict | list, key: str):
    """One step into a result file: a key, a place in a list, or in a list of results a recipe's name."""
    if isinstance(value, dict):
        return value[key]
    return value[int(key)] if key.isdigit() else result_of(value, key)


def render(text: str) -> str:
    """The text with every marked number and table made again from output/."""
    text = NUMBER.sub(lambda m: f"<!-- {m[1]} {m[2]} {m[3]} -->{number(m[1], m[2], m[3])}<!-- / -->", text)
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
