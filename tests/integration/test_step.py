"""`generate_video`: every step with every response, and the pay-once protocol under crashes, races and late workers."""

from __future__ import annotations

import json
import math
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import (
    Action,
    ActionRefused,
    Busy,
    FlowError,
    InvalidInput,
    InvalidVideo,
    LeaseLost,
    Misconfigured,
    OutOfCredit,
    OutputError,
    Rejected,
    ServiceError,
    StoreUnavailable,
    Transient,
    Uncertain,
)
from tenxsom_flow_engine.generation.budget_gate import BudgetGate
from tenxsom_flow_engine.generation.channel_gate import ChannelGate
from tenxsom_flow_engine.generation.step import StepContext, generate_video
from tenxsom_flow_engine.jobs import (
    FINAL,
    Cost,
    Failure,
    JobRecord,
    Status,
    Step,
    Submission,
    SubmissionState,
    Ticket,
    Video,
)
from tenxsom_flow_engine.jobs.codec import encode
from tenxsom_flow_engine.jobs.delivery import submission_id
from tenxsom_flow_engine.jobs.outcomes import (
    ConfirmedPurchase,
    Dead,
    Done,
    Expired,
    Held,
    Outcome,
    Resubmit,
    Retry,
    Wait,
)
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.logs import Redactor
from tenxsom_flow_engine.rate_limits.base import Admission, Closed, Share
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.services.base import Credits, Failed, HasCredits, Progress, Ready, VideoService
from tenxsom_flow_engine.services.prompts import prompt_for
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.gates import OpenGate
from tenxsom_flow_engine.testing.samples import ALPHA, QUEUE, VIDEO, a_claim, new
from tenxsom_flow_engine.testing.services import CheckAnswer, CreateAnswer, FindingService, ScriptedService, Sold
from tenxsom_flow_engine.timings import Timings

TIMINGS = Timings()
LEASE = 30.0
NONE, INTENT, ACCEPTED, UNKNOWN = SubmissionState


class Gate(OpenGate):
    """An open gate that counts admissions; `shut` closes it, and `closing` is the result of a refusal."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.shut: Closed | None = None
        self.closing: Closed | None = None
        self.probing = False
        self.askers: list[str] = []
        self.admitted = 0
        self.learned: list[ServiceError] = []
        self.durations: list[float] = []

    def ask(self, service: str, waiter_id: str, share: Share = Share()) -> Admission | Closed:
        self.askers.append(waiter_id)
        if self.shut is not None:
            return self.shut
        self.admitted += 1
        return Admission(service, self._clock.now(), probe=self.probing)

    def give_back(self, admission: Admission) -> None:
        self.admitted -= 1

    def answered(self, service: str, seconds: float) -> None:
        self.durations.append(seconds)

    def refused(self, service: str, error: ServiceError) -> Closed:
        self.learned.append(error)
        return self.closing or super().refused(service, error)


class FaultyJournal:
    """A store's journal with a replaceable `intend`, and a clock that raises while the store is `away`."""

    def __init__(self, store: JobStore, intend: Callable[..., JobRecord]) -> None:
        self._store = store
        self.away = False
        self.intend = intend
        self.accept = store.accept
        self.mark_unknown = store.mark_unknown
        self.clear_submission = store.clear_submission

    def now(self) -> float:
        if self.away:
            raise StoreUnavailable("the store is away")
        return self._store.now()


class Shelf:
    """Publishes into a temporary folder and counts the publications."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.fault: OutputError | None = None

    def recover(self, record: JobRecord) -> Video | None:
        return VIDEO if record.job_id in self.published else None

    def publish(
        self, record: JobRecord, fill: Callable[[Path], None], *, reported_duration: float | None = None
    ) -> Video:
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder))
            assert (Path(folder) / "video.mp4").exists()
        if self.fault:
            raise self.fault
        self.published.append(record.job_id)
        return VIDEO


@dataclass
class Bench:
    """One job in a real store, with everything that its steps need."""

    clock: ManualClock
    store: JobStore
    service: ScriptedService
    gate: Gate = field(init=False)
    shelf: Shelf = field(default_factory=Shelf)
    budgets: BudgetGate = field(init=False)
    channels: ChannelGate = field(init=False)

    def __post_init__(self) -> None:
        self.gate = Gate(self.clock)
        self.budgets = BudgetGate(self.store, {}, Timings(), monotonic=self.clock.now)
        self.channels = ChannelGate(self.store, Timings(), monotonic=self.clock.now)

    @property
    def means(self) -> StepContext:
        return StepContext(
            self.service,
            self.gate,
            self.store,
            self.shelf,
            self.budgets,
            self.channels,
            RetryPolicy(jitter=0.0),
            lambda: 0.5,
            dict,
        )

    def deliver(self) -> JobRecord:
        """Claim the job."""
        (record,) = self.store.claim(a_claim(lease=LEASE)).records
        return record

    def step(self, means: StepContext | None = None) -> Outcome:
        """Run the job's next step and settle it."""
        record = self.deliver()
        outcome = generate_video(record, means or self.means)
        self.store.settle(record.job_id, record.lease_token, outcome)
        return outcome

    @property
    def record(self) -> JobRecord:
        return self.store.require("job-1")

    def at(self, step: Step) -> None:
        """Advance the job to a step."""
        self.store.add(QUEUE, new("job-1"))
        if step in (Step.POLL, Step.FETCH):
            self.step()
        if step is Step.FETCH:
            self.step()
        if step is Step.LOOKUP:
            self.service.creates.append(Uncertain(ALPHA, "the connection broke"))
            self.step()
            assert self.record.due is not None
            self.clock.set(self.record.due)
        assert self.record.step is step


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[JobStore]:
    store = SQLiteStore(tmp_path / "jobs.sqlite3", clock)
    yield store
    store.close()


@pytest.fixture
def bench(clock: ManualClock, store: JobStore) -> Bench:
    return Bench(clock, store, ScriptedService(clock))


def summary(outcome: Outcome, now: float) -> tuple[Any, ...]:
    """Return an outcome's kind, due time and error code."""
    match outcome:
        case Wait(until, _, _, rendered, worked):
            return ("wait", pytest.approx(until - now), worked, rendered)
        case Retry(at, failure):
            return ("retry", pytest.approx(at - now), failure.code)
        case Dead(failure, generation_failed):
            return ("dead", failure.code, generation_failed)
        case Held(failure):
            return ("held", failure.code)
        case Expired(failure):
            return ("expired", failure.code)
        case Done():
            return ("done",)


SUBMIT_ANSWERS: list[tuple[CreateAnswer, tuple[Any, ...], SubmissionState]] = [
    (Sold(), ("wait", 0.0, True, False), ACCEPTED),
    (Rejected(ALPHA, "no"), ("dead", "rejected", False), NONE),
    (Misconfigured(ALPHA, "bad key"), ("wait", 300.0, False, False), NONE),
    (OutOfCredit(ALPHA, "no money"), ("wait", 300.0, False, False), NONE),
    (Busy(ALPHA, "429"), ("wait", 30.0, False, False), NONE),
    (Busy(ALPHA, "429", retry_after=90.0), ("wait", 90.0, False, False), NONE),
    (Transient(ALPHA, "refused"), ("retry", 2.0, "transient"), NONE),
    (Transient(ALPHA, "refused", retry_after=77.0), ("retry", 77.0, "transient"), NONE),
    (Uncertain(ALPHA, "time-out"), ("retry", 2.0, "uncertain"), UNKNOWN),
    (Sold(then=Uncertain(ALPHA, "reset")), ("retry", 2.0, "uncertain"), UNKNOWN),
]


@pytest.mark.parametrize(("answer", "expected", "state"), SUBMIT_ANSWERS)
def test_submit(bench: Bench, answer: CreateAnswer, expected: tuple[Any, ...], state: SubmissionState) -> None:
    """Each response to a create leads to its outcome, and the journal records what is known of the purchase."""
    bench.at(Step.SUBMIT)
    bench.service.creates.append(answer)
    assert summary(bench.step(), bench.clock.now()) == expected
    assert bench.record.submission.state is state
    assert sum(bench.service.sent.values()) == 1


def test_submit_journals_the_intent_before_the_create(bench: Bench) -> None:
    """While the create is in progress, its intent is durable, with the reference that was sent to the service."""
    bench.at(Step.SUBMIT)
    seen: list[Submission] = []
    bench.service.on_call = lambda call: seen.append(bench.record.submission) if call == "create" else None
    bench.step()
    (submission,) = seen
    assert submission.state is INTENT
    assert bench.service.sent == {submission.id: 1}
    assert submission.deadline == bench.clock.now() + bench.service.create_timeout + bench.service.lifetime


def test_submit_keeps_ticket_and_cost(bench: Bench) -> None:
    """The ticket and the reported credits are in the record, with the generation's deadline."""
    bench.at(Step.SUBMIT)
    bench.service.creates.append(Sold(credits=3.0))
    bench.step()
    assert bench.record.submission.ticket == bench.service.sold[0]
    assert bench.record.submission.deadline == bench.clock.now() + bench.service.lifetime
    assert bench.record.cost == Cost(credits=3.0, estimated=False)


@pytest.mark.parametrize(("longest", "pause"), [(math.inf, 15.0), (2.0, 2.0)])
def test_the_first_check_comes_after_its_time(bench: Bench, longest: float, pause: float) -> None:
    """A generation is checked first when it can have ended, or after the longest time between two checks."""
    bench.at(Step.SUBMIT)
    bench.service.first_check = 15.0
    outcome = bench.step(replace(bench.means, timings=Timings(max_poll_interval=longest)))
    assert isinstance(outcome, Wait)
    assert outcome.until == bench.clock.now() + pause


def test_the_price_of_a_purchase(bench: Bench) -> None:
    """Reported credits are priced at the estimated rate; without them the estimate is kept."""
    bench.service.price = Cost(usd=0.20, credits=40.0)
    bench.service.creates += [Sold(credits=50.0), Sold()]
    for name, cost in (("a", Cost(usd=0.25, credits=50.0, estimated=False)), ("b", Cost(usd=0.20, credits=40.0))):
        bench.store.add(QUEUE, new(name))
        generate_video(bench.deliver(), bench.means)
        assert bench.store.require(name).cost == cost
    (spent,) = bench.store.spent("")
    assert (spent.service, spent.videos, spent.usd, spent.credits) == (ALPHA, 2, 0.45, 90.0)


def test_submit_keeps_the_prompt_that_was_sent(bench: Bench) -> None:
    """The prompt that was sent is kept with the job, also if it was made from the topic."""
    bench.at(Step.POLL)
    assert bench.record.submission.prompt == prompt_for(bench.record.job)


def test_submit_keeps_the_order_that_was_sent(bench: Bench) -> None:
    """Before a create is sent, the record holds the order without secrets; after a refusal it is still there."""
    bench.at(Step.SUBMIT)
    seen: list[str] = []
    bench.service.on_call = lambda call: seen.append(bench.record.order)
    bench.service.creates.append(Rejected(ALPHA, "no"))
    means = replace(bench.means, redact=Redactor([prompt_for(bench.record.job)]).value)
    reference = submission_id(bench.record)
    bench.step(means)
    assert bench.record.submission == Submission()
    assert seen == [bench.record.order]
    assert json.loads(bench.record.order) == {"prompt": "***", "reference": reference}


def test_a_job_that_waits_for_its_gate_does_not_grow(bench: Bench) -> None:
    """A record has no order and no worker's name before a create."""
    bench.at(Step.SUBMIT)
    bench.gate.shut = Closed(bench.clock.now() + 120, "full", opens_at=bench.clock.now() + 60, at=bench.clock.now())
    bench.step()
    assert {"order", "worker"}.isdisjoint(encode(bench.record).decode().split('"'))


def test_submit_at_a_closed_gate(bench: Bench) -> None:
    """A closed gate causes no request, no attempt and no journal entry."""
    bench.at(Step.SUBMIT)
    now = bench.clock.now()
    bench.gate.shut = Closed(now + 120, "100 of 100 creates in this hour", opens_at=now + 60, at=now)
    assert summary(bench.step(), bench.clock.now()) == ("wait", 120.0, False, False)
    assert not bench.service.sent
    assert (bench.record.attempts, bench.record.submission) == (0, Submission())
    assert bench.gate.askers == ["job-1"]


def test_the_gate_learns_how_long_an_answer_took(bench: Bench) -> None:
    """The gate gets the duration of each accepted create in seconds."""
    bench.at(Step.SUBMIT)
    bench.service.on_call = lambda call: bench.clock.advance(1.5 if call == "created" else 0.0)
    bench.step()
    assert bench.gate.durations == [pytest.approx(1.5)]


class Account(ScriptedService, HasCredits):
    """A service that reports its remaining credits."""

    left: float | None = 0.0

    def credits(self) -> Credits:
        return Credits(self.left)


@pytest.mark.parametrize("left", [0.0, 5.0, None])
def test_a_probe_checks_the_credits_first(bench: Bench, left: float | None) -> None:
    """If a stopped service still reports no credits, no create is sent and no attempt is counted."""
    bench.service = service = Account(bench.clock)
    service.left = left
    bench.gate.probing = True
    bench.at(Step.SUBMIT)
    outcome = bench.step()
    sent = 0 if left == 0 else 1
    assert (sum(service.sent.values()), bench.gate.admitted, len(bench.gate.learned)) == (sent, sent, 1 - sent)
    assert isinstance(outcome, Wait)
    assert bench.record.attempts == 0


@pytest.mark.parametrize(("step", "pause"), [(Step.SUBMIT, 1.0), (Step.POLL, TIMINGS.stopped_service_retry)])
def test_a_stopped_service_is_not_polled_again_and_again(bench: Bench, step: Step, pause: float) -> None:
    """A job that has bought nothing asks the gate again soon; a paid one pauses before it calls the service again."""
    bench.at(step)
    (bench.service.creates if step is Step.SUBMIT else bench.service.checks).append(Misconfigured(ALPHA, "bad key"))
    now = bench.clock.now()
    bench.gate.closing = Closed(now + 1, "bad key", opens_at=math.inf, at=now)
    assert summary(bench.step(), now) == ("wait", pause, False, False)


def test_a_busy_service_is_left_alone_with_polls_as_long_as_it_asks(bench: Bench) -> None:
    """An earlier hint of the gate only applies to jobs that have bought nothing; polls wait as the service requires."""
    bench.at(Step.POLL)
    bench.service.checks.append(Busy(ALPHA, "429", retry_after=7200.0))
    now = bench.clock.now()
    bench.gate.closing = Closed(now + 900, "429", opens_at=now + 7200, at=now)
    assert summary(bench.step(), now) == ("wait", 7200.0, False, False)


def test_submit_without_a_free_slot(bench: Bench) -> None:
    """A job that finds no slot waits briefly, and its admission is returned."""
    bench.at(Step.SUBMIT)
    record = bench.deliver()
    bench.service.max_in_flight = 0
    outcome = generate_video(record, bench.means)
    assert summary(outcome, bench.clock.now()) == ("wait", TIMINGS.slot_retry, False, False)
    assert (bench.gate.admitted, sum(bench.service.sent.values())) == (0, 0)


def test_submit_of_a_job_that_does_not_fit(bench: Bench) -> None:
    """A job that the service cannot make fails before anything is sent."""
    bench.at(Step.SUBMIT)
    bench.service.unfit = InvalidInput("duration", "must be 5 or 8")
    assert summary(bench.step(), bench.clock.now()) == ("dead", "invalid_input", False)
    assert (bench.gate.admitted, sum(bench.service.sent.values())) == (0, 0)


def test_submit_by_a_worker_that_lost_its_lease(bench: Bench) -> None:
    """A worker that lost the lease sends nothing, and its admission is returned."""
    bench.at(Step.SUBMIT)
    record = bench.deliver()
    bench.store.cancel("job-1")
    with pytest.raises(LeaseLost):
        generate_video(record, bench.means)
    assert (bench.gate.admitted, sum(bench.service.sent.values())) == (0, 0)


def test_a_store_that_fails_at_the_intent_leaves_nothing_in_doubt(bench: Bench) -> None:
    """If the response to a written intent is lost, nothing was sent, so the job orders again and is not held."""
    bench.at(Step.SUBMIT)

    def lose_the_answer(job_id: str, token: str, intent: Intent, budgets: object) -> JobRecord:
        bench.store.intend(job_id, token, intent)
        raise StoreUnavailable("the answer is lost")

    record = bench.deliver()
    with pytest.raises(StoreUnavailable):
        generate_video(record, replace(bench.means, journal=FaultyJournal(bench.store, lose_the_answer)))
    assert bench.record.submission.state is NONE
    bench.store.release_lease(record.job_id, record.lease_token)
    bench.step()
    assert (bench.record.submission.state, len(bench.service.sold)) == (ACCEPTED, 1)
    assert bench.gate.admitted == 1


def test_a_create_that_was_not_sent_proves_nothing_about_another(bench: Bench) -> None:
    """After a server lost the latest claim, the next worker buys under the same id; the first one undoes nothing."""
    bench.at(Step.SUBMIT)
    first = bench.deliver()

    def die(job_id: str, token: str, intent: Intent, budgets: object) -> JobRecord:
        # The server had not yet written the claim to disk.
        bench.store.update("job-1", lambda record, now: msgspec.structs.replace(record, lease=None, due=now))
        bench.service.creates.append(Sold(then=Uncertain(ALPHA, "reset")))
        bench.step()
        raise StoreUnavailable("the server has died")

    with pytest.raises(StoreUnavailable):
        generate_video(first, replace(bench.means, journal=FaultyJournal(bench.store, die)))
    assert bench.record.submission.state is UNKNOWN
    assert len(bench.service.sold) == 1


def test_submit_with_a_store_that_is_away(bench: Bench) -> None:
    """If the intent cannot be journaled, nothing is sent and the admission is returned."""
    bench.at(Step.SUBMIT)
    record = bench.deliver()

    def away(job_id: str, token: str, intent: Intent, budgets: object) -> JobRecord:
        raise StoreUnavailable("the store is away")

    with pytest.raises(StoreUnavailable):
        generate_video(record, replace(bench.means, journal=FaultyJournal(bench.store, away)))
    assert sum(bench.service.sent.values()) == 0
    assert bench.gate.admitted == 0


def test_the_ticket_comes_before_anything_else_that_the_store_is_asked(bench: Bench) -> None:
    """A store that is unreachable during a create, even for the time, costs neither the create nor its ticket."""
    bench.at(Step.SUBMIT)
    record = bench.deliver()

    def then_away(job_id: str, token: str, intent: Intent, budgets: object) -> JobRecord:
        intended = bench.store.intend(job_id, token, intent)
        journal.away = True
        return intended

    journal = FaultyJournal(bench.store, then_away)
    assert isinstance(generate_video(record, replace(bench.means, journal=journal)), Wait)
    assert bench.record.submission.state is ACCEPTED


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt(), MemoryError()])
def test_an_unforeseen_end_of_a_create_is_in_doubt(bench: Bench, error: BaseException) -> None:
    """A create that ends with an unexpected error might have bought something: its outcome is unknown."""
    bench.at(Step.SUBMIT)
    bench.service.creates.append(Sold(then=error))
    record = bench.deliver()
    with pytest.raises(type(error)):
        generate_video(record, bench.means)
    assert bench.record.submission.state is UNKNOWN


FAULTS: list[tuple[ServiceError, tuple[Any, ...]]] = [
    (Misconfigured(ALPHA, "bad key"), ("wait", 300.0, False, False)),
    (OutOfCredit(ALPHA, "no money"), ("wait", 300.0, False, False)),
    (Busy(ALPHA, "429", retry_after=40.0), ("wait", 40.0, False, False)),
    (Transient(ALPHA, "503"), ("retry", 2.0, "transient")),
]


@pytest.mark.parametrize(("fault", "expected"), FAULTS)
@pytest.mark.parametrize("step", [Step.POLL, Step.FETCH])
def test_poll_faults(bench: Bench, step: Step, fault: ServiceError, expected: tuple[Any, ...]) -> None:
    """A failed poll keeps the ticket; a stopped or busy service is polled later without an attempt."""
    bench.at(step)
    bench.service.checks.append(fault)
    assert summary(bench.step(), bench.clock.now()) == expected
    assert bench.record.submission.state is ACCEPTED
    assert bench.record.attempts == (1 if expected[0] == "retry" else 0)


POLL_ANSWERS: list[tuple[Step, float, CheckAnswer, tuple[Any, ...]]] = [
    (Step.POLL, 0, Progress(0.4, 10.0), ("wait", 10.0, True, False)),
    (Step.POLL, 3595, Progress(None, 10.0), ("wait", 5.0, True, False)),
    (Step.POLL, 3600, Progress(0.9, 10.0), ("dead", "generation_timeout", False)),
    (Step.POLL, 0, Ready("https://x"), ("wait", 0.0, True, True)),
    (Step.POLL, 9999, Ready("https://x"), ("wait", 0.0, True, True)),
    (Step.POLL, 0, Failed("nsfw"), ("dead", "generation_failed", True)),
    (Step.POLL, 9999, Failed("nsfw"), ("dead", "generation_failed", True)),
    (Step.POLL, 0, Rejected(ALPHA, "gone"), ("dead", "rejected", False)),
    (Step.FETCH, 0, Progress(0.9, 10.0), ("wait", 10.0, True, False)),
    (Step.FETCH, 0, Ready("https://x"), ("done",)),
    (Step.FETCH, 9999, Ready("https://x"), ("done",)),
    (Step.FETCH, 0, Failed("gone"), ("dead", "generation_failed", True)),
    (Step.FETCH, 0, Rejected(ALPHA, "gone"), ("dead", "rejected", False)),
]


@pytest.mark.parametrize(("step", "later", "answer", "expected"), POLL_ANSWERS)
def test_poll_and_fetch(bench: Bench, step: Step, later: float, answer: CheckAnswer, expected: tuple[Any, ...]) -> None:
    """Each response to a check leads to its outcome; the deadline only ends an unfinished generation."""
    bench.at(step)
    bench.clock.advance(later)
    bench.service.checks.append(answer)
    assert summary(bench.step(), bench.clock.now()) == expected
    assert sum(bench.service.sent.values()) == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [*FAULTS, (Rejected(ALPHA, "404"), ("dead", "rejected", False)), (OutputError("cut"), ("retry", 2.0, "output"))],
)
def test_fetch_faults(bench: Bench, fault: FlowError, expected: tuple[Any, ...]) -> None:
    """A failed fetch keeps the ticket, so that the fetch can be repeated."""
    bench.at(Step.FETCH)
    bench.service.fetches.append(fault)
    assert summary(bench.step(), bench.clock.now()) == expected
    assert bench.record.submission.state is ACCEPTED


def test_fetch_with_a_full_disk(bench: Bench) -> None:
    """A video that cannot be written is fetched again later, and published once the folder is writable."""
    bench.at(Step.FETCH)
    bench.shelf.fault = OutputError("no space")
    assert summary(bench.step(), bench.clock.now()) == ("retry", 2.0, "output")
    bench.shelf.fault = None
    bench.clock.advance(2)
    assert summary(bench.step(), bench.clock.now()) == ("done",)
    assert (bench.record.status, bench.shelf.published) == (Status.SUCCEEDED, ["job-1"])


def test_a_file_that_is_no_video_fails_the_job(bench: Bench) -> None:
    """A delivered file that cannot be published fails its job at once; a retry fetches the paid video again."""
    bench.at(Step.FETCH)
    bench.shelf.fault = InvalidVideo("it is not an MP4 or MOV file")
    assert summary(bench.step(), bench.clock.now()) == ("dead", "invalid_video", False)
    assert bench.record.error is not None
    assert (bench.record.error.message, bench.record.error.actions) == (bench.shelf.fault.message, (Action.RETRY,))
    bench.shelf.fault = None
    bench.store.retry("job-1")
    while bench.record.status not in FINAL:
        bench.step()
    assert (bench.record.status, bench.service.sent.total()) == (Status.SUCCEEDED, 1)


def test_attempts_are_used_up(bench: Bench) -> None:
    """A create that cannot be sent is retried with growing delays, then the job fails with the reason."""
    bench.at(Step.SUBMIT)
    bench.service.creates.extend([Transient(ALPHA, "refused")] * 12)
    delays = []
    while isinstance(outcome := bench.step(), Retry):
        delays.append(outcome.at - bench.clock.now())
        bench.clock.set(outcome.at)
    assert delays == pytest.approx([2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600])
    assert isinstance(outcome, Dead)
    assert "12 attempts" in outcome.failure.message
    assert outcome.failure.actions == (Action.RETRY,)
    assert bench.record.submission.state is NONE


def test_an_unpaid_job_outlives_an_outage(bench: Bench) -> None:
    """A service outage of a quarter of an hour fails no unpaid job, for any random delays."""
    bench.at(Step.SUBMIT)
    means = replace(bench.means, retry=RetryPolicy(), draw=lambda: 0.0)
    outage_ends = bench.clock.now() + 900
    while bench.clock.now() < outage_ends:
        bench.service.creates.append(Transient(ALPHA, "no connection"))
        outcome = bench.step(means)
        assert isinstance(outcome, Retry)
        bench.clock.set(outcome.at)
    assert summary(bench.step(means), bench.clock.now())[0] == "wait"
    assert len(bench.service.sold) == 1


@pytest.mark.parametrize("step", [Step.SUBMIT, Step.POLL, Step.FETCH])
def test_a_refusal_has_remedies(bench: Bench, step: Step) -> None:
    """A job that failed because of a refusal can be edited, or retried unchanged."""
    bench.at(step)
    (bench.service.creates if step is Step.SUBMIT else bench.service.checks).append(Rejected(ALPHA, "not this one"))
    outcome = bench.step()
    assert isinstance(outcome, Dead)
    assert outcome.failure.actions == (Action.EDIT, Action.RETRY)


@pytest.mark.parametrize("step", [Step.POLL, Step.FETCH])
def test_a_paid_job_outlives_an_outage(bench: Bench, step: Step) -> None:
    """A service outage of half an hour fails no paid job: it is retried with growing delays, and the video is made."""
    bench.at(step)
    outage_ends = bench.clock.now() + 1800
    while bench.clock.now() < outage_ends:
        bench.service.checks.append(Transient(ALPHA, "503"))
        outcome = bench.step()
        assert isinstance(outcome, Retry)
        assert outcome.at <= bench.clock.now() + bench.means.retry.cap
        bench.clock.set(outcome.at)
    for _ in range(2 if step is Step.POLL else 1):
        bench.step()
    assert bench.record.status is Status.SUCCEEDED


def test_a_paid_job_fails_at_its_deadline(bench: Bench) -> None:
    """During an endless outage, a paid job fails at its deadline, keeps its ticket, and can be retried from it."""
    bench.at(Step.POLL)
    bench.service.checks.extend([Transient(ALPHA, "503")] * 100)
    deadline = bench.record.submission.deadline
    while isinstance(outcome := bench.step(), Retry):
        assert bench.clock.now() < deadline
        bench.clock.set(outcome.at)
    assert bench.clock.now() >= deadline
    assert isinstance(outcome, Dead)
    assert bench.record.submission.ticket is not None
    bench.service.checks.clear()
    bench.store.retry("job-1")
    bench.step()
    bench.step()
    assert bench.record.status is Status.SUCCEEDED


# Lookup of a create's outcome.


def finding(bench: Bench, *, complete: bool, **changes: Any) -> FindingService:
    """Replace the service by one that finds by reference."""
    service = FindingService(bench.clock, complete=complete, **changes)
    bench.service = service
    return service


def test_a_lookup_that_cannot_find_or_repeat(bench: Bench) -> None:
    """If the service can neither find nor repeat, an unknown create is held for an operator and never repeated."""
    bench.at(Step.LOOKUP)
    assert summary(bench.step(), bench.clock.now()) == ("held", "submission_unknown")
    assert bench.record.status is Status.HELD
    assert sum(bench.service.sent.values()) == 1


def test_lookup_finds_the_ticket(bench: Bench) -> None:
    """A create that the service finds gives its ticket; nothing is bought again."""
    service = finding(bench, complete=False)
    bench.store.add(QUEUE, new("job-1"))
    service.creates.append(Sold(then=Uncertain(ALPHA, "reset")))
    bench.step()
    bench.clock.advance(2)
    assert summary(bench.step(), bench.clock.now()) == ("wait", 0.0, True, False)
    assert bench.record.submission.ticket == service.sold[0]
    assert [sum_.videos for sum_ in bench.store.spent("")] == [1]
    assert sum(service.sent.values()) == 1


@pytest.mark.parametrize("complete", [True, False])
def test_lookup_finds_nothing(bench: Bench, complete: bool) -> None:
    """A create that is not found counts as not bought only after it has settled, and only if the list is complete."""
    service = finding(bench, complete=complete)
    bench.at(Step.LOOKUP)
    settled = bench.record.submission.intended_at + service.create_timeout + TIMINGS.create_settle_margin
    assert summary(bench.step(), bench.clock.now()) == ("wait", settled - bench.clock.now(), False, False)
    bench.clock.set(settled)
    outcome = bench.step()
    if complete:
        assert summary(outcome, bench.clock.now()) == ("wait", 0.0, True, False)
        assert bench.record.submission == Submission()
    else:
        assert summary(outcome, bench.clock.now()) == ("held", "submission_unknown")


@pytest.mark.parametrize("finds", [True, False])
def test_a_foreign_intent_is_left_alone_at_first(bench: Bench, finds: bool) -> None:
    """An intent of a silent worker is left alone until the create's timeout and a margin have passed."""
    if finds:
        finding(bench, complete=True)
    bench.store.add(QUEUE, new("job-1"))
    late = bench.deliver()
    bench.store.intend(
        "job-1", late.lease_token, Intent(submission_id="s-1", service=ALPHA, lifetime=100.0, max_in_flight=5)
    )
    calls: list[str] = []
    bench.service.on_call = calls.append
    settled = bench.clock.now() + bench.service.create_timeout + TIMINGS.create_settle_margin
    bench.clock.advance(LEASE)
    assert summary(bench.step(), bench.clock.now()) == ("wait", settled - bench.clock.now(), False, False)
    assert calls == []


def test_a_foreign_intent_is_not_repeated_at_first(bench: Bench) -> None:
    """Even with an idempotency key, a create that another worker might still be sending is not sent again."""
    bench.service.key_lasts = 600.0
    bench.store.add(QUEUE, new("job-1"))
    late = bench.deliver()
    bench.store.intend(
        "job-1", late.lease_token, Intent(submission_id="s-1", service=ALPHA, lifetime=100.0, max_in_flight=5)
    )
    bench.clock.advance(LEASE)
    bench.step()
    assert sum(bench.service.sent.values()) == 0


def test_a_create_that_is_idempotent_by_nature_is_repeated_at_once(bench: Bench) -> None:
    """If a reference is idempotent forever, an interrupted create is repeated without a wait."""
    bench.service.key_lasts = math.inf
    bench.store.add(QUEUE, new("job-1"))
    late = bench.deliver()
    bench.store.intend(
        "job-1", late.lease_token, Intent(submission_id="s-1", service=ALPHA, lifetime=100.0, max_in_flight=5)
    )
    bench.clock.advance(LEASE)
    bench.step()
    assert bench.service.sent == {"s-1": 1}
    assert bench.record.submission.ticket is not None


def test_lookup_repeats_with_the_key(bench: Bench) -> None:
    """Within the idempotency window, the create is repeated under the same reference and buys nothing new."""
    bench.service.key_lasts = 600.0
    bench.store.add(QUEUE, new("job-1"))
    bench.service.creates.append(Sold(then=Uncertain(ALPHA, "reset")))
    bench.step()
    reference = bench.record.submission.id
    bench.clock.advance(2)
    assert summary(bench.step(), bench.clock.now()) == ("wait", 0.0, True, False)
    assert bench.service.sent == {reference: 2}
    assert [bench.record.submission.ticket] == bench.service.sold


@pytest.mark.parametrize(
    "refusal",
    [
        Rejected(ALPHA, "no"),
        Busy(ALPHA, "429", retry_after=5.0),
        Transient(ALPHA, "connection refused"),
        OutOfCredit(ALPHA, "no money"),
        Misconfigured(ALPHA, "key revoked"),
    ],
    ids=lambda error: error.code,
)
def test_a_refused_repeat_proves_nothing(bench: Bench, refusal: ServiceError) -> None:
    """The refusal of a repeat does not prove that the first create bought nothing: the submission is kept."""
    bench.service.key_lasts = 600.0
    bench.store.add(QUEUE, new("job-1"))
    bench.service.creates.extend([Sold(then=Uncertain(ALPHA, "reset")), refusal])
    bench.step()
    reference = bench.record.submission.id
    bench.clock.advance(2)
    bench.step()
    assert bench.record.submission.id == reference
    assert bench.record.submission.state is UNKNOWN


def test_the_key_counts_from_its_first_use(bench: Bench) -> None:
    """A repeated create does not extend the idempotency window."""
    bench.service.key_lasts = 600.0
    bench.store.add(QUEUE, new("job-1"))
    bench.service.creates.extend([Sold(then=Uncertain(ALPHA, "reset"))] * 3)
    bench.step()
    for later in (500, 500, 500):
        bench.clock.advance(later)
        if bench.record.due is not None:
            bench.step()
    assert len(bench.service.sold) == 1


LOOKUP_FAULTS: list[tuple[ServiceError, tuple[Any, ...]]] = [
    *FAULTS[:3],
    (Transient(ALPHA, "503"), ("retry", 4.0, "transient")),  # the create was the first consecutive failure
    (Rejected(ALPHA, "unknown reference"), ("held", "submission_unknown")),
]


@pytest.mark.parametrize(("fault", "expected"), LOOKUP_FAULTS)
def test_lookup_faults(bench: Bench, fault: ServiceError, expected: tuple[Any, ...]) -> None:
    """A failed lookup leaves the submission unknown and never fails the job."""
    service = finding(bench, complete=True)
    bench.at(Step.LOOKUP)
    service.finds.append(fault)
    assert summary(bench.step(), bench.clock.now()) == expected
    assert bench.record.submission.state is UNKNOWN


def test_a_lookup_that_never_works_is_held(bench: Bench) -> None:
    """If no lookup succeeds until the submission's deadline, the job is held, because something might be bought."""
    service = finding(bench, complete=True)
    bench.at(Step.LOOKUP)
    service.finds.extend([Transient(ALPHA, "503")] * 100)
    while isinstance(outcome := bench.step(), Retry):
        bench.clock.set(outcome.at)
    assert summary(outcome, bench.clock.now()) == ("held", "submission_unknown")
    assert bench.clock.now() >= bench.record.submission.deadline


def test_an_uncertain_create_is_looked_up_however_many_faults_came_before(bench: Bench) -> None:
    """The last attempt of a create might have bought something: it is looked up before the job is held."""
    service = finding(bench, complete=False)
    bench.store.add(QUEUE, new("job-1"))
    service.creates.extend([Transient(ALPHA, "refused")] * 11 + [Sold(then=Uncertain(ALPHA, "reset"))])
    for _ in range(12):
        outcome = bench.step()
        assert isinstance(outcome, Retry)
        bench.clock.set(outcome.at)
    bench.step()
    assert bench.record.submission.ticket == service.sold[0]


def test_a_repeat_that_does_not_fit_any_more_is_held(bench: Bench) -> None:
    """A job that the service would refuse now might have been bought before, so it is held, not failed."""
    bench.service.key_lasts = 600.0
    bench.at(Step.LOOKUP)
    bench.service.unfit = InvalidInput("duration", "must be 5 or 8")
    assert summary(bench.step(), bench.clock.now()) == ("held", "submission_unknown")


def test_a_held_outcome_gives_way_to_a_ticket(bench: Bench) -> None:
    """If the ticket is saved while another worker gives up the lookup, the job continues with its ticket."""
    bench.at(Step.LOOKUP)
    submission = bench.record.submission
    record = bench.deliver()
    outcome = generate_video(record, bench.means)
    assert isinstance(outcome, Held)
    bench.store.accept("job-1", Receipt(submission_id=submission.id, ticket=Ticket("late"), lifetime=100.0))
    after = bench.store.settle("job-1", record.lease_token, outcome)
    assert (after.status, after.submission.ticket) == (Status.RENDERING, Ticket("late"))
    assert after.lease is None
    assert after.due is not None


# The pay-once protocol as a whole.


class Crash(BaseException):
    """The worker's process has died."""


class Tape:
    """Random events: faults with their own probabilities for `length` draws, then none."""

    def __init__(self, seed: int, length: int, loudness: float) -> None:
        self._random = random.Random(seed)
        self._left = length
        self._loudness = loudness

    def draw(self, number: int) -> int:
        """Return 0 to number - 1; 0 means no fault."""
        self._left -= 1
        if self._left < 0 or self._random.random() > self._loudness:
            return 0
        return self._random.randrange(number)


class World:
    """A job, a service, a store, and workers that crash, stall and overlap, as a random tape determines."""

    def __init__(self, folder: Path, tape: Tape, make: Callable[[ManualClock], ScriptedService]) -> None:
        self.tape = tape
        self.clock = ManualClock()
        self.store = SQLiteStore(folder / "jobs.sqlite3", self.clock)
        self.service = make(self.clock)
        self.service.on_call = self._service_call
        self.shelf = Shelf()
        self.depth = 0
        #: The current worker's create must end by then: its timeout is part of the service's contract.
        self.create_ends: list[float] = []
        #: One entry for each active worker, innermost last: whether it is still alive.
        self.alive: list[bool] = []

    def run_others(self) -> None:
        """Advance the time and run other workers while the current one stalls."""
        if self.depth >= 3:
            return
        seconds = (0.0, 0.0, 1.0, LEASE + 1, 95.0)[self.tape.draw(5)]
        if self.create_ends:
            seconds = min(seconds, max(0.0, self.create_ends[-1] - self.clock.now()))
        self.clock.advance(seconds)
        if seconds:
            outer, self.create_ends = self.create_ends, self.create_ends[-1:]
            self.deliver()
            self.create_ends = outer

    def _crash_point(self) -> None:
        if not self.alive[-1] or self.tape.draw(8) == 7:
            self.alive[-1] = False
            raise Crash

    def _service_call(self, call: str) -> None:
        if call == "create":
            self.create_ends.append(self.clock.now() + self.service.create_timeout)
            fault = self.tape.draw(12)
            answers: dict[int, CreateAnswer] = {
                1: Sold(then=Uncertain(ALPHA, "reset")), 2: Uncertain(ALPHA, "time-out"), 3: Rejected(ALPHA, "no"),
                4: Busy(ALPHA, "429"), 5: Transient(ALPHA, "refused"), 6: OutOfCredit(ALPHA, "no money"),
                7: Sold(then=RuntimeError("a bug")),
            }  # fmt: skip
            self.service.creates.append(answers.get(fault, Sold()))
        if call == "check":
            checks: dict[int, CheckAnswer] = {
                1: Progress(0.5, 10.0), 2: Failed("nsfw"), 3: Transient(ALPHA, "503"), 4: Busy(ALPHA, "429"),
            }  # fmt: skip
            answer = checks.get(self.tape.draw(8))
            if answer is not None and not (isinstance(answer, Failed) and self.service.ready):
                self.service.checks.append(answer)
        if call == "find" and self.tape.draw(6) == 5:
            assert isinstance(self.service, FindingService)
            self.service.finds.append(Transient(ALPHA, "503"))
        self._crash_point()
        self.run_others()
        self._crash_point()

    def deliver(self) -> bool:
        """Let one worker claim the job and run its step; return whether there was a job to claim."""
        records = self.store.claim(a_claim(lease=LEASE, worker=f"w-{self.depth}")).records
        if not records:
            return False
        (record,) = records
        self.depth += 1
        self.alive.append(True)
        creating = len(self.create_ends)
        gate = OpenGate(self.clock)
        means = StepContext(
            self.service,
            gate,
            CrashingJournal(self),
            self.shelf,
            BudgetGate(self.store, {}, Timings()),
            ChannelGate(self.store, Timings()),
            RetryPolicy(),
            lambda: 0.5,
            dict,
        )
        try:
            self.run_others()
            outcome = self._step(record, means)
            del self.create_ends[creating:]
            self.run_others()
            self._crash_point()
            self.store.settle(record.job_id, record.lease_token, outcome)
            self._crash_point()
        except (Crash, LeaseLost, StoreUnavailable, ActionRefused):
            pass  # the lease expires
        finally:
            del self.create_ends[creating:]
            self.alive.pop()
            self.depth -= 1
        return True

    def _step(self, record: JobRecord, means: StepContext) -> Outcome:
        try:
            return generate_video(record, means)
        except RuntimeError as error:  # the engine's reaction to its own bugs
            delay = means.retry.delay(record.attempts + 1, draw=0.5)
            failure = Failure("internal_error", str(error))
            return Dead(failure) if delay is None else Retry(self.clock.now() + delay, failure)

    def run(self) -> JobRecord:
        """Deliver until nothing is left to do, with occasional retries, cancellations and resolutions by hand."""
        self.store.add(QUEUE, new("job-1"))
        for _ in range(400):
            self.deliver()
            self.check()
            record = self.store.require("job-1")
            if self.tape.draw(10) == 9 and record.status not in FINAL:
                self.store.cancel("job-1")
            elif record.submission.state is UNKNOWN and record.lease is None and self.tape.draw(2) == 1:
                self._resolve(record)
            elif self._may_be_retried(record) and self.tape.draw(2) == 1:
                self.store.retry("job-1")
            else:
                again_at = record.lease.until if record.lease else record.due
                if again_at is None:
                    return record
                self.clock.set(max(again_at, self.clock.now()))
        raise AssertionError(f"the job did not come to an end: {record}")

    def _resolve(self, record: JobRecord) -> None:
        """Resolve the job by hand according to what the service sold."""
        ticket = self.service.bought(record.submission.id)
        self.store.resolve("job-1", ConfirmedPurchase(ticket, self.service.lifetime) if ticket else Resubmit())

    @staticmethod
    def _may_be_retried(record: JobRecord) -> bool:
        return record.status in (Status.FAILED, Status.CANCELLED) and record.submission.state is not UNKNOWN

    def check(self) -> None:
        """Nothing was bought twice."""
        assert len([ticket for ticket in self.service.sold if ticket.id not in self.service.failed]) <= 1


class CrashingJournal:
    """The store as the journal of a worker that can crash before or after each call, and stall before it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.store.now()

    def intend(self, *arguments: Any, **options: Any) -> JobRecord:
        self._world.run_others()
        fate = self._world.tape.draw(10)
        if fate == 9:
            raise StoreUnavailable("the store is away")
        record = self._around(lambda: self._world.store.intend(*arguments, **options))
        if fate == 8:
            raise StoreUnavailable("the store has written it, and its answer is lost")
        return record

    def accept(self, *arguments: Any, **options: Any) -> JobRecord:
        # The create has ended: from here on the worker can stall for any time.
        self._world.create_ends.clear()
        self._world.run_others()
        return self._around(lambda: self._world.store.accept(*arguments, **options))

    def mark_unknown(self, *arguments: Any, **options: Any) -> JobRecord:
        return self._around(lambda: self._world.store.mark_unknown(*arguments, **options))

    def clear_submission(self, *arguments: Any, **options: Any) -> JobRecord:
        return self._around(lambda: self._world.store.clear_submission(*arguments, **options))

    def _around(self, act: Callable[[], JobRecord]) -> JobRecord:
        self._world._crash_point()
        record = act()
        self._world._crash_point()
        return record


MAKERS: dict[str, Callable[[ManualClock], ScriptedService]] = {
    "neither": lambda clock: ScriptedService(clock, create_timeout=100.0, max_in_flight=1),
    "finds": lambda clock: FindingService(clock, complete=False, create_timeout=100.0, max_in_flight=1),
    "finds all": lambda clock: FindingService(clock, complete=True, create_timeout=100.0, max_in_flight=1),
    "repeats": lambda clock: ScriptedService(clock, create_timeout=100.0, max_in_flight=1, idempotency_window=300.0),
    "repeats and finds all": lambda clock: FindingService(
        clock, complete=True, create_timeout=100.0, max_in_flight=1, idempotency_window=300.0
    ),
}


@pytest.mark.parametrize("kind", MAKERS)
@given(seed=st.integers(0, 2**32), length=st.integers(0, 80), loudness=st.sampled_from([0.4, 0.7, 1.0]))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_pay_once(kind: str, seed: int, length: int, loudness: float) -> None:
    """For any crashes, stalls and late workers, at most one generation is bought without failing, and the job ends."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), Tape(seed, length, loudness), MAKERS[kind])
        try:
            record = world.run()
            assert record.status in FINAL | {Status.HELD}
            if record.status is Status.SUCCEEDED:
                assert len(world.service.sold) - len(world.service.failed) == 1
            # Each purchase is counted once, whichever worker saves its ticket.
            assert sum(sum_.videos for sum_ in world.store.spent("")) <= len(world.service.sold)
        finally:
            world.store.close()


def test_means_are_contracts(bench: Bench) -> None:
    """The real store and the scripted service satisfy the interfaces of a step."""
    assert isinstance(bench.means.service, VideoService)
    assert isinstance(bench.store, JobStore)
