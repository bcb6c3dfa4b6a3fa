"""Tests of `settle`, and of an operator's changes of a record."""

from __future__ import annotations

import msgspec
import pytest

from tenxsom_flow_engine.errors import Action, ActionRefused, JobNotFound, LeaseLost
from tenxsom_flow_engine.jobs import JobRecord, Status, Step, Submission, SubmissionState
from tenxsom_flow_engine.jobs.outcomes import (
    ConfirmedPurchase,
    Dead,
    GiveUp,
    Held,
    Outcome,
    Resolution,
    Resubmit,
    Retry,
    Wait,
)
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.totals import EVER
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, TICKET, VIDEO, a_claim, new
from tests.contract.store_suite.shared import (
    OpenStore,
    Suite,
    accept,
    check_counts,
    everything,
    finished,
    intend,
    race,
    settle,
    take,
)


class SettlingSuite(Suite):
    """`settle`, `release_lease`, `cancel`, `retry`, `resolve`, `cancel_waiting`."""

    def test_done(self, store: JobStore, clock: ManualClock) -> None:
        """A published job has succeeded: result, end and progress are in its record, and nothing is due."""
        record = finished(store, "a", Status.SUCCEEDED)
        assert store.require("a") == record
        assert (record.result, record.finished_at, record.progress) == (VIDEO, clock.now(), 1.0)
        assert (record.lease, record.due, record.error) == (None, None, None)

    def test_several_outcomes_at_once(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Each outcome of one call is saved or refused as if it were alone, also after other processes wrote."""
        store, other = open_store(clock), open_store(clock)
        names = ["failed", "waits", "cancelled", "renewed", "taken", "released"]
        store.add(QUEUE, new(*names))
        claimed = {record.job_id: record for record in store.claim(a_claim(count=10)).records}
        other.cancel("cancelled")
        other.renew({"renewed": claimed["renewed"].lease_token}, 100.0)
        other.release_lease("taken", claimed["taken"].lease_token)
        other.release_lease("released", claimed["released"].lease_token)
        taken = take(other, only="taken")
        tokens = {name: claimed[name].lease_token for name in names}
        outcomes: list[tuple[str, str, Outcome]] = [(name, tokens[name], Dead(FAILURE)) for name in names]
        outcomes[1] = ("waits", tokens["waits"], Wait(clock.now() + 9))
        results = store.settle_each([*outcomes, ("unknown", "", Dead(FAILURE))])
        assert [type(result) for result in results] == [
            JobRecord, JobRecord, LeaseLost, JobRecord, LeaseLost, LeaseLost, JobNotFound,
        ]  # fmt: skip
        for name, result in zip(names, results, strict=False):
            assert not isinstance(result, JobRecord) or store.require(name) == other.require(name) == result
        assert [store.require(name).status for name in names] == [
            Status.FAILED, Status.QUEUED, Status.CANCELLED, Status.FAILED, Status.RUNNING, Status.QUEUED,
        ]  # fmt: skip
        assert store.require("waits").due == clock.now() + 9
        assert store.require("taken") == taken
        assert store.settle_each([]) == []
        check_counts(store)

    def test_the_totals_of_several_outcomes(self, store: JobStore) -> None:
        """The ends of jobs that are settled by one call are all counted."""
        names = [f"j{index}" for index in range(10)]
        store.add(QUEUE, new(*names))
        claimed = store.claim(a_claim(count=10)).records
        store.settle_each([(record.job_id, record.lease_token, Dead(FAILURE)) for record in claimed])
        ended = {total.name: total.amount for total in store.totals(EVER)}
        assert ended[Status.FAILED.value] == 10

    def test_outcomes_of_threads_that_share_a_handle(self, store: JobStore) -> None:
        """Each thread gets the record of its job, or its refusal, whichever calls are executed together."""
        names = [f"j{index}" for index in range(16)]
        store.add(QUEUE, new(*names))
        claimed = {record.job_id: record for record in store.claim(a_claim(count=16)).records}

        def act(index: int) -> JobRecord:
            match index % 4:
                case 0:
                    return store.settle(names[index], "the token of another lease", Dead(FAILURE))
                case 1:
                    return store.settle(f"unknown-{index}", "", Dead(FAILURE))
                case _:
                    return store.settle(names[index], claimed[names[index]].lease_token, Dead(FAILURE))

        for index, outcome in enumerate(race(16, act)):
            match index % 4:
                case 0:
                    assert isinstance(outcome, LeaseLost)
                    assert store.require(names[index]).lease == claimed[names[index]].lease
                case 1:
                    assert isinstance(outcome, JobNotFound)
                case _:
                    assert outcome == store.require(names[index])
                    assert outcome.status is Status.FAILED
        check_counts(store)

    def test_wait(self, store: JobStore, clock: ManualClock) -> None:
        """A waiting job is due again at the time that the step returned, and this is not an attempt."""
        store.add(QUEUE, new("a"))
        record = settle(store, take(store), Wait(clock.now() + 40, "the quota is used up", worked=False))
        assert (record.status, record.due, record.attempts, record.lease) == (Status.QUEUED, clock.now() + 40, 0, None)
        clock.advance(40)
        record = accept(store, intend(store, take(store)))
        record = settle(store, record, Wait(clock.now() + 5, "rendering", progress=0.5))
        assert (record.status, record.progress) == (Status.RENDERING, 0.5)

    def test_retry(self, store: JobStore, clock: ManualClock) -> None:
        """A failure counts as an attempt, keeps the reason, and makes the job due at the requested time."""
        store.add(QUEUE, new("a"))
        record = settle(store, take(store), Retry(clock.now() + 4, FAILURE))
        assert (record.status, record.attempts, record.error, record.due) == (
            Status.QUEUED, 1, FAILURE, clock.now() + 4,
        )  # fmt: skip
        clock.advance(4)
        assert settle(store, take(store), Retry(clock.now() + 8, FAILURE)).attempts == 2

    def test_dead(self, store: JobStore, clock: ManualClock) -> None:
        """A dead letter keeps the complete job and the reason."""
        record = finished(store, "a", Status.FAILED)
        assert (record.status, record.error, record.due, record.lease) == (Status.FAILED, FAILURE, None, None)
        assert (record.finished_at, record.job.topic) == (clock.now(), "Why the sea is salt")

    def test_held(self, store: JobStore) -> None:
        """A held job waits for an operator: nothing is due, its submission is unknown, its slot stays taken."""
        record = finished(store, "a", Status.HELD)
        assert (record.status, record.error, record.due, record.lease) == (Status.HELD, FAILURE, None, None)
        assert record.submission.state is SubmissionState.UNKNOWN
        assert store.in_flight(ALPHA) == 1
        assert store.claim(a_claim()).records == ()

    def test_release_lease(self, store: JobStore, clock: ManualClock) -> None:
        """A job whose lease is released is due at once, in the next delivery, and this is not an attempt."""
        store.add(QUEUE, new("a"))
        first = take(store)
        clock.advance(3)
        back = store.release_lease("a", first.lease_token)
        assert (back.status, back.due, back.attempts, back.seq) == (Status.QUEUED, clock.now(), 0, first.seq + 1)
        assert take(store).job_id == "a"

    def test_changes_of_unknown_jobs(self, store: JobStore) -> None:
        """Every change of an unknown job raises `JobNotFound`."""
        for change in (store.cancel, store.retry, lambda name: store.release_lease(name, "t")):
            with pytest.raises(JobNotFound):
                change("absent")

    def test_a_refused_change_writes_nothing(self, store: JobStore) -> None:
        """An error of `change` is raised by `update`, and the record stays unchanged."""
        store.add(QUEUE, new("a"))
        before = store.require("a")

        def refuses(record: JobRecord, now: float) -> JobRecord:
            raise ActionRefused("not today")

        with pytest.raises(ActionRefused):
            store.update("a", refuses)
        assert store.require("a") == before

    def test_racing_updates_are_all_seen(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A hundred concurrent changes over several handles are applied one after another; none is lost."""
        handles = [open_store(clock) for _ in range(4)]
        handles[0].add(QUEUE, new("a"))

        def count(record: JobRecord, now: float) -> JobRecord:
            return msgspec.structs.replace(record, seq=record.seq + 1)

        def act(index: int) -> None:
            for _ in range(10):
                handles[index % 4].update("a", count)

        assert race(10, act) == [None] * 10
        assert handles[0].require("a").seq == 100

    @pytest.mark.parametrize("stage", ["scheduled", "queued", "running", "rendering", "held"])
    def test_cancel(self, store: JobStore, clock: ManualClock, stage: str) -> None:
        """Every job that is not final can be cancelled, and then no worker gets it."""
        store.add(QUEUE, new("a", due=clock.now() + 10 if stage == "scheduled" else None))
        if stage in ("running", "rendering", "held"):
            record = take(store)
            if stage != "running":
                record = intend(store, record)
            if stage == "rendering":
                accept(store, record)
            if stage == "held":
                settle(store, record, Held(FAILURE))
        record = store.cancel("a")
        assert (record.status, record.due, record.lease, record.finished_at) == (
            Status.CANCELLED, None, None, clock.now(),
        )  # fmt: skip
        clock.advance(100)
        assert store.claim(a_claim()).records == ()
        check_counts(store)

    @pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
    def test_final_jobs_cannot_be_cancelled(self, store: JobStore, status: Status) -> None:
        """A final job stays unchanged."""
        before = finished(store, "a", status)
        with pytest.raises(ActionRefused):
            store.cancel("a")
        assert store.require("a") == before

    @pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
    def test_retry_of_an_ended_job(self, store: JobStore, status: Status) -> None:
        """A failed or cancelled job can be retried, with its full number of attempts."""
        before = finished(store, "a", status)
        record = store.retry("a")
        assert (record.status, record.attempts, record.expiries, record.error, record.finished_at) == (
            Status.QUEUED, 0, 0, None, None,
        )  # fmt: skip
        assert record.seq > before.seq
        assert take(store).step is Step.SUBMIT
        check_counts(store)

    def test_a_retry_continues_with_the_ticket(self, store: JobStore) -> None:
        """A retry never submits a job with a ticket again: it polls."""
        store.add(QUEUE, new("a"))
        settle(store, accept(store, intend(store, take(store))), Dead(FAILURE))
        assert store.retry("a").status is Status.RENDERING
        record = take(store)
        assert (record.step, record.submission.ticket) == (Step.POLL, TICKET)

    def test_a_retry_after_a_failed_generation_buys_again(self, store: JobStore) -> None:
        """A retry submits again only if the service reported that the generation failed."""
        store.add(QUEUE, new("a"))
        settle(store, accept(store, intend(store, take(store))), Dead(FAILURE, generation_failed=True))
        store.retry("a")
        record = take(store)
        assert (record.step, record.submission, record.service) == (Step.SUBMIT, Submission(), "")

    def test_a_retry_of_an_interrupted_create_looks_it_up(self, store: JobStore) -> None:
        """A retry of a job that ended during its create never buys: it looks up first."""
        store.add(QUEUE, new("a"))
        intend(store, take(store))
        store.cancel("a")
        store.retry("a")
        assert take(store).step is Step.LOOKUP

    @pytest.mark.parametrize(
        ("decision", "step", "in_flight"),
        [(Resubmit(), Step.SUBMIT, 0), (ConfirmedPurchase(TICKET, 50.0), Step.POLL, 1)],
    )
    def test_resolve(
        self, store: JobStore, clock: ManualClock, decision: Resolution, step: Step, in_flight: int
    ) -> None:
        """A resolution puts a held job into the queue again: to submit again, or to continue with its ticket."""
        before = finished(store, "a", Status.HELD)
        with pytest.raises(ActionRefused, match="it is unknown whether") as refusal:
            store.retry("a")
        assert (Action.RESUBMIT in refusal.value.actions, refusal.value.subject) == (True, "a")
        record = store.resolve("a", decision)
        assert record.seq > before.seq
        assert store.in_flight(ALPHA) == in_flight
        check_counts(store)
        assert take(store).step is step

    def test_resolve_by_giving_up(self, store: JobStore) -> None:
        """A held job that is given up has failed; an operator can still enter its ticket later."""
        finished(store, "a", Status.HELD)
        record = store.resolve("a", GiveUp())
        assert (record.status, record.due) == (Status.FAILED, None)
        check_counts(store)
        assert store.claim(a_claim()).records == ()
        assert store.resolve("a", ConfirmedPurchase(TICKET, 50.0)).status is Status.RENDERING
        assert take(store).step is Step.POLL

    @pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
    def test_nothing_to_resolve(self, store: JobStore, status: Status) -> None:
        """If nothing is unknown, there is nothing to resolve, and nothing changes."""
        before = finished(store, "a", status)
        for decision in (Resubmit(), ConfirmedPurchase(TICKET, 50.0), GiveUp()):
            with pytest.raises(ActionRefused):
                store.resolve("a", decision)
        assert store.require("a") == before

    @pytest.mark.parametrize("stage", ["scheduled", "queued", "running", "rendering", "held", "succeeded"])
    def test_jobs_that_cannot_be_retried(self, store: JobStore, clock: ManualClock, stage: str) -> None:
        """A job that continues without help, is held or has succeeded cannot be retried."""
        if stage in ("held", "succeeded"):
            finished(store, "a", Status(stage))
        else:
            store.add(QUEUE, new("a", due=clock.now() + 10 if stage == "scheduled" else None))
            if stage in ("running", "rendering"):
                record = intend(store, take(store))
                if stage == "rendering":
                    accept(store, record)
        before = store.require("a")
        with pytest.raises(ActionRefused):
            store.retry("a")
        assert store.require("a") == before

    def test_cancel_waiting(self, store: JobStore, clock: ManualClock) -> None:
        """A purge cancels waiting jobs of its queue that certainly bought nothing, and no others."""
        store.add(QUEUE, new("leased", "ticket", "unknown", "held"))
        take(store, only="leased")
        settle(store, accept(store, intend(store, take(store, only="ticket"))), Wait(clock.now(), "rendering"))
        settle(store, intend(store, take(store, only="unknown")), Retry(clock.now(), FAILURE))
        settle(store, intend(store, take(store, only="held")), Held(FAILURE))
        store.add("other", new("elsewhere"))
        store.add(QUEUE, [*new("q1", "q2"), *new("later", due=clock.now() + 99), *new("b", service=BETA)])
        assert store.cancel_waiting(QUEUE, 3) == 3
        assert store.cancel_waiting(QUEUE, 3) == 1
        assert store.cancel_waiting(QUEUE, 3) == 0
        cancelled = {record.job_id for record in everything(store, JobFilter(statuses=[Status.CANCELLED]))}
        assert cancelled == {"q1", "q2", "later", "b"}
        check_counts(store)
