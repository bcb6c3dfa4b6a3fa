"""The pull queue behaves as every carrier does, over each store."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenxsom_flow_engine.errors import LeaseLost
from tenxsom_flow_engine.outcomes import Dead
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.queue_suite import CarrierSuite, PullSystem
from tenxsom_flow_engine.testing.samples import FAILURE, ROOMY, WIDE, new


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


class TestPullQueue(CarrierSuite):
    """The behaviour suite."""


@pytest.fixture
def queue(system: PullSystem) -> PullQueue:
    return PullQueue("local", system.store, WIDE, lease=30.0)


def test_a_renewed_lease_lasts_as_the_queue_says(system: PullSystem, queue: PullQueue) -> None:
    """A renewal prolongs by the queue's lease, and reports what is lost."""
    queue.enqueue(new("a", "b"))
    a, b = queue.claim("w-1", 10, ROOMY).records
    system.clock.advance(20)
    system.store.cancel("b")
    assert set(queue.renew({"a": a.lease_token, "b": b.lease_token})) == {"b"}
    lease = system.record("a").lease
    assert lease is not None
    assert lease.until == system.clock.now() + 30


def test_handing_back_what_is_lost_is_no_error(system: PullSystem, queue: PullQueue) -> None:
    """A worker that ends hands back all it has; what was taken from it meanwhile is left alone."""
    queue.enqueue(new("a", "b"))
    a, b = queue.claim("w-1", 10, ROOMY).records
    system.store.cancel("b")
    cancelled = system.record("b")
    for record in (a, b):
        queue.hand_back(record)
    assert system.record("b") == cancelled
    assert [record.job_id for record in queue.claim("w-2", 10, ROOMY).records] == ["a"]
    with pytest.raises(LeaseLost):
        queue.settle(a, Dead(FAILURE))


def test_queues_in_one_store_are_apart(system: PullSystem, queue: PullQueue) -> None:
    """Two queues that share a store share neither jobs nor pauses nor limits."""
    other = PullQueue("other", system.store, WIDE, lease=30.0)
    other.pause()
    other.set_limits(1.0, 1)
    other.enqueue(new("b"))
    queue.enqueue(new("a"))
    assert not queue.status().paused
    assert queue.status().limits == WIDE
    assert other.purge() == 1
    assert [record.job_id for record in queue.claim("w-1", 10, ROOMY).records] == ["a"]
