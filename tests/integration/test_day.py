"""A simulated day of 96 videos."""

from __future__ import annotations

from pathlib import Path

from benchmarks.day.results import figures
from benchmarks.day.simulate import KEYS, open_day
from tenxsom_flow_engine.jobs import Status


def test_a_day_of_96_videos(tmp_path: Path) -> None:
    """Each video is made soon after its slot, or its job has an error; quotas hold, and few calls are wasted."""
    with open_day(tmp_path, services=tuple(KEYS), environment={}, seed=3) as day:
        day.plan(96)
        day.run()
        found, records = figures(day), day.records()
    assert found.planned == len(records) == 96
    assert found.unfinished == 0
    assert found.by_status[Status.SUCCEEDED] >= 90
    for record in records:
        if record.status is not Status.SUCCEEDED:
            assert record.error is not None
            assert record.error.message
            assert record.error.next_step or record.error.actions
    assert found.efficiency > 90
    assert [use for use in found.windows if use.share > 1] == []
    assert found.overbooked == 0
    # Four an hour is far below all quotas, so a job waits only while a vendor is busy, and not for long.
    assert found.to_create.p95 < 60
    assert found.sold_twice == 0
