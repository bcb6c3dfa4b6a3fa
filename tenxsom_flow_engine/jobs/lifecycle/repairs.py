"""Corrections of records after a restore from a backup, and after the store's clock was wrong."""

from __future__ import annotations

import msgspec

from tenxsom_flow_engine.clock import set_back
from tenxsom_flow_engine.errors import ActionRefused
from tenxsom_flow_engine.jobs.delivery import submission_id
from tenxsom_flow_engine.jobs.lifecycle.changes import change, hold
from tenxsom_flow_engine.jobs.lifecycle.decisions import ways_to_resolve
from tenxsom_flow_engine.jobs.model import (
    AUTO,
    FINAL,
    Charge,
    Failure,
    JobRecord,
    Status,
    Submission,
    SubmissionState,
)
from tenxsom_flow_engine.jobs.purchases import charge_for

#: The end of the next step of a job that several services can have sold.
_NAME_SERVICE = ", and name the service with the ticket"


def hold_after_restore(record: JobRecord, now: float) -> JobRecord:
    """Hold a job whose record is older than the latest purchases, because it might have been bought since.

    It is not looked up: its create carried a reference that the older record does not know. That includes a scheduled
    job before its start time: one that is cancelled and retried, or delivered early, is bought at once.
    """
    if record.status in FINAL or record.status is Status.HELD or record.submission.state is SubmissionState.ACCEPTED:
        raise ActionRefused(f"job {record.job_id} is {record.status}, so it buys nothing")
    failure = Failure(
        code="restored",
        message="its record is from a backup, and it might have been bought since",
        next_step="search for it at the service by its topic" + (_NAME_SERVICE if record.job.service == AUTO else ""),
        actions=ways_to_resolve(held=True),
    )
    service = record.service or ("" if record.job.service == AUTO else record.job.service)
    submission = record.submission
    if submission.state is SubmissionState.NONE:
        charge = charge_for(record.cost, None, now) if not record.purchases else None
        submission = Submission(
            id=submission_id(record), intended_at=now, first_intended_at=now, deadline=now, charge=charge
        )
    submission = msgspec.structs.replace(submission, state=SubmissionState.UNKNOWN)
    planned = record.due if record.status is Status.SCHEDULED else None
    running = record if record.status is Status.RUNNING else change(record, now, Status.RUNNING)
    return hold(running, now, failure, submission, service=service, planned=planned)


def was_ahead(record: JobRecord, now: float) -> bool:
    """Return whether a record, or its lease, was written while the store's clock was ahead of `now`."""
    # A renewal of a lease does not change the record.
    return record.updated_at > now or (record.lease is not None and record.lease.until > now)


def rewind(record: JobRecord, now: float, lead: float) -> JobRecord:
    """Correct a record that was changed while the store's clock was `lead` seconds ahead; `now` is the correct time.

    The times that a person chose, of a scheduled job, stay. Each other delivery moves back, and is dispatched again.
    """
    if not was_ahead(record, now):
        return record
    submission, lease, due = record.submission, record.lease, record.due
    if due is not None and record.status is not Status.SCHEDULED:
        due = set_back(due, now, lead)
    if lease:
        lease = msgspec.structs.replace(lease, until=set_back(lease.until, now, lead))
    submission = msgspec.structs.replace(
        submission,
        intended_at=min(submission.intended_at, now),
        first_intended_at=min(submission.first_intended_at, now),
        deadline=set_back(submission.deadline, now, lead),
        charge=_not_after(submission.charge, now),
    )
    purchases = tuple(
        msgspec.structs.replace(purchase, charge=_not_after(purchase.charge, now)) for purchase in record.purchases
    )
    return change(
        record,
        now,
        record.status,
        submission=submission,
        purchases=purchases,
        lease=lease,
        due=due,
        seq=record.seq + (due != record.due),
    )


def _not_after(charge: Charge | None, now: float) -> Charge | None:
    return charge and Charge(min(charge.at, now), charge.micro_usd)
