"""A day of a channel, 96 videos, in simulated time."""

from __future__ import annotations

from pathlib import Path

from benchmarks.day.results import figures
from benchmarks.day.simulate import KEYS, open_day
from tenxsom_flow_engine.jobs import Status


def test_a_day_of_96_videos(tmp_path: Path) -> None:
    """Each video of a day is made soon after its slot or has a reason; no quota is exceeded, few calls are wasted."""
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
    # Four per hour is far below all quotas, so jobs only wait while a vendor is rate-limiting, and then briefly.
    assert found.to_create.most < 60
    assert found.sold_twice == 0
