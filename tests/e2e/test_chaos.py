"""The short form of `make chaos`; the long form has more jobs, more faults, and other seeds."""

from __future__ import annotations

import subprocess
import sys

from .conftest import ROOT

#: Faults that must have occurred, with any seed.
FAULTS = ("workers killed", "workers frozen", "disk full", "Redis killed", "delivered twice")


def test_guarantees_hold_while_everything_fails() -> None:
    """With services, workers, stores and deliveries failing together, no guarantee breaks on any queue backend."""
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "--jobs", "30", "--seconds", "3", "--seed", "7"],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    table = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for line in done.stdout.splitlines()
             if len(cells := line.split("|")) > 4}  # fmt: skip
    assert table["jobs"] == table["succeeded in the end"] == ["30", "30", "30"]
    assert all(int(table[fault][-1]) > 0 for fault in FAULTS)


def test_guarantees_hold_with_a_bucket_that_fails_too() -> None:
    """With an S3 server that refuses every request now and then, each video is in the bucket once, and whole."""
    arguments = ["--jobs", "15", "--seconds", "3", "--seed", "7", "--backends", "local", "--output", "bucket"]
    done = subprocess.run(
        [sys.executable, "-m", "chaos", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = {cells[1].strip(): cells[2].strip() for line in done.stdout.splitlines()
             if len(cells := line.split("|")) > 3}  # fmt: skip
    assert table["jobs"] == table["succeeded in the end"] == "15"
    assert int(table["bucket away"]) > 0
