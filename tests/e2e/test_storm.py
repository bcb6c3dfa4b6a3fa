"""The short form of `make storm`; the long form has more jobs, and each refusal lasts six seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import ROOT

JOBS = 42


@pytest.mark.parametrize(("backend", "server"), [("redis", "oldest"), ("cloud_tasks", "newest")])
def test_paid_jobs_survive_every_refusal_that_passes(backend: str, server: str) -> None:
    """Whatever a Redis server refuses during paid creates, no ticket is lost, no job is held, and no worker ends."""
    done = subprocess.run(
        [sys.executable, "-m", "chaos.storm", "--fast", "--jobs", str(JOBS), "--seconds", "0.3",
         "--backends", backend, "--servers", server],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = dict([cell.strip() for cell in line.split("|")[1:3]] for line in done.stdout.splitlines() if "|" in line)
    assert rows["jobs"] == rows["succeeded"] == rows["generations sold"] == str(JOBS)
    assert rows["held at any time"] == rows["sold twice"] == rows["tickets lost"] == "0"
