"""Tests of store operations for queue backends that push."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from tenxsom_flow_engine.errors import ActionRefused, LeasedElsewhere, LeaseLost
from tenxsom_flow_engine.jobs import JobRecord, Lease, Status, lifecycle
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.jobs.outcomes import Done, Wait
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Added, Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, QUEUE, TICKET, VIDEO, a_claim, new
from tests.contract.store_suite.shared import (
    OpenStore,
    Suite,
    accept,
    check_counts,
    everything,
    ids,
    intend,
    race,
    settle,
)

PUSHED = "cloud_tasks"
LEASE = 30.0


def receive(store: JobStore, delivery: Delivery, worker: str = "w-1") -> JobRecord:
    """Lease the job of a delivery."""

    def change(record: JobRecord, now: float) -> JobRecord:
        return lifecycle.receive(record, delivery, PUSHED, Lease(f"token-{worker}", worker, now + LEASE), now)

    return store.update(delivery.job_id, change)


def added(store: JobStore, job_id: str = "a") -> JobRecord:
    """Add a job to a pushed queue."""
    store.add(PUSHED, new(job_id))
    return store.require(job_id)


class PushingSuite(Suite):
    """Adopting, receiving, recovering and moving jobs."""

    def test_a_pushed_job_waits_to_be_dispatched(self, store: JobStore, clock: ManualClock) -> None:
        """A job of a pushed queue is undispatched until marked, and the mark is only for that delivery."""
        store.add(PUSHED, [*new("a", "b"), *new("later", due=clock.now() + 60)])
        assert all(record.undispatched for record in everything(store))
        store.mark_dispatched({"a": 0, "later": 0, "b": 3, "absent": 0})
        records = store.get_each(["later", "absent", "b", "a"])
        assert [(record.job_id, record.dispatched) for record in records] == [
            ("later", True),
            ("b", False),
            ("a", True),
        ]
        assert store.get_each([]) == []
        check_counts(store)

    def test_pull_workers_do_not_claim_pushed_jobs(self, store: JobStore, clock: ManualClock) -> None:
        """A claim leases no pushed job and ends no expired lease of one; nor does a purge of its queue."""
        waits, works = added(store, "waits"), added(store, "works")
        leased = receive(store, Delivery.of(works))
        store.add(QUEUE, new("pulled"))
        clock.advance(LEASE * 5)
        assert ids(store.claim(a_claim()).records) == ["pulled"]
        assert (store.require("waits"), store.require("works")) == (waits, leased)
        assert store.cancel_waiting(QUEUE, 10) == 0

    def test_a_delivered_job_is_like_a_claimed_one(self, store: JobStore, clock: ManualClock) -> None:
        """A received job is like a claimed one: renewed, journaled, settled, redelivered and finished."""
        record = receive(store, Delivery.of(added(store)))
        clock.advance(20)
        assert store.renew({"a": record.lease_token}, LEASE) in ([], set(), ())
        clock.advance(20)
        record = accept(store, intend(store, record))
        assert store.in_flight(ALPHA) == 1
        on = settle(store, record, Wait(clock.now() + 10, "rendering"))
        assert (on.seq, on.undispatched, on.status) == (1, True, Status.RENDERING)
        with pytest.raises(ActionRefused):
            receive(store, Delivery.of(record))
        record = receive(store, Delivery.of(on))
        with pytest.raises(LeaseLost):
            store.settle("a", "another", Done(VIDEO))
        assert settle(store, record, Done(VIDEO)).status is Status.SUCCEEDED
        assert store.in_flight(ALPHA) == 0
        check_counts(store)

    def test_one_of_two_equal_deliveries_runs(self, store: JobStore) -> None:
        """If a delivery reaches many workers at the same moment, one leases the job and the others do nothing."""
        delivery = Delivery.of(added(store))
        outcomes = race(8, lambda index: receive(store, delivery, f"w-{index}"))
        assert Counter(type(outcome) for outcome in outcomes) == {JobRecord: 1, LeasedElsewhere: 7}
        check_counts(store)

    def test_a_dead_workers_delivery_is_taken_over_once(self, store: JobStore, clock: ManualClock) -> None:
        """After a lease expired, one of the workers that got the delivery again takes over; the old one is fenced."""
        delivery = Delivery.of(added(store))
        first = receive(store, delivery, "w-1")
        clock.advance(LEASE)
        outcomes = race(4, lambda index: receive(store, delivery, f"later-{index}"))
        assert Counter(type(outcome) for outcome in outcomes) == {JobRecord: 1, LeasedElsewhere: 3}
        assert (store.require("a").expiries, store.require("a").seq) == (1, 0)
        with pytest.raises(LeaseLost):
            settle(store, first, Done(VIDEO))
        check_counts(store)

    def test_adopting(self, open_store: OpenStore, store: JobStore, clock: ManualClock) -> None:
        """A record unknown to the store is added unchanged, with its ticket and its slot."""
        elsewhere = intend(store, receive(store, Delivery.of(added(store))))
        paid = settle(store, accept(store, elsewhere), Wait(clock.now(), "rendering"))
        store.update("a", lambda record, now: msgspec.structs.replace(record, due=None))  # out of the way
        record = lifecycle.adopt(Delivery.of(msgspec.structs.replace(paid, job=new("b")[0].job)), PUSHED, clock.now())
        assert store.adopt(record)
        assert store.require("b") == record
        assert (record.submission.ticket, store.in_flight(ALPHA)) == (TICKET, 2)
        assert open_store(clock).get("b") == record
        assert not store.adopt(record)
        assert (store.knows_id("b"), store.knows_id("absent")) == (True, False)
        assert receive(store, Delivery.of(record)).lease is not None
        check_counts(store)

    def test_a_finished_job_is_not_adopted(self, store: JobStore, clock: ManualClock) -> None:
        """A finished job is not adopted, even if its record was trimmed."""
        record = added(store)
        accept(store, intend(store, receive(store, Delivery.of(record))))
        settle(store, store.require("a"), Done(VIDEO))
        assert not store.adopt(lifecycle.adopt(Delivery.of(record), PUSHED, clock.now()))
        assert store.trim(Retention(count=0)) == 1
        assert not store.adopt(lifecycle.adopt(Delivery.of(record), PUSHED, clock.now()))
        assert store.get("a") is None
        assert store.knows_id("a")
        clock.advance(Retention().ids)
        assert not store.knows_id("a")

    def test_a_race_to_adopt(self, store: JobStore, clock: ManualClock) -> None:
        """If many workers adopt a job at the same moment, one succeeds."""
        record = added(store, "model")
        copy = lifecycle.adopt(Delivery.of(msgspec.structs.replace(record, job=new("b")[0].job)), PUSHED, clock.now())
        assert sorted(race(8, lambda index: store.adopt(copy))) == [False] * 7 + [True]
        check_counts(store)

    def test_overdue(self, store: JobStore, clock: ManualClock) -> None:
        """`overdue` returns jobs due before an instant, longest first, and expired leases, of this queue only."""
        start = clock.now()
        store.add(
            PUSHED, [*new("second", due=start + 20), *new("first", due=start + 10), *new("later", due=start + 99)]
        )
        store.add(QUEUE, new("pulled"))
        leased = receive(store, Delivery.of(added(store, "leased")))
        store.add(PUSHED, new("final"))
        store.cancel("final")
        clock.advance(50)
        assert ids(store.overdue(PUSHED, start, 10)) == []
        assert ids(store.overdue(PUSHED, start + 21, 10)) == ["first", "second"]
        assert ids(store.overdue(PUSHED, start + LEASE + 1, 10)) == ["first", "second", "leased"]
        assert ids(store.overdue(PUSHED, start + LEASE + 1, 1)) == ["first"]
        assert store.overdue(PUSHED, start + LEASE + 1, 10)[-1] == leased
        assert ids(store.overdue(QUEUE, clock.now(), 10)) == ["pulled"]

    def test_a_lock_has_one_owner(self, open_store: OpenStore, store: JobStore, clock: ManualClock) -> None:
        """One process at a time has a named lock until it expires; it can renew it, and locks are independent."""
        other = open_store(clock)
        assert store.acquire_lock("sweep", "one", 60)
        assert not other.acquire_lock("sweep", "two", 60)
        assert (other.lock_owner("sweep"), other.lock_owner("dust")) == ("one", None)
        assert other.acquire_lock("dust", "two", 60)
        clock.advance(50)
        assert store.acquire_lock("sweep", "one", 60)
        clock.advance(50)
        assert not other.acquire_lock("sweep", "two", 60)
        clock.advance(10)
        assert other.acquire_lock("sweep", "two", 60)
        assert not store.acquire_lock("sweep", "one", 60)
        clock.advance(60)
        assert store.lock_owner("sweep") is None
        assert sorted(race(8, lambda index: store.acquire_lock("sweep", f"r-{index}", 60))) == [False] * 7 + [True]

    def test_moving_between_queues(self, store: JobStore, clock: ManualClock) -> None:
        """A moved job counts and waits only in its new queue, with its due time, ticket and slot."""
        paid = settle(store, accept(store, intend(store, receive(store, Delivery.of(added(store))))),
                      Wait(clock.now() + 5, "rendering"))  # fmt: skip
        moved = store.update("a", lambda record, now: lifecycle.move(record, PUSHED, QUEUE, now))
        assert (moved.due, moved.submission, moved.dispatched) == (paid.due, paid.submission, True)
        assert (store.status_counts(PUSHED).unfinished, store.status_counts(QUEUE).unfinished) == (0, 1)
        assert store.status_counts().unfinished == 1
        assert ids(everything(store)) == ["a"]
        clock.advance(5)
        assert store.overdue(PUSHED, clock.now() + 1, 10) == []
        assert ids(store.claim(a_claim()).records) == ["a"]
        assert store.in_flight(ALPHA) == 1
        check_counts(store)

    def test_a_purge_of_a_pushed_queue(self, store: JobStore) -> None:
        """A purge cancels the waiting jobs of a pushed queue, and their ids stay known."""
        added(store)
        assert store.cancel_waiting(PUSHED, 10) == 1
        assert store.add(PUSHED, new("a")) == Added((), ("a",))
        assert store.overdue(PUSHED, store.now() + 1, 10) == []
