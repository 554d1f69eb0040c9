"""What the texts for users say: commands parse, links lead somewhere, numbers are measured, sentences are short."""

import functools
import importlib.util
import re
import shlex
import sys
import tomllib

import pytest
from conftest import PROJECT

import plan
from pipeline.config import parse

TEXTS = sorted(path.relative_to(PROJECT).as_posix() for path in (*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")))
# A command in a block of code (in a notebook's cell behind "!") or between backticks, up to what follows it.
COMMAND = re.compile(
    r"(?:^ {4,}!?|`|&& |; )(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?python ([\w/\\]+\.py\b[^`\n#;&]*)", re.MULTILINE
)
COPIES = {"my_model.py": "docs/own_model.py"}  # docs/models.md says to copy it
READMES = ("README.md", "README.tr.md")
# The numbers of lessons are what their own commands print; those of licenses are versions.
EXEMPT = ("docs/lessons.md", "docs/licenses.md")
PAGES = [name for name in TEXTS if name.startswith("docs/") and name not in EXEMPT]
GENERATED = re.compile(r"<!-- table \w+ -->\n(.*?)<!-- /table -->", re.DOTALL)
CODE = re.compile(r"^```.*?^```$|^ {4,}.*?$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
# What looks measured: 99.1 %, in Turkish %99.1; 0.9917 or 0.03; minutes:seconds.
MEASURED = re.compile(r"(?<![\w.])(?:%(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?) ?%|(0\.\d{2,})|(\d+(?::\d\d)+))(?![\w:])")


def read(name):
    return (PROJECT / name).read_text(encoding="utf-8")


def commands(text):
    return [shlex.split(found.replace("\\", "/")) for found in COMMAND.findall(text)]


@functools.cache
def script(path):
    """A script as a module, whatever folder it is in."""
    spec = importlib.util.spec_from_file_location(f"of_the_texts_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks up its annotations
    spec.loader.exec_module(module)
    return module


def test_commands_are_found_where_they_stand():
    text = "    A=1 python a.py --b 2  # c\n`python d/e.py f` or\n      !python g.py\n    pip install h && python i.py"
    text += "\nin prose python j.py is none"
    assert commands(text) == [["a.py", "--b", "2"], ["d/e.py", "f"], ["g.py"], ["i.py"]]
    assert len([command for name in TEXTS for command in commands(read(name))]) > 100


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_is_one_that_its_script_understands(name):
    for file, *flags in commands(read(name)):
        path = PROJECT / COPIES.get(file, file)
        assert path.is_file(), f"{name}: {file}"
        if "class Config" not in path.read_text(encoding="utf-8") or (
            file == "ui/app.py" and not importlib.util.find_spec("gradio")
        ):
            continue
        if file == "sweep.py":
            own, others = script(path).split(flags)
            config = parse(script(path).Config, own)
            plan.sweep.read(config.script, others, config.seeds, config.search)
            continue
        parse(script(path).Config, flags)


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_to_a_file_and_every_make_target_is_in_the_makefile(name):
    text = read(name)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (PROJECT / name).parent / file if file else PROJECT / name
        assert target.exists(), f"{name}: {link}"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
    targets = re.findall(r"^([a-z]+):", read("Makefile"), flags=re.MULTILINE)
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z]+)", text, flags=re.MULTILINE)) <= set(targets)


def test_the_changelog_is_about_the_version_that_the_project_has():
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert re.search(r"^## \[([\d.]+)\]", read("CHANGELOG.md"), flags=re.MULTILINE)[1] == version


def test_the_network_on_the_page_is_the_one_in_the_worked_example():
    shown = re.findall(r"```python\n(.*?)```", read("docs/models.md"), flags=re.DOTALL)
    assert shown and all(block in read("docs/own_model.py") for block in shown)


def visible(text):
    """The text as a reader sees it: no comments, no addresses of links and pictures."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return re.sub(r"(?<=\])\([^)\s]+\)", "", text)


def words(text):
    return [word for word in visible(text).split() if re.search(r"\w", word)]


def sentences(text):
    """Sentences of paragraphs and lists, without code blocks, tables, headings and pictures; a code span stays."""
    blocks, fenced = [""], False
    for line in visible(text).splitlines():
        fenced ^= line.startswith("```")
        if fenced or re.match(r"```| {4}|\||#|!\[|\[!|$", line):
            blocks.append("")
        elif re.match(r"- |\d+\. ", line):
            blocks.append(line)
        else:
            blocks[-1] += " " + line
    found = [sentence for block in blocks for sentence in re.split(r"(?<=[.!?])\s+", block)]
    return [sentence for sentence in found if words(sentence)]


def test_words_and_sentences_are_counted_as_a_reader_does():
    text = "# A head\n\n    code, no words. Of a sentence.\n\n"
    text += "One [link](a/b.md) <!-- c -->here. Two `x.py --y` words:\n\n"
    text += "```\nno. sentence.\n```\n\n- a point\n  goes on\n- another\n\n| a | table. B |\n"
    assert sentences(text) == [" One [link] here.", "Two `x.py --y` words:", "- a point   goes on", "- another"]
    assert len(words("- a [link](c.md) <!-- d --> | --- | e")) == 3


@pytest.mark.parametrize("name", READMES)
def test_the_readme_is_short_and_its_sentences_are(name):
    text = read(name)
    first_screen = re.split(r"^## (?!Quickstart|Hızlı başlangıç)", text, flags=re.MULTILINE)[0]
    assert len(words(first_screen)) <= 250
    assert len(words(text)) <= 1500
    lengths = {sentence: len(words(sentence)) for sentence in sentences(text)}
    assert not [sentence for sentence, length in lengths.items() if length > 30]
    assert sum(lengths.values()) / len(lengths) <= 15


def numbers(text):
    """Numbers of a text as it writes them, without separators of thousands."""
    return re.findall(r"\d+(?:[.:]\d+)*", text.replace(",", ""))


def stands_in(number, table):
    """Whether a number is among those of a table, perhaps rounded, or there a fraction and here a percentage."""
    if ":" in number:
        return number in table
    digits = len(number.partition(".")[2])
    values = [float(value) for value in table if re.fullmatch(r"\d+(\.\d+)?", value)]
    return float(number) in {round(scale * value, digits) for value in values for scale in (1, 100)}


def unproven(text):
    """Numbers in prose that look measured and stand in no generated table of the same text."""
    tables = numbers(" ".join(GENERATED.findall(text)))
    prose = CODE.sub("", visible(GENERATED.sub("", text)))
    found = ["".join(groups) for groups in MEASURED.findall(prose)]
    return [number for number in found if not stands_in(number, tables)]


def test_a_number_in_prose_is_one_of_a_table():
    text = "It reached 99 %, %81.5, 0.79 in 1:02:03. `0.12`\n\n    0.34\n\n<!-- table a -->\n"
    text += "| 99.1 | 0.8148 | 0.7885 | 1:02:03 |\n<!-- /table -->"
    assert unproven(text) == []
    assert unproven("98 %, 0.34, 1:02 and %7. " + text) == ["98", "0.34", "1:02", "7"]


@pytest.mark.parametrize("name", [*READMES, *PAGES])
def test_a_measured_number_in_prose_stands_in_a_table_of_the_same_text(name):
    assert unproven(read(name)) == []
