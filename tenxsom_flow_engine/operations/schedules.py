"""Adds, replaces and removes schedules, with their planned jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from tenxsom_flow_engine.channels.schedules import Schedule, Topic
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ActionRefused, ConfigurationError, InvalidInput, JobNotFound
from tenxsom_flow_engine.jobs import AUTO, JobRecord, Status, VideoJob
from tenxsom_flow_engine.planning.batch import normal_fields
from tenxsom_flow_engine.planning.schedules import ScheduleTerms, new_schedule
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter

#: Records read per page.
PAGE_JOBS = 500
_ENDS = "it is being removed or replaced"


def _fixed_fields(engine: Engine, channel: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a schedule's jobs with the free service that `auto` means now, if no other is configured.

    So what was added as free stays free when a paid service is configured later.
    """
    complete = engine.with_channel_defaults({**fields, "channel": channel})
    if complete.get("service", AUTO) != AUTO:
        return dict(fields)
    sample: dict[str, Any] = {"job_id": "sample", "topic": "A sample", "created_at": engine.store.now(), **complete}
    try:
        service = engine.prepare(VideoJob(**sample)).new.job.service
    except InvalidInput:  # its topics can name services that make them; the plan shows what is wrong
        return dict(fields)
    return {**fields, "service": service} if service != AUTO else dict(fields)


def draft_schedule(
    engine: Engine, name: str, terms: ScheduleTerms, given: Mapping[str, Any], topics: Sequence[Topic] | None
) -> Schedule:
    """Return a new schedule with the given fields of its jobs; it is not kept yet. Raises `InvalidInput`."""
    # A duration that is given stays, even if it is the usual one.
    fields = {**normal_fields(given), **{key: given[key] for key in given.keys() & {"duration"}}}
    count = None if topics is None else len(topics)
    return new_schedule(name, terms, _fixed_fields(engine, terms.channel, fields), count, engine.store.now())


def pause(store: JobStore, name: str, why: str = "") -> Schedule:
    """Plan no more slots; planned jobs stay. Raises `InvalidInput`."""
    return store.change_schedule(name, lambda schedule: replace(schedule, paused=True, why=why))


def resume(store: JobStore, name: str) -> Schedule:
    """Let the slots of a paused schedule be planned again. Raises `InvalidInput`."""
    return store.change_schedule(name, lambda schedule: replace(schedule, paused=False, why=""))


def add_schedule(engine: Engine, schedule: Schedule, topics: Sequence[Topic], *, replaced: bool = False) -> int:
    """Keep a new schedule with its topics; workers plan it from now on. Returns the number of cancelled jobs.

    With `replaced` it takes the place of the one with its name, whose planned jobs are cancelled. Raises `InvalidInput`
    if the name is taken, `StoreError`.
    """
    engine.remember_queue()
    before = _closed(engine, schedule.name) if replaced else None
    # First: if this process ends here, a slot has no job rather than two.
    cancelled = cancel_planned(engine, before) if before else 0
    if not engine.store.swap_schedule(before, schedule, topics):
        raise InvalidInput("name", f"a schedule called {schedule.name} exists, or has just been changed")
    return cancelled


def remove_schedule(engine: Engine, name: str) -> Schedule:
    """Remove a schedule and its list of topics, and return it; its planned jobs stay. Raises `InvalidInput`."""
    while True:
        schedule = _closed(engine, name)
        if engine.store.swap_schedule(schedule, None):
            return schedule


def planned_jobs(engine: Engine, schedule: Schedule) -> Sequence[JobRecord]:
    """Return the jobs of a schedule that have not started, newest first."""
    # An overdue job is listed as queued, but its record is still that of a scheduled one.
    wanted = JobFilter(channel=schedule.channel, statuses=(Status.SCHEDULED, Status.QUEUED), text=f"{schedule.key}-")
    return [
        record
        for page in engine.store.pages(wanted, limit=PAGE_JOBS)
        for record in page.records
        if record.status is Status.SCHEDULED and record.job_id.startswith(f"{schedule.key}-")
    ]


def cancel_planned(engine: Engine, schedule: Schedule) -> int:
    """Cancel the jobs of a schedule that have not started; return how many."""
    count = 0
    for record in planned_jobs(engine, schedule):
        with suppress(ActionRefused, JobNotFound):  # it has just started
            engine.cancel(record.job_id)
            count += 1
    return count


def _closed(engine: Engine, name: str) -> Schedule:
    """Pause a schedule and add its pending jobs, so that no process adds one later; return it."""
    pause(engine.store, name, _ENDS)
    # Jobs that cannot be made now are given up.
    with suppress(InvalidInput, ConfigurationError):
        engine.planner.finish(name)
    return engine.store.require_schedule(name)
