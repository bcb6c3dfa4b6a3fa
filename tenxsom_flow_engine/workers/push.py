"""The push worker: runs one short step of a delivered job and dispatches the job's next delivery.

It is independent of HTTP: the web layer converts its results and errors to responses. An error always means that this
worker could not handle the delivery, so the queue backend must deliver it again.
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
    StoreFull,
    StoreUnavailable,
)
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.jobs.codec import decode_delivery
from tenxsom_flow_engine.queues.base import PushesJobs
from tenxsom_flow_engine.workers.maintenance import Findings, WorkerMaintenance, log_step, step_log_context

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The result of a delivery, for the log and the response."""

    job_id: str
    #: Whether a step was run; otherwise the delivery was outdated.
    worked: bool
    #: The job's current status; None if its record was removed.
    status: Status | None
    #: The last event in a few words.
    detail: str


class PushWorker:
    """Runs the steps of pushed jobs in one process. `deliver` is thread-safe and runs one step in the calling thread.

    Maintenance starts with `start` or the first delivery, so a worker can be made before a fork. `concurrency` is only
    displayed; the caller must enforce it. Raises `ConfigurationError` for a queue that workers pull from.
    """

    def __init__(self, engine: Engine, *, concurrency: int | None = None, findings: Findings | None = None) -> None:
        if not isinstance(engine.queue, PushesJobs):
            raise ConfigurationError(
                f"workers pull from the {engine.queue.name} queue, so it delivers nothing to a push worker",
                actions=(Action.START_WORKER,),
            )
        self._engine = engine
        self._queue = engine.queue
        self._maintenance = WorkerMaintenance(
            engine, concurrency=concurrency or engine.settings.max_concurrent_dispatches, findings=findings
        )
        self._stopping = threading.Event()

    @property
    def id(self) -> str:
        """The worker's name in this process."""
        return self._maintenance.id

    @property
    def active_steps(self) -> int:
        """The number of running steps."""
        return self._maintenance.count

    def start(self) -> None:
        """Start maintenance, so that lost deliveries are noticed even while none arrive. Safe to call twice."""
        self._maintenance.start()

    def deliver(self, body: bytes, *, previous_attempt_unanswered: bool = False) -> Delivered:
        """Run the step of the delivery in a task's body, and dispatch the job's next delivery.

        `previous_attempt_unanswered`: an earlier attempt at this delivery got no response, so its progress is unknown.
        Raises `InvalidInput` if the body is not a delivery, `LeasedElsewhere` while another worker holds the lease,
        `Stopping` after `stop`, and `StoreError` or `QueueError` if the store or the queue backend cannot be used.
        After all but `InvalidInput`, the delivery must be sent again.
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
            fields = {"job_id": delivery.job_id, "seq": delivery.seq}
            _log.info("delivery %d of %s: nothing to do", delivery.seq, delivery.job_id, extra=fields)
            return Delivered(delivery.job_id, False, known.status if known else None, "nothing to do")
        if record.lease is None:  # too many workers died in this step
            fields = {"job_id": record.job_id, "error": record.error.code if record.error else None}
            _log.error("%s: failed: %s", record.job_id, record.error, extra=fields)
            return _delivered(record, worked=False)
        with self._maintenance.tracking(record), step_log_context(record):
            return _delivered(self._step(record), worked=True)

    def stop(self) -> None:
        """Refuse new deliveries and let running steps finish. If called again, stop repeating writes to the store."""
        if self._stopping.is_set():
            self._engine.abandon.set()
        self._stopping.set()

    def close(self) -> None:
        """Release the leases of running steps and stop maintenance. The engine stays open."""
        self._stopping.set()
        self._maintenance.end()

    def _step(self, record: JobRecord) -> JobRecord:
        began = time.monotonic()
        try:
            after = self._engine.step(record, self._maintenance.settling)
        except LeaseLost as error:
            # The new owner might fail, so this delivery must be sent again to check the job then.
            raise LeasedElsewhere(record.job_id) from error
        except StoreError as error:
            if not isinstance(error, StoreUnavailable | StoreFull):  # else the caller reports it, once a minute
                _log.error("cannot save the %s step of job %s: %s", record.step, record.job_id, error)
            with suppress(StoreError, QueueError):
                self._engine.queue.release_lease(record)
            raise
        log_step(record, after, time.monotonic() - began)
        return after


def _delivered(record: JobRecord, *, worked: bool) -> Delivered:
    event = record.events[-1]
    detail = f"{event.what}: {event.detail}" if event.detail else event.what
    return Delivered(record.job_id, worked, record.status, detail)
