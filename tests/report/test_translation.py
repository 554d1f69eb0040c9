"""README.tr.md follows README.md: the same headings, commands and generated tables, in Turkish."""

import re

import pytest
from conftest import PROJECT

ENGLISH, TURKISH = ((PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "README.tr.md"))


def parts(text):
    """The lines of code without their comments; the rest of the text."""
    code, rest, fenced = [], [], False
    for line in text.splitlines():
        fence = line.startswith("```")
        fenced ^= fence
        if fence or fenced or line.startswith("    "):
            command = re.split(r"(?:^|\s+)# ", line, maxsplit=1)[0].rstrip()
            code += [command] if command else []
        else:
            rest.append(line)
    return code, "\n".join(rest)


def shared(text):
    """What a translation keeps."""
    code, rest = parts(text)
    return {
        "heading levels": [len(level) for level in re.findall(r"^(#+) ", rest, flags=re.MULTILINE)],
        "commands": code,
        "tables": re.findall(r"<!-- .*? -->", rest),
    }


@pytest.mark.parametrize("part", shared(""))
def test_both_languages_have_the_same(part):
    assert shared(ENGLISH)[part], "there is something to compare"
    assert shared(TURKISH)[part] == shared(ENGLISH)[part], "README.tr.md must follow README.md"


def test_each_language_leads_to_the_other():
    assert "](README.tr.md)" in ENGLISH and "](README.md)" in TURKISH
    assert not re.search(r"^#.*İ", TURKISH, flags=re.MULTILINE), "Python and GitHub make another small letter of it"


DIFFERENT = [
    ("heading levels", "# a\n## b", "# a\n# b"),
    ("commands", "    run --a  # x", "    run --b  # x"),
    ("commands", "    a\n    b", "    b\n    a"),
    ("commands", "```python\na\n```\nc", "```python\nb\n```\nc"),
    ("tables", "<!-- table a -->", "<!-- table b -->"),
]
ALIKE = [
    ("heading levels", "# a\n\n    # no heading\n### b", "# ç\n### d"),
    ("commands", "    run --a    # one\ntext", "    run --a  # bir\nmetin"),
    ("tables", "a\n<!-- table a -->\n| 7 |", "<!-- table a -->\n| 7 |\nç"),
]


@pytest.mark.parametrize(("part", "one", "other"), DIFFERENT)
def test_a_difference_is_seen(part, one, other):
    assert shared(one)[part] != shared(other)[part]


@pytest.mark.parametrize(("part", "one", "other"), ALIKE)
def test_a_translation_is_no_difference(part, one, other):
    assert shared(one)[part] == shared(other)[part]
