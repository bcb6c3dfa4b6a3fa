"""The generated references are up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("page", "generator"), [("cli", "generate_cli"), ("configuration", "generate_configuration")])
def test_references_are_up_to_date(page: str, generator: str) -> None:
    """Each reference equals the output of its generator (`make docs`)."""
    text = subprocess.run(
        [sys.executable, str(ROOT / f"docs/{generator}.py")], capture_output=True, encoding="utf-8", check=True
    ).stdout
    assert (ROOT / f"docs/{page}.md").read_text("utf-8") == text
