"""A step of a leased job with the parts of this process: by which service, and what a fault of our own comes to."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tenxsom_flow_engine.errors import FlowError, InvalidInput, LeaseLost, StoreError
from tenxsom_flow_engine.generation.routing import automatic, candidates, first_to_open
from tenxsom_flow_engine.generation.step import SLOT_RETRY_SECONDS, StepContext, generate_video
from tenxsom_flow_engine.jobs import AUTO, Cost, Failure, JobRecord, Step, SubmissionState, Ticket, lifecycle
from tenxsom_flow_engine.jobs.outcomes import Dead, Held, Outcome, Retry, Wait
from tenxsom_flow_engine.logs import Redactor
from tenxsom_flow_engine.output.folder import OutputFolder
from tenxsom_flow_engine.queues.base import JobQueue, PushesJobs
from tenxsom_flow_engine.rate_limits.base import QuotaGate
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.retrying import RetryingWrites

_log = logging.getLogger(__name__)

#: Seconds after which a job is looked at again whose service this worker cannot use.
UNKNOWN_SERVICE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class StepRunner:
    """The parts that steps are taken with."""

    services: Mapping[str, VideoService]
    store: JobStore
    queue: JobQueue
    output: OutputFolder
    #: What is asked before a paid create.
    gate: QuotaGate
    insist: RetryingWrites
    retry: RetryPolicy
    redaction: Redactor

    def take(self, record: JobRecord) -> Outcome:
        """Take the next step of a leased job, and return its outcome. Raises `LeaseLost`, `StoreError`."""
        name = record.effective_service
        asked = {record.service} if record.service else record.job.allowed_services
        if asked and not asked & self.services.keys():
            until = self.store.now() + UNKNOWN_SERVICE_SECONDS
            return Wait(until, f"{' or '.join(sorted(asked))} is not configured on this worker", worked=False)
        try:
            if name == AUTO:
                outcome = self._submit_somewhere(record)
            else:
                outcome = generate_video(record, self._means(self.services[name]))
            return self._keep_place_in_line(record, outcome)
        except InvalidInput as error:
            return Dead(Failure.of(error))
        except (StoreError, LeaseLost):
            raise
        except Exception as error:  # a fault of our own must not take the worker with it
            _log.exception("step %s of job %s", record.step, record.job_id)
            return self._internal_error(record, error)

    def _submit_somewhere(self, record: JobRecord) -> Outcome:
        """Submit a job that names no service to the best one."""
        choice = candidates(record.job, self.services)
        if len(choice) == 1:
            return generate_video(record, self._means(choice[0].service))
        if record.step is Step.LOOKUP:
            return Held(_maybe_bought_somewhere(record, [one.service.name for one in choice]))
        _, best = first_to_open(choice, self.gate, self.store.in_flight, self.store.now())
        outcome = generate_video(record, self._means(best.service))
        if isinstance(outcome, Wait) and not outcome.worked:
            # What was refused here need not wait here, if another gate is open now.
            now = self.store.now()
            opens_at, other = first_to_open(choice, self.gate, self.store.in_flight, now)
            if other is not best and opens_at <= now:
                return replace(outcome, until=now)
        return outcome

    def _keep_place_in_line(self, record: JobRecord, outcome: Outcome) -> Outcome:
        """Let a pulled job that was refused before it bought anything go back to its place in line.

        That is no haste: as long as this worker knows all services of the job's lane to be shut or full, it claims
        nothing from there. Where one is open, which this job does not fit, the job stands back for those that do.
        """
        if not isinstance(outcome, Wait) or outcome.worked or record.step is not Step.SUBMIT:
            return outcome
        if record.lease is None or isinstance(self.queue, PushesJobs):  # a pushed delivery comes when it is told to
            return outcome
        now, closed = self.store.now(), self.gate.closed()
        lane = automatic(self.services) if record.lane == AUTO else {record.lane}
        at_rest = all(
            closed.get(name, 0.0) > now or self.store.in_flight(name) >= self.services[name].slots for name in lane
        )
        if at_rest or outcome.until <= now:
            return replace(outcome, until=min(outcome.until, record.lease.due))
        return outcome

    def _means(self, service: VideoService) -> StepContext:
        journal = _InsistentJournal(self.store, self.insist)
        redact = self.redaction.value
        return StepContext(
            service, self.gate, journal, self.output, self.retry, random.random, redact, self._slot_pause
        )

    def _slot_pause(self) -> float:
        return (
            max(SLOT_RETRY_SECONDS, self.queue.requeue_delay())
            if isinstance(self.queue, PushesJobs)
            else SLOT_RETRY_SECONDS
        )

    def _internal_error(self, record: JobRecord, error: Exception) -> Outcome:
        message = error.message if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        failure = Failure(
            "internal_error",
            f"the step {record.step} broke: {message}"[:500],
            "see the worker's log; this is a defect of the engine",
        )
        delay = self.retry.delay(record.attempts + 1, draw=random.random())
        if delay is not None:
            return Retry(self.store.now() + delay, failure)
        # The fault may have come after a create went out.
        bought = self.store.require(record.job_id).submission.state
        if bought in (SubmissionState.INTENT, SubmissionState.UNKNOWN):
            next_step = f"{failure.next_step}; {lifecycle.how_to_resolve(record.job_id, held=True)}"
            return Held(Failure(failure.code, failure.message, next_step))
        return Dead(failure)


def _maybe_bought_somewhere(record: JobRecord, services: Sequence[str]) -> Failure:
    """Say that a job may have been bought by a worker whose store, and so its choice of a service, is lost."""
    command = f"run_flow_enhanced.py jobs resolve {record.job_id}"
    return Failure(
        "submission_unknown",
        f"a worker may have ordered it as {record.submission.id}, and its store is lost, so nobody knows where",
        f"look for it at {', '.join(services)}; if it is not there: {command} --resubmit; "
        f"to let it be: {command} --give-up",
    )


class _InsistentJournal:
    """The store as a submission journal that does not give up on what has been bought."""

    def __init__(self, store: JobStore, insist: RetryingWrites) -> None:
        self._store = store
        self._insist = insist
        self.now = store.now
        # An intent is refused at once where the store fails: nothing has been bought yet.
        self.intend = store.intend

    def accept(
        self, job_id: str, *, submission_id: str, ticket: Ticket, lifetime: float, cost: Cost | None, service: str
    ) -> JobRecord:
        return self._insist(
            lambda: self._store.accept(
                job_id, submission_id=submission_id, ticket=ticket, lifetime=lifetime, cost=cost, service=service
            ),
            f"the ticket {ticket.id} of job {job_id}",
        )

    def mark_unknown(self, job_id: str, *, submission_id: str, reason: str) -> JobRecord:
        return self._insist(
            lambda: self._store.mark_unknown(job_id, submission_id=submission_id, reason=reason),
            f"the unknown outcome of {job_id}",
        )

    def clear_submission(self, job_id: str, *, submission_id: str, reason: str, token: str = "") -> JobRecord:
        return self._insist(
            lambda: self._store.clear_submission(job_id, submission_id=submission_id, reason=reason, token=token),
            f"the refusal of {job_id}",
        )
