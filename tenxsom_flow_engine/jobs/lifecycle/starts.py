"""The latest start of a job (`JobRecord.start_by`): one that has bought nothing by then expires."""

from __future__ import annotations

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.errors import ActionRefused, StartMissed
from tenxsom_flow_engine.jobs.lifecycle.changes import final
from tenxsom_flow_engine.jobs.model import EventKind, Failure, JobRecord, Status


def check_start(record: JobRecord, now: float) -> None:
    """Raise `StartMissed` if it is too late for a job to buy its first video."""
    if record.expires_at is not None and now > record.expires_at:
        raise StartMissed(record.job_id, iso(record.expires_at))


def expire_unstarted(record: JobRecord, now: float) -> JobRecord:
    """End a waiting job whose latest start has passed. A leased one is refused: its step notices."""
    try:
        check_start(record, now)
    except StartMissed as missed:
        if record.lease is None:
            return expired(record, now, Failure.of(missed))
    raise ActionRefused(f"job {record.job_id} is {record.status}, and its latest start has not passed")


def expired(record: JobRecord, now: float, failure: Failure) -> JobRecord:
    """End a job that bought nothing."""
    return final(record, now, Status.CANCELLED, EventKind.EXPIRED, error=failure)
