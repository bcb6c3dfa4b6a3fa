"""Fixtures and helpers that all parts of the store suite share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, Protocol

import pytest

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.jobs import JobRecord, Status, Ticket
from tenxsom_flow_engine.jobs.outcomes import Dead, Done, Held, Outcome
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter, ListBounds
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, FAILURE, QUEUE, TICKET, VIDEO, a_claim, new


class OpenStore(Protocol):
    """Opens the same store at each call, with the given clock and list bounds."""

    def __call__(self, clock: Clock, bounds: ListBounds | None = None) -> JobStore: ...


DAY = 86400.0
#: Seconds after which a thread that should have ended counts as stuck.
STUCK = 30.0


def everything(store: JobStore, jobs: JobFilter | None = None, *, limit: int = 500) -> list[JobRecord]:
    """Return all records that match a filter, newest first, page by page."""
    records: list[JobRecord] = []
    cursor: str | None = None
    while True:
        page = store.page(jobs or JobFilter(), limit=limit, cursor=cursor)
        assert len(page.records) <= limit
        records += page.records
        cursor = page.cursor
        if cursor is None:
            return records


def ids(records: Sequence[JobRecord]) -> list[str]:
    """Return the ids of records, in their order."""
    return [record.job_id for record in records]


def check_counts(store: JobStore) -> None:
    """Compare the store's counters with a count of its records, for all queues and for each."""
    now = store.now()
    records = everything(store)
    for queue in (None, *{record.queue for record in records}):
        mine = [record for record in records if queue in (None, record.queue)]
        counts = store.status_counts(queue)
        expected = Counter(record.status_at(now) for record in mine)
        assert {status: number for status, number in counts.by_status.items() if number} == expected
        assert set(counts.by_status) == set(Status)
        due = [record.due for record in mine if record.due is not None and record.due <= now]
        assert counts.oldest_due == min(due, default=None)


def take(store: JobStore, **changes: Any) -> JobRecord:
    """Claim one job, which must be due."""
    claim = store.claim(a_claim(count=1, **changes))
    assert len(claim.records) == 1
    return claim.records[0]


def intend(store: JobStore, record: JobRecord, *, service: str = ALPHA, slots: int = 100,
           lifetime: float = 100.0, submission_id: str = "") -> JobRecord:  # fmt: skip
    """Journal the intent of a leased job, with a new submission."""
    return store.intend(record.job_id, record.lease_token, Intent(submission_id=submission_id or f"s-{record.job_id}",
                        service=service, lifetime=lifetime, max_in_flight=slots))  # fmt: skip


def accept(store: JobStore, record: JobRecord, *, lifetime: float = 100.0, ticket: Ticket = TICKET) -> JobRecord:
    """Journal the ticket of a job's current submission."""
    return store.accept(record.job_id, Receipt(submission_id=record.submission.id, ticket=ticket, lifetime=lifetime))


def settle(store: JobStore, record: JobRecord, outcome: Outcome) -> JobRecord:
    """Settle a leased job."""
    return store.settle(record.job_id, record.lease_token, outcome)


def finished(store: JobStore, job_id: str, status: Status) -> JobRecord:
    """Add a job and change it to a final or held status."""
    store.add(QUEUE, new(job_id))
    match status:
        case Status.CANCELLED:
            return store.cancel(job_id)
        case Status.FAILED:
            return settle(store, take(store, only=job_id), Dead(FAILURE))
        case Status.HELD:
            record = intend(store, take(store, only=job_id))
            return settle(store, record, Held(FAILURE))
        case Status.SUCCEEDED:
            record = accept(store, intend(store, take(store, only=job_id)))
            return settle(store, record, Done(VIDEO))
    raise AssertionError(f"{status} is not a status that a job ends in")


def race(number: int, act: Callable[[int], Any]) -> list[Any]:
    """Call `act(0)`, `act(1)` … concurrently, each in a thread; return their results or exceptions."""
    barrier = Barrier(number)

    def run(index: int) -> Any:
        barrier.wait(STUCK)
        try:
            return act(index)
        except Exception as error:
            return error

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


class Suite:
    """Fixtures that all parts of the suite share."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Return the clock of `store`."""
        return ManualClock()

    @pytest.fixture
    def store(self, open_store: OpenStore, clock: ManualClock) -> JobStore:
        """Return a handle on an empty store."""
        return open_store(clock)
