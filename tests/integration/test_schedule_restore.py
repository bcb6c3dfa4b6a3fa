"""Schedules after a restore: no slot and no topic that can have been bought since the backup is planned again."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tenxsom_flow_engine.channels.schedules import CatchUp, PendingJob
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.operations.backup import back_up
from tenxsom_flow_engine.operations.restore import restore
from tenxsom_flow_engine.operations.schedules import add_schedule
from tenxsom_flow_engine.planning.schedules import ScheduleTerms, new_schedule, slots_between
from tenxsom_flow_engine.settings import Settings, load
from tests.contract.store_suite.shared import everything

HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load({"TENXSOM_HOME": str(tmp_path / "home"), "TENXSOM_QUEUE_TYPE": "local"})


def keep(engine: Engine) -> tuple[int, float]:
    """Keep a schedule as of a backup two days ago; return the number of slots that have passed, and the present."""
    now = engine.store.now()
    schedule = new_schedule("fun", ScheduleTerms("fun", 24, "1", catch_up=CatchUp.ALL), {}, 200, now - 2 * DAY)
    earlier = replace(schedule, next_topic=10, pending=(PendingJob("fun-pending", now - 2 * DAY, 9),))
    add_schedule(engine, earlier, [{"topic": f"Topic {number}"} for number in range(200)])
    return len(list(slots_between(earlier, now - 2 * DAY, now))), now


def test_a_lost_store_plans_no_slot_again(settings: Settings, tmp_path: Path) -> None:
    """Without the lost records, the slots since the backup are left out with their topics, also with `all`."""
    file = tmp_path / "backup"
    with open_engine(settings) as engine:
        passed, now = keep(engine)
    back_up(settings, None, file)
    (settings.home / "jobs.sqlite3").unlink()
    restore(settings, None, file)
    with open_engine(settings) as engine:
        engine.planner.plan_all()
        records, after = everything(engine.store), engine.store.require_schedule("fun")
    assert min(record.due or 0.0 for record in records) >= now
    assert after.next_topic >= 10 + passed + 24
    used = range(after.next_topic - 24, after.next_topic)
    assert {record.job.topic for record in records} == {f"Topic {number}" for number in used}


def test_what_the_replaced_records_show_is_continued(settings: Settings, tmp_path: Path) -> None:
    """Topics that were used or added since the backup are used or added afterwards, too."""
    file = tmp_path / "backup"
    with open_engine(settings) as engine:
        keep(engine)
    back_up(settings, None, file)
    with open_engine(settings) as engine:
        engine.store.change_schedule(
            "fun",
            lambda one: replace(one, next_topic=190, topics=203),
            [{"topic": f"New {number}"} for number in "abc"],
        )
    restore(settings, None, file)
    with open_engine(settings) as engine:
        engine.planner.plan_all()
        after = engine.store.require_schedule("fun")
        topics = {record.job.topic for record in everything(engine.store)}
    assert topics == {*(f"Topic {number}" for number in range(190, 200)), "New a", "New b", "New c"}
    assert (after.topics, after.topics_left, after.pending) == (203, 0, ())
