"""The submission journal: intent, ticket, unknown outcome, withdrawal."""

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
        """The intent keeps the submission's id, service, time and deadline, and takes the slot."""
        store.add(QUEUE, new("a", service=AUTO))
        record = intend(store, take(store), service=BETA, submission_id="s-1", lifetime=70.0)
        submission = record.submission
        assert (submission.state, submission.id, submission.ticket) == (SubmissionState.INTENT, "s-1", None)
        assert (submission.intended_at, submission.deadline) == (clock.now(), clock.now() + 70.0)
        assert (record.service, record.status) == (BETA, Status.RUNNING)
        assert store.require("a") == record
        assert store.in_flight(BETA) == 1

    def test_another_submission_is_refused(self, store: JobStore) -> None:
        """While a submission is not proved to have bought nothing, no other may begin."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-1")
        with pytest.raises(ActionRefused):
            intend(store, record, submission_id="s-2")
        assert store.require("a") == record

    def test_no_intent_once_there_is_a_ticket(self, store: JobStore) -> None:
        """Once a ticket exists only reads follow: not even the same submission may be intended again."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)))
        with pytest.raises(ActionRefused):
            intend(store, record, submission_id=record.submission.id)
        assert store.require("a").submission.ticket == TICKET

    def test_the_ticket_and_its_cost(self, store: JobStore, clock: ManualClock) -> None:
        """An accepted create keeps its ticket, its deadline and what it cost."""
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
        """The ticket is saved by its submission, also when another worker holds the lease, who keeps it."""
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
        """A ticket that arrives while another worker looks the create up makes the job due when that step ends."""
        store.add(QUEUE, new("a"))
        late = intend(store, take(store, worker="w-late"))
        clock.advance(31)
        owner = take(store, worker="w-2")
        accept(store, late)
        at = clock.now() + 90
        after = settle(store, owner, Wait(at, "it may be under way") if outcome == "wait" else Retry(at, FAILURE))
        assert (after.step, after.due) == (Step.POLL, clock.now())
        # The next step may ask for a later time.
        after = settle(store, take(store), Wait(clock.now() + 10, "rendering"))
        assert after.due == clock.now() + 10

    def test_a_late_refusal_during_a_look_up(self, store: JobStore, clock: ManualClock) -> None:
        """Proof of no purchase that arrives during a look-up makes the job due when that step ends."""
        store.add(QUEUE, new("a"))
        late = intend(store, take(store, worker="w-late"))
        clock.advance(31)
        owner = take(store, worker="w-2")
        store.clear_submission("a", submission_id=late.submission.id, reason="refused", token=late.lease_token)
        after = settle(store, owner, Wait(clock.now() + 90, "it may be under way", worked=False))
        assert (after.step, after.due) == (Step.SUBMIT, clock.now())

    def test_a_waiting_job_goes_on_with_its_late_ticket(self, store: JobStore, clock: ManualClock) -> None:
        """A job that waits to learn what came of its create is due at once when the ticket comes."""
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
        """A job that was cancelled or failed while its create was under way stays so, with its ticket and cost."""
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

    def test_a_held_job_goes_on_with_its_ticket(self, store: JobStore, clock: ManualClock) -> None:
        """When the ticket of a held job comes after all, the job is due at once."""
        record = finished(store, "a", Status.HELD)
        after = accept(store, record)
        assert (after.status, after.due, after.error) == (Status.RENDERING, clock.now(), None)
        assert take(store).step is Step.POLL

    def test_a_waiting_job_takes_its_ticket(self, store: JobStore, clock: ManualClock) -> None:
        """A job that waits to look its create up polls instead, once the ticket is there."""
        store.add(QUEUE, new("a"))
        record = settle(store, intend(store, take(store)), Retry(clock.now() + 20, FAILURE))
        assert accept(store, record).status is Status.RENDERING
        clock.advance(20)
        assert take(store).step is Step.POLL

    def test_the_late_ticket_of_an_older_submission_is_noted(self, store: JobStore) -> None:
        """A ticket of a submission that the job has left behind changes nothing but its timeline."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-old")
        store.clear_submission("a", submission_id="s-old", reason="refused")
        record = accept(store, intend(store, record, submission_id="s-new"))
        after = store.accept("a", Receipt(submission_id="s-old", ticket=Ticket("t-late"), lifetime=50.0))
        assert after.submission == record.submission
        assert after.status is record.status
        assert any("t-late" in event.detail for event in after.events)

    def test_a_late_ticket_is_taken_where_nothing_else_was_bought(self, store: JobStore) -> None:
        """A job of which nothing counts as bought takes the ticket of its earlier submission, and goes on from it."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-old")
        store.clear_submission("a", submission_id="s-old", reason="refused")
        settle(store, record, Wait(0.0, "refused"))
        after = store.accept("a", Receipt(submission_id="s-old", ticket=Ticket("t-late"), lifetime=50.0, service=ALPHA))
        assert (after.status, after.step, after.service) == (Status.RENDERING, Step.POLL, ALPHA)
        assert after.submission.ticket == Ticket("t-late")
        assert store.in_flight(ALPHA) == 1
        assert take(store).step is Step.POLL

    def test_doubt(self, store: JobStore) -> None:
        """A create whose outcome is not known is unknown and keeps its slot; the next step looks it up."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        after = store.mark_unknown("a", submission_id=record.submission.id, reason="time-out")
        assert (after.submission.state, after.step) == (SubmissionState.UNKNOWN, Step.LOOKUP)
        assert store.in_flight(ALPHA) == 1

    def test_withdraw(self, store: JobStore) -> None:
        """A submission that proved to have bought nothing is none; the next step submits anew."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        after = store.clear_submission("a", submission_id=record.submission.id, reason="refused")
        assert (after.submission, after.step) == (Submission(), Step.SUBMIT)
        assert intend(store, after, submission_id="s-2").submission.id == "s-2"

    def test_one_refusal_says_nothing_of_a_repeat(self, store: JobStore, clock: ManualClock) -> None:
        """The proof that one create bought nothing withdraws no submission that was sent again, or by somebody else."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store), submission_id="s-1")
        token = record.lease_token
        assert store.clear_submission("a", submission_id="s-1", reason="refused", token="another's") == record
        clock.advance(5)
        again = intend(store, record, submission_id="s-1")
        assert store.clear_submission("a", submission_id="s-1", reason="refused", token=token) == again
        assert store.clear_submission("a", submission_id="s-1", reason="it knows of none").submission == Submission()

    def test_a_ticket_cannot_be_doubted_or_withdrawn(self, store: JobStore) -> None:
        """Once a ticket is saved nothing takes it away."""
        store.add(QUEUE, new("a"))
        record = accept(store, intend(store, take(store)))
        for change in (store.mark_unknown, store.clear_submission):
            assert change("a", submission_id=record.submission.id, reason="late news").submission == record.submission

    def test_news_of_another_submission(self, store: JobStore) -> None:
        """Doubt and withdrawal of a submission that the job does not have change nothing."""
        store.add(QUEUE, new("a"))
        record = intend(store, take(store))
        for change in (store.mark_unknown, store.clear_submission):
            assert change("a", submission_id="s-other", reason="late news") == record
