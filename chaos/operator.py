"""The operator's part after the faults: resolve held jobs by the services' bills, and retry jobs that failed."""

from __future__ import annotations

import time
import zlib
from collections import Counter

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ActionRefused
from tenxsom_flow_engine.jobs import JobRecord, Status, SubmissionState, Ticket
from tenxsom_flow_engine.jobs.outcomes import Resubmit
from tests.fake_vendors import Bill, Vendors

#: The operator first enters a wrong ticket for every n-th job, then corrects it.
MISTAKEN, WRONG = 3, "no-such-video"
#: How often a decision is repeated while a worker works on the job.
ATTEMPTS = 200


def resolve_and_retry(engine: Engine, records: list[JobRecord], vendors: Vendors, counts: Counter[str]) -> int:
    """Resolve held jobs, and retry failed and cancelled ones; return the number of jobs that were set going again."""
    books = vendors.books()
    restarted = 0
    for record in records:
        if record.submission.state is SubmissionState.UNKNOWN:
            _resolve(engine, record, [bill for bill in books if bill.job_id == record.job_id], counts)
        elif record.status in (Status.FAILED, Status.CANCELLED):
            counts[f"retried: {record.error.code if record.error else 'cancelled'}"] += 1
            engine.retry(record.job_id)
        else:
            continue
        restarted += 1
    return restarted


def _resolve(engine: Engine, record: JobRecord, bills: list[Bill], counts: Counter[str]) -> None:
    """Resolve a job whose submission is unknown: its create was accepted if there are more bills than purchases.

    Some answers are wrong at first, and corrected.
    """
    if zlib.crc32(record.job_id.encode()) % MISTAKEN == 0:
        counts["resolved: with a wrong ticket first"] += 1
        engine.resolve(record.job_id, Ticket(WRONG), force=True)
    if len(bills) > len(record.purchases):
        counts["resolved: billed"] += 1
        _decide(engine, record.job_id, Ticket(bills[-1].id))
    else:
        counts["resolved: not billed"] += 1
        _decide(engine, record.job_id, Resubmit())


def _decide(engine: Engine, job_id: str, decision: Ticket | Resubmit) -> None:
    """Resolve a job as soon as no worker asks the service about its wrong ticket."""
    for _ in range(ATTEMPTS):
        try:
            engine.resolve(job_id, decision)
            return
        except ActionRefused as refusal:
            if "try again" not in refusal.next_step:
                raise
            time.sleep(0.05)
    raise TimeoutError(f"job {job_id} was leased each time")
