"""Put measured figures into README.md, technical_report.md and docs/, and write the model cards.

    python -m pipeline.report [--check]

A figure in the text stands between two comments that name its source, and is replaced in place:

    <!-- cifar100_metrics.json test_accuracy .4f -->0.1234<!-- / -->

The first word is a file in output/, the second a path of keys into it, the third a Python format.
A whole table stands between <!-- table NAME --> and <!-- /table -->; NAME is a function of pipeline.tables.
The cards, output/<prefix>_model_card.md, are by pipeline.cards.
"""

import re
import sys

from pipeline import PROJECT
from pipeline.cards import cards
from pipeline.markdown import read
from pipeline.progress import clock
from pipeline.tables import TABLES

TEXTS = ("README.md", "README.tr.md", "technical_report.md", "docs/reliability.md", "docs/scaling.md")
FIGURE = re.compile(r"<!-- (\S+\.json) (\S+) (\S+) -->(.*?)<!-- / -->", re.DOTALL)
TABLE = re.compile(r"<!-- table (\w+) -->\n(.*?)<!-- /table -->", re.DOTALL)


def figure(name: str, keys: str, form: str) -> str:
    """A number from a result file; form is a Python format, or "clock" for seconds as h:mm:ss."""
    value = read(name)
    for key in keys.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return clock(value) if form == "clock" else format(value, form)


def render(text: str) -> str:
    """The text with every marked figure and table made anew from output/."""
    text = FIGURE.sub(lambda m: f"<!-- {m[1]} {m[2]} {m[3]} -->{figure(m[1], m[2], m[3])}<!-- / -->", text)
    return TABLE.sub(lambda m: f"<!-- table {m[1]} -->\n{TABLES[m[1]]()}\n<!-- /table -->", text)


def main() -> int:
    """Rewrite the texts and cards; with --check only compare, exit code 1 where they differ."""
    texts = {PROJECT / name: render((PROJECT / name).read_text(encoding="utf-8")) for name in TEXTS}
    stale = []
    for path, new in {**texts, **cards(PROJECT / "output")}.items():
        if not path.exists() or path.read_text(encoding="utf-8") != new:
            stale.append(path.relative_to(PROJECT).as_posix())
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    print(f"{'differs from output/' if '--check' in sys.argv else 'rewritten'}: {', '.join(stale) or 'nothing'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
