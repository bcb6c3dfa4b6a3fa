"""Set a store's clock back after it was ahead, and correct the records of that time.

A store's time never goes back on its own, so that no lease ends twice. A process or a Redis server with a wrong clock
can therefore put it far ahead: then scheduled jobs start too early, and polls and leases end too late.
"""

from __future__ import annotations

from dataclasses import dataclass

from tenxsom_flow_engine.clock import CLOCK_TOLERANCE
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ActionRefused
from tenxsom_flow_engine.generation.slots import MOST_SLOTS
from tenxsom_flow_engine.jobs import FINAL, JobRecord, Status, lifecycle
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.text import plural

#: Records read per page.
PAGE_JOBS = 500


@dataclass(frozen=True, slots=True)
class ClockRepair:
    """The result: the seconds that the clock was set back, and the number of corrected jobs."""

    lead: float
    jobs: int


def repair_clock(engine: Engine) -> ClockRepair:
    """Set the store's clock to this machine's, and correct unfinished jobs, limits and gates.

    Close the engine afterwards. Raises `ActionRefused` if the store is not ahead, or while a worker uses it.
    """
    lead = engine.clock_lead
    if lead <= CLOCK_TOLERANCE:
        raise ActionRefused("the store's clock is not ahead of this machine's clock")
    if alive := [worker for worker in engine.store.workers(within=engine.queue.lease) if not worker.ended]:
        raise ActionRefused(
            f"{plural(len(alive), 'worker')} would put the clock ahead again",
            next_step="stop all workers and dashboards first",
        )
    now = engine.clock.now()

    def correct(record: JobRecord, _: float) -> JobRecord:
        return lifecycle.rewind(record, now, lead)

    jobs = 0
    unfinished = JobFilter(statuses=frozenset(Status) - FINAL)
    for page in engine.store.pages(unfinished, limit=PAGE_JOBS):
        for record in page.records:
            if lifecycle.was_ahead(record, now):
                engine.store.update(record.job_id, correct)
                jobs += 1
    for service in engine.services:
        for record in engine.store.slot_holders(service, MOST_SLOTS):
            if record.status in FINAL and lifecycle.was_ahead(record, now):
                engine.store.update(record.job_id, correct)
                jobs += 1
    engine.limiter.set_clock_back(now, lead)
    engine.store.set_clock_back(now)
    return ClockRepair(lead, jobs)
