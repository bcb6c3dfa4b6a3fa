"""The pull worker: claims due jobs, runs one short step of each, and waits in the store when nothing is due."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Action, ConfigurationError, LeaseLost, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.jobs.outcomes import Outcome
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.store.values import IN_PROGRESS, Claim
from tenxsom_flow_engine.store.wakeup import WakeupEvent
from tenxsom_flow_engine.text import plural
from tenxsom_flow_engine.workers.maintenance import Findings, WorkerMaintenance, log_step, step_log_context
from tenxsom_flow_engine.workers.outcomes import EndedStep, OutcomeWriter
from tenxsom_flow_engine.workers.step_threads import StepThreads

_log = logging.getLogger(__name__)

#: Maximum seconds of one wait, so that expired leases are noticed soon even on an idle queue.
MAX_REST_SECONDS = 1.0
#: A claim costs nearly the same for one job as for many. So a worker with several running steps claims at most once in
#: this many seconds; it claims at once while many jobs are due and this share of its threads is free.
CLAIM_PAUSE, FREE_SHARE = 0.03, 0.25


class PullWorker:
    """The main loop of a worker process, with up to `concurrency` threads that run steps.

    Most of the threads only wait for the answers of services (see `StepThreads`).
    With `burst` the worker ends when no job is queued, running or rendering any more; with `only`, when that job is
    final or held. `findings` returns the present verdicts for messages about them.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        concurrency: int,
        burst: bool = False,
        only: str | None = None,
        findings: Findings | None = None,
    ) -> None:
        self._engine = engine
        self._burst = burst
        self._only = only
        if not isinstance(engine.queue, PullsJobs):
            raise ConfigurationError(
                f"the {engine.queue.name} queue pushes its jobs to workers, so this worker cannot pull from it",
                next_step="choose another queue type, or start a push worker",
                actions=(Action.START_PUSH_WORKER,),
            )
        self._queue = engine.queue
        self._maintenance = WorkerMaintenance(engine, concurrency=concurrency, counted=only is None, findings=findings)
        self._stopping = threading.Event()
        #: Interrupts the loop's wait when a step ends or a stop is requested.
        self._wake = WakeupEvent()
        self._outcomes = OutcomeWriter(self._settle_each, self._settled)
        self._threads = StepThreads(concurrency, self._step, self._outcomes.save)
        #: When the last claim was made, on the monotonic clock, and whether it got as many jobs as it could.
        self._claimed_at, self._more_due = float("-inf"), False
        self._next_import = float("-inf")
        #: The jobs whose last step in this process left them failed or held.
        self._unsuccessful: set[str] = set()

    def run(self) -> None:
        """Work until stopped (or, with `burst` or `only`, until done). Raises `StoreBroken`."""
        # A restarted worker would not use an unnamed server that has jobs by then.
        self._engine.remember_queue()
        self._maintenance.start()
        if self._only is None:
            self._maintenance.plan_schedules()  # a burst ends before the next time
        try:
            while not self._stopping.is_set():
                if self._iterate():
                    break
            if self._maintenance.count:
                _log.info("stopping after %s", plural(self._maintenance.count, "running step"))
            while self._maintenance.count and not self._engine.abandon.is_set():
                self._wake.wait(MAX_REST_SECONDS)
                self._wake.clear()
        finally:
            self._maintenance.end()

    def stop(self) -> None:
        """Claim no more jobs and end when the running steps have ended; if called again, release them and end now.

        Safe to call from another thread, but not from a signal handler: it locks.
        """
        if self._stopping.is_set():
            self._engine.abandon.set()
        self._stopping.set()
        self._wake.set()

    @property
    def id(self) -> str:
        """The worker's name."""
        return self._maintenance.id

    @property
    def unsuccessful(self) -> int:
        """How many jobs failed or were held in their last step here."""
        return len(self._unsuccessful)

    @property
    def firm(self) -> bool:
        """Whether `stop` was called twice, so the worker ends without waiting for running steps."""
        return self._engine.abandon.is_set()

    def _iterate(self) -> bool:
        """Claim due jobs, or wait; return whether the work is done."""
        free = self._free_threads()
        if free <= 0:
            return False
        try:
            claim = self._queue.claim(
                self.id,
                free,
                self._engine.slots,
                auto_services=self._engine.auto_services,
                only=self._only,
                closed=self._engine.closed_services(),
            )
            self._engine.store_outage.succeeded("claim")
            self._claimed_at, self._more_due = time.monotonic(), len(claim.records) == free
            self._start(claim.records)
            self._import_legacy()
            if self._more_due:
                return False
            if not claim.records and self._done():
                return True
            self._engine.store.wait(claim.revision, timeout=self._rest(claim), wake=self._wake)
        except (StoreUnavailable, StoreFull) as error:
            self._engine.store_outage.failed("claim", f"waiting for the store: {error}")
            self._wake.wait(self._engine.timings.store_retry)
        return False

    def _free_threads(self) -> int:
        """Return how many steps can be started now, at the time of the next claim; 0 if the worker is stopping."""
        while not self._stopping.is_set():
            self._wake.clear()
            running = self._maintenance.count
            free, pause = self._threads.limit - running, self._claimed_at + CLAIM_PAUSE - time.monotonic()
            many = self._more_due and free >= self._threads.limit * FREE_SHARE
            if free > 0 and (running <= 1 or many or pause <= 0):
                return free
            self._wake.wait(pause if pause > 0 else MAX_REST_SECONDS)
        return 0

    def _start(self, records: Sequence[JobRecord]) -> None:
        """Run the steps of leased jobs; return when each has a thread."""
        for record in records:
            self._maintenance.track(record)
        self._threads.run_all(records)

    def _import_legacy(self) -> None:
        """Import entries of the legacy list periodically: pushing one does not wake workers.

        Called after a claim, so that no due job waits for it. An import changes the store, so it ends the next wait.
        """
        if self._only is not None or time.monotonic() < self._next_import:
            return
        imported = self._engine.import_legacy()
        if imported.moved or imported.rejected:
            _log.info("imported %d entries of the legacy list, rejected %d", imported.moved, imported.rejected)
        else:
            self._next_import = time.monotonic() + MAX_REST_SECONDS

    def _rest(self, claim: Claim) -> float:
        if claim.again_at is None:
            return MAX_REST_SECONDS
        return min(max(claim.again_at - self._engine.store.now(), 0.001), MAX_REST_SECONDS)

    def _done(self) -> bool:
        if self._maintenance.count:
            return False
        if self._only is not None:
            record = self._engine.store.get(self._only)
            return record is None or (record.due is None and record.lease is None)
        if not self._burst:
            return False
        if self._engine.queue.status().paused:
            _log.info("the queue is paused, so a burst run has nothing to do")
            return True
        counts = self._engine.store.status_counts(self._engine.queue.name).by_status
        return not any(counts[status] for status in IN_PROGRESS)

    def _step(self, record: JobRecord) -> None:
        began = time.monotonic()
        try:
            with step_log_context(record):
                outcome = self._engine.run(record)
        except Exception as error:  # a bug must not end the thread; the lease expires and is counted
            self._end(record, error, began)
            self._wake.set()
        else:
            self._maintenance.settling(record)
            self._outcomes.add(EndedStep(record, outcome, began))

    def _settle_each(self, steps: Sequence[tuple[JobRecord, Outcome]]) -> Sequence[JobRecord | Exception]:
        try:
            return self._engine.settle_each(steps)
        except Exception as error:  # a bug, which must not keep other outcomes from being saved
            return [error] * len(steps)

    def _settled(self, steps: Sequence[tuple[EndedStep, JobRecord | Exception]]) -> None:
        for step, result in steps:
            try:
                self._end(step.record, result, step.began)
            except Exception:  # a bug, which must not keep the others from ending
                _log.exception("the end of step %s of job %s", step.record.step, step.record.job_id)
        self._wake.set()

    def _end(self, record: JobRecord, result: JobRecord | Exception, began: float) -> None:
        """Log the end of a step, and stop renewing its lease. Return a job whose outcome could not be saved."""
        try:
            if isinstance(result, JobRecord):
                self._count(result)
                log_step(record, result, time.monotonic() - began)
                self._engine.store_outage.succeeded("step")
            else:
                with step_log_context(record):
                    self._failed(record, result)
        finally:
            self._maintenance.untrack(record)

    def _count(self, record: JobRecord) -> None:
        if record.status in (Status.FAILED, Status.HELD):
            self._unsuccessful.add(record.job_id)
        else:
            self._unsuccessful.discard(record.job_id)

    def _failed(self, record: JobRecord, error: Exception) -> None:
        match error:
            case LeaseLost():
                _log.warning("%s; the outcome of this step is discarded", error)
            case StoreUnavailable() | StoreFull():
                what = f"cannot run the {record.step} step of {record.job_id}: {error}"
                self._engine.store_outage.failed("step", what)
                self._stopping.wait(self._engine.timings.store_retry)  # else it would be claimed again at once
                self._return(record)
            case StoreError():
                _log.error("cannot save the %s step of job %s: %s", record.step, record.job_id, error)
                self._return(record)
            case _:
                _log.error("step %s of job %s", record.step, record.job_id, exc_info=error)

    def _return(self, record: JobRecord) -> None:
        """Return a job to its queue unchanged, because this worker cannot save the outcome of its step."""
        with suppress(StoreError):
            self._engine.queue.release_lease(record)
