"""Adds the jobs of schedules to the queue, each exactly once, however many processes plan and whenever they end.

A change of a schedule takes topics for its next slots and keeps the planned jobs as pending; then they are added, then
no longer kept. Every process that finds pending jobs adds them first, under the same ids, and a known id adds nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from tenxsom_flow_engine.channels.schedules import PendingJob, Schedule, Topic
from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput, StoreBroken, StoreUnavailable
from tenxsom_flow_engine.jobs import JobRecord, Status, VideoJob
from tenxsom_flow_engine.planning.prepared import Prepared
from tenxsom_flow_engine.planning.schedules import plan_ahead, plan_now
from tenxsom_flow_engine.planning.slots import slot_job_id
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.store.base import MOST_SWAPS
from tenxsom_flow_engine.store.values import Added, NewJob
from tenxsom_flow_engine.text import plural
from tenxsom_flow_engine.topics import builtin_script, builtin_topics

_log = logging.getLogger(__name__)


class ScheduleStore(Protocol):
    """The part of `store.base.JobStore` that a planner needs."""

    def now(self) -> float: ...

    def schedules(self) -> Sequence[Schedule]: ...

    def schedule(self, name: str) -> Schedule | None: ...

    def swap_schedule(self, before: Schedule | None, after: Schedule | None, topics: Sequence[Topic] = ()) -> bool: ...

    def schedule_topics(self, schedule: Schedule, places: Collection[int]) -> Mapping[int, Topic]: ...

    def require_schedule(self, name: str) -> Schedule: ...

    def get_each(self, job_ids: Sequence[str]) -> Sequence[JobRecord]: ...


class JobMaker(Protocol):
    """The part of `engine.Engine` that a planner needs."""

    @property
    def services(self) -> Mapping[str, VideoService]: ...

    def prepare(self, job: VideoJob, due: float | None = None, start_by: float | None = None) -> Prepared: ...

    def at_default_duration(self, job: VideoJob) -> VideoJob: ...

    def with_channel_defaults(self, fields: Mapping[str, Any]) -> Mapping[str, Any]: ...

    def add(self, jobs: Iterable[NewJob]) -> Added: ...


class Planner:
    """Plans the schedules of a store, `horizon` seconds ahead."""

    def __init__(self, store: ScheduleStore, maker: JobMaker, horizon: float) -> None:
        self._store = store
        self._maker = maker
        self.horizon = horizon

    def plan_all(self) -> int:
        """Plan all schedules, and return the number of added jobs. Raises `StoreError`, `QueueError`.

        What keeps one schedule from being planned is stored in it, and the others are planned.
        """
        count = 0
        for schedule in self._store.schedules():
            try:
                added = self.plan(schedule.name)
            except (InvalidInput, ConfigurationError) as error:
                self._report(schedule.name, str(error))
                continue
            if added:
                count += len(added)
                _log.info("schedule %s: planned %s", schedule.name, plural(len(added), "job"))
        return count

    def plan(self, name: str) -> Sequence[Prepared]:
        """Plan one schedule, unless it is paused, and return the new jobs.

        Raises `InvalidInput` or `ConfigurationError` if a job cannot be made, `StoreError`, `QueueError`.
        """
        added: list[Prepared] = []
        refused = 0
        while refused < MOST_SWAPS and (schedule := self._store.schedule(name)):
            if schedule.pending:
                new, changed = self._add_pending(schedule)
                added += new
            else:
                after = self.planned(schedule)
                if after == schedule:
                    break
                self.prepare(after)  # before any topic is taken, because this can fail
                changed = self._store.swap_schedule(schedule, after)
            refused += not changed
        return added

    def planned(self, schedule: Schedule) -> Schedule:
        """Return a schedule with the jobs for its next slots as pending; unchanged if there is nothing to plan."""
        now = self._store.now()

        def has_job(instants: Sequence[int]) -> Collection[int]:
            mine = {slot_job_id(schedule.key, instant): instant for instant in instants}
            by_hand = {slot_job_id(schedule.channel, instant): instant for instant in instants}
            records = self._store.get_each([*mine, *by_hand])
            known = {record.job_id for record in records}
            started = {record.job_id for record in records if record.status is not Status.CANCELLED}
            return {mine[one] for one in mine.keys() & known} | {by_hand[one] for one in by_hand.keys() & started}

        planned = schedule if schedule.paused else plan_ahead(schedule, now, now + self.horizon, has_job)
        return planned if planned == schedule else replace(planned, problem="")

    def preview(self, schedule: Schedule) -> Schedule:
        """Return a schedule with all jobs up to the horizon as pending. Changes nothing."""
        pending: list[PendingJob] = []
        while (after := self.planned(schedule)) != schedule:
            pending += after.pending
            schedule = replace(after, pending=())
        return replace(schedule, pending=tuple(pending))

    def run_now(self, name: str) -> Sequence[Prepared]:
        """Add one job with the next topic, due now. Raises `InvalidInput` if no topic is left, and as `plan`."""
        for _ in range(MOST_SWAPS):
            schedule = self._store.require_schedule(name)
            if schedule.pending:
                self._add_pending(schedule)
                continue
            after = plan_now(schedule, self._store.now())
            self.prepare(after)
            if self._store.swap_schedule(schedule, after):
                return self._add_pending(after)[0]
        raise StoreUnavailable(f"the schedule {name} is changed by others all the time", next_step="try again")

    def finish(self, name: str) -> None:
        """Add the pending jobs of a schedule, if it has any. Raises as `plan`."""
        schedule = self._store.require_schedule(name)
        if schedule.pending:
            self._add_pending(schedule)

    def prepare(self, schedule: Schedule, topics: Mapping[int, Topic] | None = None) -> Sequence[Prepared]:
        """Prepare the pending jobs; `topics` are those of a list that is not stored. Raises as `plan`."""
        if schedule.topics is None:
            found = {job.place: self._builtin(schedule, job.place) for job in schedule.pending}
        else:
            size = schedule.topics
            known = topics
            if known is None:
                known = self._store.schedule_topics(schedule, {job.place % size for job in schedule.pending})
            if any(job.place % size not in known for job in schedule.pending):
                raise StoreBroken(f"the list of topics of the schedule {schedule.name} is incomplete")
            found = {job.place: known[job.place % size] for job in schedule.pending}
        return [self._prepared(schedule, job, found[job.place]) for job in schedule.pending]

    def _prepared(self, schedule: Schedule, pending: PendingJob, topic: Topic) -> Prepared:
        fields = self._maker.with_channel_defaults({**schedule.fields, **topic, "channel": schedule.channel})
        try:
            job = VideoJob(**fields, job_id=pending.job_id, created_at=self._store.now())
            if "duration" not in fields:
                job = self._maker.at_default_duration(job)
            return self._maker.prepare(job, pending.due, pending.start_by)
        except InvalidInput as error:
            which = f"topic {pending.place % schedule.topics + 1}" if schedule.topics else "a built-in topic"
            raise InvalidInput(error.field, f"{error.reason} ({which})", next_step=error.next_step) from error

    def _builtin(self, schedule: Schedule, place: int) -> Topic:
        """Return a built-in topic; each channel begins at another one."""
        topics = builtin_topics()
        offset = int.from_bytes(hashlib.sha256(schedule.channel.encode()).digest()[:8])
        topic = topics[(offset + place) % len(topics)]
        fields = self._maker.with_channel_defaults({**schedule.fields, "channel": schedule.channel})
        service = self._maker.services.get(fields.get("service", ""))
        return {"topic": topic, "script": builtin_script(topic) if service and service.uses_scripts else ""}

    def _add_pending(self, schedule: Schedule) -> tuple[list[Prepared], bool]:
        """Add the pending jobs and forget them; return those that are new, and whether the schedule was the latest."""
        try:
            prepared = self.prepare(schedule)
        except StoreBroken:
            if self._store.schedule(schedule.name) != schedule:  # its list has just been removed with it
                return [], False
            raise
        new = set(self._maker.add([one.new for one in prepared]).new)
        changed = self._store.swap_schedule(schedule, replace(schedule, pending=(), problem=""))
        return [one for one in prepared if one.new.job.job_id in new], changed

    def _report(self, name: str, problem: str) -> None:
        schedule = self._store.schedule(name)
        if schedule is not None and schedule.problem != problem:
            _log.error("schedule %s cannot be planned: %s", name, problem)
            self._store.swap_schedule(schedule, replace(schedule, problem=problem))
