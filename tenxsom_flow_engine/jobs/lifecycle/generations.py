"""What the service reports about generations that no worker polls, because their jobs do not continue."""

from __future__ import annotations

from tenxsom_flow_engine.jobs.lifecycle.changes import change, over
from tenxsom_flow_engine.jobs.lifecycle.journal import in_doubt
from tenxsom_flow_engine.jobs.model import FINAL, EventKind, JobRecord, Ticket
from tenxsom_flow_engine.jobs.purchases import refunded


def render_stopped(record: JobRecord, now: float) -> JobRecord:
    """Record that a cancelled job's generation was stopped: it frees its slot, and a retry buys a new one."""
    submission = over(record.submission, failed=True)
    return change(record, now, record.status, EventKind.STOPPED, record.service, submission=submission)


def generation_ended(
    record: JobRecord, now: float, ticket: Ticket, *, failure: str = "", refund: bool = False
) -> JobRecord:
    """Record that the generation of a cancelled or failed job has ended at its service, which frees its slot.

    With a `failure`, a retry buys a new one; with `refund`, the service charges nothing for it. A job that continues in
    the meantime stays unchanged.
    """
    submission = record.submission
    if record.status not in FINAL or submission.ticket != ticket or submission.over:
        return record
    what = EventKind.STOPPED if failure else EventKind.RENDERED
    detail = f"{record.service}: {failure}" if failure else ""
    if refund:
        record = refunded(record, submission.id)
    return change(record, now, record.status, what, detail, submission=over(submission, failed=bool(failure)))


def not_running(record: JobRecord, now: float, submission_id: str) -> JobRecord:
    """Record that the service runs no generation for a create of unknown outcome, which frees its slot.

    Whether it was bought stays unknown.
    """
    submission = record.submission
    if submission.id != submission_id or record.lease is not None or submission.over or not in_doubt(record):
        return record
    return change(record, now, record.status, EventKind.SLOT_FREED, record.service, submission=over(submission))
