"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tenxsom_flow_engine.jobs import TRANSITIONS
from tenxsom_flow_engine.services.pixverse.errors import ERRORS
from tenxsom_flow_engine.services.pixverse.models import MODELS

ROOT = Path(__file__).resolve().parents[2]


def test_the_drawn_state_machine_is_the_real_one() -> None:
    """The diagram has every transition of `jobs.TRANSITIONS` and no other."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    drawn = set(re.findall(r"^    (\w+) --> (\w+)", text, re.MULTILINE))
    assert drawn == {(str(before), str(after)) for before, afters in TRANSITIONS.items() for after in afters}


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/cli.md", "docs/services/pixverse.md"]
)
def test_named_files_exist(document: str) -> None:
    """Every path of ours that a document names is there."""
    text = (ROOT / document).read_text("utf-8")
    named = set(re.findall(r"\b((?:docs|tests|testing|benchmarks|store|services)/[\w./-]*\w\.\w+)", text))
    named |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    missing = [name for name in named if not any((base / name).exists() for base in (
        ROOT, ROOT / "docs", ROOT / "tenxsom_flow_engine"))]  # fmt: skip
    assert not missing


def test_every_setting_is_documented() -> None:
    """The README's table has every variable that `settings` reads."""
    names = "((?:TENXSOM|CLOUD_TASKS|REDIS|USEAPI)_[A-Z_]+)"
    read = set(re.findall(f'"{names}"', (ROOT / "tenxsom_flow_engine/settings.py").read_text()))
    documented = set(re.findall(f"`{names}`", (ROOT / "README.md").read_text("utf-8")))
    assert read == documented


def test_the_command_reference_is_up_to_date() -> None:
    """`docs/cli.md` is what `make docs` writes from the commands."""
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs/generate_cli.py")], capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs/cli.md").read_text("utf-8") == made


def test_the_page_of_pixverse_is_complete() -> None:
    """Every model that is known and every status that has a meaning stands in the service's page."""
    text = (ROOT / "docs/services/pixverse.md").read_text("utf-8")
    assert [name for name in MODELS if f"`{name}`" not in text] == []
    assert [row.status for row in ERRORS if str(row.status) not in text and row.status < 500] == []
    for model in MODELS.values():
        assert f"{model.shortest}–{model.longest}" in text
