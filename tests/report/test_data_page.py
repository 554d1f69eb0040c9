"""docs/data.md: every test that it names is there, and every file of tests that it names can be read as that."""

import re

import pytest
from conftest import PROJECT

PAGE = (PROJECT / "docs" / "data.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| data |"))]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file, name):
    assert re.search(rf"^def {name}\(", (PROJECT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_every_row_names_a_test():
    heads = {"what", "picture"}
    assert len(NAMED) > 30
    for row in ROWS:
        first, *_, last = (cell.strip() for cell in row.strip("|").split("|"))
        assert first in heads or re.fullmatch(r"`tests/[\w/]+\.py::\w+`", last), row
