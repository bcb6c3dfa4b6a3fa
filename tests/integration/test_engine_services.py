"""The services that an engine has, by its settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tenxsom_flow_engine.engine import open_engine
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import VideoJob
from tenxsom_flow_engine.settings import load

JOB = VideoJob(job_id="tides", topic="How tides work", service="pixverse", duration=18, created_at=1.0)


def test_a_token_switches_pixverse_on(tmp_path: Path) -> None:
    """With a token jobs for PixVerse are fitted, priced and told the notes; without one the name is refused."""
    home = {"TENXSOM_HOME": str(tmp_path)}
    with open_engine(load(home | {"USEAPI_TOKEN": "user:1-abc", "USEAPI_PIXVERSE_SLOTS": "7"}), "local") as engine:
        prepared = engine.prepare(JOB)
        assert engine.slots["pixverse"] == 7
    assert prepared.service == "pixverse"
    assert prepared.new.job.duration == 15
    assert prepared.new.cost is not None
    assert prepared.new.cost.credits == 105.0
    assert prepared.notes == ("duration 15 instead of 18, which pixverse does not make",)
    with open_engine(load(home), "local") as engine, pytest.raises(InvalidInput, match="no service 'pixverse'"):
        engine.prepare(JOB)


def test_enqueueing_loads_no_http_library(tmp_path: Path) -> None:
    """Whoever only adds a job for a service over HTTP does not wait for libraries that speak to it."""
    program = (
        "import sys\n"
        "from tenxsom_flow_engine.engine import open_engine\n"
        "from tenxsom_flow_engine.jobs import VideoJob\n"
        "from tenxsom_flow_engine.settings import load\n"
        f"settings = load({{'TENXSOM_HOME': {str(tmp_path)!r}, 'USEAPI_TOKEN': 'user:1-abc'}})\n"
        "with open_engine(settings, 'local') as engine:\n"
        "    engine.prepare(VideoJob(job_id='a', topic='a', service='pixverse', created_at=1.0))\n"
        "print(sorted({'requests', 'urllib3', 'av'} & sys.modules.keys()))\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
