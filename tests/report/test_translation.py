"""README.tr.md says in Turkish what README.md says: the same headings, commands, figures, links and numbers."""

import re
from collections import Counter

import pytest
from conftest import PROJECT

from pipeline.report.__main__ import FIGURE, TABLE

ENGLISH, TURKISH = ((PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "README.tr.md"))


def parts(text):
    """The lines of code without their comments; the rest of the text, with those comments."""
    code, rest, fenced = [], [], False
    for line in text.splitlines():
        fence = line.startswith("```")
        fenced ^= fence
        if fence or fenced or line.startswith("    "):
            command, *comment = re.split(r"(?:^|\s+)# ", line, maxsplit=1)
            code += [command.rstrip()] if command.strip() else []
            rest += comment
        else:
            rest.append(line)
    return code, "\n".join(rest)


def numbers(text):
    """How often a number stands in free text; not one of a name (CIFAR-100), a result file, a link or backticks."""
    free = re.sub(r"`[^`]+`|\]\([^)]*\)", "", TABLE.sub("", FIGURE.sub("", text)))
    # The Turkish text has 0.5 as the programs write it, and 1000 without a mark: Turkish would write 0,5 and 1.000,
    # which beside the programs' own 1,000 could be read as one. So only the English thousands are made alike.
    return Counter(re.findall(r"(?<![\w-])\d+(?:[.,]\d+)*", re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", free)))


def shared(text):
    """What a translation keeps; the words between backticks in any order, since Turkish has another one."""
    code, rest = parts(text)
    heads = re.findall(r"^(#+) (.+)$", rest, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-"): place for place, (_, head) in enumerate(heads)}
    targets = re.findall(r"\]\(([^)\s]+)\)", rest)
    return {
        "heading levels": [level for level, _ in heads],
        "commands": code,
        "markers": re.findall(r"<!-- .*? -->", rest),
        "cells": [line.count("|") for line in rest.splitlines() if line.startswith("|")],
        "links": [target for target in targets if target[0] != "#" and target not in ("README.md", "README.tr.md")],
        "headings that links lead to": [anchors.get(target[1:], target) for target in targets if target[0] == "#"],
        "words between backticks": Counter(re.findall(r"`([^`]+)`", rest)),
        "numbers": numbers(rest),
    }


@pytest.mark.parametrize("part", shared(""))
def test_both_languages_have_the_same(part):
    assert shared(ENGLISH)[part], "there is something to compare"
    assert shared(TURKISH)[part] == shared(ENGLISH)[part], "README.tr.md must follow README.md"


@pytest.mark.parametrize("text", [ENGLISH, TURKISH], ids=["README.md", "README.tr.md"])
def test_every_link_within_the_page_has_its_heading(text):
    assert all(isinstance(place, int) for place in shared(text)["headings that links lead to"])
    assert not re.search(r"^#.*İ", text, flags=re.MULTILINE), "Python and GitHub make another small letter of it"


def test_each_language_leads_to_the_other():
    assert "](README.tr.md)" in ENGLISH and "](README.md)" in TURKISH


DIFFERENT = [
    ("heading levels", "# a\n## b", "# a\n# b"),
    ("commands", "    run --a  # x", "    run --b  # x"),
    ("commands", "    a\n    b", "    b\n    a"),
    ("commands", "```python\na\n```\nc", "```python\nb\n```\nc"),
    ("markers", "<!-- a.json b d -->1<!-- / -->", "<!-- a.json c d -->1<!-- / -->"),
    ("cells", "| a | b |", "| a |"),
    ("links", "[a](b.md) ![](c.png)", "[a](b.md) ![](d.png)"),
    ("headings that links lead to", "# a\n# b\n[x](#a)", "# a\n# b\n[x](#b)"),
    ("headings that links lead to", "# a\n[x](#a)", "# ç\n[x](#a)"),
    ("words between backticks", "`--a` and `--a`", "`--a`"),
    ("numbers", "1,000 images", "100 images"),
    ("numbers", "5 of 5", "5"),
    ("numbers", "0.5", "0,5"),
    ("numbers", "    run  # 5 minutes", "    run  # 6 minutes"),
]
ALIKE = [
    ("heading levels", "# a\n\n    # no heading\n### b", "# ç\n### d"),
    ("commands", "    run --a    # one\ntext", "    run --a  # bir\nmetin"),
    ("links", "[a](b.md), [c](#d), [e](README.tr.md)", "[f](README.md), [x](b.md), [y](#z)"),
    ("headings that links lead to", "# Data, here\n[x](#data-here)", "# Veri: Şu\n[y](#veri-şu)"),
    ("words between backticks", "`a` before `b`", "`b`, sonra `a`"),
    ("numbers", "1,000 of CIFAR-100 in float32, `a 3`, 0.5", "0.5, 1000, CIFAR-100"),
    ("numbers", "<!-- a.json b d -->7<!-- / --> images, [a](b9.md)", "görüntü"),
]


@pytest.mark.parametrize(("part", "one", "other"), DIFFERENT)
def test_a_difference_is_seen(part, one, other):
    assert shared(one)[part] != shared(other)[part]


@pytest.mark.parametrize(("part", "one", "other"), ALIKE)
def test_a_translation_is_no_difference(part, one, other):
    assert shared(one)[part] == shared(other)[part]
