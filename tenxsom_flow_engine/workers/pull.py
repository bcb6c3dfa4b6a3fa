"""The worker that pulls: claims due jobs, takes one short step of each, and rests without cost when nothing is due."""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import suppress

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ConfigurationError, LeaseLost, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.store.base import IN_PROGRESS, Claim
from tenxsom_flow_engine.store.wakeup import Wake
from tenxsom_flow_engine.workers.maintenance import Keeper, about_step, log_step

_log = logging.getLogger(__name__)

#: Seconds of rest at most, so that a lease that ran out is noticed soon also on an idle queue.
LONGEST_REST = 1.0
#: Seconds of rest while the store cannot be used.
STORE_PAUSE = 1.0


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
                next_step="serve it with: python3 cloud_tasks_worker.py, or name another one with --queue-type",
            )
        self._queue = engine.queue
        self._keeper = Keeper(engine, concurrency=concurrency, counted=only is None)
        self._stopping = threading.Event()
        #: Interrupts the loop's rest: a step ended, or a stop was asked for.
        self._wake = Wake()
        self._steps: queue.SimpleQueue[JobRecord] = queue.SimpleQueue()
        self._takes_in_at = float("-inf")

    def run(self) -> None:
        """Work until stopped (or, with `burst` or `only`, until done). Raises `StoreBroken`."""
        # Daemons, so that a firm stop need not wait for a step that hangs.
        for number in range(self._concurrency):
            threading.Thread(target=self._work, name=f"step-{number}", daemon=True).start()
        self._keeper.start()
        try:
            while not self._stopping.is_set():
                if self._turn():
                    break
            if self._keeper.in_hand:
                _log.info("stopping when %d steps in hand have ended", len(self._keeper.in_hand))
            while self._keeper.in_hand and not self._engine.abandon.is_set():
                self._wake.wait(LONGEST_REST)
                self._wake.clear()
        finally:
            self._keeper.end()

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
        return self._keeper.id

    @property
    def firm(self) -> bool:
        """Whether the worker was told to end without waiting."""
        return self._engine.abandon.is_set()

    def _turn(self) -> bool:
        """Claim what is due, or rest; return whether the work is done."""
        self._wake.clear()
        free = self._concurrency - len(self._keeper.in_hand)
        if free <= 0:
            self._wake.wait(LONGEST_REST)
            return False
        try:
            self._take_in()
            claim = self._queue.claim(
                self.id,
                free,
                self._engine.slots,
                automatic=self._engine.automatic,
                only=self._only,
                closed=self._engine.gate.closed(),
            )
            for record in claim.records:
                self._keeper.hold(record)
                self._steps.put(record)
            if claim.records:
                return False
            if self._done():
                return True
            self._engine.store.wait(claim.revision, timeout=self._rest(claim), wake=self._wake)
        except (StoreUnavailable, StoreFull) as error:
            _log.warning("waiting for the store: %s", error)
            self._wake.wait(STORE_PAUSE)
        return False

    def _take_in(self) -> None:
        """Look for entries of old producers, now and then: they wake nobody."""
        if self._only is not None or time.monotonic() < self._takes_in_at:
            return
        taken = self._engine.take_in()
        if taken.moved or taken.aside:
            _log.info("%d entries of the plain list became jobs, %d are bad and kept aside", taken.moved, taken.aside)
        else:
            self._takes_in_at = time.monotonic() + LONGEST_REST

    def _rest(self, claim: Claim) -> float:
        if claim.again_at is None:
            return LONGEST_REST
        return min(max(claim.again_at - self._engine.store.now(), 0.001), LONGEST_REST)

    def _done(self) -> bool:
        if self._keeper.in_hand:
            return False
        if self._only is not None:
            record = self._engine.store.get(self._only)
            return record is None or (record.due is None and record.lease is None)
        if not self._burst:
            return False
        if self._engine.queue.status().paused:
            _log.info("the queue is paused, so a burst has nothing to do")
            return True
        counts = self._engine.store.counts(self._engine.queue.name).by_status
        return not any(counts[status] for status in IN_PROGRESS)

    def _work(self) -> None:
        while True:
            record = self._steps.get()
            with about_step(record):
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
                self._engine.queue.hand_back(record)
        except Exception:  # a defect must not end the thread; the job's lease runs out and counts
            _log.exception("step %s of job %s", record.step, record.job_id)
        finally:
            self._keeper.release(record)
            self._wake.set()
