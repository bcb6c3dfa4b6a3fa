"""The worker that is pushed to: takes one short step of the job that a delivery brings, and hands the job on.

It knows nothing of HTTP. What it returns, and each error that it raises, the web turns into an answer; an error means
only that this worker could not do its part, so the delivery shall come again.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import (
    Action,
    ConfigurationError,
    LeasedElsewhere,
    LeaseLost,
    QueueError,
    Stopping,
    StoreError,
)
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.jobs.codec import decode_delivery
from tenxsom_flow_engine.queues.base import PushesJobs
from tenxsom_flow_engine.workers.maintenance import WorkerMaintenance, log_step, step_log_context

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a delivery, for the log and the answer."""

    job_id: str
    #: Whether a step was taken; otherwise there was nothing to do any more.
    worked: bool
    #: How the job stands now; None if its record is gone.
    status: Status | None
    #: What happened last, in a few words.
    detail: str


class PushWorker:
    """Takes the steps of pushed jobs in one process: `deliver` is called from as many threads as there are steps.

    Its own thread starts with `start` or the first delivery, so it may be made before a fork. `concurrency` is told to
    people who look at the workers; the caller keeps to it. Raises `ConfigurationError` for a queue that workers pull
    from.
    """

    def __init__(self, engine: Engine, *, concurrency: int | None = None) -> None:
        if not isinstance(engine.queue, PushesJobs):
            raise ConfigurationError(
                f"workers pull from the {engine.queue.name} queue, so nothing is delivered to this one",
                actions=(Action.START_WORKER,),
            )
        self._engine = engine
        self._queue = engine.queue
        self._maintenance = WorkerMaintenance(
            engine, concurrency=concurrency or engine.settings.max_concurrent_dispatches
        )
        self._stopping = threading.Event()

    @property
    def id(self) -> str:
        """The worker's name in this process."""
        return self._maintenance.id

    @property
    def active_steps(self) -> int:
        """How many steps are being taken now."""
        return len(self._maintenance.active_steps)

    def start(self) -> None:
        """Begin to look after the queue, so that lost deliveries are noticed while none come. Twice is harmless."""
        self._maintenance.start()

    def deliver(self, body: bytes, *, previous_attempt_unanswered: bool = False) -> Delivered:
        """Take the step that a task's body asks for, and see to it that the job's next delivery will come.

        `previous_attempt_unanswered`: an earlier try of it ended without an answer that tells how far it came.
        Raises `InvalidInput` for a body that is no delivery, `LeasedElsewhere` while another worker has it, `Stopping`
        after `stop`, and `StoreError` or `QueueError` where store or queue backend cannot be used: then it shall come again.
        """
        delivery = decode_delivery(body)
        if self._stopping.is_set():
            raise Stopping
        self._maintenance.start()
        record = self._queue.receive(
            delivery, self._maintenance.id, previous_attempt_unanswered=previous_attempt_unanswered
        )
        if record is None:
            known = self._engine.store.get(delivery.job_id)
            told = {"job_id": delivery.job_id, "seq": delivery.seq}
            _log.info("delivery %d of %s: nothing to do any more", delivery.seq, delivery.job_id, extra=told)
            return Delivered(delivery.job_id, False, known.status if known else None, "nothing to do any more")
        if record.lease is None:
            return _told(record, worked=False)
        with self._maintenance.tracking(record), step_log_context(record):
            return _told(self._step(record), worked=True)

    def stop(self) -> None:
        """Take no more deliveries; the steps in hand go on. Called again, give up writes that the store refuses."""
        if self._stopping.is_set():
            self._engine.abandon.set()
        self._stopping.set()

    def close(self) -> None:
        """Hand back what is still in hand and end the worker's thread. The engine stays open."""
        self._stopping.set()
        self._maintenance.end()

    def _step(self, record: JobRecord) -> JobRecord:
        began = time.monotonic()
        try:
            after = self._engine.step(record)
        except LeaseLost as error:
            # Whoever owns the job now may fail: then this delivery, come again, finds out how it stands.
            raise LeasedElsewhere(record.job_id, "that took it over") from error
        except StoreError as error:
            _log.error("step %s of job %s could not be written: %s", record.step, record.job_id, error)
            with suppress(StoreError, QueueError):
                self._engine.queue.release_lease(record)
            raise
        log_step(record, after, time.monotonic() - began)
        return after


def _told(record: JobRecord, *, worked: bool) -> Delivered:
    event = record.events[-1]
    detail = f"{event.what}: {event.detail}" if event.detail else event.what
    return Delivered(record.job_id, worked, record.status, detail)
