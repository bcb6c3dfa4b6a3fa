"""The deliveries of a queue backend that pushes: receiving, replacing and moving them."""

from __future__ import annotations

from typing import Any

import msgspec

from tenxsom_flow_engine.errors import ActionRefused, LeasedElsewhere
from tenxsom_flow_engine.jobs.delivery import Delivery, submission_id
from tenxsom_flow_engine.jobs.lifecycle.changes import begin_again, change
from tenxsom_flow_engine.jobs.lifecycle.leases import expire, take
from tenxsom_flow_engine.jobs.model import (
    AUTO,
    FINAL,
    TICKET_MARK,
    Event,
    EventKind,
    JobRecord,
    Lease,
    Status,
    Submission,
    SubmissionState,
)

#: Submission states by how strongly they indicate a purchase, the weakest first.
_EVIDENCE = (SubmissionState.NONE, SubmissionState.INTENT, SubmissionState.UNKNOWN, SubmissionState.ACCEPTED)


def receive(record: JobRecord, delivery: Delivery, queue: str, lease: Lease, now: float) -> JobRecord:
    """Lease a job to the worker that received its delivery, whether or not it is due by this clock.

    An expired lease of the same delivery is taken over and counted (see `expire`), so the returned job can be failed.
    Raises `LeasedElsewhere` if another worker holds the lease, `ActionRefused` if the job waits for another delivery.
    """
    if (record.queue, record.nonce) != (queue, delivery.nonce) or delivery.seq < record.seq:
        raise ActionRefused(f"job {record.job_id} waits for another delivery")
    if record.lease is not None and record.lease.until > now:
        raise LeasedElsewhere(record.job_id, record.lease.worker)
    if record.lease is not None:
        record = expire(record, now)
        if record.status in FINAL:
            return record
        # `expire` counted to the next delivery, but the queue backend only has the present one.
        record = msgspec.structs.replace(record, seq=record.seq - 1)
    if delivery.seq > record.seq:
        if record.expired and delivery.submission.state is not SubmissionState.NONE:
            record = begin_again(record, now, Status.QUEUED, EventKind.ADOPTED, "it had been submitted in time")
        if record.due is not None:
            record = _catch_up(record, delivery)
    return take(msgspec.structs.replace(record, dispatched=True), lease, now)


def adopt(delivery: Delivery, queue: str, now: float, *, previous_attempt_unanswered: bool = False) -> JobRecord:
    """Restore the record of a job from its delivery.

    With `previous_attempt_unanswered`, an earlier attempt at this delivery got no response and might have bought
    something: the next step looks that up instead of buying again.
    """
    submission, service = delivery.submission, delivery.service
    if previous_attempt_unanswered and submission.state is SubmissionState.NONE:
        submission = Submission(
            state=SubmissionState.INTENT,
            id=submission_id(delivery),
            intended_at=now,  # the earlier attempt might still be sending the create
            first_intended_at=min(delivery.added_at, now),
        )
        service = service or ("" if delivery.job.service == AUTO else delivery.job.service)
    bought = submission.state is SubmissionState.ACCEPTED
    return JobRecord(
        job=delivery.job,
        queue=queue,
        nonce=delivery.nonce,
        seq=delivery.seq,
        status=Status.RENDERING if bought else Status.QUEUED,
        attempts=delivery.attempts,
        start_by=delivery.start_by,
        service=service,
        submission=submission,
        due=now,
        cost=delivery.cost,
        max_usd=delivery.max_usd,
        added_at=min(delivery.added_at, now),
        updated_at=now,
        events=(Event(at=now, what=EventKind.ADOPTED, detail=f"from its delivery {delivery.seq}"),),
    )


def dispatched(record: JobRecord, seq: int) -> JobRecord:
    """Mark a delivery as dispatched to the queue backend; an outdated one changes nothing."""
    return msgspec.structs.replace(record, dispatched=True) if record.seq == seq else record


def redispatch(record: JobRecord, seq: int, now: float) -> JobRecord:
    """Replace delivery `seq`, which the queue backend has lost, possibly after its worker died."""
    if record.seq != seq:
        raise ActionRefused(f"job {record.job_id} has already moved on to another delivery")
    if record.lease is not None:
        return expire(record, now)
    if record.due is None:
        raise ActionRefused(f"job {record.job_id} is not waiting for a delivery")
    return change(
        record,
        now,
        record.status,
        EventKind.DELIVERED_AGAIN,
        "its delivery was lost",
        due=max(now, record.due),
        seq=seq + 1,
    )


def move_up(record: JobRecord, due: float, now: float) -> JobRecord:
    """Let a job that waits to be ordered be due earlier, at `due`, with a new delivery."""
    if record.due is None or record.submission.state is not SubmissionState.NONE or record.due <= due:
        raise ActionRefused(f"job {record.job_id} does not wait for a later time than that")
    return change(record, now, record.status, due=due, seq=record.seq + 1)


def move(record: JobRecord, source: str, target: str, now: float) -> JobRecord:
    """Move a waiting job to another queue backend; its due time and its purchases stay."""
    if record.queue != source or record.due is None:
        raise ActionRefused(f"job {record.job_id} is not waiting in the {source} queue")
    if record.lane == TICKET_MARK:
        # Pull workers claim by service, and the service of this job is unknown.
        raise ActionRefused(f"it is not yet known whether and where job {record.job_id} was bought")
    return change(
        record, now, record.status, EventKind.MOVED, f"from {source} to {target}",
        queue=target, due=record.due, seq=record.seq + 1,
    )  # fmt: skip


def _catch_up(record: JobRecord, delivery: Delivery) -> JobRecord:
    """Update a record that is older than its delivery, because the store was reset to an earlier state."""
    changes: dict[str, Any] = {"seq": delivery.seq}
    # If record and delivery disagree, the one with more evidence of a purchase is safe: it never buys twice.
    if _EVIDENCE.index(delivery.submission.state) > _EVIDENCE.index(record.submission.state):
        submission, known = delivery.submission, record.submission
        if known.id == submission.id and submission.charge is None:
            # The record of its purchase is lost, so its reservation stays.
            submission = msgspec.structs.replace(submission, charge=known.charge)
        changes |= {"submission": submission, "service": delivery.service}
        if delivery.submission.state is SubmissionState.ACCEPTED:
            changes["status"] = Status.RENDERING
    return msgspec.structs.replace(record, **changes)
