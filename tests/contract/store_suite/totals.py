"""Tests of the totals (`store.totals`)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tenxsom_flow_engine.errors import LeaseLost
from tenxsom_flow_engine.jobs import AUTO, Cost, Failure, Status
from tenxsom_flow_engine.jobs.lifecycle import MAX_EXPIRIES
from tenxsom_flow_engine.jobs.outcomes import Dead, Done, Retry, Wait
from tenxsom_flow_engine.jobs.submission import Receipt
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.histogram import bucket
from tenxsom_flow_engine.store.totals import EVER, HOUR, KEEP_HOURS, LastError, Total, hour
from tenxsom_flow_engine.store.values import Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, TICKET, VIDEO, a_claim, new
from tests.contract.store_suite.shared import (
    OpenStore,
    Suite,
    accept,
    finished,
    intend,
    race,
    settle,
    take,
)

#: The last second of an hour.
LATE = 3600.0 * 504_000 - 1
ENDINGS = {str(status) for status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)}


def endings(sums: Iterable[Total]) -> dict[tuple[str, str, str], float]:
    """Return the number of finished jobs, by period, service and status."""
    return {(one.period, one.service, one.name): one.amount for one in sums if one.name in ENDINGS}


class TotalsSuite(Suite):
    """`totals` and `last_errors`."""

    def test_a_new_store_has_no_totals(self, store: JobStore) -> None:
        """A new store has no totals and no errors."""
        store.add(QUEUE, new("a"))
        assert ([*store.totals(HOUR), *store.totals(EVER)], store.last_errors()) == ([], {})

    def test_endings_by_hour_and_service(self, store: JobStore, clock: ManualClock) -> None:
        """Each finished job counts in its hour (UTC) and for all time, for its service."""
        clock.set(LATE)
        finished(store, "a", Status.SUCCEEDED)
        finished(store, "b", Status.FAILED)
        clock.advance(1)
        store.add(QUEUE, new("c", service=BETA) + new("d", service=AUTO))
        accept(store, intend(store, record := take(store, only="c"), service=BETA))
        settle(store, record, Done(VIDEO))
        store.cancel("d")
        first, second = hour(LATE), hour(LATE + 1)
        by_hour = {
            (first, ALPHA, "succeeded"): 1.0,
            (first, ALPHA, "failed"): 1.0,
            (second, BETA, "succeeded"): 1.0,
            (second, AUTO, "cancelled"): 1.0,
        }
        assert endings(store.totals(HOUR)) == by_hour
        assert endings(store.totals(HOUR, second)) == {key: 1.0 for key in by_hour if key[0] == second}
        assert endings(store.totals(EVER)) == {("", *key[1:]): 1.0 for key in by_hour}

    def test_each_ending_counts(self, store: JobStore) -> None:
        """A job that fails, is retried and fails again counts as two failures; a waiting job does not count."""
        finished(store, "a", Status.FAILED)
        store.retry("a")
        settle(store, take(store), Wait(store.now(), "rendering"))
        settle(store, take(store), Retry(store.now(), FAILURE))
        settle(store, take(store), Dead(FAILURE))
        assert endings(store.totals(EVER)) == {("", ALPHA, "failed"): 2.0}

    def test_every_way_to_end_counts(self, store: JobStore, clock: ManualClock) -> None:
        """Jobs ended by a purge or by dying workers count like jobs ended by a worker or an operator."""
        store.add(QUEUE, new("a", "b"))
        assert store.cancel_waiting(QUEUE, 10) == 2
        store.add(QUEUE, new("killer"))
        for _ in range(MAX_EXPIRIES):
            take(store)
            clock.advance(31)
        assert store.claim(a_claim()).records == ()
        assert endings(store.totals(EVER)) == {("", ALPHA, "cancelled"): 2.0, ("", ALPHA, "failed"): 1.0}
        assert store.last_errors()[ALPHA].code == "worker_lost"

    def test_how_long_videos_take(self, store: JobStore, clock: ManualClock) -> None:
        """A published video counts with the time since its create, without the waiting time before."""
        store.add(QUEUE, new("a", "b"))
        clock.advance(5000)
        for name, seconds in (("a", 40.0), ("b", 300.0)):
            record = intend(store, take(store, only=name))
            clock.advance(seconds / 2)
            settle(store, accept(store, record), Wait(store.now(), "rendering"))
            clock.advance(seconds / 2)
            settle(store, take(store, only=name), Done(VIDEO))
        sums = {one.name: one.amount for one in store.totals(EVER) if one.name[0] == "s" and one.name not in ENDINGS}
        assert sums == {"seconds": pytest.approx(340.0), f"s{bucket(40.0)}": 1.0, f"s{bucket(300.0)}": 1.0}

    def test_purchases_by_hour(self, store: JobStore, clock: ManualClock) -> None:
        """Purchases count by hour too, and for all time."""
        clock.set(LATE)
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        store.accept(
            "a",
            Receipt(submission_id=record.submission.id, ticket=TICKET, lifetime=9.0, cost=Cost(usd=0.25, credits=50.0)),
        )
        bought = [("credits", 50.0), ("usd", 0.25), ("videos", 1.0)]
        assert list(store.totals(HOUR)) == [Total(HOUR, hour(LATE), ALPHA, *pair) for pair in bought]
        assert list(store.totals(EVER)) == [Total(EVER, "", ALPHA, *pair) for pair in bought]

    def test_the_last_error_of_each_service(self, store: JobStore, clock: ManualClock) -> None:
        """Each failure is the latest error of its service, also if the job is retried."""
        store.add(QUEUE, new("a") + new("b", service=BETA))
        settle(store, take(store, only="a"), Retry(store.now(), FAILURE))
        clock.advance(10)
        worse = Failure("rejected", "no such voice")
        settle(store, take(store, only="b"), Dead(worse))
        expected = LastError(clock.now() - 10, "a", FAILURE.code, FAILURE.message)
        assert store.last_errors() == {ALPHA: expected, BETA: LastError(clock.now(), "b", "rejected", "no such voice")}
        settle(store, take(store, only="a"), Wait(store.now(), "rendering"))
        assert store.last_errors()[ALPHA] == expected
        clock.advance(10)
        settle(store, take(store, only="a"), Retry(store.now(), FAILURE))
        assert store.last_errors()[ALPHA].at == clock.now()

    def test_a_refused_change_counts_nothing(self, store: JobStore) -> None:
        """A change that is not written is not counted."""
        store.add(QUEUE, new("a"))
        record = take(store)
        settle(store, record, Dead(FAILURE))
        for outcome in (Dead(FAILURE), Done(VIDEO)):
            with pytest.raises(LeaseLost):
                settle(store, record, outcome)
        assert endings(store.totals(EVER)) == {("", ALPHA, "failed"): 1.0}

    def test_hours_are_removed_and_totals_kept(self, store: JobStore, clock: ManualClock) -> None:
        """Totals of hours are removed after two days; those of days and of all time stay after records are trimmed."""
        finished(store, "a", Status.SUCCEEDED)
        clock.advance(KEEP_HOURS - 3600)
        store.trim(Retention())
        assert store.totals(HOUR)
        clock.advance(2 * 3600)
        store.trim(Retention(age=1.0))
        assert store.get("a") is None
        assert store.totals(HOUR) == []
        assert endings(store.totals(EVER)) == {("", ALPHA, "succeeded"): 1.0}
        assert len(store.spent("")) == 1

    def test_racing_endings_are_counted_once(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Twenty jobs that end concurrently over several handles, each settled twice, count as twenty."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new(*(f"j{number}" for number in range(20))))
        records = handles[0].claim(a_claim()).records

        def end(index: int) -> None:
            settle(handles[index % 4], records[index], Dead(FAILURE))
            with pytest.raises(LeaseLost):
                settle(handles[(index + 1) % 4], records[index], Dead(FAILURE))

        assert race(20, end) == [None] * 20
        assert endings(handles[1].totals(EVER)) == {("", ALPHA, "failed"): 20.0}
