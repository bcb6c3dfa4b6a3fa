"""The short form of `make chaos`; the long one has more jobs, more blows, and other seeds."""

from __future__ import annotations

import subprocess
import sys

from .conftest import ROOT

#: What must have befallen an engine that went through a storm, whatever the seed.
BLOWS = ("workers killed", "workers frozen", "disk full", "Redis killed", "delivered twice")


def test_no_promise_breaks_in_a_storm() -> None:
    """Vendors, workers, stores and deliveries fail all at once, on each queue backend: no promise is broken."""
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--jobs", "30", "--seconds", "3", "--seed", "7"],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    table = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for line in done.stdout.splitlines()
             if len(cells := line.split("|")) > 4}  # fmt: skip
    assert table["jobs"] == table["made in the end"] == ["30", "30", "30"]
    assert all(int(table[blow][-1]) > 0 for blow in BLOWS)
