"""Tests of `claim`: which jobs, in which order, and when to claim again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tenxsom_flow_engine.jobs import AUTO, Status
from tenxsom_flow_engine.jobs.outcomes import Held, Wait
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Claim, DispatchLimits
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, a_claim, new
from tests.contract.store_suite.shared import (
    OpenStore,
    Suite,
    accept,
    finished,
    ids,
    intend,
    race,
    settle,
    take,
)


class ClaimingSuite(Suite):
    """Which jobs `claim` leases."""

    def test_a_claimed_job_is_leased(self, store: JobStore, clock: ManualClock) -> None:
        """A claim leases a job to the worker for the requested time, and records it."""
        store.add(QUEUE, new("a"))
        record = take(store, worker="w-7", lease=12.0)
        assert record.lease is not None
        assert (record.lease.worker, record.lease.until) == ("w-7", clock.now() + 12.0)
        assert (record.status, record.due) == (Status.RUNNING, None)
        assert store.require("a") == record
        assert store.claim(a_claim()).records == ()

    def test_each_delivery_has_its_own_token(self, store: JobStore) -> None:
        """Each delivery has a different lease token, also for the same job and worker."""
        store.add(QUEUE, new("a"))
        tokens = set()
        for _ in range(3):
            record = take(store)
            tokens.add(record.lease_token)
            store.release_lease("a", record.lease_token)
        assert len(tokens) == 3

    def test_tickets_then_due_then_order_of_adding(self, store: JobStore, clock: ManualClock) -> None:
        """Jobs with a ticket come first, then jobs due earlier, then jobs added earlier."""
        now = clock.now()
        store.add(QUEUE, new("ticket-late", "ticket-early"))
        for name, due in (("ticket-late", now + 9), ("ticket-early", now + 8)):
            record = accept(store, intend(store, take(store, only=name)))
            settle(store, record, Wait(due, "rendering"))
        store.add(QUEUE, new("due-7", due=now + 7))
        store.add(QUEUE, new("due-5-first", "due-5-second", due=now + 5))
        store.add(QUEUE, new("due-5-beta", due=now + 5, service=BETA))
        clock.advance(10)
        order = ["ticket-early", "ticket-late", "due-5-first", "due-5-second", "due-5-beta", "due-7"]
        assert [take(store).job_id for _ in order] == order

    def test_one_claim_has_the_same_order(self, store: JobStore, clock: ManualClock) -> None:
        """The records of one claim are in the order in which single claims would lease them."""
        store.add(QUEUE, [*new("b", due=clock.now() + 2, service=BETA), *new("a", due=clock.now() + 1)])
        store.add(QUEUE, new("c", service=AUTO))
        clock.advance(3)
        assert ids(store.claim(a_claim()).records) == ["c", "a", "b"]

    def test_no_more_than_asked_for(self, store: JobStore) -> None:
        """A claim never leases more jobs than requested."""
        store.add(QUEUE, new("a", "b", "c"))
        assert ids(store.claim(a_claim(count=2)).records) == ["a", "b"]
        assert ids(store.claim(a_claim(count=2)).records) == ["c"]

    def test_nothing_before_it_is_due(self, store: JobStore, clock: ManualClock) -> None:
        """A job can be claimed once it is due, not earlier."""
        store.add(QUEUE, new("a", due=clock.now() + 60))
        clock.advance(59.5)
        assert store.claim(a_claim()).records == ()
        clock.advance(0.5)
        assert ids(store.claim(a_claim()).records) == ["a"]

    def test_other_queues_are_not_claimed(self, store: JobStore) -> None:
        """Jobs of other queues are not claimed, even by id or after their lease has expired."""
        store.add("other", new("a"))
        assert store.claim(a_claim()) == Claim((), None)
        assert store.claim(a_claim(only="a")).records == ()
        assert ids(store.claim(a_claim(queue="other")).records) == ["a"]

    def test_only_services_that_the_worker_can_use(self, store: JobStore) -> None:
        """A job for a service that the worker cannot use is not claimed and does not wake the worker."""
        store.add(QUEUE, new("b", service=BETA))
        assert store.claim(a_claim(slots={ALPHA: 5})) == Claim((), None)
        assert ids(store.claim(a_claim(slots={ALPHA: 5, BETA: 5})).records) == ["b"]

    def test_tickets_of_other_services_are_not_claimed(self, store: JobStore, clock: ManualClock) -> None:
        """A job with a ticket of a service that the worker cannot use waits for a worker that can."""
        store.add(QUEUE, new("b", service=BETA))
        record = accept(store, intend(store, take(store), service=BETA))
        settle(store, record, Wait(clock.now(), "rendering"))
        assert store.claim(a_claim(slots={ALPHA: 5})).records == ()
        assert ids(store.claim(a_claim(slots={BETA: 5})).records) == ["b"]

    def test_only_one_job(self, store: JobStore) -> None:
        """With `only`, that job is claimed before others, and no other job is."""
        store.add(QUEUE, new("a", "b", "c"))
        assert ids(store.claim(a_claim(only="b")).records) == ["b"]
        assert store.claim(a_claim(only="b")).records == ()
        assert store.claim(a_claim(only="absent")).records == ()

    def test_a_paused_queue_leases_nothing(self, store: JobStore) -> None:
        """A paused queue leases nothing; after a resume it leases all its jobs."""
        store.add(QUEUE, new("a"))
        store.set_queue_state(QUEUE, lambda state: replace(state, paused=True))
        assert store.claim(a_claim()) == Claim((), None)
        store.set_queue_state(QUEUE, lambda state: replace(state, paused=False))
        assert ids(store.claim(a_claim()).records) == ["a"]

    def test_racing_claimers_never_share_a_job(self, open_store: OpenStore, clock: ManualClock) -> None:
        """When twenty workers claim concurrently over several handles, each job goes to exactly one of them."""
        handles = [open_store(clock) for _ in range(4)]
        names = [f"j{number}" for number in range(60)]
        handles[0].add(QUEUE, new(*names))
        claims = race(20, lambda index: handles[index % 4].claim(a_claim(count=5, worker=f"w-{index}")))
        assert Counter(name for claim in claims for name in ids(claim.records)) == Counter(names)
        for index, claim in enumerate(claims):
            assert {record.lease.worker for record in claim.records if record.lease} <= {f"w-{index}"}
        assert len({record.lease_token for claim in claims for record in claim.records}) == 60


class AskingAgainSuite(Suite):
    """`Claim.again_at`: no earlier than needed, and never after a job is due."""

    def test_no_job_to_wait_for(self, store: JobStore) -> None:
        """An empty queue, or one with only held and final jobs, has no `again_at`."""
        assert store.claim(a_claim()) == Claim((), None)
        finished(store, "a", Status.FAILED)
        finished(store, "b", Status.SUCCEEDED)
        store.add(QUEUE, new("h"))
        settle(store, intend(store, take(store, only="h")), Held(FAILURE))
        assert store.claim(a_claim()) == Claim((), None)

    def test_the_next_due_time(self, store: JobStore, clock: ManualClock) -> None:
        """If all jobs are for later, `again_at` is the earliest due time."""
        store.add(QUEUE, [*new("b", due=clock.now() + 70, service=BETA), *new("a", due=clock.now() + 90)])
        store.add(QUEUE, new("c", due=clock.now() + 80, service=AUTO))
        assert store.claim(a_claim()) == Claim((), clock.now() + 70)

    def test_a_lease_that_expires(self, store: JobStore, clock: ManualClock) -> None:
        """A leased job can be claimed again when its lease expires, and that is `again_at`."""
        store.add(QUEUE, [*new("a"), *new("b", due=clock.now() + 90)])
        take(store, lease=30.0)
        again_at = store.claim(a_claim()).again_at
        assert again_at == clock.now() + 30.0
        clock.set(again_at)
        assert ids(store.claim(a_claim()).records) == ["a"]

    def test_the_earliest_of_all(self, store: JobStore, clock: ManualClock) -> None:
        """`again_at` is the earliest of a due time, the end of a lease and the poll of a ticket."""
        store.add(QUEUE, new("polled", "leased"))
        record = accept(store, intend(store, take(store, only="polled")))
        settle(store, record, Wait(clock.now() + 20, "rendering"))
        take(store, lease=40.0)
        store.add(QUEUE, new("later", due=clock.now() + 30))
        assert store.claim(a_claim()) == Claim((), clock.now() + 20)

    def test_more_is_due_than_was_asked_for(self, store: JobStore, clock: ManualClock) -> None:
        """If more jobs are due than requested, `again_at` is now."""
        store.add(QUEUE, new("a", "b"))
        again_at = store.claim(a_claim(count=1)).again_at
        assert again_at is not None
        assert again_at <= clock.now()

    def test_concurrency_used_up(self, store: JobStore, clock: ManualClock) -> None:
        """If the concurrency limit is reached, `again_at` is the end of the next lease."""
        store.add(QUEUE, new("a", "b"))
        limits = DispatchLimits(1e6, 1)
        take(store, limits=limits, lease=25.0)
        assert store.claim(a_claim(limits=limits)) == Claim((), clock.now() + 25.0)

    def test_slots_used_up(self, store: JobStore, clock: ManualClock) -> None:
        """If all slots are taken, `again_at` is the earliest deadline of a generation."""
        store.add(QUEUE, new("a", "b"))
        record = accept(store, intend(store, take(store)), lifetime=500.0)
        settle(store, record, Wait(clock.now() + 5000, "rendering"))
        claim = store.claim(a_claim(slots={ALPHA: 1}))
        assert claim == Claim((), clock.now() + 500.0)
        clock.set(clock.now() + 500.0)
        assert ids(store.claim(a_claim(slots={ALPHA: 1})).records) == ["b"]

    def test_slots_used_up_for_open_jobs(self, store: JobStore, clock: ManualClock) -> None:
        """`again_at` for a job that names no service includes the deadline that frees a slot."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)), lifetime=500.0)
        settle(store, record, Wait(clock.now() + 5000, "rendering"))
        store.add(QUEUE, new("b", service=AUTO))
        again_at = store.claim(a_claim(slots={ALPHA: 1})).again_at
        assert again_at == clock.now() + 500.0
        clock.set(again_at)
        assert ids(store.claim(a_claim(slots={ALPHA: 1})).records) == ["b"]

    def test_paused(self, store: JobStore, clock: ManualClock) -> None:
        """A paused queue has no `again_at`, even if jobs become due."""
        store.add(QUEUE, [*new("a"), *new("b", due=clock.now() + 5)])
        take(store)
        store.set_queue_state(QUEUE, lambda state: replace(state, paused=True))
        assert store.claim(a_claim()) == Claim((), None)
        clock.advance(1000)
        assert store.claim(a_claim()) == Claim((), None)

    def test_other_queues_do_not_wake(self, store: JobStore, clock: ManualClock) -> None:
        """Due times, leases and slots of other queues and services do not affect `again_at`."""
        store.add("other", [*new("a"), *new("b", due=clock.now() + 5)])
        take(store, queue="other")
        store.add(QUEUE, new("c", due=clock.now() + 5, service=BETA))
        assert store.claim(a_claim(slots={ALPHA: 3})) == Claim((), None)

    def test_only_one_job_that_is_not_due(self, store: JobStore, clock: ManualClock) -> None:
        """For a worker that waits for one job, `again_at` ignores other due jobs."""
        store.add(QUEUE, [*new("other"), *new("mine", due=clock.now() + 50)])
        claim = store.claim(a_claim(only="mine"))
        assert claim.records == ()
        assert claim.again_at == clock.now() + 50
        clock.set(claim.again_at)
        assert ids(store.claim(a_claim(only="mine")).records) == ["mine"]

    def test_only_one_job_that_is_leased(self, store: JobStore, clock: ManualClock) -> None:
        """For a worker that waits for one leased job, `again_at` is the end of that lease."""
        store.add(QUEUE, new("other", "mine"))
        take(store, only="mine", lease=40.0)
        claim = store.claim(a_claim(only="mine"))
        assert claim == Claim((), clock.now() + 40.0)
