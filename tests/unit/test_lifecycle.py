"""The state machine: the effect of each change in each situation, as a table."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tenxsom_flow_engine.errors import Action, ActionRefused, LeaseLost, StartMissed
from tenxsom_flow_engine.jobs import (
    FINAL,
    TRANSITIONS,
    Cost,
    Failure,
    JobRecord,
    Lease,
    Purchase,
    Status,
    Step,
    Submission,
    SubmissionState,
    Ticket,
    lifecycle,
)
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.jobs.lifecycle import FIRST_EVENTS, LAST_EVENTS, MAX_EXPIRIES
from tenxsom_flow_engine.jobs.outcomes import (
    ConfirmedPurchase,
    Dead,
    Done,
    Expired,
    GiveUp,
    Held,
    Resubmit,
    Retry,
    Terms,
    Times,
    Wait,
    Withdraw,
)
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.testing.samples import ALPHA, FAILURE, TICKET, VIDEO, a_job

NOW = 1000.0
LEASE = Lease(token="mine", worker="w-1", until=NOW + 30)
NONE, INTENT, ACCEPTED, UNKNOWN = SubmissionState

QUEUED = lifecycle.add(a_job(), queue="q", nonce="n", now=NOW, due=NOW)


def a_record(status: Status, state: SubmissionState = NONE, *, leased: bool = False, over: bool = False) -> JobRecord:
    """Return a record in a situation, made by the changes that lead to it."""
    submission = Submission() if state is NONE else Submission(
        state=state, id="s-1", intended_at=NOW - 10, deadline=NOW + 100, over=over,
        ticket=TICKET if state is ACCEPTED else None,
    )  # fmt: skip
    final = status in FINAL
    return msgspec.structs.replace(
        QUEUED, status=status, submission=submission, service="" if state is NONE else ALPHA,
        lease=LEASE if leased else None, due=None if leased or final or status is Status.HELD else NOW,
        finished_at=NOW if final else None, result=VIDEO if status is Status.SUCCEEDED else None,
        error=FAILURE if status in (Status.FAILED, Status.HELD) else None,
    )  # fmt: skip


def by_hand(record: JobRecord) -> JobRecord:
    """Return a record whose ticket was entered by a person, and booked."""
    submission = msgspec.structs.replace(record.submission, by_hand=True)
    purchase = Purchase("s-1", ALPHA, NOW - 5, Cost(usd=0.14), by_hand=True)
    return msgspec.structs.replace(record, submission=submission, purchases=(purchase,), cost=Cost(usd=0.14))


SITUATIONS: dict[str, JobRecord] = {
    "scheduled": lifecycle.add(a_job(), queue="q", nonce="n", now=NOW, due=NOW + 60),
    "queued": a_record(Status.QUEUED),
    "in-doubt": a_record(Status.QUEUED, UNKNOWN),
    "running": a_record(Status.RUNNING, leased=True),
    "submitting": a_record(Status.RUNNING, INTENT, leased=True),
    "looking-up": a_record(Status.RUNNING, UNKNOWN, leased=True),
    "rendering": a_record(Status.RENDERING, ACCEPTED),
    "polling": a_record(Status.RENDERING, ACCEPTED, leased=True),
    "fetching": a_record(Status.RENDERING, ACCEPTED, leased=True, over=True),
    "rendering-by-hand": by_hand(a_record(Status.RENDERING, ACCEPTED)),
    "polling-by-hand": by_hand(a_record(Status.RENDERING, ACCEPTED, leased=True)),
    "retried-by-hand": msgspec.structs.replace(by_hand(a_record(Status.QUEUED)), submission=Submission()),
    "held": a_record(Status.HELD, UNKNOWN),
    "held-planned": msgspec.structs.replace(a_record(Status.HELD, UNKNOWN), planned=NOW + 60),
    "succeeded": a_record(Status.SUCCEEDED, ACCEPTED, over=True),
    "succeeded-by-hand": by_hand(a_record(Status.SUCCEEDED, ACCEPTED, over=True)),
    "failed-by-hand": by_hand(a_record(Status.FAILED, ACCEPTED)),
    "failed": a_record(Status.FAILED),
    "failed-paid": a_record(Status.FAILED, ACCEPTED),
    "failed-doubt": a_record(Status.FAILED, UNKNOWN),
    "cancelled": a_record(Status.CANCELLED),
    "cancelled-paid": a_record(Status.CANCELLED, ACCEPTED),
    "cancelled-doubt": a_record(Status.CANCELLED, INTENT),
    "cancelled-unknown": a_record(Status.CANCELLED, UNKNOWN),
}

CHANGES: dict[str, Callable[[JobRecord], JobRecord]] = {
    "take": lambda r: lifecycle.take(r, Lease("new", "w-2", NOW + 30), NOW),
    "renew": lambda r: lifecycle.renew(r, "mine", NOW + 60),
    "done": lambda r: lifecycle.settle(r, "mine", Done(VIDEO), NOW),
    "wait": lambda r: lifecycle.settle(r, "mine", Wait(NOW + 5, "why"), NOW),
    "retry": lambda r: lifecycle.settle(r, "mine", Retry(NOW + 5, FAILURE), NOW),
    "dead": lambda r: lifecycle.settle(r, "mine", Dead(FAILURE), NOW),
    "hold": lambda r: lifecycle.settle(r, "mine", Held(FAILURE), NOW),
    "wrong-ticket": lambda r: lifecycle.settle(r, "mine", Held(FAILURE, wrong_ticket=True), NOW),
    "back": lambda r: lifecycle.release_lease(r, "mine", NOW),
    "expire": lambda r: lifecycle.expire(r, NOW + 30),
    "intend": lambda r: lifecycle.intend(r, "mine", NOW, Intent(submission_id="s-1", service=ALPHA, lifetime=100)),
    "accept": lambda r: lifecycle.accept(r, NOW, Receipt(submission_id="s-1", ticket=TICKET, lifetime=200)),
    "mark_unknown": lambda r: lifecycle.mark_unknown(r, NOW, submission_id="s-1", reason="time-out"),
    "clear_submission": lambda r: lifecycle.clear_submission(r, NOW, submission_id="s-1", reason="refused"),
    "cancel": lambda r: lifecycle.cancel(r, NOW),
    "retry-by-hand": lambda r: lifecycle.retry(r, NOW),
    "resubmit": lambda r: lifecycle.resolve(r, NOW, Resubmit()),
    "bought": lambda r: lifecycle.resolve(r, NOW, ConfirmedPurchase(TICKET, 200.0)),
    "give-up": lambda r: lifecycle.resolve(r, NOW, GiveUp()),
    "withdraw": lambda r: lifecycle.resolve(r, NOW, Withdraw()),
    "edit": lambda r: lifecycle.edit(r, NOW, Terms(r.job, detail="changed topic")),
    "reschedule": lambda r: lifecycle.reschedule(r, NOW, Times(NOW + 90)),
    "run-now": lambda r: lifecycle.run_now(r, NOW),
}

# The resulting status. `lost`: LeaseLost. `no`: ActionRefused. `=`: unchanged.
TABLE = """
                  take    renew done      wait   retry  dead   hold   wrong-ticket back   expire intend accept    mark_unknown clear_submission cancel    retry-by-hand resubmit  bought    give-up withdraw edit reschedule run-now
scheduled         running lost  lost      lost   lost   lost   lost   lost         lost   no     lost   rendering =            =                cancelled no            no        no        no      no       =    =          queued
queued            running lost  lost      lost   lost   lost   lost   lost         lost   no     lost   rendering =            =                cancelled no            no        no        no      no       =    scheduled  =
in-doubt          running lost  lost      lost   lost   lost   lost   lost         lost   no     lost   rendering =            =                cancelled no            =         rendering no      no       no   no         no
running           no      =     no        queued queued failed queued queued       queued queued =      rendering =            =                cancelled no            no        no        no      no       no   no         no
submitting        no      =     no        queued queued failed held   held         queued queued =      rendering =            =                cancelled no            no        no        no      no       no   no         no
looking-up        no      =     no        queued queued failed held   held         queued queued =      rendering =            =                cancelled no            no        no        no      no       no   no         no
rendering         =       lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                cancelled no            no        no        no      no       no   no         no
polling           no      =     succeeded =      =      failed =      =            =      =      no     =         =            =                cancelled no            no        no        no      no       no   no         no
fetching          no      =     succeeded =      =      failed =      =            =      =      no     =         =            =                cancelled no            no        no        no      no       no   no         no
rendering-by-hand =       lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                cancelled no            queued    =         no      no       no   no         no
polling-by-hand   no      =     succeeded =      =      failed =      held         =      =      no     =         =            =                cancelled no            no        no        no      no       no   no         no
retried-by-hand   running lost  lost      lost   lost   lost   lost   lost         lost   no     lost   rendering =            =                cancelled no            no        no        no      =        =    scheduled  =
held              no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   rendering =            queued           cancelled no            queued    rendering failed  no       no   no         no
held-planned      no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   rendering =            scheduled        cancelled no            scheduled rendering failed  no       no   no         no
succeeded         no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                no        no            no        no        no      no       no   no         no
succeeded-by-hand no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                no        no            no        no        no      no       no   no         no
failed-by-hand    no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                no        rendering     queued    rendering no      no       no   no         no
failed            no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                no        queued        no        no        no      no       =    scheduled  no
failed-paid       no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                no        rendering     no        no        no      no       no   no         no
failed-doubt      no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                no        no            queued    rendering no      no       no   no         no
cancelled         no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                no        queued        no        no        no      no       =    scheduled  no
cancelled-paid    no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                no        rendering     no        no        no      no       no   no         no
cancelled-doubt   no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                no        queued        no        no        no      no       no   no         no
cancelled-unknown no      lost  lost      lost   lost   lost   lost   lost         lost   no     lost   =         =            =                no        no            queued    rendering no      no       no   no         no
"""  # noqa: E501

_HEAD, *_ROWS = [line.split() for line in TABLE.strip().splitlines()]
PAIRS = [
    (situation, change, expected)
    for situation, *cells in _ROWS
    for change, expected in zip(_HEAD, cells, strict=True)
]  # fmt: skip


def test_the_table_is_whole() -> None:
    """Every change is tested in every situation, and the situations cover every status."""
    assert list(CHANGES) == _HEAD
    assert [row[0] for row in _ROWS] == list(SITUATIONS)
    assert {record.status for record in SITUATIONS.values()} == set(Status)


@pytest.mark.parametrize(("situation", "change", "expected"), PAIRS)
def test_every_change_in_every_situation(situation: str, change: str, expected: str) -> None:
    """Each change leads to the status in the table, or is refused."""
    record = SITUATIONS[situation]
    if expected in ("lost", "no"):
        with pytest.raises(LeaseLost if expected == "lost" else ActionRefused):
            CHANGES[change](record)
        return
    after = CHANGES[change](record)
    assert after.status is (record.status if expected == "=" else Status(expected))
    # The record stays consistent in every case.
    assert (after.due is not None, after.lease is not None).count(True) == (
        0 if after.status in FINAL | {Status.HELD} else 1
    )
    assert (after.finished_at is not None) is (after.status in FINAL)
    assert (after.job, after.nonce, after.queue, after.added_at) == (record.job, "n", "q", record.added_at)
    if record.submission.ticket is not None and change != "resubmit" and after.status is not Status.HELD:
        assert after.submission.ticket == record.submission.ticket
    # A new delivery has a new number, so that outdated deliveries are recognised.
    handed_on = (record.lease is not None and after.lease is None) or change in (
        "cancel", "retry-by-hand", "resubmit", "bought", "give-up", "reschedule"
    ) or (change == "edit" and record.due is not None) or (change == "run-now" and expected != "=") or (
        change == "accept" and situation == "scheduled"
    )  # fmt: skip
    assert after.seq == record.seq + handed_on


def test_only_the_drawn_transitions_happen() -> None:
    """The changes of the table make exactly the transitions in `TRANSITIONS`."""
    made = {
        (SITUATIONS[situation].status, Status(expected))
        for situation, _, expected in PAIRS
        if expected not in ("lost", "no", "=")
    }
    drawn = {(before, after) for before, afters in TRANSITIONS.items() for after in afters}
    assert made == drawn


@pytest.mark.parametrize("change", ["renew", "done", "wait", "retry", "dead", "hold", "back", "intend"])
def test_another_owners_job(change: str) -> None:
    """A worker cannot change a job that is leased to another worker."""
    record = msgspec.structs.replace(SITUATIONS["polling"], lease=Lease("theirs", "w-2", NOW + 30))
    with pytest.raises(LeaseLost):
        CHANGES[change](record)


def test_a_lease_that_has_not_run_out() -> None:
    """A lease cannot be expired before its time."""
    with pytest.raises(ActionRefused):
        lifecycle.expire(SITUATIONS["running"], NOW + 29.9)


def test_expiry_is_counted_to_its_end() -> None:
    """The tenth consecutive expired lease fails the job with a next step."""
    record = msgspec.structs.replace(SITUATIONS["polling"], expiries=MAX_EXPIRIES - 2)
    record = lifecycle.expire(record, NOW + 30)
    assert (record.status, record.expiries) == (Status.RENDERING, MAX_EXPIRIES - 1)
    record = lifecycle.expire(msgspec.structs.replace(record, lease=LEASE, due=None), NOW + 30)
    assert (record.status, record.expiries, record.submission.ticket) == (Status.FAILED, MAX_EXPIRIES, TICKET)
    assert record.error is not None
    assert record.error.actions == (Action.RETRY,)
    assert "log" in record.error.next_step


def test_a_step_that_worked_resets_failures() -> None:
    """A step that did its work resets failures and expiries; a wait without work resets nothing."""
    record = msgspec.structs.replace(SITUATIONS["polling"], attempts=3, expiries=2, error=FAILURE)
    worked = lifecycle.settle(record, "mine", Wait(NOW + 5, "rendering", progress=0.3), NOW)
    assert (worked.attempts, worked.expiries, worked.error, worked.progress) == (0, 0, None, 0.3)
    idle = lifecycle.settle(record, "mine", Wait(NOW + 5, "closed", worked=False), NOW)
    assert (idle.attempts, idle.expiries, idle.error) == (3, 2, FAILURE)


def test_a_fault_counts() -> None:
    """A failure adds an attempt and keeps the reason; releasing a lease adds none."""
    after = lifecycle.settle(SITUATIONS["running"], "mine", Retry(NOW + 9, FAILURE), NOW)
    assert (after.attempts, after.error, after.due) == (1, FAILURE, NOW + 9)
    assert lifecycle.release_lease(SITUATIONS["running"], "mine", NOW).attempts == 0


def test_rendered_means_over() -> None:
    """When the service has finished, the generation holds no slot and the next step is a fetch."""
    after = lifecycle.settle(SITUATIONS["polling"], "mine", Wait(NOW, "rendered", rendered=True), NOW)
    assert (after.submission.over, after.submission.failed, after.holds_slot) == (True, False, False)


@pytest.mark.parametrize("state", [INTENT, UNKNOWN])
def test_another_submission_is_refused(state: SubmissionState) -> None:
    """While a submission might have bought something, no second one can begin."""
    record = a_record(Status.RUNNING, state, leased=True)
    with pytest.raises(ActionRefused):
        lifecycle.intend(record, "mine", NOW, Intent(submission_id="s-2", service=ALPHA, lifetime=1))


def test_a_repeated_intent() -> None:
    """Journaling the same submission again renews its intent and deadline."""
    record = lifecycle.intend(SITUATIONS["looking-up"], "mine", NOW, Intent(submission_id="s-1", service=ALPHA,
                              lifetime=500))  # fmt: skip
    assert (record.submission.state, record.submission.id, record.submission.deadline) == (INTENT, "s-1", NOW + 500)


@pytest.mark.parametrize("situation", ["submitting", "held", "failed-doubt", "cancelled-doubt", "in-doubt"])
def test_a_ticket_is_saved_in_any_status(situation: str) -> None:
    """A ticket, its deadline and its cost are saved in every status of the job."""
    cost = Cost(usd=0.5, estimated=False)
    after = lifecycle.accept(
        SITUATIONS[situation], NOW, Receipt(submission_id="s-1", ticket=TICKET, lifetime=200, cost=cost)
    )
    assert (after.submission.state, after.submission.ticket, after.submission.deadline, after.cost) == (
        ACCEPTED, TICKET, NOW + 200, cost,
    )  # fmt: skip


def test_a_ticket_of_another_submission_is_noted() -> None:
    """A ticket of a submission that the job has left appears in the timeline and changes nothing else."""
    record = SITUATIONS["polling"]
    after = lifecycle.accept(record, NOW, Receipt(submission_id="s-0", ticket=Ticket("t-0"), lifetime=9))
    assert after.submission == record.submission
    assert "t-0" in after.events[-1].detail
    assert "s-0" in after.events[-1].detail


def test_a_second_ticket_of_one_submission_does_not_replace_the_first() -> None:
    """The first ticket of a submission is kept."""
    record = SITUATIONS["polling"]
    assert lifecycle.accept(record, NOW, Receipt(submission_id="s-1", ticket=Ticket("other"), lifetime=1)) == record


def test_retry_by_hand() -> None:
    """A retry resets the attempts; it only buys again after a failed generation."""
    failed = lifecycle.settle(SITUATIONS["polling"], "mine", Dead(FAILURE, generation_failed=True), NOW)
    after = lifecycle.retry(msgspec.structs.replace(failed, attempts=5, expiries=9), NOW + 1)
    assert (after.status, after.submission, after.service) == (Status.QUEUED, Submission(), "")
    assert (after.attempts, after.expiries, after.error, after.finished_at, after.due) == (0, 0, None, None, NOW + 1)
    paid = lifecycle.retry(SITUATIONS["failed-paid"], NOW + 1)
    assert (paid.submission, paid.service) == (SITUATIONS["failed-paid"].submission, ALPHA)


@pytest.mark.parametrize("situation", ["held", "failed-doubt", "cancelled-unknown"])
def test_a_job_of_unknown_outcome_is_not_retried_blindly(situation: str) -> None:
    """Retrying a job that might be paid is refused with the actions that resolve it, and each of these works."""
    record = SITUATIONS[situation]
    with pytest.raises(ActionRefused) as refusal:
        lifecycle.retry(record, NOW)
    assert refusal.value.subject == "job-1"
    decisions = {Action.RESUBMIT: "resubmit", Action.CONFIRM_PURCHASE: "bought", Action.GIVE_UP: "give-up"}
    for action, decision in decisions.items():
        if action in refusal.value.actions:
            CHANGES[decision](record)
        else:
            assert (action, record.status in FINAL) == (Action.GIVE_UP, True)


def test_resolving_by_hand() -> None:
    """Resubmitting reopens the choice of a service; confirming leads to reads only. Both reset the attempts."""
    held = msgspec.structs.replace(SITUATIONS["held"], attempts=5, expiries=9, progress=0.5)
    anew = lifecycle.resolve(held, NOW + 1, Resubmit())
    assert (anew.submission, anew.service, anew.step) == (Submission(), "", Step.SUBMIT)
    bought = lifecycle.resolve(held, NOW + 1, ConfirmedPurchase(TICKET, 200.0))
    assert (bought.submission.state, bought.submission.ticket, bought.submission.id) == (ACCEPTED, TICKET, "s-1")
    assert (bought.submission.deadline, bought.service, bought.step) == (NOW + 201, ALPHA, Step.POLL)
    for record in (anew, bought):
        assert (record.attempts, record.expiries, record.error, record.due) == (0, 0, None, NOW + 1)


LATER = NOW + 90
#: Step, report of a late worker during it, and when the job is due although the step asked for a later time.
REPORTED: list[tuple[str, str, str, float]] = [
    ("in-doubt", "nothing", "wait", LATER),
    ("in-doubt", "accept", "wait", NOW),
    ("in-doubt", "accept", "retry", NOW),
    ("in-doubt", "clear_submission", "wait", NOW),
    ("in-doubt", "clear_submission", "retry", NOW),
    ("queued", "nothing", "wait", LATER),
    ("queued", "accept", "wait", NOW),
    ("queued", "clear_submission", "wait", LATER),
    ("rendering", "nothing", "wait", LATER),
    ("rendering", "accept", "wait", LATER),
    ("rendering", "accept", "retry", LATER),
]


@pytest.mark.parametrize(("situation", "reported", "outcome", "due"), REPORTED)
def test_a_create_whose_outcome_becomes_known_during_a_step(
    situation: str, reported: str, outcome: str, due: float
) -> None:
    """A ticket or a refusal that is saved during another worker's lookup makes the job due when that step ends."""
    record = lifecycle.take(SITUATIONS[situation], LEASE, NOW)
    if reported != "nothing":
        record = CHANGES[reported](record)
    after = lifecycle.settle(record, "mine", Wait(LATER, "w") if outcome == "wait" else Retry(LATER, FAILURE), NOW)
    assert (after.due, after.lease) == (due, None)


@pytest.mark.parametrize("due", [NOW - 1, LATER])
def test_a_workers_own_ticket_leaves_the_due_time_to_its_step(due: float) -> None:
    """A step that bought the video itself determines when the next step is due."""
    record = CHANGES["accept"](CHANGES["intend"](lifecycle.take(QUEUED, LEASE, NOW)))
    assert lifecycle.settle(record, "mine", Wait(due, "submitted"), NOW).due == due


@pytest.mark.parametrize("first", ["the look-up", "the refusal"])
def test_a_late_refusal_lets_a_held_job_go_on(first: str) -> None:
    """If a slow worker's create is refused after another worker gave up its lookup, the job is not held."""
    if first == "the refusal":
        record = CHANGES["hold"](CHANGES["clear_submission"](SITUATIONS["looking-up"]))
    else:
        record = CHANGES["clear_submission"](CHANGES["hold"](SITUATIONS["looking-up"]))
    assert (record.status, record.submission, record.due, record.step) == (
        Status.QUEUED, Submission(), NOW, Step.SUBMIT
    )  # fmt: skip
    assert record.error is None


def test_giving_up_keeps_the_question_of_payment() -> None:
    """A job that was given up keeps the information that it might have been paid, and the ways to resolve it."""
    record = lifecycle.resolve(SITUATIONS["held"], NOW, GiveUp())
    assert record.error is not None
    assert "it was never determined whether alpha charged for s-1" in record.error.message
    assert record.error.actions == (Action.RESUBMIT, Action.CONFIRM_PURCHASE)
    assert lifecycle.resolve(record, NOW + 1, ConfirmedPurchase(TICKET, 9.0)).status is Status.RENDERING


def test_a_job_is_not_resolved_under_its_worker() -> None:
    """While a worker looks up a paid create, it cannot be resolved by hand."""
    with pytest.raises(ActionRefused, match="a worker is asking the service about"):
        lifecycle.resolve(SITUATIONS["looking-up"], NOW, Resubmit())


def test_with_nothing_bought_the_choice_of_a_service_is_open() -> None:
    """After the proof that nothing was bought, another service can make the job."""
    assert CHANGES["clear_submission"](SITUATIONS["submitting"]).service == ""


def test_the_same_line_counts_up() -> None:
    """A repeated event is one line of the timeline with a count."""
    record = SITUATIONS["polling"]
    lines = len(record.events)
    for number in range(5):
        record = lifecycle.settle(record, "mine", Wait(NOW, "rendering"), NOW + number)
        record = lifecycle.take(record, LEASE, NOW + number)
    assert len(record.events) == lines + 1
    assert (record.events[-1].times, record.events[-1].at, record.events[-1].last_at) == (5, NOW, NOW + 4)


def test_a_timeline_names_workers() -> None:
    """Creates, failures and publications record the worker; polls do not."""
    record = lifecycle.intend(
        SITUATIONS["running"], "mine", NOW, Intent(submission_id="s-1", service=ALPHA, lifetime=1)
    )
    record = lifecycle.settle(record, "mine", Retry(NOW, FAILURE), NOW)
    record = lifecycle.take(record, Lease(token="other", worker="w-2", until=NOW + 30), NOW)
    record = lifecycle.settle(record, "other", Retry(NOW, FAILURE), NOW)
    done = lifecycle.settle(SITUATIONS["fetching"], "mine", Done(VIDEO), NOW)
    polled = lifecycle.settle(SITUATIONS["polling"], "mine", Wait(NOW, "rendering"), NOW)
    lines = [(event.what, event.times, event.worker) for event in (*record.events, done.events[-1], polled.events[-1])]
    assert lines[1:] == [("submitting", 1, "w-1"), ("fault", 2, "w-2"), ("published", 1, "w-1"), ("waiting", 1, "")]


def test_a_timeline_is_bounded() -> None:
    """A long timeline keeps its first and its latest lines."""
    record = SITUATIONS["running"]
    for number in range(500):
        record = lifecycle.settle(record, "mine", Retry(NOW, Failure("c", f"fault {number}")), NOW + number)
        record = lifecycle.take(record, LEASE, NOW)
    assert len(record.events) == FIRST_EVENTS + LAST_EVENTS
    assert record.events[0].what == "added"
    assert record.events[-1].detail == "fault 499"


START_BY = NOW + 10
#: The situations of jobs that wait or run, and have certainly bought nothing.
UNBOUGHT = ("scheduled", "queued", "running")


def with_start(situation: str) -> JobRecord:
    """Return a record in a situation, with a latest start."""
    return msgspec.structs.replace(SITUATIONS[situation], start_by=START_BY)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_only_a_waiting_job_without_a_purchase_expires(situation: str) -> None:
    """After its latest start, a waiting job that certainly bought nothing ends; any other is refused."""
    record = with_start(situation)
    assert record.expires_at == (START_BY if situation in UNBOUGHT else None)
    with pytest.raises(ActionRefused):
        lifecycle.expire_unstarted(record, START_BY)
    if situation not in ("scheduled", "queued"):
        with pytest.raises(ActionRefused):
            lifecycle.expire_unstarted(record, START_BY + 1)
        return
    after = lifecycle.expire_unstarted(record, START_BY + 0.001)
    assert (after.status, after.expired, after.due, after.seq) == (Status.CANCELLED, True, None, record.seq + 1)
    assert after.error is not None
    assert (after.error.code, after.error.actions) == ("expired", (Action.RETRY,))
    assert "1970-01-01T00:16:50.000Z" in after.error.message


def test_a_job_that_has_bought_something_never_expires() -> None:
    """A purchase counts even if its submission is no longer the current one."""
    record = msgspec.structs.replace(with_start("queued"), purchases=(Purchase("s-0", ALPHA, NOW),))
    with pytest.raises(ActionRefused):
        lifecycle.expire_unstarted(record, START_BY + 1)


@pytest.mark.parametrize(("now", "late"), [(START_BY, False), (START_BY + 0.001, True)])
def test_an_intent_after_the_latest_start_is_refused(now: float, late: bool) -> None:
    """Nothing is bought after the latest start; a repeat of a create that was journaled before it is allowed."""
    intent = Intent(submission_id="s-1", service=ALPHA, lifetime=100)
    lease = msgspec.structs.replace(LEASE, until=now + 30)
    running = msgspec.structs.replace(with_start("running"), lease=lease)
    looking_up = msgspec.structs.replace(with_start("looking-up"), lease=lease)
    if late:
        with pytest.raises(StartMissed):
            lifecycle.intend(running, "mine", now, intent)
    else:
        assert lifecycle.intend(running, "mine", now, intent).submission.state is INTENT
    assert lifecycle.intend(looking_up, "mine", now, intent).submission.state is INTENT


def test_a_step_that_noticed_the_latest_start() -> None:
    """The job ends unbought, unless a late worker has saved a ticket in the meantime."""
    failure = Failure.of(StartMissed("job-1", "then"))
    after = lifecycle.settle(with_start("running"), "mine", Expired(failure), START_BY + 1)
    assert (after.status, after.error, after.finished_at) == (Status.CANCELLED, failure, START_BY + 1)
    paid = lifecycle.settle(with_start("polling"), "mine", Expired(failure), START_BY + 1)
    assert (paid.status, paid.due) == (Status.RENDERING, START_BY + 1)


def test_a_retry_has_no_latest_start() -> None:
    """A person who retries an expired job wants it whenever it can start; `reschedule` can set another latest start."""
    expired = lifecycle.expire_unstarted(with_start("queued"), START_BY + 1)
    assert lifecycle.retry(expired, START_BY + 2).start_by is None
    again = lifecycle.reschedule(expired, START_BY + 2, Times(START_BY + 60, START_BY + 90))
    assert (again.status, again.due, again.start_by) == (Status.SCHEDULED, START_BY + 60, START_BY + 90)
    assert (again.error, again.finished_at) == (None, None)


def test_a_planned_job_that_is_submitted_again_keeps_its_latest_start() -> None:
    """It waits for its start time, so its latest start still holds; one that starts at once has none."""
    held = msgspec.structs.replace(with_start("held-planned"), planned=NOW + 60, start_by=NOW + 90)
    again = lifecycle.resolve(held, NOW, Resubmit())
    assert (again.status, again.due, again.start_by) == (Status.SCHEDULED, NOW + 60, NOW + 90)
    assert lifecycle.resolve(held, NOW + 61, Resubmit()).start_by is None


@pytest.mark.parametrize("change", [lifecycle.run_now, lambda r, now: lifecycle.reschedule(r, now, Times(now))])
def test_new_times_replace_the_planned_start(change: Callable[[JobRecord, float], JobRecord]) -> None:
    """A job that a person started earlier does not wait for its former start time when it is submitted again."""
    before = msgspec.structs.replace(SITUATIONS["scheduled"], planned=NOW + 60)
    assert change(before, NOW).planned is None


@pytest.mark.parametrize(
    ("times", "due", "start_by"),
    [
        (Times(NOW + 100), NOW + 100, START_BY + 40),
        (Times(NOW + 30), NOW + 30, START_BY),
        (Times(NOW - 30), NOW, START_BY),
        (Times(start_by=NOW + 70), NOW + 60, NOW + 70),
        (Times(NOW + 100, float("inf")), NOW + 100, None),
    ],
)
def test_new_times(times: Times, due: float, start_by: float | None) -> None:
    """A later due time postpones the latest start too; an earlier one keeps it, and infinity removes it."""
    after = lifecycle.reschedule(with_start("scheduled"), NOW, times)
    assert (after.due, after.start_by, after.status) == (
        due, start_by, Status.SCHEDULED if due > NOW else Status.QUEUED
    )  # fmt: skip


def test_an_edited_job() -> None:
    """A waiting job is bought on the new terms, by any service, at the same time; a failed one keeps its failure."""
    terms = Terms(a_job(prompt="another"), 0.5, Cost(usd=0.2), "changed prompt")
    before = msgspec.structs.replace(SITUATIONS["scheduled"], service=ALPHA, attempts=3, error=FAILURE)
    after = lifecycle.edit(before, NOW, terms)
    assert (after.job, after.max_usd, after.cost) == (terms.job, 0.5, Cost(usd=0.2))
    assert (after.service, after.attempts, after.error, after.due) == ("", 0, None, before.due)
    assert (after.events[-1].what, after.events[-1].detail) == ("edited", "changed prompt")
    failed = lifecycle.edit(SITUATIONS["failed"], NOW, terms)
    assert (failed.job, failed.status, failed.error) == (terms.job, Status.FAILED, FAILURE)
    assert lifecycle.retry(failed, NOW).job == terms.job


def test_a_late_ticket_is_used_by_a_job_that_was_rescheduled() -> None:
    """Nothing else was submitted since, so the job polls this generation instead of buying another."""
    before = lifecycle.reschedule(QUEUED, NOW, Times(NOW + 86400))
    assert before.status is Status.SCHEDULED
    after = lifecycle.accept(before, NOW + 1, Receipt(submission_id="s-1", ticket=TICKET, lifetime=60.0, service=ALPHA))
    assert (after.status, after.step, after.due) == (Status.RENDERING, Step.POLL, NOW + 1)


def test_an_expired_record_catches_up_with_the_delivery_of_its_ticket() -> None:
    """The store was reset to a state before the purchase, and the job expired there before its delivery arrived."""
    bought = msgspec.structs.replace(
        QUEUED, seq=3, service=ALPHA,
        submission=Submission(state=ACCEPTED, id="s-1", intended_at=NOW, deadline=NOW + 100, ticket=TICKET),
    )  # fmt: skip
    expired = lifecycle.expire_unstarted(with_start("queued"), START_BY + 1)
    assert expired.expired
    delivery = Delivery.of(bought)
    after = lifecycle.receive(expired, delivery, expired.queue, LEASE, START_BY + 2)
    assert (after.status, after.submission.ticket, after.seq) == (Status.RENDERING, TICKET, 3)
    early = Delivery.of(msgspec.structs.replace(QUEUED, seq=3))
    with pytest.raises(ActionRefused):  # a delivery from before the purchase proves nothing
        lifecycle.receive(expired, early, expired.queue, LEASE, START_BY + 2)
