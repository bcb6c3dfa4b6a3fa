"""The list of jobs that shows first what needs attention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.jobs.outcomes import Dead, Held
from tenxsom_flow_engine.jobs.submission import Intent
from tenxsom_flow_engine.operations.job_lists import by_attention
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, FAILURE, QUEUE, a_claim, new


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[JobStore]:
    with closing(SQLiteStore(tmp_path / "jobs.sqlite3", clock)) as store:
        yield store


def taken(store: JobStore, job_id: str) -> JobRecord:
    store.add(QUEUE, new(job_id))
    (record,) = store.claim(a_claim(only=job_id)).records
    return record


def fill(store: JobStore, clock: ManualClock) -> None:
    """Add jobs of each group; each failed one failed later than the one before."""
    for number in range(8):
        record = taken(store, f"failed-{number}")
        store.settle(record.job_id, record.lease_token, Dead(FAILURE))
        clock.advance(1)
    held = taken(store, "held")
    store.intend("held", held.lease_token, Intent(submission_id="s", service=ALPHA, lifetime=99.0))
    store.settle(held.job_id, held.lease_token, Held(FAILURE))
    taken(store, "running")
    for number in range(3):
        store.add(QUEUE, new(f"later-{number}", due=clock.now() + 100 - number * 10))
        store.add(QUEUE, new(f"cancelled-{number}"))
        store.cancel(f"cancelled-{number}")
        clock.advance(1)


def test_what_needs_attention_is_first(store: JobStore, clock: ManualClock) -> None:
    """Held jobs come first, then the latest failures, what runs, what is due next, and the latest results."""
    fill(store, clock)
    found = by_attention(store, JobFilter(), limit=50)
    assert [record.job_id for record in found.records] == [
        "held", *(f"failed-{number}" for number in reversed(range(8))), "running",
        "later-2", "later-1", "later-0", "cancelled-2", "cancelled-1", "cancelled-0",
    ]  # fmt: skip
    assert not found.more


def test_many_failures_leave_room_for_the_rest(store: JobStore, clock: ManualClock) -> None:
    """A short list has some jobs of each group, fills the rest with the first groups, and says that more follow."""
    fill(store, clock)
    found = by_attention(store, JobFilter(), limit=10)
    assert [record.job_id for record in found.records] == [
        "held", "failed-7", "failed-6", "failed-5", "failed-4", "running", "later-2", "later-1",
        "cancelled-2", "cancelled-1",
    ]  # fmt: skip
    assert found.more
    failed = by_attention(store, JobFilter(statuses=[Status.FAILED]), limit=3)
    assert [record.job_id for record in failed.records] == ["failed-7", "failed-6", "failed-5"]
