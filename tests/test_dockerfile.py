"""The image is made by the Makefile's own targets and by what CI runs, from files that exist, and not by root."""

import json
import re
import tomllib
from fnmatch import fnmatch

from conftest import PROJECT

DOCKERFILE = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
CI = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")


def patterns(name):
    lines = (PROJECT / name).read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith("#")}


# (instruction, arguments), comments dropped, continued lines joined
LINES = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
STEPS = [tuple(line.split(maxsplit=1)) for line in LINES if line]
IGNORED = patterns(".dockerignore")
TARGETS = dict(re.findall(r"^([\w./-]+): *(.*)$", MAKEFILE, flags=re.MULTILINE))


def of(instruction):
    return [arguments for name, arguments in STEPS if name == instruction]


def test_every_file_that_is_copied_exists_and_is_not_ignored():
    copied = [word for arguments in of("COPY") for word in arguments.split()[:-1] if not word.startswith("--")]
    assert "." in copied
    for pattern in copied:
        found = [path.relative_to(PROJECT).as_posix() for path in PROJECT.glob(pattern)] if pattern != "." else ["."]
        assert found, f"COPY {pattern} finds nothing"
        assert not [name for name in found for ignored in IGNORED if fnmatch(name, ignored)]


def test_the_sources_are_there_before_they_are_installed():
    """An editable install reads pyproject.toml and links to the packages."""
    names = [f"{name} {arguments}" for name, arguments in STEPS]
    copied = next(i for i, step in enumerate(names) if step.startswith("COPY") and step.endswith(" . ."))
    assert copied < next(i for i, step in enumerate(names) if step.startswith("RUN make"))


def test_nothing_but_the_system_package_and_the_owner_of_a_folder_is_done_as_root():
    names = [name for name, _ in STEPS]
    users = of("USER")
    assert users and all(not re.match(r"(0|root)\b", user) for user in users)
    as_root = [arguments for name, arguments in STEPS[: names.index("USER")] if name in ("RUN", "CMD", "ENTRYPOINT")]
    assert [arguments.split()[0] for arguments in as_root] == ["apt-get", "chown"]
    assert set(names[: names.index("USER")]) == {"FROM", "RUN", "WORKDIR"}


def test_the_commands_are_those_of_the_makefile_and_of_ci():
    commands = [words.split() for words in of("RUN")] + [json.loads(words) for words in of("CMD")]
    made = [target for command in commands if command[0] == "make" for target in command[1:]]
    demo, page = TARGETS["demo"], TARGETS["ui"]
    assert set(made) == {"demo", demo, page}, "what the demo and the page need; make test installs its own"
    assert {command[0] for command in commands} == {"apt-get", "chown", "make", ".ci/run"}
    assert CI.strip().splitlines()[-1] == "make test"
    assert (PROJECT / ".ci" / "run").stat().st_mode & 0o111
    install = re.search(r"apt-get update.*?--no-install-recommends", next(iter(of("RUN"))))[0]
    assert install in CI


def test_the_image_ends_with_the_product_and_its_results_are_in_a_mounted_folder():
    stages = of("FROM")
    assert stages[-1] == stages[0].split(" AS ")[1], "without --target the tests are not run"
    assert of("VOLUME") == [f"{of('WORKDIR')[0]}/output"]
    python = re.match(r"python:(\d+)\.(\d+)-", stages[0])
    required = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert tuple(map(int, python.groups())) >= tuple(map(int, required.removeprefix(">=").split(".")))


def test_what_git_ignores_is_not_sent_to_the_builder():
    anywhere = {"__pycache__/": "**/__pycache__"}
    expected = {anywhere.get(line, line.strip("/")) for line in patterns(".gitignore")}
    assert expected | {".git"} == IGNORED
