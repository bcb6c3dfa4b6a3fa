"""Moves of waiting jobs between the queues of one store, and the queue that takes over while Cloud Tasks is away.

A move is a change of a record: its old delivery is outdated from then on, also one whose task was created although the
call failed. So a job that falls back is in one queue at every moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from tenxsom_flow_engine.errors import ActionRefused, InvalidInput, JobNotFound, QueueUnavailable
from tenxsom_flow_engine.jobs import JobRecord, Status, lifecycle
from tenxsom_flow_engine.queues.base import JobQueue
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import IN_PROGRESS, JobFilter
from tenxsom_flow_engine.text import plural

_log = logging.getLogger(__name__)

#: Jobs that are moved and then dispatched to the new queue in one batch.
CHUNK_JOBS = 200


def waiting(store: JobStore, queue: str, chunk: int = CHUNK_JOBS) -> Iterator[JobRecord]:
    """Yield the unfinished jobs of a queue, newest first."""
    jobs = JobFilter(queue=queue, statuses=(Status.SCHEDULED, *IN_PROGRESS))
    for page in store.pages(jobs, limit=chunk):
        yield from page.records


def moved_jobs(
    store: JobStore, source: str, target: JobQueue, left: Callable[[str, str], object], chunk: int = CHUNK_JOBS
) -> Iterator[Sequence[JobRecord]]:
    """Move all waiting jobs of the queue `source`, and yield them in chunks that are to be dispatched to the target.

    `left` gets the id of each job that cannot move, and why.
    """
    moved: list[JobRecord] = []
    for record in waiting(store, source, chunk):
        try:
            target.check(record.job, record.due)
            moved.append(store.update(record.job_id, lambda r, now: lifecycle.move(r, source, target.name, now)))
        except (ActionRefused, InvalidInput, JobNotFound) as refusal:
            left(record.job_id, refusal.message)
        if len(moved) == chunk:
            yield moved
            moved = []
    yield moved


def fall_back(
    store: JobStore, records: Sequence[JobRecord], source: str, fallback: str, error: QueueUnavailable
) -> None:
    """Move those of the jobs that are still undispatched to the fallback.

    Raises `error` if one cannot move, because it is not known yet whether it was bought.
    """

    def move(record: JobRecord, now: float) -> JobRecord:
        return lifecycle.move(record, source, fallback, now) if record.undispatched else record

    moved, refused = 0, False
    for record in records:
        try:
            moved += store.update(record.job_id, move).queue == fallback
        except (ActionRefused, JobNotFound):  # it has been claimed, has ended, or is in doubt
            now = store.get(record.job_id)
            refused = refused or (now is not None and now.queue == source and now.undispatched)
    if moved:
        _log.warning(
            "Cloud Tasks cannot be reached, so the %s queue takes %s: %s", fallback, plural(moved, "job"), error
        )
    if refused:
        raise error


def take_back(store: JobStore, target: JobQueue, fallback: str) -> int:
    """Move the jobs of the fallback to the queue that they were added to, if that answers; return how many."""
    status = target.status()
    if status.unknown is not None and status.unknown.code != "queue_forbidden":  # some accounts may only add tasks
        return 0
    count = 0
    for chunk in moved_jobs(store, fallback, target, lambda job_id, why: None):
        try:
            target.dispatch(chunk)
        except QueueUnavailable as error:
            fall_back(store, chunk, target.name, fallback, error)
            break
        count += len(chunk)
    if count:
        _log.warning("Cloud Tasks answers again: %s moved back to it from the %s queue", plural(count, "job"), fallback)
    return count
