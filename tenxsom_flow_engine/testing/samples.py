"""Sample jobs, results and requests for tests, so that a test only specifies the fields that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenxsom_flow_engine.jobs import Failure, Ticket, Video, VideoJob
from tenxsom_flow_engine.store.values import ClaimRequest, DispatchLimits, NewJob

QUEUE = "local"
#: Names of two services.
ALPHA, BETA = "alpha", "beta"
#: Limits that are never reached.
WIDE = DispatchLimits(max_dispatches_per_second=1e6, max_concurrent_dispatches=100_000)
#: Slots that are never used up.
ROOMY: Mapping[str, int] = {ALPHA: 100_000, BETA: 100_000}

VIDEO = Video(path="/videos/a/video.mp4", duration=5.0, width=720, height=1280, size=1_000_000, sha256="00" * 32)
FAILURE = Failure(code="transient", message="the server answered 503", next_step="wait")
TICKET = Ticket(id="t-1")


def a_job(job_id: str = "job-1", **changes: Any) -> VideoJob:
    """Return a job for `ALPHA`, other fields as given."""
    fields: dict[str, Any] = {"topic": "Why the sea is salt", "service": ALPHA, "created_at": 1_800_000_000.0}
    return VideoJob(job_id=job_id, **(fields | changes))


def new(*job_ids: str, due: float | None = None, start_by: float | None = None, **changes: Any) -> list[NewJob]:
    """Return new jobs with these ids."""
    return [NewJob(a_job(job_id, **changes), due, start_by=start_by) for job_id in job_ids]


def a_claim(**changes: Any) -> ClaimRequest:
    """Return the claim request of a worker that takes any number of jobs."""
    fields: dict[str, Any] = {
        "queue": QUEUE, "worker": "w-1", "count": 1000, "lease": 30.0, "limits": WIDE, "slots": ROOMY
    }  # fmt: skip
    return ClaimRequest(**(fields | changes))
