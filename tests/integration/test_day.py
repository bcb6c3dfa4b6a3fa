"""A day of a channel, 96 videos, in time that is moved by hand."""

from __future__ import annotations

from pathlib import Path

from benchmarks.day.results import figures
from benchmarks.day.simulate import KEYS, open_day
from tenxsom_flow_engine.jobs import Status


def test_a_day_of_96_videos(tmp_path: Path) -> None:
    """Each video of a day is made soon after its slot, or says why not; no quota is broken, few calls are in vain."""
    with open_day(tmp_path, services=tuple(KEYS), environment={}, seed=3) as day:
        day.plan(96)
        day.play()
        found, records = figures(day), day.records()
    assert found.planned == len(records) == 96
    assert found.waiting == 0
    assert found.by_status[Status.SUCCEEDED] >= 90
    for record in records:
        if record.status is not Status.SUCCEEDED:
            assert record.error is not None
            assert record.error.message
            assert record.error.next_step or record.error.actions
    assert found.efficiency > 90
    assert [filled for filled in found.windows if filled.share > 1] == []
    assert found.overbooked == 0
    # Four an hour is far below all quotas, so nobody waits but while a vendor wants silence, and for that not long.
    assert found.to_create.most < 60
    assert found.sold_twice == 0
