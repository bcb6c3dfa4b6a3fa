"""Tests of the totals of purchases."""

from __future__ import annotations

import pytest

from tenxsom_flow_engine.errors import JobNotFound
from tenxsom_flow_engine.jobs import AUTO, Cost, JobRecord, Ticket
from tenxsom_flow_engine.jobs.outcomes import ConfirmedPurchase, Done, Held, Resubmit
from tenxsom_flow_engine.jobs.submission import Receipt
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.totals import Spent
from tenxsom_flow_engine.store.values import NewJob, Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, TICKET, VIDEO, a_claim, a_job, new
from tests.contract.store_suite.shared import DAY, OpenStore, Suite, intend, race, settle, take


class SpendingSuite(Suite):
    """`spent`: totals of purchases."""

    COST = Cost(usd=0.25, credits=50.0, estimated=False)

    def test_sums_by_day_and_service(self, store: JobStore, clock: ManualClock) -> None:
        """Each ticket counts on its day (UTC) and for the service that sold it, with its price if known."""
        clock.set(DAY * 21_000 - 1)  # the last second of 2027-06-30
        store.add(QUEUE, new("a", "b", "c"))
        a, b, c = (take(store, only=name) for name in "abc")
        self.buy(store, intend(store, a))
        self.buy(store, intend(store, b, service=BETA), cost=None)
        clock.advance(1)
        self.buy(store, intend(store, c))
        assert store.spent("") == [
            Spent("2027-06-30", ALPHA, 1, 0.25, 50.0, 0),
            Spent("2027-06-30", BETA, 1, 0.0, 0.0, 1),
            Spent("2027-07-01", ALPHA, 1, 0.25, 50.0, 0),
        ]
        assert store.spent("2027-07-01") == store.spent("")[2:]
        assert store.spent("2027-07-02") == []

    def test_a_ticket_that_comes_twice_counts_once(self, store: JobStore) -> None:
        """A ticket that is saved several times is one purchase, whatever happens to its job."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-1")
        store.cancel("a")
        for _ in range(3):
            self.buy(store, record)
        assert self.total(store) == (1, 0.25)
        assert store.require("a").cost == self.COST

    def test_a_wrong_answer_is_taken_out_of_its_day(self, store: JobStore, clock: ManualClock) -> None:
        """A corrected ticket replaces its purchase on the day of the first answer; without a purchase, none is left."""
        clock.set(DAY * 21_000 - 1)
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        store.settle("a", record.lease_token, Held(FAILURE))
        store.resolve("a", ConfirmedPurchase(Ticket("wrong"), 50.0, Cost(usd=0.25)))
        clock.advance(DAY)
        store.resolve("a", ConfirmedPurchase(TICKET, 50.0, Cost(usd=0.5)))
        assert store.spent("") == [Spent("2027-06-30", ALPHA, 1, 0.5, 0.0, 0)]
        assert store.require("a").cost == Cost(usd=0.5)
        assert store.resolve("a", Resubmit()).purchases == ()
        assert store.spent("") == []

    def test_a_ticket_of_an_earlier_submission_counts(self, store: JobStore) -> None:
        """A purchase for a job that has since moved to another service counts once, for the service that sold it."""
        store.add(QUEUE, new("a", service=AUTO))
        late = intend(store, take(store), submission_id="s-1")
        store.clear_submission("a", submission_id="s-1", reason="the service knows nothing of it")
        self.buy(store, intend(store, store.require("a"), service=BETA, submission_id="s-2"))
        for _ in range(2):
            store.accept(
                "a", Receipt(submission_id="s-1", ticket=Ticket("t-late"), lifetime=9.0, cost=self.COST, service=ALPHA)
            )
        assert [(sum_.service, sum_.videos) for sum_ in store.spent("")] == [(ALPHA, 1), (BETA, 1)]
        assert late.submission.id != store.require("a").submission.id
        assert store.require("a").cost == Cost(usd=0.5, estimated=False)

    def test_a_resolved_purchase_counts(self, store: JobStore) -> None:
        """A held job that proves to be bought is a purchase, at the price of its service."""
        store.add(QUEUE, [NewJob(a_job("a"), cost=Cost(usd=0.25))])
        settle(store, intend(store, take(store)), Held(FAILURE))
        assert store.spent("") == []
        store.resolve("a", ConfirmedPurchase(TICKET, 50.0, Cost(usd=0.75)))
        assert self.total(store) == (1, 0.75)

    def test_a_refused_change_buys_nothing(self, store: JobStore) -> None:
        """A change that is not written is not counted."""
        with pytest.raises(JobNotFound):
            store.accept("absent", Receipt(submission_id="s", ticket=TICKET, lifetime=9.0, cost=self.COST))
        assert store.spent("") == []

    def test_sums_outlive_their_records(self, store: JobStore, clock: ManualClock) -> None:
        """Trimming a record does not change the totals."""
        store.add(QUEUE, new("a"))
        self.buy(store, intend(store, take(store)))
        settle(store, store.require("a"), Done(VIDEO))
        clock.advance(100 * DAY)
        assert store.trim(Retention()) == 1
        assert self.total(store) == (1, 0.25)

    def test_racing_tickets_are_counted_once(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Twenty concurrent tickets over several handles, each saved twice, are twenty purchases."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new(*(f"j{number}" for number in range(20))))
        records = [intend(handles[0], record) for record in handles[0].claim(a_claim()).records]
        race(20, lambda index: [self.buy(handles[(index + n) % 4], records[index]) for n in range(2)])
        assert self.total(handles[1]) == (20, 5.0)

    def buy(self, store: JobStore, record: JobRecord, cost: Cost | None = COST) -> JobRecord:
        """Save the ticket of a submission."""
        return store.accept(
            record.job_id, Receipt(submission_id=record.submission.id, ticket=TICKET, lifetime=100.0, cost=cost)
        )

    def total(self, store: JobStore) -> tuple[int, float]:
        """Return the number of purchased videos and their total price."""
        sums = store.spent("")
        return sum(sum_.videos for sum_ in sums), sum(sum_.usd for sum_ in sums)
