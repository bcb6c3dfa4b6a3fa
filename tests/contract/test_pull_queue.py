"""The pull queue passes the queue suite, over each store."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenxsom_flow_engine.errors import LeaseLost
from tenxsom_flow_engine.jobs import AUTO
from tenxsom_flow_engine.jobs.outcomes import Dead, Wait
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, ROOMY, TICKET, WIDE, new
from tests.contract.queue_suite import PullSystem, QueueBackendSuite


@pytest.fixture(params=["sqlite", "redis"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PullSystem]:
    clock = ManualClock()
    store: JobStore
    if request.param == "sqlite":
        store = SQLiteStore(tmp_path / "jobs.sqlite3", clock)
    else:
        store = RedisStore(request.getfixturevalue("redis_server").url, secrets.token_hex(6), clock)
    yield PullSystem(store, clock)
    store.close()


class TestPullQueue(QueueBackendSuite):
    """The queue suite."""


@pytest.fixture
def queue(system: PullSystem) -> PullQueue:
    return PullQueue("local", system.store, WIDE, lease=30.0)


def test_a_renewed_lease_lasts_as_the_queue_says(system: PullSystem, queue: PullQueue) -> None:
    """A renewal extends leases by the queue's lease, and reports lost leases."""
    queue.enqueue(new("a", "b"))
    a, b = queue.claim("w-1", 10, ROOMY).records
    system.clock.advance(20)
    system.store.cancel("b")
    assert set(queue.renew({"a": a.lease_token, "b": b.lease_token})) == {"b"}
    lease = system.record("a").lease
    assert lease is not None
    assert lease.until == system.clock.now() + 30


def test_releasing_a_lost_lease_is_ignored(system: PullSystem, queue: PullQueue) -> None:
    """A worker that stops releases all its leases; jobs that others have since leased stay unchanged."""
    queue.enqueue(new("a", "b"))
    a, b = queue.claim("w-1", 10, ROOMY).records
    system.store.cancel("b")
    cancelled = system.record("b")
    for record in (a, b):
        queue.release_lease(record)
    assert system.record("b") == cancelled
    assert [record.job_id for record in queue.claim("w-2", 10, ROOMY).records] == ["a"]
    with pytest.raises(LeaseLost):
        queue.settle(a, Dead(FAILURE))


def test_a_closed_service_costs_nothing(system: PullSystem, queue: PullQueue) -> None:
    """For a service with a closed gate only jobs with a ticket are leased, and the next claim is when it opens."""
    queue.enqueue(new("bought"))
    (bought,) = queue.claim("w-1", 10, ROOMY).records
    system.store.intend(
        "bought", bought.lease_token, Intent(submission_id="s", service=ALPHA, lifetime=1e6, max_in_flight=9)
    )
    system.store.accept("bought", Receipt(submission_id="s", ticket=TICKET, lifetime=1e6))
    queue.settle(bought, Wait(system.clock.now(), "submitted"))
    queue.enqueue([*new("a1", "a2"), *new("b", service=BETA), *new("open", service=AUTO)])
    now = system.clock.now()
    claim = queue.claim("w-1", 10, ROOMY, closed={ALPHA: now + 20, "elsewhere": math.inf})
    assert {record.job_id for record in claim.records} == {"bought", "b", "open"}
    queue.enqueue(new("open-2", service=AUTO))
    both = {ALPHA: now + 20, BETA: now + 10}
    claim = queue.claim("w-1", 10, ROOMY, closed=both)
    assert (claim.records, claim.again_at) == ((), now + 10)
    system.clock.advance(10)
    assert [record.job_id for record in queue.claim("w-1", 10, ROOMY, closed=both).records] == ["open-2"]
    system.clock.advance(10)
    assert [record.job_id for record in queue.claim("w-1", 10, ROOMY, closed=both).records] == ["a1", "a2"]


def test_queues_in_one_store_are_apart(system: PullSystem, queue: PullQueue) -> None:
    """Two queues in one store share neither jobs nor pauses nor limits."""
    other = PullQueue("other", system.store, WIDE, lease=30.0)
    other.pause()
    other.set_limits(1.0, 1)
    other.enqueue(new("b"))
    queue.enqueue(new("a"))
    assert not queue.status().paused
    assert queue.status().limits == WIDE
    assert other.purge() == 1
    assert [record.job_id for record in queue.claim("w-1", 10, ROOMY).records] == ["a"]
