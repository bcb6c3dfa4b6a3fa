"""The submission journal: what is known about the paid create of a job."""

from __future__ import annotations

from typing import Any

import msgspec

from tenxsom_flow_engine.errors import ActionRefused
from tenxsom_flow_engine.jobs.lifecycle.changes import change, own_lease, start
from tenxsom_flow_engine.jobs.lifecycle.starts import check_start
from tenxsom_flow_engine.jobs.model import (
    FINAL,
    Charge,
    EventKind,
    JobRecord,
    Purchase,
    Status,
    Submission,
    SubmissionState,
)
from tenxsom_flow_engine.jobs.purchases import bought, charge_for
from tenxsom_flow_engine.jobs.submission import Intent, Receipt


def intend(record: JobRecord, token: str, now: float, intent: Intent) -> JobRecord:
    """Journal that a paid create is about to be sent. Allowed again for the same submission (a repeat).

    Raises `StartMissed` if it is too late for the job to start.
    """
    own_lease(record, token)
    check_start(record, now)
    known = record.submission
    if known.state is not SubmissionState.NONE and (
        known.id != intent.submission_id or known.state is SubmissionState.ACCEPTED
    ):
        raise ActionRefused(f"job {record.job_id} already has a submission ({known.state})")
    submission = Submission(
        state=SubmissionState.INTENT,
        id=intent.submission_id,
        token=token,
        intended_at=now,
        first_intended_at=known.first_intended_at or now,
        deadline=now + intent.lifetime,
        prompt=intent.prompt,
        # A repeat of the same create buys nothing new.
        charge=known.charge or (Charge(now, intent.reserve) if intent.reserve else None),
    )
    changes = {"service": intent.service, "submission": submission, "order": intent.order}
    return change(record, now, record.status, EventKind.SUBMITTING, intent.service, **changes)


def accept(record: JobRecord, now: float, receipt: Receipt) -> JobRecord:
    """Save the ticket of a submission, identified by its id: in any status, and without a lease.

    It replaces a ticket that a person entered for the same submission, unless the video exists.
    """
    submission_id, ticket, service = receipt.submission_id, receipt.ticket, receipt.service
    known = record.submission
    replaces = known.id == submission_id and can_be_corrected(record)
    if (known.id, known.state) == (submission_id, SubmissionState.ACCEPTED) and not replaces:
        return record
    charge = charge_for(receipt.cost, known.charge if known.id == submission_id else None, now)
    purchase = Purchase(submission_id, service or record.service, now, receipt.cost, charge=charge)
    before, record = record, bought(record, purchase)
    new = record is not before
    if new and known.state is SubmissionState.NONE:
        # No other submission is recorded, so use this one for the job instead of buying another.
        known = Submission(id=submission_id, intended_at=now, first_intended_at=now)
        record = msgspec.structs.replace(record, service=service or record.service)
    if known.id != submission_id:
        # The job continued with another submission. The money is spent all the same, so the timeline must show it.
        return change(record, now, record.status, EventKind.LATE_TICKET, f"{ticket.id} of submission {submission_id}")
    submission = msgspec.structs.replace(
        known, state=SubmissionState.ACCEPTED, ticket=ticket, deadline=now + receipt.lifetime,
        over=False, failed=False, by_hand=False, charge=None,
    )  # fmt: skip
    # A worker polls the other ticket: its outcome must not be applied to this one.
    released: dict[str, Any] = {"lease": None, "seq": record.seq + 1} if replaces and record.lease is not None else {}
    if record.due is not None and record.due > now:  # its delivery is dispatched for later
        released["seq"] = record.seq + 1
    # A final job stays final, but its record keeps the ticket and the cost.
    status = record.status if record.status in FINAL else Status.RENDERING
    # A job that is held or waits for a lookup of its create continues immediately.
    due = now if record.status is Status.HELD or record.due is not None or released else None
    error = None if record.status is Status.HELD else record.error
    return change(
        record,
        now,
        status,
        EventKind.ACCEPTED,
        f"ticket {ticket.id}",
        submission=submission,
        due=due,
        error=error,
        attempts=0,
        expiries=0,
        **released,
    )


def mark_unknown(record: JobRecord, now: float, *, submission_id: str, reason: str) -> JobRecord:
    """Journal that a create was sent and its outcome is unknown."""
    if record.submission.id != submission_id or record.submission.state is not SubmissionState.INTENT:
        return record
    submission = msgspec.structs.replace(record.submission, state=SubmissionState.UNKNOWN)
    return change(record, now, record.status, EventKind.OUTCOME_UNKNOWN, reason, submission=submission)


def clear_submission(record: JobRecord, now: float, *, submission_id: str, reason: str, token: str = "") -> JobRecord:
    """Journal the proof that a submission bought nothing, so that any service can be chosen again.

    With `token`, the proof only covers the create that was journaled under that lease. A submission that was repeated
    stays, and so does one that another worker journaled under the same id, which happens if a server crash lost the
    first worker's claim.
    """
    submission = record.submission
    if submission.id != submission_id or submission.state is SubmissionState.ACCEPTED:
        return record
    if token and (token != submission.token or submission.intended_at != submission.first_intended_at):
        return record
    status, changes = record.status, dict[str, Any]()
    if status is Status.HELD:  # the outcome is known now, so there is nothing left to decide
        status, due = start(record, now)
        changes = {"due": due, "error": None, "attempts": 0, "expiries": 0}
    return change(record, now, status, EventKind.NOTHING_BOUGHT, reason, submission=Submission(), service="", **changes)


def in_doubt(record: JobRecord) -> bool:
    """Return whether it is unknown whether the job's paid create was accepted."""
    return record.submission.state in (SubmissionState.INTENT, SubmissionState.UNKNOWN)


def can_be_corrected(record: JobRecord) -> bool:
    """Return whether the job continues from a ticket that a person entered, and has no video yet."""
    submission = record.submission
    return submission.by_hand and submission.state is SubmissionState.ACCEPTED and record.status is not Status.SUCCEEDED


def buys_again(record: JobRecord) -> bool:
    """Return whether a retry of a failed or cancelled job buys a new generation."""
    return record.submission.state is SubmissionState.NONE or record.submission.failed
