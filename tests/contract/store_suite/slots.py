"""Tests of the in-flight slots of services."""

from __future__ import annotations

from collections import Counter

import pytest

from tenxsom_flow_engine.errors import SlotsBusy
from tenxsom_flow_engine.jobs import AUTO, JobRecord, SubmissionState
from tenxsom_flow_engine.jobs.outcomes import Dead, Done, Outcome, Retry, Wait
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, VIDEO, a_claim, new
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


class SlotSuite(Suite):
    """How in-flight slots limit claims and submissions."""

    def test_no_job_is_claimed_without_a_free_slot(self, store: JobStore) -> None:
        """Jobs that would submit are leased only while their service has free slots."""
        store.add(QUEUE, new("a", "b", "c"))
        first = store.claim(a_claim(slots={ALPHA: 2}))
        assert ids(first.records) == ["a", "b"]
        for record in first.records:
            intend(store, record, slots=2)
        assert store.in_flight(ALPHA) == 2
        assert store.claim(a_claim(slots={ALPHA: 2})).records == ()

    def test_leased_jobs_count(self, store: JobStore) -> None:
        """A leased job that has not submitted yet counts, because it will need a slot."""
        store.add(QUEUE, new("a", "b"))
        take(store, slots={ALPHA: 1})
        assert store.claim(a_claim(slots={ALPHA: 1})).records == ()

    def test_services_do_not_share_slots(self, store: JobStore) -> None:
        """A service without a free slot does not delay jobs of another service."""
        store.add(QUEUE, [*new("a1", "a2", "a3"), *new("b1", service=BETA)])
        intend(store, take(store))
        assert ids(store.claim(a_claim(slots={ALPHA: 1, BETA: 1})).records) == ["b1"]

    def test_a_job_with_a_ticket_needs_no_free_slot(self, store: JobStore, clock: ManualClock) -> None:
        """Polling continues while all slots are taken."""
        store.add(QUEUE, new("a", "b"))
        record = accept(store, intend(store, take(store), slots=1))
        settle(store, record, Wait(clock.now(), "rendering"))
        assert ids(store.claim(a_claim(slots={ALPHA: 1})).records) == ["a"]

    def test_open_jobs_need_a_slot_of_any_service(self, store: JobStore) -> None:
        """A job that names no service is leased only while some service has a free slot."""
        store.add(QUEUE, new("a", service=ALPHA))
        intend(store, take(store))
        store.add(QUEUE, new("x", "y", service=AUTO))
        assert store.claim(a_claim(slots={ALPHA: 1})).records == ()
        assert ids(store.claim(a_claim(slots={ALPHA: 1, BETA: 1})).records) == ["x"]
        assert store.claim(a_claim(slots={ALPHA: 1, BETA: 1})).records == ()

    def test_open_and_named_jobs_share_the_slots(self, store: JobStore) -> None:
        """One free slot leads to one leased job, whether it names the service or not."""
        store.add(QUEUE, [*new("named"), *new("open", service=AUTO)])
        assert len(store.claim(a_claim(slots={ALPHA: 1})).records) == 1

    def test_a_leased_open_job_counts_for_named_ones(self, store: JobStore) -> None:
        """While a leased job might take the only slot of a service, no job that names the service is leased."""
        store.add(QUEUE, new("open", service=AUTO))
        assert take(store, slots={ALPHA: 1}).job_id == "open"
        store.add(QUEUE, new("named"))
        assert store.claim(a_claim(slots={ALPHA: 1})).records == ()

    def test_a_refused_intent_changes_nothing(self, store: JobStore) -> None:
        """An intent without a free slot writes nothing."""
        store.add(QUEUE, new("a", "b"))
        first, second = store.claim(a_claim()).records
        intend(store, first, slots=1)
        with pytest.raises(SlotsBusy) as refusal:
            intend(store, second, slots=1)
        assert (refusal.value.service, refusal.value.limit) == (ALPHA, 1)
        assert store.require("b") == second
        assert store.in_flight(ALPHA) == 1
        check_counts(store)

    def test_a_repeated_intent_keeps_its_own_slot(self, store: JobStore) -> None:
        """The same submission can be intended again without a second slot."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), slots=1)
        again = intend(store, record, slots=1)
        assert again.submission.state is SubmissionState.INTENT
        assert store.in_flight(ALPHA) == 1

    @pytest.mark.parametrize(
        ("ending", "free"),
        [
            (Done(VIDEO), True),
            (Dead(FAILURE, generation_failed=True), True),
            (Wait(0.0, "rendered", rendered=True), True),
            (Wait(0.0, "rendering"), False),
            (Dead(FAILURE), False),
            (Retry(0.0, FAILURE), False),
        ],
    )
    def test_when_a_slot_becomes_free(self, store: JobStore, ending: Outcome, free: bool) -> None:
        """A slot is taken until the service reports the end of the generation, whatever happens to the job."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)))
        settle(store, record, ending)
        assert store.in_flight(ALPHA) == (0 if free else 1)

    def test_a_cancelled_job_holds_its_slot(self, store: JobStore) -> None:
        """The generation of a cancelled job continues at the service, so its slot stays taken until its deadline."""
        store.add(QUEUE, new("a"))
        accept(store, intend(store, take(store)))
        store.cancel("a")
        assert store.in_flight(ALPHA) == 1

    def test_the_holders_of_slots_are_listed(self, store: JobStore, clock: ManualClock) -> None:
        """The jobs that hold a slot now are listed by their deadline, in any status; others are not."""
        store.add(QUEUE, [*new("a", "b", "c"), *new("other", service=BETA)])
        for name, lifetime in (("a", 90.0), ("b", 30.0), ("c", 60.0)):
            accept(store, intend(store, take(store, only=name)), lifetime=lifetime)
        intend(store, take(store, only="other"), service=BETA)
        store.cancel("a")
        assert ids(store.slot_holders(ALPHA, 9)) == ["b", "c", "a"]
        assert ids(store.slot_holders(ALPHA, 2)) == ["b", "c"]
        clock.advance(30.0)
        assert ids(store.slot_holders(ALPHA, 9)) == ["c", "a"]

    def test_a_cleared_submission_frees_its_slot(self, store: JobStore) -> None:
        """Proof that nothing was bought frees the slot at once."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        store.clear_submission("a", submission_id=record.submission.id, reason="refused")
        assert store.in_flight(ALPHA) == 0

    def test_a_submission_beyond_its_deadline_frees_its_slot(self, store: JobStore, clock: ManualClock) -> None:
        """A slot becomes free at the deadline of its generation, without any write, and not earlier."""
        store.add(QUEUE, new("a", "b"))
        first, second = store.claim(a_claim(lease=1000.0)).records
        intend(store, first, slots=1, lifetime=100.0)
        clock.advance(99)
        assert store.in_flight(ALPHA) == 1
        with pytest.raises(SlotsBusy):
            intend(store, second, slots=1)
        clock.advance(1)
        assert store.in_flight(ALPHA) == 0
        assert intend(store, second, slots=1).submission.state is SubmissionState.INTENT

    def test_the_ticket_sets_a_new_deadline(self, store: JobStore, clock: ManualClock) -> None:
        """The generation's lifetime counts from its ticket."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), lifetime=10.0)
        clock.advance(5)
        record = accept(store, record, lifetime=50.0)
        assert record.submission.deadline == clock.now() + 50.0
        clock.advance(49)
        assert store.in_flight(ALPHA) == 1

    def test_slots_are_counted_over_all_queues(self, store: JobStore) -> None:
        """The slots of a service are shared by the jobs of all queues."""
        store.add("other", new("a"))
        intend(store, take(store, queue="other"))
        store.add(QUEUE, new("b"))
        assert store.claim(a_claim(slots={ALPHA: 1})).records == ()
        assert store.in_flight(ALPHA) == 1
        assert store.in_flight(BETA) == 0

    def test_racing_intents_never_exceed_the_limit(self, open_store: OpenStore, clock: ManualClock) -> None:
        """When twenty workers submit concurrently over several handles, exactly as many as there are slots succeed."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new(*(f"j{number}" for number in range(20))))
        records = handles[0].claim(a_claim()).records
        results = race(20, lambda index: intend(handles[index % 4], records[index], slots=7))
        assert Counter(type(result) for result in results) == {JobRecord: 7, SlotsBusy: 13}
        assert handles[0].in_flight(ALPHA) == 7
