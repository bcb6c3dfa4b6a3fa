"""`generate_video`: one short step of a job, the same for every service and every queue backend.

    submit ──► poll ──► poll ──► … ──► fetch ──► done
       └─► lookup (where a paid create was cut off or its outcome is not known)

It sees contracts only, waits nowhere, and returns what the queue backend shall do (see `outcomes`). What keeps a job from
being paid twice is the order of its acts: journal the intent, send the create, journal what came of it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tenxsom_flow_engine.errors import (
    Action,
    ActionRefused,
    Busy,
    FlowError,
    InvalidInput,
    Misconfigured,
    OutOfCredit,
    OutputError,
    Rejected,
    ServiceError,
    SlotsBusy,
    StoreError,
    Transient,
    Uncertain,
)
from tenxsom_flow_engine.generation.order_excerpt import truncate_json
from tenxsom_flow_engine.jobs import Cost, EventKind, Failure, JobRecord, Step, SubmissionState, Ticket, Video, VideoJob
from tenxsom_flow_engine.jobs.delivery import submission_id
from tenxsom_flow_engine.jobs.lifecycle import ways_to_resolve
from tenxsom_flow_engine.jobs.outcomes import Dead, Done, Held, Outcome, Retry, Wait
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.rate_limits.base import Closed, QuotaGate
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.services.base import Failed, FindsByReference, HasCredits, Lost, Progress, Ready, VideoService
from tenxsom_flow_engine.timings import Timings

#: What helps where a service refused the job as it is, or failed to make it.
AFTER_REFUSAL = (Action.EDIT, Action.RETRY)


class Journal(Protocol):
    """The submission journal, as `store.base.JobStore` keeps it. Each call is on disk when it returns."""

    def now(self) -> float:
        """Return the present instant."""

    def intend(self, job_id: str, token: str, intent: Intent) -> JobRecord:
        """Journal a create before it is sent, and take its in-flight slot."""

    def accept(self, job_id: str, receipt: Receipt) -> JobRecord:
        """Journal the ticket of an accepted create and its purchase."""

    def mark_unknown(self, job_id: str, *, submission_id: str, reason: str) -> JobRecord:
        """Journal that the create's outcome is not known."""

    def clear_submission(self, job_id: str, *, submission_id: str, reason: str, token: str = "") -> JobRecord:
        """Journal the proof that nothing was bought: by any create of the submission, or by that of one lease."""


class Publisher(Protocol):
    """Where videos are published."""

    def publish(
        self, record: JobRecord, fill: Callable[[Path], None], *, reported_duration: float | None = None
    ) -> Video:
        """Have `fill` write the files into an empty folder, check them, and publish them all at once.

        `told`: the length in seconds that its service says, or else was ordered of it.
        """


@dataclass(frozen=True, slots=True)
class StepContext:
    """The parts that a step works with. One for each service, made once in a process."""

    service: VideoService
    gate: QuotaGate
    journal: Journal
    publisher: Publisher
    retry: RetryPolicy
    #: Draws a random number in [0, 1).
    draw: Callable[[], float] = random.random
    #: Takes secrets out of values that people read.
    redact: Callable[[Mapping[str, object]], object] = dict
    timings: Timings = Timings()
    #: Returns the seconds after which a job asks again for an in-flight slot.
    slot_retry: Callable[[], float] = lambda: Timings().slot_retry


def generate_video(record: JobRecord, context: StepContext) -> Outcome:
    """Take the next step of a leased job and return its outcome.

    Raises `LeaseLost` if another worker has the job, and `StoreError` if the journal cannot be written.
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
    except ActionRefused as changed:
        # A late worker has brought the ticket between the claim and the intent.
        return Wait(context.journal.now(), changed.message, worked=False)
    except (ServiceError, OutputError, InvalidInput) as error:
        return _fault(record, error, context)


def _submit(record: JobRecord, context: StepContext) -> Outcome:
    return _order(record, submission_id(record), context)


def _order(record: JobRecord, reference: str, context: StepContext) -> Outcome:
    """Order the generation, if the gate is open: admission, intent, create, in this order."""
    answer = context.gate.ask(context.service.name, record.job_id)
    if isinstance(answer, Closed):
        return Wait(answer.ask_again_at, answer.why, worked=False)
    with ExitStack() as unsent:
        unsent.callback(context.gate.give_back, answer)
        if answer.probe:
            _see_credits(context.service)
        service = context.service
        job = service.fit(record.job).job
        order = service.order(job, reference)
        expected = service.estimate(job)
        began = _intend(record, job, order, reference, context)
        unsent.pop_all()
    return _create(record, order, reference, expected, began, context)


def _see_credits(service: VideoService) -> None:
    """See that a stopped service has money again, where it can say so: that is cheaper than a create that fails."""
    if isinstance(service, HasCredits):
        left = service.credits()
        if left.remaining is not None and left.remaining <= 0:
            raise OutOfCredit(service.name, f"no {left.unit} are left", next_step="add some; then it goes on by itself")


def _intend(
    record: JobRecord, job: VideoJob, order: Mapping[str, object], reference: str, context: StepContext
) -> float:
    """Journal the create of a job that fits, and return the instant of the intent."""
    service = context.service
    intent = Intent(
        submission_id=reference,
        service=service.name,
        lifetime=service.create_timeout + service.lifetime,
        max_in_flight=service.max_in_flight,
        prompt=service.prompt(job),
        order=truncate_json(context.redact(order)),
    )
    try:
        intended = context.journal.intend(record.job_id, record.lease_token, intent)
    except StoreError as error:
        if record.step is Step.SUBMIT:
            # It may be written though no answer came, and only this worker knows that nothing was sent.
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
    """Send the order that was journaled, and journal its outcome, at the reported price or else the expected one.

    The store is not asked for anything between intent, create and ticket, not even the time: it may be down by now.
    """
    service, journal = context.service, context.journal
    try:
        ticket = service.create(order, reference)
    except ServiceError as error:
        # A refusal proves that nothing was bought, except by a repeat: it says nothing of the call that it repeats.
        if record.step is Step.SUBMIT and not isinstance(error, Uncertain):
            journal.clear_submission(
                record.job_id, submission_id=reference, reason=error.message, token=record.lease_token
            )
        else:
            journal.mark_unknown(record.job_id, submission_id=reference, reason=error.message)
        raise
    except BaseException as error:
        # A fault of our own after the request went out proves nothing.
        reason = f"{type(error).__name__} in the create"
        journal.mark_unknown(record.job_id, submission_id=reference, reason=reason)
        raise
    answered = _accept(record, reference, ticket, expected, context)
    context.gate.answered(service.name, answered - began)
    return Wait(answered, service.name, kind=EventKind.SUBMITTED)


def _accept(record: JobRecord, reference: str, ticket: Ticket, expected: Cost | None, context: StepContext) -> float:
    """Journal a ticket and what it cost, and return the instant."""
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
    """Return what a ticket cost: the credits that its service told, at the price that was expected for them."""
    if ticket.credits is None:
        return expected
    usd = None
    if expected and expected.usd is not None and expected.credits:
        usd = round(expected.usd * ticket.credits / expected.credits, 6)
    return Cost(usd=usd, credits=ticket.credits, estimated=False)


def _look_up(record: JobRecord, context: StepContext) -> Outcome:
    """Find out what came of a create, without buying twice."""
    service, journal, submission = context.service, context.journal, record.submission
    now = journal.now()
    settled_at = submission.intended_at + service.create_timeout + context.timings.create_settle_margin
    # A create that is idempotent by nature may run beside its twin; any other is left alone while it may be under way.
    idempotency_window = service.idempotency_window(record.job)
    harmless = idempotency_window == math.inf
    if submission.state is SubmissionState.INTENT and now < settled_at and not harmless:
        return Wait(settled_at, "the worker that began the paid create may still be sending it", worked=False)
    if now + service.create_timeout < submission.first_intended_at + idempotency_window:
        # A repeat buys nothing new, but it is a request like any other.
        return _order(record, submission.id, context)
    if isinstance(service, FindsByReference):
        ticket = service.find(submission.id)
        if ticket is not None:
            _accept(record, submission.id, ticket, expected_cost(record.job, service), context)
            return Wait(now, f"found at {service.name}")
        if now < settled_at:
            return Wait(settled_at, f"{service.name} does not show the create yet", worked=False)
        if service.find_is_complete:
            reason = f"{service.name} knows nothing of it"
            journal.clear_submission(record.job_id, submission_id=submission.id, reason=reason)
            return Wait(now, reason)
    return _held(record, service.name)


def expected_cost(job: VideoJob, service: VideoService) -> Cost | None:
    """Return what a job was expected to cost at the service that it went to, which its record does not say."""
    try:
        return service.estimate(service.fit(job).job)
    except InvalidInput:  # the settings have changed since
        return None


def _poll(record: JobRecord, context: StepContext) -> Outcome:
    ticket = record.submission.ticket
    if ticket is None:
        raise FlowError(f"job {record.job_id} counts as accepted but has no ticket")
    answer = context.service.check(ticket)
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
                    "a retry asks for the same video again, and buys nothing",
                    (Action.RETRY,),
                )
            )
        case Failed(message, next_step):
            return Dead(
                Failure("generation_failed", f"{context.service.name} gave up: {message}", next_step, AFTER_REFUSAL),
                generation_failed=True,
            )
        case Lost(message):
            return Dead(
                Failure(
                    "generation_lost",
                    f"{context.service.name} knows nothing of it any more: {message}",
                    "it cost nothing, and a retry submits it again",
                    (Action.RETRY,),
                ),
                generation_failed=True,
            )
        case Ready() if record.step is Step.POLL:
            return Wait(now, progress=1.0, rendered=True)
        case Ready():
            # The fetch asked afresh first, because every service's address goes stale.

            def fetch(folder: Path) -> None:
                context.service.fetch(record.job, answer, folder)

            told = answer.duration or _fitted_duration(record.job, context.service)
            return Done(context.publisher.publish(record, fetch, reported_duration=told))


def _fitted_duration(job: VideoJob, service: VideoService) -> float | None:
    """Return the seconds that were ordered: a job that names no service still holds those that it asked for."""
    try:
        return float(service.fit(job).job.duration)
    except InvalidInput:  # the settings have changed since
        return None


def _fault(record: JobRecord, error: ServiceError | OutputError | InvalidInput, context: StepContext) -> Outcome:
    """Turn a fault of this step into its outcome."""
    now = context.journal.now()
    match error:
        case Rejected() | InvalidInput() if record.step is Step.LOOKUP:
            return _held(record, context.service.name)
        case Rejected() | InvalidInput():
            return Dead(Failure(error.code, error.message, error.next_step, AFTER_REFUSAL))
        case Misconfigured() | OutOfCredit() | Busy():
            closed = context.gate.refused(context.service.name, error)
            # Who has not bought yet is kept by the gate; anybody else would ask a shut service again and again.
            alone = (error.retry_after or 0.0) if isinstance(error, Busy) else context.timings.stopped_service_retry
            until = closed.ask_again_at if record.step is Step.SUBMIT else max(closed.ask_again_at, now + alone)
            return Wait(until, closed.why, worked=False)
    retry_after = error.retry_after if isinstance(error, Transient) else None
    # What was bought, or may have been, is given up by its deadline: an outage of a minute uses up any count.
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
            f"whether {service} accepted the paid create {record.submission.id} is not known",
            f"look for it at {service}",
            ways_to_resolve(held=True),
        )
    )
