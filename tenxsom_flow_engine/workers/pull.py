"""The pull worker: claims due jobs, runs one short step of each, and waits in the store when nothing is due."""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import suppress

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Action, ConfigurationError, LeaseLost, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.store.values import IN_PROGRESS, Claim
from tenxsom_flow_engine.store.wakeup import WakeupEvent
from tenxsom_flow_engine.text import plural
from tenxsom_flow_engine.workers.maintenance import WorkerMaintenance, log_step, step_log_context

_log = logging.getLogger(__name__)

#: Maximum seconds of one wait, so that expired leases are noticed soon even on an idle queue.
MAX_REST_SECONDS = 1.0


class PullWorker:
    """The main loop of a worker process, with `concurrency` threads that run steps.

    With `burst` it ends when no job is queued, running or rendering any more; with `only`, when that job is final or
    held.
    """

    def __init__(self, engine: Engine, *, concurrency: int, burst: bool = False, only: str | None = None) -> None:
        self._engine = engine
        self._concurrency = concurrency
        self._burst = burst
        self._only = only
        if not isinstance(engine.queue, PullsJobs):
            raise ConfigurationError(
                f"the {engine.queue.name} queue pushes its jobs to workers, so this worker cannot pull from it",
                next_step="choose another queue type, or start a push worker",
                actions=(Action.START_PUSH_WORKER,),
            )
        self._queue = engine.queue
        self._maintenance = WorkerMaintenance(engine, concurrency=concurrency, counted=only is None)
        self._stopping = threading.Event()
        #: Interrupts the loop's wait when a step ends or a stop is requested.
        self._wake = WakeupEvent()
        self._steps: queue.SimpleQueue[JobRecord] = queue.SimpleQueue()
        self._next_import = float("-inf")
        #: The jobs whose last step in this process left them failed or held.
        self._unsuccessful: set[str] = set()

    def run(self) -> None:
        """Work until stopped (or, with `burst` or `only`, until done). Raises `StoreBroken`."""
        # A restarted worker would not use an unnamed server that has jobs by then.
        self._engine.remember_queue()
        # Daemon threads, so that a forced stop does not wait for a step that hangs.
        for number in range(self._concurrency):
            threading.Thread(target=self._work, name=f"step-{number}", daemon=True).start()
        self._maintenance.start()
        try:
            while not self._stopping.is_set():
                if self._iterate():
                    break
            if self._maintenance.active_steps:
                _log.info("stopping after %s", plural(len(self._maintenance.active_steps), "running step"))
            while self._maintenance.active_steps and not self._engine.abandon.is_set():
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
        self._wake.clear()
        free = self._concurrency - len(self._maintenance.active_steps)
        if free <= 0:
            self._wake.wait(MAX_REST_SECONDS)
            return False
        try:
            claim = self._queue.claim(
                self.id,
                free,
                self._engine.slots,
                auto_services=self._engine.auto_services,
                only=self._only,
                closed=self._engine.gate.closed(),
            )
            self._engine.store_outage.succeeded("claim")
            for record in claim.records:
                self._maintenance.track(record)
                self._steps.put(record)
            self._import_legacy()
            if len(claim.records) == free:
                return False
            if not claim.records and self._done():
                return True
            self._engine.store.wait(claim.revision, timeout=self._rest(claim), wake=self._wake)
        except (StoreUnavailable, StoreFull) as error:
            self._engine.store_outage.failed("claim", f"waiting for the store: {error}")
            self._wake.wait(self._engine.timings.store_retry)
        return False

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
        if self._maintenance.active_steps:
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

    def _work(self) -> None:
        while True:
            record = self._steps.get()
            with step_log_context(record):
                self._step(record)

    def _step(self, record: JobRecord) -> None:
        began = time.monotonic()
        try:
            after = self._engine.step(record)
            if after.status in (Status.FAILED, Status.HELD):
                self._unsuccessful.add(record.job_id)
            else:
                self._unsuccessful.discard(record.job_id)
            log_step(record, after, time.monotonic() - began)
            self._engine.store_outage.succeeded("step")
        except LeaseLost as error:
            _log.warning("%s; the outcome of this step is discarded", error)
        except (StoreUnavailable, StoreFull) as error:
            self._engine.store_outage.failed("step", f"cannot run the {record.step} step of {record.job_id}: {error}")
            self._stopping.wait(self._engine.timings.store_retry)  # else it would be claimed again at once
            self._return(record)
        except StoreError as error:
            _log.error("cannot save the %s step of job %s: %s", record.step, record.job_id, error)
            self._return(record)
        except Exception:  # a bug must not end the thread; the lease expires and is counted
            _log.exception("step %s of job %s", record.step, record.job_id)
        finally:
            self._maintenance.untrack(record)
            self._wake.set()

    def _return(self, record: JobRecord) -> None:
        """Return a job to its queue unchanged, because this worker cannot save the outcome of its step."""
        with suppress(StoreError):
            self._engine.queue.release_lease(record)
