"""The log and the exit code of a real worker, as a monitoring system sees them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from .conftest import ROOT, Flow

FAILS = {"TENXSOM_SIMULATED": "rejected=1"}


def queries() -> Iterator[str]:
    """Yield the filters of the log that the page shows, with their options, and without the journal's own."""
    page = (ROOT / "docs/monitoring.md").read_text("utf-8")
    yield from re.findall(r"^journalctl [^|\n]*\| (jq [^\n]*)$", page, re.MULTILINE)


def test_a_burst_with_a_failed_job_ends_with_1(flow: Flow) -> None:
    """`worker --burst` exits with 1 if a job failed, so that cron reports it, and with 0 if all succeeded."""
    flow.json("single", "--topic", "Tides", "--service", "simulated", "--job-id", "job-1", "--json")
    assert flow.worker("--burst", **FAILS).wait() == 1
    flow.json("single", "--topic", "Tides", "--service", "simulated", "--job-id", "job-2", "--json")
    assert flow.worker("--burst", TENXSOM_SIMULATED="latency=0").wait() == 0


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
def test_the_documented_queries_find_a_failed_job(flow: Flow) -> None:
    """Each query of the page finds the failed job in the log of a worker that also made another one."""
    for job_id in ("JOB", "fine"):
        flow.json("single", "--topic", "Tides", "--service", "simulated", "--job-id", job_id, "--json")
        flow.worker("--burst", **(FAILS if job_id == "JOB" else {"TENXSOM_SIMULATED": "latency=0"})).wait()
    lines = [json.loads(line) for line in flow.log().splitlines()]
    assert {line["severity"] for line in lines if line.get("job_id") == "fine"} == {"INFO"}
    found = list(queries())
    assert len(found) >= 2
    for query in found:
        done = subprocess.run(["bash", "-o", "pipefail", "-c", query], input=flow.log(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "JOB" in done.stdout or "rejected" in done.stdout, query
        assert "fine" not in done.stdout
