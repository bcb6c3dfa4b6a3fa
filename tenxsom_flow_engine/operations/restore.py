"""Restore a store from a backup without buying a video twice.

A backup does not know what was bought after it. The contents that it replaces usually do: jobs that they show as bought
since are carried over. Where they are missing or damaged, each job that can have been bought since is held for an
operator. The queue is paused until it is resumed by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from tenxsom_flow_engine.channels.schedules import Schedule, Topic
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.composition import Overrides, make_home, open_queue
from tenxsom_flow_engine.errors import ActionRefused, StoreBroken
from tenxsom_flow_engine.generation.routing import auto_services
from tenxsom_flow_engine.jobs import AUTO, FINAL, JobRecord, Status, SubmissionState, lifecycle
from tenxsom_flow_engine.planning.schedules import slots_between
from tenxsom_flow_engine.queues.selection import QUEUE_TYPES, choose_queue, choose_store
from tenxsom_flow_engine.queues.stores import sqlite_path
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.store.backup import Exchange
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter

#: Records read per page.
PAGE_JOBS = 500
#: Submission states by how much they tell about a purchase.
_EVIDENCE = (SubmissionState.NONE, SubmissionState.INTENT, SubmissionState.UNKNOWN, SubmissionState.ACCEPTED)


@dataclass(slots=True)
class Restored:
    """The result of a restore."""

    #: The store's time at the backup.
    backup_at: float
    #: Where the replaced contents are; empty if there were none.
    kept: str = ""
    #: Whether the replaced contents could be read completely.
    compared: bool = False
    #: Jobs that were bought since the backup; their later records were carried over.
    carried: list[JobRecord] = field(default_factory=list)
    #: Jobs that might have been bought since, and are held.
    held: list[JobRecord] = field(default_factory=list)
    #: Jobs that were added since and not bought: they are only in the replaced contents.
    missing: list[str] = field(default_factory=list)
    #: The names of the paused queues.
    paused: tuple[str, ...] = ()


def restore(
    settings: Settings,
    queue_type: str | None,
    file: Path,
    *,
    hold: bool = False,
    progress: Callable[[int], None] = lambda jobs: None,
    overrides: Overrides | None = None,
) -> Restored:
    """Replace the contents of the store by those of a backup; `progress` gets the number of compared jobs.

    With `hold`, the replaced contents count as incomplete. Raises `StoreUnavailable` while other processes use the
    store, `ConfigurationError`, `StoreError`, `QueueError`.
    """
    make_home(settings)
    overrides = overrides or Overrides()
    clock = SystemClock()
    services = overrides.make_services(settings, clock, overrides.timings)
    paying = {name for name, service in services.items() if not service.is_fallback}
    any_pays = bool(auto_services(services) & paying)

    def pays(record: JobRecord) -> bool:
        name = record.effective_service
        return any_pays if name == AUTO else name in paying or name not in services

    queue = choose_queue(settings, queue_type).queue_type
    with ExitStack() as cleanup:
        exchange = cleanup.enter_context(_exchange(settings, queue, file, overrides))
        restored = exchange.restored
        complete = exchange.complete and not hold
        result = Restored(exchange.backup_at, exchange.kept, complete)
        used = {name for name in QUEUE_TYPES if name == queue or restored.status_counts(name).unfinished}
        for name in sorted(used):
            paused = cleanup.enter_context(closing(open_queue(settings, name, restored, overrides.timings)))
            paused.pause()
        result.paused = tuple(sorted(used))
        if exchange.replaced is not None:
            try:
                _carry_over(exchange.replaced, restored, result, progress)
            except StoreBroken:  # damaged contents show what they can
                if exchange.complete:
                    raise
        _continue_schedules(exchange.replaced, restored)
        _hold(exchange.replaced if complete else None, restored, result, pays, progress)
        exchange.commit()
    return result


def _exchange(settings: Settings, queue: str, file: Path, overrides: Overrides) -> AbstractContextManager[Exchange]:
    choice = choose_store(settings, queue)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    if choice.scheme == "redis":
        from tenxsom_flow_engine.store.redis import backup as redis_backup

        return redis_backup.exchange(
            choice.url, settings.redis.key, file, stamp, alive_within=settings.lease, timings=overrides.timings
        )
    from tenxsom_flow_engine.store.sqlite import backup

    return backup.exchange(sqlite_path(choice.url), file, stamp, SystemClock(), overrides.timings)


def _carry_over(replaced: JobStore, restored: JobStore, result: Restored, progress: Callable[[int], None]) -> None:
    """Replace the restored records of jobs that were bought or finished since by the later ones."""
    for records in _pages(replaced, JobFilter()):
        for later in records:
            if not _shows_something(later):
                if later.added_at > result.backup_at and not restored.knows_id(later.job_id):
                    result.missing.append(later.job_id)
                continue
            earlier = restored.get(later.job_id)
            if earlier is not None and not _knows_more(later, earlier):
                continue
            if earlier is None and not restored.adopt(_as_added(later)):
                continue  # it ended before the backup, and was removed since
            restored.update(later.job_id, lambda record, now, later=later: later)  # type: ignore[misc]
            result.carried.append(later)
        progress(len(records))


def _continue_schedules(replaced: JobStore | None, restored: JobStore) -> None:
    """Let each schedule continue with slots and topics that were certainly not bought since the backup.

    The slots since then have passed, with one topic each. A schedule of the replaced contents shows what else was used.
    """
    now = restored.now()
    for before in restored.schedules():
        passed = sum(1 for _ in slots_between(before, before.planned_until, now))
        later, more = _later_schedule(replaced, before)
        after = replace(
            before,
            pending=(),
            topics=before.topics if before.topics is None else before.topics + len(more),
            next_topic=max(before.next_topic + passed, later.next_topic),
            planned_until=max(before.planned_until, now),
            missed=max(before.missed + passed, later.missed),
        )
        restored.swap_schedule(before, after, more)


def _later_schedule(replaced: JobStore | None, before: Schedule) -> tuple[Schedule, Sequence[Topic]]:
    """Return a schedule as the replaced contents have it, if they can be read, and its topics since the backup."""
    if replaced is None:
        return before, ()
    with suppress(StoreBroken):
        later = replaced.schedule(before.name)
        if later is not None and later.key == before.key:
            places = range(before.topics or 0, later.topics or 0)
            found = replaced.schedule_topics(later, places)
            return later, [found[place] for place in places if place in found]
    return before, ()


def _as_added(record: JobRecord) -> JobRecord:
    """Return the record as it was when its job was added: the change to its later form updates the totals."""
    return lifecycle.add(record.job, queue=record.queue, nonce=record.nonce, now=record.added_at, due=record.added_at)


def _shows_something(record: JobRecord) -> bool:
    """Return whether a record shows a purchase, a possible one, or a video."""
    bought = record.purchases or record.submission.state is not SubmissionState.NONE
    return bool(bought) or record.status is Status.SUCCEEDED


def _knows_more(later: JobRecord, earlier: JobRecord) -> bool:
    """Return whether a record shows a purchase, or a video, that an earlier record of the job does not."""
    submission, known = later.submission, earlier.submission
    if later.updated_at < earlier.updated_at:  # the backup is the newer one
        return False
    if later.status is Status.SUCCEEDED and earlier.status is not Status.SUCCEEDED:
        return True
    if len(later.purchases) > len(earlier.purchases):
        return True
    if submission.state is SubmissionState.NONE:
        return False
    return submission.id != known.id or _EVIDENCE.index(submission.state) > _EVIDENCE.index(known.state)


def _hold(
    replaced: JobStore | None,
    restored: JobStore,
    result: Restored,
    pays: Callable[[JobRecord], bool],
    progress: Callable[[int], None],
) -> None:
    """Hold the jobs that can have been bought since, as far as the replaced contents do not show the opposite."""
    waiting = JobFilter(statuses=frozenset(Status) - FINAL)
    for records in _pages(restored, waiting):
        for record in records:
            if record.submission.state is SubmissionState.ACCEPTED or not pays(record):
                continue
            known = replaced.get(record.job_id) if replaced else None
            if known is not None and known.nonce == record.nonce:
                continue  # it has not been bought, or it would have been carried over
            try:
                result.held.append(restored.update(record.job_id, lifecycle.hold_after_restore))
            except ActionRefused:  # it has been carried over
                continue
        progress(len(records))


def _pages(store: JobStore, jobs: JobFilter) -> Iterator[tuple[JobRecord, ...]]:
    for page in store.pages(jobs, limit=PAGE_JOBS):
        yield page.records
