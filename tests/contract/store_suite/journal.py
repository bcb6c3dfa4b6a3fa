"""Tests of the submission journal: intent, ticket, unknown outcome, cleared submission."""

from __future__ import annotations

import pytest

from tenxsom_flow_engine.errors import ActionRefused
from tenxsom_flow_engine.jobs import AUTO, Cost, Status, Step, Submission, SubmissionState, Ticket
from tenxsom_flow_engine.jobs.outcomes import Dead, Retry, Wait
from tenxsom_flow_engine.jobs.submission import Receipt
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, TICKET, new
from tests.contract.store_suite.shared import Suite, accept, check_counts, finished, intend, settle, take


class JournalSuite(Suite):
    """The submission journal."""

    def test_an_intent_is_journaled(self, store: JobStore, clock: ManualClock) -> None:
        """An intent records the submission's id, service, time and deadline, and takes a slot."""
        store.add(QUEUE, new("a", service=AUTO))
        record = intend(store, take(store), service=BETA, submission_id="s-1", lifetime=70.0)
        submission = record.submission
        assert (submission.state, submission.id, submission.ticket) == (SubmissionState.INTENT, "s-1", None)
        assert (submission.intended_at, submission.deadline) == (clock.now(), clock.now() + 70.0)
        assert (record.service, record.status) == (BETA, Status.RUNNING)
        assert store.require("a") == record
        assert store.in_flight(BETA) == 1

    def test_another_submission_is_refused(self, store: JobStore) -> None:
        """No other submission can begin until one is proved to have bought nothing."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-1")
        with pytest.raises(ActionRefused):
            intend(store, record, submission_id="s-2")
        assert store.require("a") == record

    def test_no_intent_once_there_is_a_ticket(self, store: JobStore) -> None:
        """A job with a ticket accepts no intent, not even for the same submission."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)))
        with pytest.raises(ActionRefused):
            intend(store, record, submission_id=record.submission.id)
        assert store.require("a").submission.ticket == TICKET

    def test_the_ticket_and_its_cost(self, store: JobStore, clock: ManualClock) -> None:
        """An accepted create records its ticket, deadline and cost."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        cost = Cost(credits=12.0, estimated=False)
        record = store.accept(
            "a", Receipt(submission_id=record.submission.id, ticket=TICKET, lifetime=900.0, cost=cost)
        )
        assert (record.status, record.step, record.cost) == (Status.RENDERING, Step.POLL, cost)
        assert (record.submission.ticket, record.submission.deadline) == (TICKET, clock.now() + 900.0)

    def test_the_same_ticket_twice(self, store: JobStore) -> None:
        """Saving a ticket again changes nothing."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)))
        assert accept(store, record) == record

    def test_a_late_worker_saves_its_ticket(self, store: JobStore, clock: ManualClock) -> None:
        """A worker that lost its lease can still save its ticket; the present owner keeps the lease."""
        store.add(QUEUE, new("a"))
        late = intend(store, take(store, worker="w-late"))
        clock.advance(31)
        owner = take(store, worker="w-2")
        record = accept(store, late)
        assert record.lease == owner.lease
        assert (record.status, record.submission.ticket) == (Status.RENDERING, TICKET)
        after = settle(store, owner, Wait(clock.now(), "waiting for the other worker", worked=False))
        assert (after.status, after.submission.ticket) == (Status.RENDERING, TICKET)

    @pytest.mark.parametrize("outcome", ["wait", "retry"])
    def test_a_late_ticket_during_a_look_up(self, store: JobStore, clock: ManualClock, outcome: str) -> None:
        """If a ticket arrives during another worker's look-up, the job is due when that step ends."""
        store.add(QUEUE, new("a"))
        late = intend(store, take(store, worker="w-late"))
        clock.advance(31)
        owner = take(store, worker="w-2")
        accept(store, late)
        at = clock.now() + 90
        after = settle(store, owner, Wait(at, "it may be under way") if outcome == "wait" else Retry(at, FAILURE))
        assert (after.step, after.due) == (Step.POLL, clock.now())
        # The next step can set a later time.
        after = settle(store, take(store), Wait(clock.now() + 10, "rendering"))
        assert after.due == clock.now() + 10

    def test_a_late_refusal_during_a_look_up(self, store: JobStore, clock: ManualClock) -> None:
        """If proof of no purchase arrives during a look-up, the job is due when that step ends."""
        store.add(QUEUE, new("a"))
        late = intend(store, take(store, worker="w-late"))
        clock.advance(31)
        owner = take(store, worker="w-2")
        store.clear_submission("a", submission_id=late.submission.id, reason="refused", token=late.lease_token)
        after = settle(store, owner, Wait(clock.now() + 90, "it may be under way", worked=False))
        assert (after.step, after.due) == (Step.SUBMIT, clock.now())

    def test_a_waiting_job_continues_with_its_late_ticket(self, store: JobStore, clock: ManualClock) -> None:
        """A job that waits to look up its create is due at once when the ticket arrives."""
        store.add(QUEUE, new("a"))
        late = intend(store, take(store, worker="w-late"))
        clock.advance(31)
        settle(store, take(store, worker="w-2"), Wait(clock.now() + 90, "it may be under way", worked=False))
        clock.advance(1)
        record = accept(store, late)
        assert (record.status, record.due) == (Status.RENDERING, clock.now())
        assert take(store).job_id == "a"

    @pytest.mark.parametrize("status", [Status.CANCELLED, Status.FAILED])
    def test_a_final_job_saves_its_ticket(self, store: JobStore, status: Status) -> None:
        """A job cancelled or failed while its create was under way keeps its status, with ticket and cost."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        if status is Status.CANCELLED:
            store.cancel("a")
        else:
            settle(store, record, Dead(FAILURE))
        cost = Cost(usd=0.4, estimated=False)
        after = store.accept("a", Receipt(submission_id=record.submission.id, ticket=TICKET, lifetime=50.0, cost=cost))
        assert (after.status, after.submission.ticket, after.cost, after.due) == (status, TICKET, cost, None)
        check_counts(store)
        assert store.retry("a").status is Status.RENDERING

    def test_a_held_job_continues_with_its_ticket(self, store: JobStore, clock: ManualClock) -> None:
        """When the ticket of a held job arrives late, the job is due at once."""
        record = finished(store, "a", Status.HELD)
        after = accept(store, record)
        assert (after.status, after.due, after.error) == (Status.RENDERING, clock.now(), None)
        assert take(store).step is Step.POLL

    def test_a_waiting_job_takes_its_ticket(self, store: JobStore, clock: ManualClock) -> None:
        """A job that waits to look up its create polls instead once it has the ticket."""
        store.add(QUEUE, new("a"))
        record = settle(store, intend(store, take(store)), Retry(clock.now() + 20, FAILURE))
        assert accept(store, record).status is Status.RENDERING
        clock.advance(20)
        assert take(store).step is Step.POLL

    def test_the_late_ticket_of_an_earlier_submission_is_recorded(self, store: JobStore) -> None:
        """A late ticket of an earlier submission of the job changes only the timeline."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-old")
        store.clear_submission("a", submission_id="s-old", reason="refused")
        record = accept(store, intend(store, record, submission_id="s-new"))
        after = store.accept("a", Receipt(submission_id="s-old", ticket=Ticket("t-late"), lifetime=50.0))
        assert after.submission == record.submission
        assert after.status is record.status
        assert any("t-late" in event.detail for event in after.events)

    def test_a_late_ticket_is_taken_where_nothing_else_was_bought(self, store: JobStore) -> None:
        """A job without a purchase takes the late ticket of its earlier submission and continues with it."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-old")
        store.clear_submission("a", submission_id="s-old", reason="refused")
        settle(store, record, Wait(0.0, "refused"))
        after = store.accept("a", Receipt(submission_id="s-old", ticket=Ticket("t-late"), lifetime=50.0, service=ALPHA))
        assert (after.status, after.step, after.service) == (Status.RENDERING, Step.POLL, ALPHA)
        assert after.submission.ticket == Ticket("t-late")
        assert store.in_flight(ALPHA) == 1
        assert take(store).step is Step.POLL

    def test_mark_unknown(self, store: JobStore) -> None:
        """A create without a known outcome is unknown and keeps its slot; the next step looks it up."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        after = store.mark_unknown("a", submission_id=record.submission.id, reason="time-out")
        assert (after.submission.state, after.step) == (SubmissionState.UNKNOWN, Step.LOOKUP)
        assert store.in_flight(ALPHA) == 1

    def test_clear_submission(self, store: JobStore) -> None:
        """A submission proved to have bought nothing is cleared; the next step submits again."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        after = store.clear_submission("a", submission_id=record.submission.id, reason="refused")
        assert (after.submission, after.step) == (Submission(), Step.SUBMIT)
        assert intend(store, after, submission_id="s-2").submission.id == "s-2"

    def test_one_refusal_does_not_clear_a_repeated_create(self, store: JobStore, clock: ManualClock) -> None:
        """Proof that one create bought nothing does not clear a submission that was sent again."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-1")
        token = record.lease_token
        assert store.clear_submission("a", submission_id="s-1", reason="refused", token="another's") == record
        clock.advance(5)
        again = intend(store, record, submission_id="s-1")
        assert store.clear_submission("a", submission_id="s-1", reason="refused", token=token) == again
        assert store.clear_submission("a", submission_id="s-1", reason="it knows of none").submission == Submission()

    def test_a_ticket_is_never_cleared(self, store: JobStore) -> None:
        """A saved ticket cannot be marked unknown or cleared."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)))
        for change in (store.mark_unknown, store.clear_submission):
            assert change("a", submission_id=record.submission.id, reason="late news").submission == record.submission

    def test_reports_about_another_submission(self, store: JobStore) -> None:
        """Reports about a submission that the job does not have change nothing."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        for change in (store.mark_unknown, store.clear_submission):
            assert change("a", submission_id="s-other", reason="late news") == record
