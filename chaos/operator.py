"""What a person does after a storm: looks at the bills for what nobody knows, and tries again what failed."""

from __future__ import annotations

from collections import Counter

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord, Status, SubmissionState, Ticket
from tenxsom_flow_engine.jobs.outcomes import Resubmit
from tests.fake_vendors import Bill, Vendors


def put_in_order(engine: Engine, records: list[JobRecord], vendors: Vendors, counts: Counter[str]) -> int:
    """Resolve what is held, retry what failed or was cancelled, as is advised; return how many jobs go on."""
    books = vendors.books()
    gone_on = 0
    for record in records:
        if record.submission.state is SubmissionState.UNKNOWN:
            _resolve(engine, record, [bill for bill in books if bill.job_id == record.job_id], counts)
        elif record.status in (Status.FAILED, Status.CANCELLED):
            counts[f"retried: {record.error.code if record.error else 'cancelled'}"] += 1
            engine.retry(record.job_id)
        else:
            continue
        gone_on += 1
    return gone_on


def _resolve(engine: Engine, record: JobRecord, bills: list[Bill], counts: Counter[str]) -> None:
    """Say what came of a create: it was bought if the job has one bill more than purchases."""
    if len(bills) > len(record.purchases):
        counts["held, and on the bill"] += 1
        engine.resolve(record.job_id, Ticket(bills[-1].id))
    else:
        counts["held, and not on the bill"] += 1
        engine.resolve(record.job_id, Resubmit())
