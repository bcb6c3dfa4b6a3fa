"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import click
import pytest

from tenxsom_flow_engine.cli.main import cli as commands
from tenxsom_flow_engine.errors import Transient
from tenxsom_flow_engine.jobs import TRANSITIONS
from tenxsom_flow_engine.services.answers import ErrorRow
from tenxsom_flow_engine.services.heygen import errors as heygen
from tenxsom_flow_engine.services.ltx_studio import MODELS as LTX_MODELS
from tenxsom_flow_engine.services.ltx_studio import ROWS as LTX_ROWS
from tenxsom_flow_engine.services.pixverse.errors import ERRORS as PIXVERSE_ROWS
from tenxsom_flow_engine.services.pixverse.models import MODELS as PIXVERSE_MODELS

ROOT = Path(__file__).resolve().parents[2]


def test_the_drawn_state_machine_is_the_real_one() -> None:
    """The diagram has every transition of `jobs.TRANSITIONS` and no other."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    drawn = set(re.findall(r"^    (\w+) --> (\w+)", text, re.MULTILINE))
    assert drawn == {(str(before), str(after)) for before, afters in TRANSITIONS.items() for after in afters}


#: Our pages, but for the list of changes, whose names may be of the past.
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
]


@pytest.mark.parametrize("document", PAGES)
def test_named_files_exist(document: str) -> None:
    """Every path of ours that a document names is there."""
    # Code that a page has its reader write names files that are not there yet.
    text = re.sub(r"^```\w+ title=.*?^```$", "", (ROOT / document).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"\b((?:docs|tests|testing|benchmarks|store|services)/[\w./-]*\w\.\w+)", text))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    missing = [name for name in named if not any((base / name).exists() for base in (
        ROOT, ROOT / "docs", ROOT / "tenxsom_flow_engine"))]  # fmt: skip
    assert not missing


@pytest.mark.parametrize("document", [*PAGES, "deploy/google-cloud.sh"])
def test_named_commands_exist(document: str) -> None:
    """Every command that a document has people type is there, with the options that it is given."""
    text = (ROOT / document).read_text("utf-8")
    for line in re.findall(r"run_flow_enhanced\.py ([^`#|;&>\n]+)", text):
        command: click.Command = commands
        for word in line.split():
            if isinstance(command, click.Group) and word in command.commands:
                command = command.commands[word]
            elif word.startswith("--"):
                known = [name for parameter in command.params for name in parameter.opts]
                assert word.partition("=")[0].rstrip(",.)") in [*known, "--help"], line


def test_every_setting_is_documented() -> None:
    """The README's table has every variable that `settings` reads."""
    names = "((?:TENXSOM|CLOUD_TASKS|REDIS|USEAPI|LTX|HEYGEN)_[A-Z_]+)"
    read = set(re.findall(f'"{names}"', (ROOT / "tenxsom_flow_engine/settings.py").read_text()))
    documented = set(re.findall(f"`{names}`", (ROOT / "README.md").read_text("utf-8")))
    assert read == documented


def test_the_command_reference_is_up_to_date() -> None:
    """`docs/cli.md` is what `make docs` writes from the commands."""
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs/generate_cli.py")], capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs/cli.md").read_text("utf-8") == made


SERVICES: list[tuple[str, Iterable[ErrorRow], Iterable[str]]] = [
    ("pixverse", PIXVERSE_ROWS, PIXVERSE_MODELS),
    ("ltx_studio", LTX_ROWS, LTX_MODELS),
    ("heygen", heygen.ERRORS, ()),
]


@pytest.mark.parametrize(("service", "rows", "models"), SERVICES)
def test_the_page_of_a_service_is_complete(service: str, rows: Iterable[ErrorRow], models: Iterable[str]) -> None:
    """Every model that is known and every status and code that has a meaning stands in the service's page."""
    text = (ROOT / f"docs/services/{service}.md").read_text("utf-8")
    assert [name for name in models if f"`{name}`" not in text] == []
    assert [row.status for row in rows if str(row.status) not in text and row.error is not Transient] == []
    assert [row.code for row in rows if row.code not in text] == []


def test_the_lengths_of_pixverse_are_those_of_its_page() -> None:
    """The page of PixVerse tells each model's shortest and longest video."""
    text = (ROOT / "docs/services/pixverse.md").read_text("utf-8")
    for model in PIXVERSE_MODELS.values():
        assert f"{model.shortest}–{model.longest}" in text
