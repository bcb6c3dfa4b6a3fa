"""Adding a job, and leasing it to a worker."""

from __future__ import annotations

import msgspec

from tenxsom_flow_engine.errors import Action, ActionRefused
from tenxsom_flow_engine.jobs.lifecycle.changes import change, final, give_back, own_lease
from tenxsom_flow_engine.jobs.lifecycle.decisions import ways_to_resolve
from tenxsom_flow_engine.jobs.model import (
    PUSHED,
    Cost,
    Event,
    EventKind,
    Failure,
    JobRecord,
    Lease,
    Status,
    SubmissionState,
    VideoJob,
)

#: A job fails after this many consecutive expired leases in one step: it probably kills its workers.
MAX_EXPIRIES = 10


def add(
    job: VideoJob,
    *,
    queue: str,
    nonce: str,
    now: float,
    due: float,
    cost: Cost | None = None,
    max_usd: float | None = None,
    start_by: float | None = None,
) -> JobRecord:
    """Return the record of a job that is added at `now` and due at `due`."""
    later = due > now
    return JobRecord(
        job=job,
        queue=queue,
        nonce=nonce,
        status=Status.SCHEDULED if later else Status.QUEUED,
        dispatched=queue not in PUSHED,
        due=due if later else now,
        cost=cost,
        max_usd=max_usd,
        start_by=start_by,
        added_at=now,
        updated_at=now,
        events=(Event(at=now, what=EventKind.ADDED),),
    )


def take(record: JobRecord, lease: Lease, now: float) -> JobRecord:
    """Lease a waiting job to a worker."""
    if record.lease is not None or record.due is None:
        raise ActionRefused(f"job {record.job_id} is not waiting for a worker")
    lease = msgspec.structs.replace(lease, due=record.due, step=record.step)
    return change(record, now, _leased_status(record), lease=lease, due=None)


def renew(record: JobRecord, token: str, until: float) -> JobRecord:
    """Extend a lease to `until`."""
    lease = msgspec.structs.replace(own_lease(record, token), until=until)
    return msgspec.structs.replace(record, lease=lease)


def release_lease(record: JobRecord, token: str, now: float) -> JobRecord:
    """Return a job to its queue because its worker could not work on it: due immediately, and not an attempt."""
    own_lease(record, token)
    return give_back(record, now, due=now, what=EventKind.HANDED_BACK)


def expire(record: JobRecord, now: float) -> JobRecord:
    """Return a job to its queue after its lease expired; fail it after `MAX_EXPIRIES` consecutive expiries."""
    if record.lease is None or record.lease.until > now:
        raise ActionRefused(f"the lease on job {record.job_id} has not expired")
    expiries = record.expiries + 1
    if expiries >= MAX_EXPIRIES:
        failure = Failure(
            code="worker_lost",
            message=f"{expiries} workers in a row died or stalled in the {record.step} step",
            next_step="look for the reason in the workers' logs",
            actions=_onward(record),
        )
        return final(record, now, Status.FAILED, EventKind.FAILED, failure.message, error=failure, expiries=expiries)
    detail = f"worker {record.lease.worker} died or stalled"
    return give_back(record, now, due=now, what=EventKind.LEASE_RAN_OUT, detail=detail, expiries=expiries)


def _onward(record: JobRecord) -> tuple[Action, ...]:
    return ways_to_resolve() if record.submission.state is SubmissionState.UNKNOWN else (Action.RETRY,)


def _leased_status(record: JobRecord) -> Status:
    return Status.RENDERING if record.submission.state is SubmissionState.ACCEPTED else Status.RUNNING
