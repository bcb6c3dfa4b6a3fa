"""The worker that pulls: claims due jobs, takes one short step of each, and rests without cost when nothing is due."""

from __future__ import annotations

import logging
import os
import queue
import secrets
import socket
import threading
import time
from contextlib import suppress

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError, LeaseLost, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.store.base import IN_PROGRESS, Claim, WorkerInfo

_log = logging.getLogger(__name__)

#: Seconds of rest at most, so that a lease that ran out is noticed soon also on an idle queue.
LONGEST_REST = 1.0
#: Seconds of rest while the store cannot be used.
STORE_PAUSE = 1.0
#: Seconds by which the store's time may differ from this machine's without a word.
CLOCK_TOLERANCE = 60.0
#: Seconds between two sweeps of what is not needed any more.
SWEEP_INTERVAL = 600.0


class PullWorker:
    """One worker process's loop, with `concurrency` threads that take steps.

    With `burst` it ends when every job that was due is final or held, with `only` when that job is.
    """

    def __init__(self, engine: Engine, *, concurrency: int, burst: bool = False, only: str | None = None) -> None:
        self._engine = engine
        self._concurrency = concurrency
        self._burst = burst
        self._only = only
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._started_at = engine.store.now()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        #: Interrupts the loop's rest: a step ended, or a stop was asked for.
        self._wake = threading.Event()
        #: By the lease's token: a job whose lease was lost may be in hand twice.
        self._in_hand: dict[str, JobRecord] = {}
        self._lock = threading.Lock()
        self._steps: queue.SimpleQueue[JobRecord] = queue.SimpleQueue()
        self._taken = 0
        self._takes_in_at = float("-inf")

    def run(self) -> None:
        """Work until stopped (or, with `burst` or `only`, until done). Raises `StoreBroken`."""
        with suppress(StoreUnavailable, StoreFull):  # the keeper tries again
            self._beat()
        # Daemons, so that a firm stop need not wait for a step that hangs.
        for number in range(self._concurrency):
            threading.Thread(target=self._work, name=f"step-{number}", daemon=True).start()
        keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        keeper.start()
        try:
            while not self._stopping.is_set():
                if self._turn():
                    break
            if self._in_hand:
                _log.info("stopping when %d steps in hand have ended", len(self._in_hand))
            while self._in_hand and not self._engine.abandon.is_set():
                self._wake.wait(LONGEST_REST)
                self._wake.clear()
        finally:
            self._hand_back()
            self._ended.set()
            keeper.join(timeout=LONGEST_REST)
            with suppress(StoreError):
                self._engine.store.forget_worker(self.id)

    def stop(self) -> None:
        """Claim nothing more and end when the steps in hand have ended; called again, hand them back and end now.

        Safe to call from a signal handler or another thread.
        """
        if self._stopping.is_set():
            self._engine.abandon.set()
        self._stopping.set()
        self._wake.set()

    @property
    def firm(self) -> bool:
        """Whether the worker was told to end without waiting."""
        return self._engine.abandon.is_set()

    def _turn(self) -> bool:
        """Claim what is due, or rest; return whether the work is done."""
        self._wake.clear()
        free = self._concurrency - len(self._in_hand)
        if free <= 0:
            self._wake.wait(LONGEST_REST)
            return False
        try:
            self._take_in()
            revision = self._engine.store.revision()
            claim = self._engine.queue.claim(
                self.id, free, self._engine.slots, automatic=self._engine.automatic, only=self._only
            )
            for record in claim.records:
                with self._lock:
                    self._in_hand[record.lease_token] = record
                self._steps.put(record)
            if claim.records:
                return False
            if self._done():
                return True
            self._engine.store.wait(revision, timeout=self._rest(claim), wake=self._wake)
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
        if self._in_hand:
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
            began = time.monotonic()
            try:
                after = self._engine.step(record)
                _log_step(record, after, time.monotonic() - began)
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
                with self._lock:
                    self._in_hand.pop(record.lease_token, None)
                    self._taken += 1
                self._wake.set()

    def _keep(self) -> None:
        """Renew the leases in hand and give a sign of life, from a thread of its own so that no step delays it."""
        interval = self._engine.queue.lease / 3
        swept_at = float("-inf")
        while not self._ended.wait(interval):
            try:
                self._renew()
                self._beat()
                if self._only is None and time.monotonic() - swept_at > SWEEP_INTERVAL:
                    swept_at = time.monotonic()
                    self._engine.sweep()
                    self._warn_of_the_clock()
            except FlowError as error:
                _log.warning("the sign of life waits: %s", error)
            except Exception:  # whatever happens here, the leases must be renewed again
                _log.exception("sign of life")

    def _warn_of_the_clock(self) -> None:
        ahead = self._engine.store.now() - self._engine.clock.now()
        if ahead > CLOCK_TOLERANCE:
            _log.warning(
                "the store's time is %.0f s ahead of this machine's clock: one of its machines was wrong", ahead
            )

    def _renew(self) -> None:
        with self._lock:
            # Of two leases on one job the later is the one that holds.
            leases = {record.job_id: token for token, record in self._in_hand.items()}
        if leases:
            for job_id in self._engine.queue.renew(leases):
                _log.warning("the lease on job %s is lost", job_id)

    def _beat(self) -> None:
        if self._only is not None:
            return  # serves one job, so it is no worker that others may count on
        self._engine.store.beat(
            WorkerInfo(
                self.id,
                self._engine.queue.name,
                socket.gethostname(),
                os.getpid(),
                self._concurrency,
                self._started_at,
                steps=self._taken,
            )
        )

    def _hand_back(self) -> None:
        with self._lock:
            records = list(self._in_hand.values())
        for record in records:
            _log.warning("job %s is handed back in its step %s", record.job_id, record.step)
            with suppress(StoreError):
                self._engine.queue.hand_back(record)


def _log_step(before: JobRecord, after: JobRecord, seconds: float) -> None:
    event = after.events[-1]
    _log.info(
        "job=%s step=%s service=%s status=%s took=%.0fms %s",
        before.job_id,
        before.step,
        after.service or "-",
        after.status,
        seconds * 1000,
        f"{event.what}: {event.detail}" if event.detail else event.what,
    )
