"""The lock files: exact versions with hashes, of everything that the requirements name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def named(file: str) -> set[str]:
    """Return the packages that a file of requirements names."""
    return set(re.findall(r"^[a-z][\w.-]*", (ROOT / file).read_text("utf-8"), re.MULTILINE))


def locked(file: str) -> dict[str, str]:
    """Return the text of each package in a lock file."""
    entries = re.split(r"^(?=\w)", (ROOT / file).read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {entry.split("==")[0]: entry for entry in entries}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_each_package_is_pinned_with_hashes(lock: str) -> None:
    """A lock file has an exact version and hashes for each package, and names no registry."""
    entries = locked(lock)
    assert len(entries) > 20
    assert [name for name, entry in entries.items() if "--hash=sha256:" not in entry] == []
    assert re.search(r"://|^--?[a-z]|find-links", (ROOT / lock).read_text("utf-8"), re.MULTILINE) is None


def test_each_package_has_a_lower_bound_that_is_tested() -> None:
    """An installation without the lock file gets no release older than those that the tests run with."""
    requirements = re.findall(r"^([a-z][^\s;#]*)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    for requirement in requirements:
        name, _, bound = requirement.partition(">=")
        pinned = [numbers(version) for version in re.findall(rf"^{name}==([\d.]+)", lock, re.MULTILINE)]
        assert bound, f"{name} has no lower bound"
        assert min(pinned)[: len(numbers(bound))] == numbers(bound), (
            f"{requirement}, but the lock file has {min(pinned)}"
        )


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_the_lock_files_are_up_to_date() -> None:
    """Every package that the requirements name is locked; after a change of the requirements, run `make lock`."""
    assert named("requirements.txt") <= locked("requirements.lock").keys()
    assert named("requirements.txt") | named("requirements-dev.txt") <= locked("requirements-dev.lock").keys()


def test_development_uses_the_versions_of_production() -> None:
    """What both lock files contain has the same version and hashes."""
    development = locked("requirements-dev.lock")
    for name, entry in locked("requirements.lock").items():
        assert entry.split("    # via")[0] == development[name].split("    # via")[0]
