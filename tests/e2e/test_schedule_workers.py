"""Workers plan a schedule that is kept, also when they are killed."""

from __future__ import annotations

from contextlib import closing

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.operations.schedules import add_schedule
from tenxsom_flow_engine.planning.schedules import ScheduleTerms, new_schedule
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter

from .conftest import Flow

#: Videos a day.
DAILY = 480


def jobs(flow: Flow) -> list[JobRecord]:
    with closing(flow.store()) as store:
        return [record for page in store.pages(JobFilter(channel="fun"), limit=500) for record in page.records]


def test_several_workers_plan_each_slot_once(either: Flow) -> None:
    """Workers start at once and are killed while the slots of a day are planned; others complete the day, once."""
    topics = [{"topic": f"Topic {number}"} for number in range(2 * DAILY)]
    with open_engine(load(either.environment)) as engine:
        now = engine.store.now()
        schedule = new_schedule("fun", ScheduleTerms("fun", DAILY, "20"), {"service": "draft"}, len(topics), now)
        add_schedule(engine, schedule, topics)
        engine.queue.pause()  # nothing has to be made
    killed = [either.worker() for _ in range(3)]
    either.until(lambda: jobs(either), "a planned job")
    for worker in killed:
        either.kill(worker)
    # The command plans without waiting for the lock of a killed worker, as a worker does after it.
    assert either.run("schedule", "resume", "fun").returncode == 0
    started = [either.worker() for _ in range(2)]
    either.until(lambda: len(jobs(either)) >= DAILY, "the whole day")
    for worker in started:
        either.kill(worker)
    records = jobs(either)
    with closing(either.store()) as store:
        after = store.require_schedule("fun")
    assert after.pending == ()
    assert len({record.due for record in records}) == len(records) == after.next_topic
    assert {record.job.topic for record in records} == {f"Topic {number}" for number in range(len(records))}
