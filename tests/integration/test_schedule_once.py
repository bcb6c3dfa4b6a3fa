"""Processes that plan a schedule at once and are killed with `kill -9`: each slot gets exactly one job."""

from __future__ import annotations

import secrets
import signal
from pathlib import Path

import pytest

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.operations.schedules import add_schedule
from tenxsom_flow_engine.planning.schedules import ScheduleTerms, new_schedule, slots_between
from tenxsom_flow_engine.planning.slots import slot_job_id
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.redis.store import RedisStore
from tests import fork_server
from tests.contract.store_suite.shared import everything
from tests.killable_planner import POINTS, PlannerOrder, live
from tests.killable_worker import SharedClock
from tests.redis_server import RedisServer

DAY = 86400.0
#: Seconds to wait for a process.
WAIT = 120.0
#: Processes that plan at once.
AT_ONCE = 3


@pytest.mark.parametrize("queue", ["local", "redis"])
def test_killed_planners_plan_each_slot_once(queue: str, tmp_path: Path, redis_server: RedisServer) -> None:
    """Three processes plan at once and die at each write, again and again: no slot and no topic is lost or doubled."""
    environment = {
        "TENXSOM_HOME": str(tmp_path), "REDIS_URL": redis_server.url, "REDIS_QUEUE_KEY": secrets.token_hex(6)
    }  # fmt: skip
    clock = SharedClock(tmp_path / "clock")
    settings = load(environment)

    def store() -> RedisStore | None:
        return RedisStore(settings.redis.address, settings.redis.key, clock) if queue == "redis" else None

    begin = clock.now()
    schedule = new_schedule("fun", ScheduleTerms("fun", 24, "1", zone="Europe/Berlin"), {}, 500, begin)
    with open_engine(settings, queue, clock=clock, store=store()) as engine:
        add_schedule(engine, schedule, [{"topic": f"Topic {number}"} for number in range(500)])
    until = begin + 6 * DAY
    codes = []
    orders = [PlannerOrder(queue, environment, str(tmp_path / "clock"), until, point, occurrence)
              for occurrence in (1, 2, 3) for point in POINTS]  # fmt: skip
    for number in range(0, len(orders), AT_ONCE):
        together = [fork_server.start(live, order, log=tmp_path / "log") for order in orders[number : number + AT_ONCE]]
        codes += [child.wait(WAIT) for child in together]
    last = PlannerOrder(queue, environment, str(tmp_path / "clock"), max(until, clock.now() + DAY))
    ending = [fork_server.start(live, last, log=tmp_path / "log") for _ in range(AT_ONCE)]
    assert [child.wait(WAIT) for child in ending] == [0] * AT_ONCE, (tmp_path / "log").read_text()
    # All of them together plan at most 36 slots before they die.
    assert codes == [-signal.SIGKILL] * len(orders), (tmp_path / "log").read_text()
    with open_engine(settings, queue, clock=clock, store=store()) as engine:
        after = engine.store.require_schedule("fun")
        records = everything(engine.store)
    slots = [slot.instant for slot in slots_between(schedule, begin, after.planned_until)]
    assert {record.job_id for record in records} == {slot_job_id(schedule.key, instant) for instant in slots}
    assert sorted(int(record.due or 0) for record in records) == slots
    assert len(slots) > 6 * 24
    assert {record.job.topic for record in records} == {f"Topic {number}" for number in range(len(slots))}
    assert (after.next_topic, after.missed, after.pending) == (len(slots), 0, ())
