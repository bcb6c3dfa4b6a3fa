"""`generate_video`: one short step of a job, the same for every service and every queue backend.

    submit ──► poll ──► poll ──► … ──► fetch ──► done
       └─► lookup (if a paid create was interrupted or its outcome is unknown)

It depends only on interfaces, never sleeps, and returns an `Outcome` that tells the queue backend what to do next. The
order of its actions prevents paying twice: journal the intent, send the create, journal the result.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tenxsom_flow_engine.budgets import Budget
from tenxsom_flow_engine.errors import (
    Action,
    ActionRefused,
    BudgetSpent,
    Busy,
    InvalidInput,
    InvalidVideo,
    Misconfigured,
    OutOfCredit,
    OutputAway,
    OutputError,
    Rejected,
    ServiceError,
    SlotsBusy,
    StoreError,
    Transient,
    Uncertain,
)
from tenxsom_flow_engine.generation.budget_gate import BudgetGate
from tenxsom_flow_engine.generation.channel_gate import ChannelGate
from tenxsom_flow_engine.generation.order_excerpt import truncate_json
from tenxsom_flow_engine.jobs import (
    Cost,
    Event,
    EventKind,
    Failure,
    JobRecord,
    Step,
    SubmissionState,
    Ticket,
    Video,
    VideoJob,
)
from tenxsom_flow_engine.jobs.delivery import submission_id
from tenxsom_flow_engine.jobs.lifecycle import ways_to_resolve
from tenxsom_flow_engine.jobs.outcomes import Dead, Done, Held, Outcome, Retry, Wait
from tenxsom_flow_engine.jobs.remedies import AFTER_REFUSAL
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.rate_limits.base import Closed, QuotaGate
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.services.base import Failed, FindsByReference, HasCredits, Lost, Progress, Ready, VideoService
from tenxsom_flow_engine.timings import Timings

#: Seconds in which the machine that has fetched a video is expected to publish it, before its job can fail.
SPOOL_PATIENCE = 86400.0


class Journal(Protocol):
    """The submission journal, implemented by `store.base.JobStore`. Each call is durable when it returns."""

    def now(self) -> float:
        """Return the present instant."""

    def intend(self, job_id: str, token: str, intent: Intent, budgets: Mapping[str, Budget] | None = None) -> JobRecord:
        """Journal a create before it is sent, occupy its in-flight slot, and reserve its cost in the budgets."""

    def accept(self, job_id: str, receipt: Receipt) -> JobRecord:
        """Journal the ticket of an accepted create and its purchase."""

    def mark_unknown(self, job_id: str, *, submission_id: str, reason: str) -> JobRecord:
        """Journal that the create's outcome is unknown."""

    def clear_submission(self, job_id: str, *, submission_id: str, reason: str, token: str = "") -> JobRecord:
        """Journal the proof that nothing was bought: by the whole submission, or (with `token`) under one lease."""


class Publisher(Protocol):
    """Publishes videos, implemented by `output.base.Output`."""

    def recover(self, record: JobRecord) -> Video | None:
        """Return a job's video if it is published, or complete on this machine; None if it must be fetched."""

    def publish(
        self, record: JobRecord, fill: Callable[[Path], None], *, reported_duration: float | None = None
    ) -> Video:
        """Let `fill` write the files into an empty folder, check them, and publish them atomically.

        `reported_duration`: the length in seconds that the service reports, or else the ordered length.
        """


@dataclass(frozen=True, slots=True)
class StepContext:
    """The dependencies of a step: one context for each service, made once in a process."""

    service: VideoService
    gate: QuotaGate
    journal: Journal
    publisher: Publisher
    budgets: BudgetGate
    channels: ChannelGate
    retry: RetryPolicy
    #: Draws a random number in [0, 1).
    draw: Callable[[], float] = random.random
    #: Redacts secrets in values that people read.
    redact: Callable[[Mapping[str, object]], object] = dict
    timings: Timings = Timings()
    #: Returns the seconds before a job asks again for an in-flight slot.
    slot_retry: Callable[[], float] = lambda: Timings().slot_retry


def generate_video(record: JobRecord, context: StepContext) -> Outcome:
    """Run the next step of a leased job and return its outcome.

    Raises `LeaseLost` if another worker owns the job, `StartMissed` if it is too late to buy, and `StoreError` if the
    journal cannot be written.
    """
    try:
        match record.step:
            case Step.SUBMIT:
                return _submit(record, context)
            case Step.LOOKUP:
                return _look_up(record, context)
            case Step.POLL | Step.FETCH:
                return _poll(record, context)
    except SlotsBusy as busy:
        return Wait(context.journal.now() + context.slot_retry(), busy.message, worked=False)
    except BudgetSpent as spent:
        context.budgets.remember(spent, context.service.name)
        return Wait(context.budgets.ask_again_at(spent, record.job_id), str(spent), worked=False)
    except ActionRefused as changed:
        # Another worker saved the ticket after we claimed the job and before we journaled our intent.
        return Wait(context.journal.now(), changed.message, worked=False)
    except OutputAway as away:
        # The video is bought and complete on this machine, so waiting is all that is left, and no attempt.
        return Wait(context.journal.now() + context.timings.output_retry, away.message, kind=EventKind.SPOOLED)
    except (ServiceError, OutputError, InvalidInput) as error:
        return _fault(record, error, context)


def _submit(record: JobRecord, context: StepContext) -> Outcome:
    return _order(record, submission_id(record), context)


def _order(record: JobRecord, reference: str, context: StepContext) -> Outcome:
    """Order the generation if budgets and gate are open: admission, intent, create, in this order."""
    service = context.service
    job = service.fit(record.job).job
    expected = service.estimate(job)
    if paused := context.channels.refusal(job.channel):
        return Wait(context.channels.ask_again_at(record.job_id), paused, worked=False)
    if record.submission.state is SubmissionState.NONE and (full := context.channels.full(job.channel)):
        raise full
    reserve = context.budgets.reserve(expected)
    if record.submission.charge is None and (spent := context.budgets.refusal(job, service.name, reserve)):
        return Wait(context.budgets.ask_again_at(spent, record.job_id), str(spent), worked=False)
    answer = context.gate.ask(service.name, record.job_id, context.channels.share(job.channel))
    if isinstance(answer, Closed):
        return Wait(answer.ask_again_at, answer.why, worked=False)
    with ExitStack() as unsent:
        unsent.callback(context.gate.give_back, answer)
        if answer.probe:
            _check_credits(service)
        order = service.order(job, reference)
        began = _intend(record, job, order, reference, reserve, context)
        unsent.pop_all()
    return _create(record, order, reference, expected, began, context)


def _check_credits(service: VideoService) -> None:
    """Raise `OutOfCredit` if a stopped service reports no credits: this is cheaper than a create that fails."""
    if isinstance(service, HasCredits):
        left = service.credits()
        if left.remaining is not None and left.remaining <= 0:
            raise OutOfCredit(
                service.name, f"no {left.unit} are left", next_step="add some; the service then resumes automatically"
            )


def _intend(
    record: JobRecord,
    job: VideoJob,
    order: Mapping[str, object],
    reference: str,
    reserve: int | None,
    context: StepContext,
) -> float:
    """Journal the create of a fitted job, and return the instant of the intent."""
    service = context.service
    intent = Intent(
        submission_id=reference,
        service=service.name,
        lifetime=service.create_timeout + service.lifetime,
        max_in_flight=service.max_in_flight,
        max_of_channel=context.channels.settings(job.channel).slots,
        reserve=reserve,
        prompt=service.prompt(job),
        order=truncate_json(context.redact(order)),
    )
    try:
        intended = context.journal.intend(record.job_id, record.lease_token, intent, context.budgets.environment)
    except StoreError as error:
        if record.step is Step.SUBMIT:
            # The intent might have been written despite the error, and only this worker knows that nothing was sent.
            context.journal.clear_submission(
                record.job_id, submission_id=reference, reason=error.message, token=record.lease_token
            )
        raise
    return intended.submission.intended_at


def _create(
    record: JobRecord,
    order: Mapping[str, object],
    reference: str,
    expected: Cost | None,
    began: float,
    context: StepContext,
) -> Outcome:
    """Send the journaled order and journal its outcome, with the reported price or else the estimate.

    Nothing reads the store between intent, create and ticket, not even for the time: it might be down by then.
    """
    service, journal = context.service, context.journal
    try:
        ticket = service.create(order, reference)
    except ServiceError as error:
        # A refusal proves that this create bought nothing. The refusal of a repeat proves nothing about earlier ones.
        if record.step is Step.SUBMIT and not isinstance(error, Uncertain):
            journal.clear_submission(
                record.job_id, submission_id=reference, reason=error.message, token=record.lease_token
            )
        else:
            journal.mark_unknown(record.job_id, submission_id=reference, reason=error.message)
        raise
    except BaseException as error:
        # A bug in the engine after the request was sent proves nothing.
        reason = f"{type(error).__name__} in the create"
        journal.mark_unknown(record.job_id, submission_id=reference, reason=reason)
        raise
    answered = _accept(record, reference, ticket, expected, context)
    context.gate.answered(service.name, answered - began)
    first_check = min(service.first_check, context.timings.max_poll_interval)
    return Wait(answered + first_check, service.name, kind=EventKind.SUBMITTED)


def _accept(record: JobRecord, reference: str, ticket: Ticket, expected: Cost | None, context: StepContext) -> float:
    """Journal a ticket and its cost, and return the instant."""
    service = context.service
    receipt = Receipt(
        submission_id=reference,
        ticket=ticket,
        lifetime=service.lifetime,
        cost=_cost(ticket, expected),
        service=service.name,
    )
    accepted = context.journal.accept(record.job_id, receipt)
    return accepted.updated_at


def _cost(ticket: Ticket, expected: Cost | None) -> Cost | None:
    """Return the cost of a ticket: the credits that the service reported, at the estimated price per credit."""
    if ticket.credits is None:
        return expected
    usd = None
    if expected and expected.usd is not None and expected.credits:
        usd = round(expected.usd * ticket.credits / expected.credits, 6)
    return Cost(usd=usd, credits=ticket.credits, estimated=False)


def _look_up(record: JobRecord, context: StepContext) -> Outcome:
    """Determine the outcome of a create without buying twice."""
    service, journal, submission = context.service, context.journal, record.submission
    now = journal.now()
    settled_at = submission.intended_at + service.create_timeout + context.timings.create_settle_margin
    # A create that stays idempotent forever can run twice at the same time. Any other must not be repeated while the
    # first one might still be in progress.
    idempotency_window = service.idempotency_window(record.job)
    always_idempotent = idempotency_window == math.inf
    if submission.state is SubmissionState.INTENT and now < settled_at and not always_idempotent:
        return Wait(settled_at, "another worker might still be sending the paid create", worked=False)
    if now + service.create_timeout < submission.first_intended_at + idempotency_window:
        # A repeat buys nothing new, but it counts against the limits like any other request.
        return _order(record, submission.id, context)
    if isinstance(service, FindsByReference):
        ticket = service.find(submission.id)
        if ticket is not None:
            _accept(record, submission.id, ticket, expected_cost(record.job, service), context)
            return Wait(now, f"found at {service.name}")
        if now < settled_at:
            return Wait(settled_at, f"{service.name} does not list the create yet", worked=False)
        if service.find_is_complete:
            reason = f"not found at {service.name}"
            journal.clear_submission(record.job_id, submission_id=submission.id, reason=reason)
            return Wait(now, reason)
    return _held(record, service.name)


def expected_cost(job: VideoJob, service: VideoService) -> Cost | None:
    """Estimate the cost of a job at the service it was sent to (the record does not keep the estimate).

    None if it is unknown, or if the job no longer fits the service.
    """
    try:
        return service.estimate(service.fit(job).job)
    except InvalidInput:  # the settings have changed since
        return None


def _poll(record: JobRecord, context: StepContext) -> Outcome:
    ticket = record.submission.ticket
    assert ticket is not None  # an accepted submission has one
    if record.step is Step.FETCH and (video := context.publisher.recover(record)) is not None:
        return Done(video)
    context.service.check_ticket(ticket)
    answer = context.service.check(ticket)
    if isinstance(answer, Failed | Lost) and (spooled := _spooled(record, context.journal.now())):
        return Wait(context.journal.now() + context.timings.output_retry, spooled.detail)
    if record.submission.by_hand and isinstance(answer, Failed | Lost) and not context.service.knows(ticket):
        return _wrong_ticket(ticket, context.service.name)
    now = context.journal.now()
    match answer:
        case Progress(fraction, poll_after) if now < record.submission.deadline:
            return Wait(
                min(now + min(poll_after, context.timings.max_poll_interval), record.submission.deadline),
                progress=fraction,
                kind=EventKind.RENDERING,
            )
        case Progress():
            return Dead(
                Failure(
                    "generation_timeout",
                    f"{context.service.name} did not finish within {context.service.lifetime / 60:.0f} minutes",
                    "a retry polls the same video again and buys nothing",
                    (Action.RETRY,),
                )
            )
        case Failed(message, next_step, refunded):
            return Dead(
                Failure("generation_failed", f"{context.service.name} failed: {message}", next_step, AFTER_REFUSAL),
                generation_failed=True,
                refunded=refunded,
            )
        case Lost(message):
            return Dead(
                Failure(
                    "generation_lost",
                    f"{context.service.name} no longer knows this generation: {message}",
                    "it cost nothing; a retry submits the job again",
                    (Action.RETRY,),
                ),
                generation_failed=True,
                refunded=True,
            )
        case Ready() if record.step is Step.POLL:
            return Wait(now, progress=1.0, rendered=True)
        case Ready():
            # The address is fresh from the check above; one stored by the poll step would have expired.

            def fetch(folder: Path) -> None:
                context.service.fetch(record.job, answer, folder)

            reported = answer.duration or _fitted_duration(record.job, context.service)
            return Done(context.publisher.publish(record, fetch, reported_duration=reported))


def _spooled(record: JobRecord, now: float) -> Event | None:
    """Return the event that a worker has fetched the video and waits for the bucket, unless that was long ago.

    The vendor might have deleted it since, but the machine of that worker will publish it.
    """
    if record.step is not Step.FETCH:
        return None
    events = [event for event in record.events if event.what == EventKind.SPOOLED]
    return events[-1] if events and now < max(events[-1].at, events[-1].last_at) + SPOOL_PATIENCE else None


def _wrong_ticket(ticket: Ticket, name: str) -> Held:
    """Hold a job whose ticket, entered by hand, the service does not know: what its create bought is unknown again."""
    failure = Failure(
        "wrong_ticket",
        f"{name} knows no generation {ticket.id!r}, which was entered by hand, so its purchase is withdrawn",
        f"search for the video in your account at {name}",
        ways_to_resolve(held=True),
    )
    return Held(failure, wrong_ticket=True)


def _fitted_duration(job: VideoJob, service: VideoService) -> float | None:
    """Return the ordered length in seconds; the job itself only holds the requested one."""
    try:
        return float(service.fit(job).job.duration)
    except InvalidInput:  # the settings have changed since
        return None


def _fault(record: JobRecord, error: ServiceError | OutputError | InvalidInput, context: StepContext) -> Outcome:
    """Convert an error of this step to its outcome."""
    now = context.journal.now()
    match error:
        case Rejected() | InvalidInput() if record.step is Step.LOOKUP:
            return _held(record, context.service.name)
        case Rejected() | InvalidInput():
            return Dead(Failure(error.code, error.message, error.next_step, AFTER_REFUSAL))
        case InvalidVideo():
            step = f"a retry downloads it from {context.service.name} again and buys nothing"
            return Dead(Failure(error.code, error.message, step, (Action.RETRY,)))
        case Misconfigured() | OutOfCredit() | Busy():
            closed = context.gate.refused(context.service.name, error)
            # The gate holds back a job that has bought nothing. A paid job passes it, so it needs an additional pause
            # or it would keep calling a stopped service.
            pause = (error.retry_after or 0.0) if isinstance(error, Busy) else context.timings.stopped_service_retry
            until = closed.ask_again_at if record.step is Step.SUBMIT else max(closed.ask_again_at, now + pause)
            return Wait(until, closed.why, worked=False)
    retry_after = error.retry_after if isinstance(error, Transient) else None
    # A job that is or might be paid ends at its deadline, not after a number of attempts: a short outage could use up
    # any number.
    endless = isinstance(error, Uncertain) or (isinstance(error, ServiceError) and now < record.submission.deadline)
    attempts = record.attempts + 1
    delay = context.retry.delay(attempts, draw=context.draw(), retry_after=retry_after, endless=endless)
    if delay is not None:
        return Retry(now + delay, Failure.of(error))
    if record.step is Step.LOOKUP:
        return _held(record, context.service.name)
    return Dead(Failure(error.code, f"{error.message} ({attempts} attempts)", error.next_step, (Action.RETRY,)))


def _held(record: JobRecord, service: str) -> Held:
    return Held(
        Failure(
            "submission_unknown",
            f"it is unknown whether {service} accepted the paid create {record.submission.id}",
            f"look for it at {service}",
            ways_to_resolve(held=True),
        )
    )
