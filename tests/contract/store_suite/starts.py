"""Tests of the latest start of a job, and of changes of a job that has bought nothing."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from tenxsom_flow_engine.errors import ActionRefused, StartMissed
from tenxsom_flow_engine.jobs import Failure, Status, lifecycle
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.jobs.outcomes import Done, Expired, Terms, Times, Wait
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.totals import EVER
from tenxsom_flow_engine.store.values import JobFilter, Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, QUEUE, VIDEO, a_claim, new
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
    take,
)


class StartSuite(Suite):
    """The latest start, and changes of jobs that have bought nothing."""

    def test_waiting_jobs_expire_without_a_worker(self, store: JobStore, clock: ManualClock) -> None:
        """A job whose latest start has passed ends, wherever it waits; others and paid ones continue."""
        now = clock.now()
        store.add(QUEUE, new("paid", start_by=now + 10))
        accept(store, intend(store, take(store)))
        store.add(QUEUE, new("due", "closed", start_by=now + 10))
        closed = take(store, only="closed")
        settle(store, closed, Wait(now + 999, "its gate is closed", worked=False))
        store.add("other", new("elsewhere", start_by=now + 10))
        store.add(QUEUE, new("scheduled", due=now + 5, start_by=now + 10))
        store.add(QUEUE, [*new("later", start_by=now + 11), *new("never")])
        clock.advance(10)
        assert store.expire_unstarted(100) == []
        clock.advance(0.5)
        assert store.expire_unstarted(1) != []
        store.expire_unstarted(100)
        expired = {record.job_id for record in everything(store) if record.expired}
        assert expired == {"due", "closed", "elsewhere", "scheduled"}
        assert store.expire_unstarted(100) == []
        assert ids(store.claim(a_claim(only="due")).records) == []
        check_counts(store)
        totals = {total.name: total.amount for total in store.totals(EVER)}
        assert (totals["cancelled"], totals["expired"]) == (4, 4)
        assert store.last_errors() == {}

    def test_a_leased_job_buys_nothing_after_its_latest_start(self, store: JobStore, clock: ManualClock) -> None:
        """The journal refuses the intent of a step that began in time and took too long; the job ends with its step."""
        store.add(QUEUE, new("a", start_by=clock.now() + 10))
        record = take(store)
        clock.advance(10.5)
        assert store.expire_unstarted(100) == []
        with pytest.raises(StartMissed) as missed:
            intend(store, record)
        assert store.in_flight(ALPHA) == 0
        assert settle(store, record, Expired(Failure.of(missed.value))).status is Status.CANCELLED
        assert store.late_to_start(100) == []

    def test_an_intent_and_an_expiry_never_both_happen(self, open_store: OpenStore, clock: ManualClock) -> None:
        """However many processes act at the same time, each job is either bought or expired."""
        stores = [open_store(clock), open_store(clock)]
        try:
            names = [f"j{number}" for number in range(20)]
            stores[0].add(QUEUE, new(*names, start_by=clock.now() + 10))
            claimed = stores[0].claim(a_claim()).records

            def act(index: int) -> None:
                if index == 0:
                    clock.advance(10.5)
                    stores[0].expire_unstarted(100)
                    return
                for record in claimed:
                    try:
                        accept(stores[1], intend(stores[1], record))
                    except StartMissed as missed:
                        settle(stores[1], record, Expired(Failure.of(missed)))

            assert race(2, act) == [None, None]
            for record in everything(stores[0]):
                assert record.expired is not bool(record.purchases)
                assert record.purchases == () or record.submission.intended_at <= clock.now() - 0.5
        finally:
            for store in stores:
                store.close()

    def test_a_finished_or_removed_job_has_no_latest_start(self, store: JobStore, clock: ManualClock) -> None:
        """Jobs that ended in time are not found by the search for late ones, also after their removal."""
        now = clock.now()
        store.add(QUEUE, new("done", "cancelled", start_by=now + 10))
        store.cancel("cancelled")
        settle(store, accept(store, intend(store, take(store))), Done(VIDEO))
        clock.advance(20)
        assert store.late_to_start(100) == []
        store.trim(Retention(age=0, count=0))
        store.add(QUEUE, new("next", start_by=now + 10))
        assert ids(store.late_to_start(100)) == ["next"]

    def test_an_adopted_job_keeps_its_latest_start(self, store: JobStore, clock: ManualClock) -> None:
        """A delivery has the latest start, so a job whose record was lost expires too."""
        store.add(QUEUE, new("a", start_by=clock.now() + 10))
        record = store.require("a")
        copy = msgspec.structs.replace(record, job=new("b")[0].job)
        assert store.adopt(lifecycle.adopt(Delivery.of(copy), QUEUE, clock.now()))
        clock.advance(11)
        assert Counter(ids(store.expire_unstarted(100))) == Counter(["a", "b"])

    def test_new_times_move_the_latest_start(self, store: JobStore, clock: ManualClock) -> None:
        """A job expires at its new latest start only; an expired one can be rescheduled."""
        now = clock.now()
        store.add(QUEUE, new("a", "b", "c", due=now + 5, start_by=now + 10))
        store.update("a", lambda record, now: lifecycle.reschedule(record, now, Times(now + 30)))
        store.update("b", lambda record, at: lifecycle.reschedule(record, at, Times(start_by=float("inf"))))
        clock.advance(11)
        assert ids(store.expire_unstarted(100)) == ["c"]
        again = store.update("c", lambda record, now: lifecycle.reschedule(record, now, Times(now + 20, now + 21)))
        assert again.status is Status.SCHEDULED
        assert ids(store.next_scheduled(9)) == ["a", "c"]
        check_counts(store)
        clock.advance(25)
        assert Counter(ids(store.expire_unstarted(100))) == Counter(["a", "c"])
        assert store.claim(a_claim()).records[0].job_id == "b"
        totals = {total.name: total.amount for total in store.totals(EVER)}
        assert totals["expired"] == 3

    def test_an_edited_job_is_in_the_lane_of_its_new_service(self, store: JobStore) -> None:
        """Workers of the old service do not get an edited job, and lists find it by its new service and topic."""
        store.add(QUEUE, new("a"))
        terms = Terms(new("a", service=BETA, topic="A new topic")[0].job, None, None, "changed service, topic")
        store.update("a", lambda record, now: lifecycle.edit(record, now, terms))
        assert store.claim(a_claim(slots={ALPHA: 9})).records == ()
        assert ids(everything(store, JobFilter(service=BETA))) == ["a"]
        assert ids(everything(store, JobFilter(text="new topic"))) == ["a"]
        assert everything(store, JobFilter(service=ALPHA)) == []
        assert ids(store.claim(a_claim(slots={BETA: 9})).records) == ["a"]
        check_counts(store)

    def test_a_job_that_buys_meanwhile_is_not_edited(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Of an intent and an edit at the same time, the edit is refused or the intent is of the edited job."""
        stores = [open_store(clock), open_store(clock)]
        try:
            for number in range(10):
                name = f"j{number}"
                stores[0].add(QUEUE, new(name))
                terms = Terms(new(name, prompt="edited")[0].job, detail="changed prompt")

                def act(index: int, name: str = name, terms: Terms = terms) -> object:
                    if index == 0:
                        return accept(stores[0], intend(stores[0], take(stores[0], only=name)))
                    return stores[1].update(name, lambda record, now: lifecycle.edit(record, now, terms))

                bought, edited = race(2, act)
                stored = stores[0].require(name)
                assert stored.purchases == bought.purchases != ()
                assert isinstance(edited, ActionRefused) is (stored.job.prompt == "")
                assert bought.job == stored.job
        finally:
            for store in stores:
                store.close()
