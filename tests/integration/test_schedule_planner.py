"""Planners that run at once and end at any point: each slot gets one job, and no topic is used twice."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tenxsom_flow_engine.channels.schedules import CatchUp, Schedule, Topic
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput, QueueUnavailable, StoreUnavailable
from tenxsom_flow_engine.jobs import JobRecord, Status, VideoJob
from tenxsom_flow_engine.operations.schedules import add_schedule, cancel_planned, planned_jobs, remove_schedule
from tenxsom_flow_engine.planning.planner import Planner
from tenxsom_flow_engine.planning.prepared import Prepared
from tenxsom_flow_engine.planning.schedules import ScheduleTerms, new_schedule, slots_between
from tenxsom_flow_engine.planning.slots import slot_job_id
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import new_record
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import Added, NewJob
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import a_job
from tests.contract.store_suite.shared import STUCK, everything
from tests.redis_server import RedisServer
from tests.scripted_parts import Script, ScriptedQueue, open_scripted

_T = TypeVar("_T")

HOUR, DAY = 3600.0, 86400.0
#: A Monday at half past six in the morning, UTC.
NOW = 20_787 * DAY + 6.5 * HOUR


class Killed(BaseException):
    """The process of a planner ends here."""


class Turns:
    """Lets threads take turns: each runs to its next call, when it is chosen."""

    def __init__(self, count: int) -> None:
        self.running = dict.fromkeys(range(count), True)
        self._go = [threading.Semaphore(0) for _ in range(count)]
        self._back = threading.Semaphore(0)

    def wait(self, number: int) -> None:
        """Give the turn back, and wait for the next one."""
        self._back.release()
        assert self._go[number].acquire(timeout=STUCK)

    def end(self, number: int) -> None:
        """Give the turn back for good."""
        self.running[number] = False
        self._back.release()

    def give(self, number: int) -> None:
        """Let a thread run to its next call."""
        self._go[number].release()
        assert self._back.acquire(timeout=STUCK)

    def started(self) -> None:
        """Wait until a thread waits for its first turn."""
        assert self._back.acquire(timeout=STUCK)


class Memory:
    """The schedule and the jobs of a store, in memory."""

    def __init__(self, schedule: Schedule, topics: Sequence[Topic]) -> None:
        self.time = NOW
        self.kept: Schedule | None = schedule
        self.topics = topics
        self.jobs: dict[str, NewJob] = {}


class Process:
    """A process with a planner: it waits for its turn around each call, and is killed at its last one."""

    def __init__(self, memory: Memory, turns: Turns, number: int, calls: int) -> None:
        self._memory = memory
        self._turns = turns
        self._number = number
        self._calls = calls
        self.services: Mapping[str, VideoService] = {}
        self.planner = Planner(self, self, DAY)

    def run(self) -> None:
        """Plan until killed, or until everything is planned."""
        try:
            self._turns.wait(self._number)
            self.planner.plan_all()
        except Killed:
            pass
        finally:
            self._turns.end(self._number)

    def _call(self, call: Callable[[], _T]) -> _T:
        self._turns.wait(self._number)
        self._calls -= 1
        if self._calls == 0:
            raise Killed  # before the call takes effect
        result = call()
        self._turns.wait(self._number)
        self._calls -= 1
        if self._calls == 0:
            raise Killed  # after it
        return result

    def now(self) -> float:
        return self._memory.time

    def schedules(self) -> Sequence[Schedule]:
        return self._call(lambda: [self._memory.kept] if self._memory.kept else [])

    def schedule(self, name: str) -> Schedule | None:
        return self._call(lambda: self._memory.kept)

    def require_schedule(self, name: str) -> Schedule:
        found = self.schedule(name)
        assert found is not None
        return found

    def swap_schedule(self, before: Schedule | None, after: Schedule | None, topics: Sequence[Topic] = ()) -> bool:
        def swap() -> bool:
            if self._memory.kept != before:
                return False
            self._memory.kept = after
            return True

        return self._call(swap)

    def schedule_topics(self, schedule: Schedule, places: Collection[int]) -> Mapping[int, Topic]:
        return self._call(lambda: {place: self._memory.topics[place] for place in places})

    def get_each(self, job_ids: Sequence[str]) -> Sequence[JobRecord]:
        jobs = self._memory.jobs
        return self._call(lambda: [new_record("q", jobs[job_id], 1.0) for job_id in job_ids if job_id in jobs])

    def with_channel_defaults(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return fields

    def at_default_duration(self, job: VideoJob) -> VideoJob:
        return job

    def prepare(self, job: VideoJob, due: float | None = None, start_by: float | None = None) -> Prepared:
        return Prepared(NewJob(job, due, start_by=start_by), "draft", "", ())

    def add(self, jobs: Iterable[NewJob]) -> Added:
        new = []
        for item in jobs:  # a kill in the middle leaves a part of them

            def one(item: NewJob = item) -> bool:
                return self._memory.jobs.setdefault(item.job.job_id, item) is item

            if self._call(one):
                new.append(item.job.job_id)
        return Added(tuple(new), ())


@settings(max_examples=150, deadline=None)
@given(
    lives=st.lists(st.lists(st.integers(1, 40), min_size=3, max_size=3), min_size=1, max_size=4),
    order=st.lists(st.integers(0, 2), max_size=400),
    hours=st.integers(0, 30),
    count=st.integers(0, 20),
    catch_up=st.sampled_from(CatchUp),
)
def test_each_slot_gets_one_job(
    lives: list[list[int]], order: list[int], hours: int, count: int, catch_up: CatchUp
) -> None:
    """With any order of the calls of three planners, each killed at any call: one job a slot, each topic once."""
    schedule = new_schedule("fun", ScheduleTerms("fun", 6, "1/4", catch_up=catch_up), {}, count, NOW)
    memory = Memory(schedule, [{"topic": f"Topic {number}"} for number in range(count)])
    choices = iter(order)
    begin = NOW
    for number, calls in enumerate([*lives, [10_000]]):  # the last planner lives until everything is planned
        memory.time += hours * HOUR * (number > 0)
        turns = Turns(len(calls))
        processes = [Process(memory, turns, place, size) for place, size in enumerate(calls)]
        threads = [threading.Thread(target=process.run, daemon=True) for process in processes]
        for thread in threads:
            thread.start()
            turns.started()
        while alive := [place for place, running in turns.running.items() if running]:
            turns.give(alive[next(choices, 0) % len(alive)])
        for thread in threads:
            thread.join(STUCK)
    assert memory.kept is not None
    assert memory.kept.pending == ()
    jobs = sorted(memory.jobs.values(), key=lambda item: item.due or 0.0)
    topics = [item.job.topic for item in jobs]
    assert len(set(topics)) == len(topics) == memory.kept.next_topic
    instants = {int(item.due or 0.0): item.job.job_id for item in jobs}
    assert len(instants) == len(jobs)
    slots = [slot.instant for slot in slots_between(schedule, begin, memory.kept.planned_until)]
    assert set(instants) <= set(slots)
    assert all(slot_job_id(schedule.key, instant) == job_id for instant, job_id in instants.items())
    if catch_up is CatchUp.ALL:
        # None is left out up to the last topic, and all topics that slots of the next day need are used.
        assert sorted(instants) == slots
        whole = list(slots_between(schedule, begin, memory.time + DAY))
        assert len(jobs) == min(count, len(whole))
    else:
        assert len(jobs) + memory.kept.missed == len(slots)


@pytest.fixture
def clock() -> ManualClock:
    clock = ManualClock()
    clock.set(NOW)
    return clock


def opened(folder: Path, clock: ManualClock, **variables: str) -> Engine:
    """Open an engine with the embedded queue, of which a test answers calls."""
    return open_scripted(load({"TENXSOM_HOME": str(folder), **variables}), clock, Script())


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock) -> Any:
    with opened(tmp_path, clock) as engine:
        yield engine


def add(engine: Engine, count: int = 100, name: str = "fun", **fields: Any) -> Schedule:
    """Add a schedule of a video an hour with a list of topics."""
    schedule = new_schedule(name, ScheduleTerms("fun", 24, "1"), fields, count, engine.store.now())
    add_schedule(engine, schedule, [{"topic": f"Topic {number}"} for number in range(count)])
    return schedule


def test_a_queue_that_cannot_be_reached_loses_nothing(engine: Engine) -> None:
    """Jobs that could not be added stay pending, and the next planner adds them."""
    add(engine)
    assert isinstance(engine.queue, ScriptedQueue)

    def refuse(real: Callable[..., Added], jobs: list[NewJob]) -> Added:
        raise QueueUnavailable("no answer")

    engine.queue.script.instead["enqueue"] = refuse
    with pytest.raises(QueueUnavailable):
        engine.planner.plan_all()
    assert len(engine.store.require_schedule("fun").pending) == 24
    assert everything(engine.store) == []
    engine.queue.script.instead.clear()
    assert engine.planner.plan_all() == 24
    assert engine.store.require_schedule("fun").pending == ()
    assert sorted(record.job.topic for record in everything(engine.store)) == sorted(f"Topic {n}" for n in range(24))


def test_slots_that_were_planned_by_hand_are_left_out(engine: Engine) -> None:
    """A slot of the channel that has a job already gets no second one; a cancelled job does not count."""
    at = [int(NOW // HOUR * HOUR + hour * HOUR) for hour in (1, 2)]
    for instant in at:
        engine.add([NewJob(a_job(slot_job_id("fun", instant), channel="fun"), float(instant))])
    engine.cancel(slot_job_id("fun", at[1]))
    one = add(engine)
    assert engine.planner.plan_all() == 23
    assert engine.store.get(slot_job_id(one.key, at[0])) is None
    assert engine.store.require(slot_job_id(one.key, at[1])).job.topic == "Topic 0"


def test_a_schedule_that_cannot_be_planned_keeps_its_topics(engine: Engine, clock: ManualClock) -> None:
    """A service that is not configured takes no topic; the reason is stored, and other schedules are planned."""
    add(engine, service="heygen")
    add(engine, name="other")
    assert engine.planner.plan_all() == 24
    stuck = engine.store.require_schedule("fun")
    assert "heygen is not configured (topic 1)" in stuck.problem
    assert stuck.next_topic == 0
    engine.store.change_schedule("fun", lambda one: replace(one, fields={}))
    assert engine.planner.plan_all() == 24
    assert engine.store.require_schedule("fun").problem == ""


def test_a_removed_schedule_adds_nothing_later(engine: Engine) -> None:
    """Pending jobs are added before a schedule ends, so that a process that knows them cannot add them afterwards."""
    add(engine)
    schedule = engine.store.require_schedule("fun")
    pending = engine.planner.planned(schedule)
    assert engine.store.swap_schedule(schedule, pending)
    late = engine.planner.prepare(pending)  # by a process that stops here for a while
    assert cancel_planned(engine, remove_schedule(engine, "fun")) == 24
    assert engine.add([one.new for one in late]).new == ()
    assert {record.status for record in everything(engine.store)} == {Status.CANCELLED}
    again = add(engine)
    assert engine.planner.plan_all() == 24
    assert len(planned_jobs(engine, again)) == 24


def test_replacing_a_schedule_cancels_its_jobs(engine: Engine) -> None:
    """A schedule that replaces another has new jobs in the same slots, and those of the other are cancelled."""
    first = add(engine)
    engine.planner.plan_all()
    with pytest.raises(InvalidInput, match="exists"):
        add(engine)
    second = new_schedule("fun", ScheduleTerms("fun", 24, "1"), {}, 1, engine.store.now())
    assert add_schedule(engine, second, [{"topic": "New"}], replaced=True) == 24
    assert [one.new.job.topic for one in engine.planner.plan("fun")] == ["New"]
    assert planned_jobs(engine, first) == []
    assert engine.store.schedule_topics(first, [0]) == {}


def test_a_clock_that_was_ahead_doubles_and_skips_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """After the store's clock was set back, the slots that have a job keep it, and the later ones are planned."""
    with opened(tmp_path, clock) as engine:
        add(engine)
        engine.planner.plan_all()
        clock.advance(20 * DAY)
        engine.planner.plan_all()
        clock.advance(-20 * DAY)
        engine.store.set_clock_back(NOW)
    with opened(tmp_path, clock) as engine:
        assert engine.planner.plan_all() == 0
        clock.advance(2 * HOUR)
        assert engine.planner.plan_all() == 2
        jobs = [record for record in everything(engine.store) if (record.due or 0.0) < NOW + 3 * DAY]
        assert len({record.due for record in jobs}) == len(jobs) == 26


def test_the_horizon_is_a_setting(tmp_path: Path, clock: ManualClock) -> None:
    """A longer horizon plans more, and a shorter one then plans nothing twice."""
    with opened(tmp_path, clock, TENXSOM_SCHEDULE_HORIZON="2d") as engine:
        add(engine)
        assert engine.planner.plan_all() == 48
    with opened(tmp_path, clock) as engine:
        assert engine.planner.plan_all() == 0
        clock.advance(25 * HOUR)
        assert engine.planner.plan_all() == 1
    assert len(opened_jobs(tmp_path, clock)) == 49


def opened_jobs(folder: Path, clock: ManualClock) -> set[str]:
    with opened(folder, clock) as engine:
        return {record.job.topic for record in everything(engine.store)}


def test_a_server_that_restarts_keeps_schedules(tmp_path: Path, clock: ManualClock) -> None:
    """A Redis server that is killed and started again has the schedule, its topics and its pending jobs."""
    server = RedisServer(tmp_path)
    store = RedisStore(server.url, "flow", clock)
    try:
        with open_engine(load({"TENXSOM_HOME": str(tmp_path)}), "redis", clock=clock, store=store) as engine:
            schedule = add(engine)
            pending = engine.planner.planned(schedule)
            assert engine.store.swap_schedule(schedule, pending)
            server.kill()
            with pytest.raises(StoreUnavailable):
                engine.planner.plan_all()
            server.start()
            assert engine.store.schedule("fun") == pending
            assert engine.planner.plan_all() == 24
            clock.advance(HOUR)
            assert [one.new.job.topic for one in engine.planner.plan("fun")] == ["Topic 24"]
    finally:
        server.kill()


def test_a_file_of_an_earlier_release_gets_the_tables(tmp_path: Path, clock: ManualClock) -> None:
    """A store's file without tables of schedules gets them when it is opened."""
    path = tmp_path / "jobs.sqlite3"
    SQLiteStore(path, clock).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE schedules")
        db.execute("DROP TABLE schedule_topics")
        db.commit()
    with opened(tmp_path, clock) as engine:
        add(engine)
        assert engine.planner.plan_all() == 24


def test_one_worker_at_a_time_plans(tmp_path: Path, clock: ManualClock) -> None:
    """A lock of the store lets one worker plan; another one takes over when that has ended without a word."""
    with open_engine(load({"TENXSOM_HOME": str(tmp_path)}), "local", clock=clock) as engine:
        add(engine)
        assert engine.store.acquire_lock("schedules", "w-0", 60.0)
        engine.plan_schedules("w-1")
        assert everything(engine.store) == []
        clock.advance(61)
        engine.plan_schedules("w-1")
        assert len(everything(engine.store)) == 24
