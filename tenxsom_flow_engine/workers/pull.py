"""The worker that pulls: claims due jobs, takes one short step of each, and rests without cost when nothing is due."""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import suppress

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Action, ConfigurationError, LeaseLost, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.store.values import IN_PROGRESS, Claim
from tenxsom_flow_engine.store.wakeup import WakeupEvent
from tenxsom_flow_engine.workers.maintenance import WorkerMaintenance, log_step, step_log_context

_log = logging.getLogger(__name__)

#: Seconds of rest at most, so that a lease that ran out is noticed soon also on an idle queue.
MAX_REST_SECONDS = 1.0


class PullWorker:
    """One worker process's loop, with `concurrency` threads that take steps.

    With `burst` it ends when every job that was due is final or held, with `only` when that job is.
    """

    def __init__(self, engine: Engine, *, concurrency: int, burst: bool = False, only: str | None = None) -> None:
        self._engine = engine
        self._concurrency = concurrency
        self._burst = burst
        self._only = only
        if not isinstance(engine.queue, PullsJobs):
            raise ConfigurationError(
                f"the {engine.queue.name} queue brings its jobs to workers by itself",
                next_step="choose another queue type, or use its own worker",
                actions=(Action.START_PUSH_WORKER,),
            )
        self._queue = engine.queue
        self._maintenance = WorkerMaintenance(engine, concurrency=concurrency, counted=only is None)
        self._stopping = threading.Event()
        #: Interrupts the loop's rest: a step ended, or a stop was asked for.
        self._wake = WakeupEvent()
        self._steps: queue.SimpleQueue[JobRecord] = queue.SimpleQueue()
        self._takes_in_at = float("-inf")

    def run(self) -> None:
        """Work until stopped (or, with `burst` or `only`, until done). Raises `StoreBroken`."""
        # Daemons, so that a firm stop need not wait for a step that hangs.
        for number in range(self._concurrency):
            threading.Thread(target=self._work, name=f"step-{number}", daemon=True).start()
        self._maintenance.start()
        try:
            while not self._stopping.is_set():
                if self._iterate():
                    break
            if self._maintenance.active_steps:
                _log.info("stopping when %d steps in hand have ended", len(self._maintenance.active_steps))
            while self._maintenance.active_steps and not self._engine.abandon.is_set():
                self._wake.wait(MAX_REST_SECONDS)
                self._wake.clear()
        finally:
            self._maintenance.end()

    def stop(self) -> None:
        """Claim nothing more and end when the steps in hand have ended; called again, hand them back and end now.

        Safe to call from a signal handler or another thread.
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
    def firm(self) -> bool:
        """Whether the worker was told to end without waiting."""
        return self._engine.abandon.is_set()

    def _iterate(self) -> bool:
        """Claim what is due, or rest; return whether the work is done."""
        self._wake.clear()
        free = self._concurrency - len(self._maintenance.active_steps)
        if free <= 0:
            self._wake.wait(MAX_REST_SECONDS)
            return False
        try:
            self._import_legacy()
            claim = self._queue.claim(
                self.id,
                free,
                self._engine.slots,
                auto_services=self._engine.auto_services,
                only=self._only,
                closed=self._engine.gate.closed(),
            )
            for record in claim.records:
                self._maintenance.track(record)
                self._steps.put(record)
            if claim.records:
                return False
            if self._done():
                return True
            self._engine.store.wait(claim.revision, timeout=self._rest(claim), wake=self._wake)
        except (StoreUnavailable, StoreFull) as error:
            _log.warning("waiting for the store: %s", error)
            self._wake.wait(self._engine.timings.store_retry)
        return False

    def _import_legacy(self) -> None:
        """Look for entries of old producers, now and then: they wake nobody."""
        if self._only is not None or time.monotonic() < self._takes_in_at:
            return
        taken = self._engine.import_legacy()
        if taken.moved or taken.rejected:
            _log.info(
                "%d entries of the plain list became jobs, %d are bad and kept aside", taken.moved, taken.rejected
            )
        else:
            self._takes_in_at = time.monotonic() + MAX_REST_SECONDS

    def _rest(self, claim: Claim) -> float:
        if claim.again_at is None:
            return MAX_REST_SECONDS
        return min(max(claim.again_at - self._engine.store.now(), 0.001), MAX_REST_SECONDS)

    def _done(self) -> bool:
        if self._maintenance.active_steps:
            return False
        if self._only is not None:
            record = self._engine.store.get(self._only)
            return record is None or (record.due is None and record.lease is None)
        if not self._burst:
            return False
        if self._engine.queue.status().paused:
            _log.info("the queue is paused, so a burst has nothing to do")
            return True
        counts = self._engine.store.status_counts(self._engine.queue.name).by_status
        return not any(counts[status] for status in IN_PROGRESS)

    def _work(self) -> None:
        while True:
            record = self._steps.get()
            with step_log_context(record):
                self._step(record)

    def _step(self, record: JobRecord) -> None:
        began = time.monotonic()
        try:
            after = self._engine.step(record)
            log_step(record, after, time.monotonic() - began)
        except LeaseLost as error:
            _log.warning("%s; its outcome is left to the new owner", error)
        except StoreError as error:
            # This worker could not do its part; the job goes back as it was.
            _log.error("step %s of job %s could not be written: %s", record.step, record.job_id, error)
            with suppress(StoreError):
                self._engine.queue.release_lease(record)
        except Exception:  # a defect must not end the thread; the job's lease runs out and counts
            _log.exception("step %s of job %s", record.step, record.job_id)
        finally:
            self._maintenance.untrack(record)
            self._wake.set()
