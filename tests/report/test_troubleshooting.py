"""Every line that a user can get has a row in docs/troubleshooting.md, and every row is such a line."""

import ast
import re

import pytest
from conftest import PROJECT

PLACES = (".", "pipeline", "ui", "experiments", "benchmarks")
CODE = [path for place in PLACES for path in PROJECT.glob(f"{place}/*.py")]
# What these print or return is put after the path of a model file by pipeline.models.untrusted.
OF_A_FILE = {PROJECT / "pipeline" / "probe.py", PROJECT / "pipeline" / "untrusted.py"}
PASSED_ON = {"text", "stop"}  # messages that were made elsewhere


def words(node) -> str | None:
    """A string as it reads, with … for what is put in; None for what is no string."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def name_of(call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def is_said(call) -> bool:
    """Whether a call makes an error's message or writes to stderr."""
    errors = any(keyword.arg == "file" and ast.unparse(keyword.value) == "sys.stderr" for keyword in call.keywords)
    return name_of(call) in ("UserError", "Refused") or (name_of(call) == "print" and errors)


def strings(node) -> list[str]:
    """Every string in it, those within another left out."""
    if (text := words(node)) is not None:
        return [text]
    return [text for child in ast.iter_child_nodes(node) for text in strings(child)]


def messages(tree, of_a_file: bool) -> set[str]:
    """What must have a row. One without words of its own gets them from where it is raised or returned."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and is_said(node):
            text = words(node.args[0])
            assert text is not None or ast.unparse(node.args[0]) in PASSED_ON, ast.unparse(node)
            found.add(f"… {text}" if name_of(node) == "Refused" else text or "")
        elif of_a_file and (isinstance(node, ast.Return) or (isinstance(node, ast.Call) and name_of(node) == "print")):
            found |= {f"… {text}" for text in strings(node) if " " in text}
    return {text.strip() for text in found if re.search(r"\w", text.removeprefix("error:"))}


def forms(text: str) -> set[str]:
    """How a row may give a message: whole, or up to its first semicolon."""
    return {text.strip(), text.strip().partition(";")[0]}


def rows(text: str) -> list[str]:
    """The messages in the first column of the tables that have such a column."""
    tables = re.findall(r"^\| message \|.*\n\|[ -|]*\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    cells = [re.match(r"\| (.*?) \|", line)[1] for table in tables for line in table.splitlines()]
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in CODE}


@pytest.fixture(scope="module")
def listed():
    return rows((PROJECT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"))


def test_every_message_has_a_row(trees, listed):
    said = set().union(*(messages(tree, path in OF_A_FILE) for path, tree in trees.items()))
    assert len(said) > 90
    missing = sorted(text for text in said if not forms(text) & set(listed))
    assert not missing, "put these into docs/troubleshooting.md"


def test_every_row_is_a_line_of_the_project_and_stands_there_once(trees, listed):
    known = set()
    for path, tree in trees.items():
        known |= messages(tree, path in OF_A_FILE)
        known |= {text for text in strings(tree) if " " in text}
    known = set().union(*map(forms, known))
    assert not sorted(set(listed) - known), "no such message in the code"
    assert len(listed) == len(set(listed))


def test_the_usual_ones_in_the_readme_are_rows_of_it_too(listed):
    usual = rows((PROJECT / "README.md").read_text(encoding="utf-8"))
    assert len(usual) >= 8 and set(usual) <= set(listed)


def test_a_message_that_nobody_listed_is_found():
    tree = ast.parse('raise UserError(f"{path} is upside down; turn it") from error\nprint("odd", file=sys.stderr)')
    assert messages(tree, of_a_file=False) == {"… is upside down; turn it", "odd"}
    assert "… is upside down" in forms("… is upside down; turn it")
    tree = ast.parse('def f():\n return "" if fine else "is upside down"\nraise Refused(f"holds {what}")')
    assert messages(tree, of_a_file=True) == {"… is upside down", "… holds …"}
    table = "| message | what |\n| --- | --- |\n| `a …`<br>`b` | c |\n| `d` | e |\n"
    assert rows(table) == ["a …", "b", "d"]
