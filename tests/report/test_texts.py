"""What the texts for users say can be done: commands parse, files and targets are there, the version is one."""

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
COPIES = {"my_model.py": "docs/own_model.py"}  # README says to copy it


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
    assert len(commands(read("README.md"))) > 30


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
            plan.sweep.read(own[0], others, "0")
            flags = own
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


def test_the_network_in_the_readme_is_the_one_in_the_worked_example():
    shown = re.findall(r"```python\n(.*?)```", read("README.md"), flags=re.DOTALL)
    assert shown and all(block in read("docs/own_model.py") for block in shown)
