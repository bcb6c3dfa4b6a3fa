"""How every change of a record is made: the status and the timeline, and the changes that several functions share."""

from __future__ import annotations

from typing import Any

import msgspec

from tenxsom_flow_engine.errors import ActionRefused, LeaseLost
from tenxsom_flow_engine.jobs.model import (
    PUSHED,
    TRANSITIONS,
    Event,
    EventKind,
    Failure,
    JobRecord,
    Lease,
    Status,
    Submission,
    SubmissionState,
)

#: Event kinds that record the worker's name; for polls that change nothing it would only take space.
_BY_WORKERS = frozenset({EventKind.SUBMITTING, EventKind.FAULT, EventKind.PUBLISHED, EventKind.FAILED, EventKind.HELD})
#: The number of first and of last events that a timeline keeps.
FIRST_EVENTS, LAST_EVENTS = 10, 50


def change(
    record: JobRecord, now: float, status: Status, what: EventKind | None = None, detail: str = "", **changes: Any
) -> JobRecord:
    """Return the record with a status, an event and other changed fields. Raises `ActionRefused` for the status."""
    if status is not record.status and status not in TRANSITIONS[record.status]:
        raise ActionRefused(f"job {record.job_id} cannot go from {record.status} to {status}")
    worker = record.lease.worker if record.lease is not None and what in _BY_WORKERS else ""
    events = _note(record.events, Event(at=now, what=what, detail=detail, worker=worker)) if what else record.events
    after = msgspec.structs.replace(record, status=status, updated_at=now, events=events, **changes)
    if after.due is not None and (after.due, after.seq) != (record.due, record.seq):
        # The new delivery still has to be dispatched to a queue backend that pushes.
        after = msgspec.structs.replace(after, dispatched=after.queue not in PUSHED)
    return after


def _note(events: tuple[Event, ...], event: Event) -> tuple[Event, ...]:
    last = events[-1] if events else None
    if last and (last.what, last.detail) == (event.what, event.detail):
        again = msgspec.structs.replace(last, times=last.times + 1, last_at=event.at, worker=event.worker)
        return (*events[:-1], again)
    events = (*events, event)
    if len(events) > FIRST_EVENTS + LAST_EVENTS:
        events = events[:FIRST_EVENTS] + events[-LAST_EVENTS:]
    return events


def give_back(
    record: JobRecord, now: float, *, due: float, what: EventKind, detail: str = "", **changes: Any
) -> JobRecord:
    """End a lease, and let the job wait for its next step."""
    status = Status.RENDERING if record.submission.state is SubmissionState.ACCEPTED else Status.QUEUED
    return change(record, now, status, what, detail, lease=None, due=due, seq=record.seq + 1, **changes)


def final(
    record: JobRecord, now: float, status: Status, what: EventKind, detail: str = "", **changes: Any
) -> JobRecord:
    """End a job with a final status."""
    return change(
        record, now, status, what, detail, lease=None, due=None, seq=record.seq + 1, finished_at=now, **changes
    )


def hold(record: JobRecord, now: float, failure: Failure, submission: Submission, **changes: Any) -> JobRecord:
    """Let a job wait for a person's decision on its submission."""
    return change(
        record, now, Status.HELD, EventKind.HELD, failure.message,
        error=failure, submission=submission, lease=None, due=None, seq=record.seq + 1, **changes,
    )  # fmt: skip


def start(record: JobRecord, now: float) -> tuple[Status, float]:
    """Return the status of a job that bought nothing after all, and when it is due."""
    if record.status is Status.HELD and record.planned is not None and record.planned > now:
        return Status.SCHEDULED, record.planned
    return Status.QUEUED, now


def begin_again(
    record: JobRecord, now: float, status: Status, what: EventKind, detail: str = "", **changes: Any
) -> JobRecord:
    """Return a job to its queue on a user's request: due immediately, with its attempts reset and no latest start.

    `changes` can keep its latest start, or let it be due later.
    """
    fresh = {"due": now, "attempts": 0, "expiries": 0, "error": None, "finished_at": None, "progress": 0.0}
    return change(record, now, status, what, detail, seq=record.seq + 1, **{**fresh, "start_by": None, **changes})


def over(submission: Submission, *, failed: bool = False) -> Submission:
    """Return a submission whose generation does not run any more."""
    return msgspec.structs.replace(submission, over=True, failed=failed)


def own_lease(record: JobRecord, token: str) -> Lease:
    """Return the lease that a worker with this token holds. Raises `LeaseLost`."""
    if record.lease is None or record.lease.token != token:
        raise LeaseLost(record.job_id)
    return record.lease
