"""The references of commands and settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("made", "by"), [("cli", "generate_cli"), ("configuration", "generate_configuration")])
def test_references_are_up_to_date(made: str, by: str) -> None:
    """The references of commands and settings are what `make docs` writes from both."""
    text = subprocess.run(
        [sys.executable, str(ROOT / f"docs/{by}.py")], capture_output=True, encoding="utf-8", check=True
    ).stdout
    assert (ROOT / f"docs/{made}.md").read_text("utf-8") == text
