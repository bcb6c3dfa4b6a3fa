"""Run one step of a leased job: choose the service, call `generate_video`, and turn our own bugs into an outcome."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec

from tenxsom_flow_engine.errors import Action, FlowError, InvalidInput, LeaseLost, StartMissed, StoreError
from tenxsom_flow_engine.generation.budget_gate import BudgetGate
from tenxsom_flow_engine.generation.channel_gate import ChannelGate
from tenxsom_flow_engine.generation.routing import Candidate, auto_services, candidates, candidates_of, first_to_open
from tenxsom_flow_engine.generation.step import Publisher, StepContext, generate_video
from tenxsom_flow_engine.jobs import AUTO, Failure, JobRecord, Step, SubmissionState, lifecycle
from tenxsom_flow_engine.jobs.outcomes import Dead, Expired, Held, Outcome, Retry, Wait
from tenxsom_flow_engine.jobs.remedies import AFTER_REFUSAL
from tenxsom_flow_engine.jobs.submission import Receipt
from tenxsom_flow_engine.logs import Redactor
from tenxsom_flow_engine.rate_limits.base import QuotaGate
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.retrying import RetryingWrites
from tenxsom_flow_engine.timings import Timings

_log = logging.getLogger(__name__)


class StepRunner:
    """Runs the steps of a process. Made once; threads share it.

    `min_requeue_delay` returns the minimum seconds before a pushed job can be delivered again; None for a queue that
    workers pull from, where a job can keep its place in its lane.
    """

    def __init__(
        self,
        services: Mapping[str, VideoService],
        store: JobStore,
        publisher: Publisher,
        gate: QuotaGate,
        budgets: BudgetGate,
        channels: ChannelGate,
        *,
        persist: RetryingWrites,
        retry: RetryPolicy,
        timings: Timings,
        redactor: Redactor,
        min_requeue_delay: Callable[[], float] | None = None,
    ) -> None:
        self._services = services
        self._auto_services = auto_services(services)
        self._store = store
        self._gate = gate
        self._budgets = budgets
        self._retry = retry
        self._timings = timings
        self._min_requeue_delay = min_requeue_delay
        journal = _RetryingJournal(store, persist)
        self._contexts = {
            name: StepContext(
                service,
                gate,
                journal,
                publisher,
                budgets,
                channels,
                retry,
                redact=redactor.value,
                timings=timings,
                slot_retry=self._slot_retry,
            )
            for name, service in services.items()
        }

    def run(self, record: JobRecord) -> Outcome:
        """Run the next step of a leased job and return its outcome. Raises `LeaseLost`, `StoreError`."""
        name = record.effective_service
        allowed = {record.service} if record.service else record.job.allowed_services
        if allowed and not allowed & self._services.keys():
            until = self._store.now() + self._timings.unknown_service_retry
            return Wait(until, f"{' or '.join(sorted(allowed))} is not configured on this worker", worked=False)
        try:
            if record.expires_at is not None:  # the journal checks it again, in its transaction
                lifecycle.check_start(record, self._store.now())
            outcome = self._submit_to_best(record) if name == AUTO else generate_video(record, self._contexts[name])
            return self._keep_place_in_line(record, outcome)
        except StartMissed as missed:
            return Expired(Failure.of(missed))
        except InvalidInput as error:
            return Dead(Failure(error.code, error.message, error.next_step, AFTER_REFUSAL))
        except (StoreError, LeaseLost):
            raise
        except Exception as error:  # a bug in the engine must not end the worker
            _log.exception("step %s of job %s", record.step, record.job_id)
            return self._internal_error(record, error)

    def _submit_to_best(self, record: JobRecord) -> Outcome:
        """Submit an `auto` job to the best service."""
        looks_up = record.step is Step.LOOKUP
        # A lookup buys nothing, and a service whose price has risen since might have sold the video.
        choice = candidates(record.job, self._services) if looks_up else candidates_of(record, self._services)
        if len(choice) == 1:
            return generate_video(record, self._contexts[choice[0].service.name])
        if looks_up:
            return Held(_maybe_bought_somewhere(record, [one.service.name for one in choice]))
        _, best = self._first_to_open(choice, record, self._store.now())
        outcome = generate_video(record, self._contexts[best.service.name])
        if isinstance(outcome, Wait) and not outcome.worked:
            # The best service refused. If another gate is open now, the job should not wait for this one.
            now = self._store.now()
            opens_at, other = self._first_to_open(choice, record, now)
            if other is not best and opens_at <= now:
                return replace(outcome, until=now)
        return outcome

    def _first_to_open(self, choice: Sequence[Candidate], record: JobRecord, now: float) -> tuple[float, Candidate]:
        def spent_until(candidate: Candidate) -> float:
            reserve = self._budgets.reserve(candidate.cost)
            spent = self._budgets.refusal(record.job, candidate.service.name, reserve)
            return 0.0 if spent is None else spent.resets_at or math.inf

        return first_to_open(choice, self._gate, self._store.in_flight, now, spent_until)

    def _keep_place_in_line(self, record: JobRecord, outcome: Outcome) -> Outcome:
        """Return a pulled job that was refused before it bought anything to its place in its lane.

        This cannot spin: while every service of the job's lane is closed or full, this worker claims nothing from that
        lane. If a service is open that cannot make this job, the job moves back so that others can use that service.
        """
        if not isinstance(outcome, Wait) or outcome.worked or record.step is not Step.SUBMIT:
            return outcome
        if record.lease is None or self._min_requeue_delay is not None:
            return outcome
        now, closed = self._store.now(), self._gate.closed()
        lane = self._auto_services if record.lane == AUTO else {record.lane}
        idle = all(
            closed.get(name, 0.0) > now or self._store.in_flight(name) >= self._services[name].max_in_flight
            for name in lane
        )
        if idle or outcome.until <= now:
            return replace(outcome, until=min(outcome.until, record.lease.due))
        return outcome

    def _slot_retry(self) -> float:
        least = self._min_requeue_delay() if self._min_requeue_delay is not None else 0.0
        return max(self._timings.slot_retry, least)

    def _internal_error(self, record: JobRecord, error: Exception) -> Outcome:
        message = error.message if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        failure = Failure(
            "internal_error",
            f"the {record.step} step failed: {message}"[:500],
            "this is a bug in the engine; see the worker's log",
        )
        delay = self._retry.delay(record.attempts + 1, draw=random.random())
        if delay is not None:
            return Retry(self._store.now() + delay, failure)
        # The error might have occurred after a create was sent.
        state = self._store.require(record.job_id).submission.state
        if state in (SubmissionState.INTENT, SubmissionState.UNKNOWN):
            return Held(msgspec.structs.replace(failure, actions=lifecycle.ways_to_resolve(held=True)))
        return Dead(msgspec.structs.replace(failure, actions=(Action.RETRY,)))


def _maybe_bought_somewhere(record: JobRecord, services: Sequence[str]) -> Failure:
    """Describe a job that might have been bought, at a service that was only known to a store that was lost."""
    return Failure(
        "submission_unknown",
        f"a worker might have ordered it as {record.submission.id}, but its store is lost, so the service is unknown",
        f"look for it at {', '.join(services)}, and name the service with the ticket",
        lifecycle.ways_to_resolve(held=True),
    )


class _RetryingJournal:
    """The store as a submission journal that repeats writes about purchases until they succeed."""

    def __init__(self, store: JobStore, persist: RetryingWrites) -> None:
        self._store = store
        self._persist = persist
        self.now = store.now
        # An intent is not repeated: nothing has been bought yet, so the step can fail.
        self.intend = store.intend

    def accept(self, job_id: str, receipt: Receipt) -> JobRecord:
        what = f"the ticket {receipt.ticket.id} of job {job_id}"
        return self._persist(lambda: self._store.accept(job_id, receipt), what)

    def mark_unknown(self, job_id: str, *, submission_id: str, reason: str) -> JobRecord:
        return self._persist(
            lambda: self._store.mark_unknown(job_id, submission_id=submission_id, reason=reason),
            f"the unknown outcome of {job_id}",
        )

    def clear_submission(self, job_id: str, *, submission_id: str, reason: str, token: str = "") -> JobRecord:
        return self._persist(
            lambda: self._store.clear_submission(job_id, submission_id=submission_id, reason=reason, token=token),
            f"the refusal of {job_id}",
        )
