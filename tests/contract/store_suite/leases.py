"""Tests of leases: expired, renewed, lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tenxsom_flow_engine.errors import LeaseLost
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.jobs.lifecycle import MAX_EXPIRIES
from tenxsom_flow_engine.jobs.outcomes import Dead, Retry, Wait
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import FAILURE, QUEUE, a_claim, new
from tests.contract.store_suite.shared import (
    OpenStore,
    Suite,
    accept,
    check_counts,
    ids,
    intend,
    race,
    settle,
    take,
)


class LeaseSuite(Suite):
    """Leases: expiry, renewal, fencing."""

    def test_an_expired_lease_is_ended(self, store: JobStore, clock: ManualClock) -> None:
        """A job whose worker stopped renewing goes to the next worker, and its record says so."""
        store.add(QUEUE, new("a"))
        first = take(store, worker="w-dead", lease=30.0)
        clock.advance(29.9)
        assert store.claim(a_claim()).records == ()
        clock.advance(0.1)
        second = take(store, worker="w-2")
        assert second.lease_token != first.lease_token
        assert (second.expiries, second.attempts, second.seq) == (1, 0, first.seq + 1)
        assert any("w-dead" in event.detail for event in second.events)

    def test_a_job_that_kills_its_workers_fails(
        self, store: JobStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """After ten consecutive leases expired in one step, the job fails with that reason, which is in the log."""
        store.add(QUEUE, new("a"))
        for number in range(MAX_EXPIRIES):
            assert take(store).expiries == number
            clock.advance(31)
        assert store.claim(a_claim()).records == ()
        record = store.require("a")
        assert record.status is Status.FAILED
        assert record.error is not None
        assert (record.error.code, record.expiries) == ("worker_lost", MAX_EXPIRIES)
        assert [(line.levelname, line.__dict__["job_id"]) for line in caplog.records] == [("ERROR", "a")]
        check_counts(store)

    def test_a_step_that_worked_resets_expiries(self, store: JobStore, clock: ManualClock) -> None:
        """Expired leases are counted within one step: a ticket, or a step that worked, resets the count."""
        store.add(QUEUE, new("a", "b"))
        for _ in range(MAX_EXPIRIES - 1):
            assert len(store.claim(a_claim()).records) == 2
            clock.advance(31)
        first, second = store.claim(a_claim()).records
        assert first.expiries == second.expiries == MAX_EXPIRIES - 1
        assert settle(store, first, Wait(clock.now(), "went well")).expiries == 0
        assert accept(store, intend(store, second)).expiries == 0

    def test_a_lease_keeps_the_due_time(self, store: JobStore, clock: ManualClock) -> None:
        """A leased job knows its due time, also after an intent and a renewal, so it can return to its place."""
        store.add(QUEUE, new("a", "b"))
        due = clock.now()
        clock.advance(1000)
        record = intend(store, take(store))
        store.renew({"a": record.lease_token}, 30.0)
        store.clear_submission("a", submission_id=record.submission.id, reason="refused")
        for record in (store.require("a"), take(store)):
            assert record.lease is not None
            assert record.lease.due == due
            assert settle(store, record, Wait(record.lease.due, "the gate is closed", worked=False)).due == due
        assert ids(store.claim(a_claim()).records) == ["a", "b"]

    def test_a_closed_gate_resets_no_count(self, store: JobStore, clock: ManualClock) -> None:
        """A step that waits without doing work does not reset the counts of failures and expired leases."""
        store.add(QUEUE, new("a"))
        take(store)
        clock.advance(31)
        settle(store, take(store), Retry(clock.now(), FAILURE))
        after = settle(store, take(store), Wait(clock.now(), "the gate is closed", worked=False))
        assert (after.attempts, after.expiries, after.error) == (1, 1, FAILURE)

    def test_many_expired_leases_all_come_back(self, store: JobStore, clock: ManualClock) -> None:
        """However many leases have expired at once, repeated claims return every job."""
        store.add(QUEUE, new(*(f"j{number}" for number in range(350))))
        assert len(store.claim(a_claim()).records) == 350
        clock.advance(31)
        back: list[str] = []
        for _ in range(20):
            claim = store.claim(a_claim(lease=1e6))
            back += ids(claim.records)
            if claim.again_at is None or claim.again_at > clock.now():
                break
        assert sorted(back) == sorted(f"j{number}" for number in range(350))

    def test_renewal_extends_a_lease(self, store: JobStore, clock: ManualClock) -> None:
        """A renewed lease lasts the full duration from now."""
        store.add(QUEUE, new("a"))
        record = take(store, lease=30.0)
        clock.advance(20)
        assert not store.renew({"a": record.lease_token}, 30.0)
        clock.advance(20)
        assert store.claim(a_claim()).records == ()
        clock.advance(10)
        assert ids(store.claim(a_claim()).records) == ["a"]

    def test_renewal_reports_lost_leases(self, store: JobStore, clock: ManualClock) -> None:
        """Leases that were taken over, settled or cancelled are reported as lost, and the others are renewed."""
        store.add(QUEUE, new("mine", "taken", "settled", "cancelled"))
        records = {record.job_id: record for record in store.claim(a_claim(lease=30.0)).records}
        store.release_lease("taken", records["taken"].lease_token)
        thief = take(store, only="taken", worker="w-2")
        settle(store, records["settled"], Dead(FAILURE))
        store.cancel("cancelled")
        clock.advance(10)
        lost = store.renew({name: record.lease_token for name, record in records.items()}, 30.0)
        assert set(lost) == {"taken", "settled", "cancelled"}
        assert store.require("taken") == thief
        renewed = store.require("mine").lease
        assert renewed is not None
        assert renewed.until == clock.now() + 30.0

    def test_renewal_of_a_trimmed_job(self, store: JobStore, clock: ManualClock) -> None:
        """The lease of a trimmed job is lost; the worker's other leases are renewed."""
        store.add(QUEUE, new("gone", "mine"))
        gone, mine = store.claim(a_claim(lease=30.0)).records
        store.cancel("gone")
        clock.advance(10)
        assert store.trim(Retention(age=5.0)) == 1
        lost = store.renew({"gone": gone.lease_token, "mine": mine.lease_token}, 30.0)
        assert set(lost) == {"gone"}
        renewed = store.require("mine").lease
        assert renewed is not None
        assert renewed.until == clock.now() + 30.0

    def test_a_wrong_token_renews_nothing(self, store: JobStore) -> None:
        """A wrong token leaves the record unchanged."""
        store.add(QUEUE, new("a"))
        record = take(store)
        assert set(store.renew({"a": "forged"}, 1000.0)) == {"a"}
        assert store.require("a") == record

    @pytest.mark.parametrize("act", ["settle", "release_lease", "intend"])
    @pytest.mark.parametrize("change", ["taken", "settled", "cancelled", "released"])
    def test_a_stale_owner_is_refused(self, store: JobStore, clock: ManualClock, act: str, change: str) -> None:
        """A worker that lost its lease can write nothing."""
        store.add(QUEUE, new("a"))
        stale = take(store)
        match change:
            case "taken":
                clock.advance(31)
                take(store, worker="w-2")
            case "settled":
                settle(store, stale, Retry(clock.now(), FAILURE))
            case "cancelled":
                store.cancel("a")
            case "released":
                store.release_lease("a", stale.lease_token)
        before = store.require("a")
        acts: dict[str, Callable[[], object]] = {
            "settle": lambda: settle(store, stale, Dead(FAILURE)),
            "release_lease": lambda: store.release_lease("a", stale.lease_token),
            "intend": lambda: intend(store, stale),
        }
        with pytest.raises(LeaseLost):
            acts[act]()
        assert store.require("a") == before
        check_counts(store)

    def test_racing_settlers_settle_once(self, open_store: OpenStore, clock: ManualClock) -> None:
        """When twenty callers settle one delivery concurrently, one succeeds and the others lost the lease."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new("a"))
        record = take(handles[0])
        results = race(20, lambda index: settle(handles[index % 4], record, Retry(clock.now(), FAILURE)))
        assert Counter(type(result) for result in results) == {JobRecord: 1, LeaseLost: 19}
        assert handles[0].require("a").attempts == 1
