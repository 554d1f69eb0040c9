"""What make installs: every package in one version, with hashes, in the ranges that pyproject.toml allows."""

import re
import tomllib

import pytest
from conftest import PROJECT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("export", "ui", "dev")
EXTRA_OF = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def text(extra: str) -> str:
    return (PROJECT / "locks" / f"{extra}.txt").read_text(encoding="utf-8")


def locked(extra: str) -> dict[str, set[str]]:
    """Package -> its versions, more than one where it depends on Python's."""
    found = {}
    for name, version in re.findall(r"^([\w.-]+)==([\w.+!]+)", text(extra), flags=re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def required(extra: str) -> list[Requirement]:
    """What pyproject.toml and requirements.txt ask for, the extras of an extra included."""
    found = [Requirement(line) for line in (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()]
    waiting = [Requirement(line) for line in EXTRA_OF[extra]]
    while waiting:
        one = waiting.pop()
        if one.extras and one.name == "small-image-classifiers":
            waiting += [Requirement(line) for name in one.extras for line in EXTRA_OF[name]]
        else:
            found.append(one)
    return found


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_has_every_requirement_in_its_range(extra):
    versions = locked(extra)
    for requirement in required(extra):
        found = versions.get(canonicalize_name(requirement.name))
        assert found, f"{requirement.name} is missing: make lock"
        assert all(version in requirement.specifier for version in found), f"{requirement}: make lock"


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_has_a_hash_for_every_package_and_no_address(extra):
    packages = re.split(r"^(?=[\w.-]+==)", text(extra), flags=re.MULTILINE)[1:]
    assert len(packages) > 30
    assert all("--hash=sha256:" in package for package in packages)
    assert "//" not in text(extra) and "--index" not in text(extra)


def test_the_locks_agree_so_that_one_can_be_installed_after_the_other():
    everything = locked("dev")
    for extra in EXTRAS:
        assert all(everything[name] == versions for name, versions in locked(extra).items())


def test_setuptools_which_installs_the_project_itself_is_locked_with_the_rest():
    build = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    (needed,) = map(Requirement, build)
    for extra in EXTRAS:
        assert all(version in needed.specifier for version in locked(extra)["setuptools"])
