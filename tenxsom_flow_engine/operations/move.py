"""Moves waiting jobs from one queue backend to another, during an outage or a migration.

Both backends share a store, so a move is an ordinary change of a record: a job is never in two queues, and a delivery
that the old backend still sends is recognised as outdated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from tenxsom_flow_engine.composition import open_store
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ActionRefused, ConfigurationError, InvalidInput, JobNotFound
from tenxsom_flow_engine.jobs import JobRecord, Status, lifecycle
from tenxsom_flow_engine.queues.selection import QUEUE_TYPES
from tenxsom_flow_engine.store.values import IN_PROGRESS, JobFilter

#: Jobs that are moved and then dispatched to the new queue backend in one batch.
CHUNK_JOBS = 200


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of a move: the number of moved jobs, and those that could not be moved."""

    jobs: int
    #: Job ids with the reason.
    left: tuple[tuple[str, str], ...]


def move_jobs(
    engine: Engine, source: str, *, progress: Callable[[int], None] = lambda jobs: None, chunk: int = CHUNK_JOBS
) -> Moved:
    """Move all waiting jobs of the queue `source` to the engine's queue; `progress` gets the size of each chunk.

    It can be interrupted at any point; calling it again completes the move. Raises `InvalidInput` for an unknown queue,
    `ConfigurationError` if the two queues do not share a store, `StoreError`, `QueueError`.
    """
    target = engine.queue
    if source not in QUEUE_TYPES or source == target.name:
        others = ", ".join(name for name in QUEUE_TYPES if name != target.name)
        raise InvalidInput("from", f"must be one of {others}, not {source!r}")
    _check_same_store(engine, source)
    target.dispatch([record for record in _waiting(engine, target.name, chunk) if record.undispatched])
    moved: list[JobRecord] = []
    jobs, left = 0, []
    for record in _waiting(engine, source, chunk):
        try:
            target.check(record.job, record.due)
            moved.append(engine.store.update(record.job_id, lambda r, now: lifecycle.move(r, source, target.name, now)))
        except (ActionRefused, InvalidInput, JobNotFound) as refusal:
            left.append((record.job_id, refusal.message))
        if len(moved) == chunk:
            target.dispatch(moved)
            progress(len(moved))
            jobs, moved = jobs + len(moved), []
    target.dispatch(moved)
    progress(len(moved))
    return Moved(jobs + len(moved), tuple(left))


def _check_same_store(engine: Engine, source: str) -> None:
    with closing(open_store(engine.settings, source, engine.clock)) as store:
        place = store.place
    if place != engine.store.place:
        raise ConfigurationError(
            f"the {source} queue keeps its records in {place}, and the {engine.queue.name} queue in "
            f"{engine.store.place}: jobs can only move between queues that share a store",
            next_step="let both use one store: cloud_tasks can share that of redis (set REDIS_HOST) or of local",
        )


def _waiting(engine: Engine, queue: str, chunk: int) -> Iterator[JobRecord]:
    """Yield the unfinished jobs of a queue, newest first."""
    jobs = JobFilter(queue=queue, statuses=(Status.SCHEDULED, *IN_PROGRESS))
    for page in engine.store.pages(jobs, limit=chunk):
        yield from page.records
