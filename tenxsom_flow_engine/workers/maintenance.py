"""What keeps a worker's jobs its own: leases renewed in time, a sign of life, and the sweeps.

They have threads of their own, so that no step delays them; these start at the first use in a process, never before a
fork.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError, QueueError, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.logs import about
from tenxsom_flow_engine.store.values import WorkerInfo

_log = logging.getLogger(__name__)

#: Seconds by which the store's time may differ from this machine's without a word.
CLOCK_TOLERANCE = 60.0
#: Seconds to wait for the thread's end.
JOIN_SECONDS = 1.0


class WorkerMaintenance:
    """Keeps the jobs that one worker process has in hand.

    A worker that is not `counted` serves one job only: it gives no sign of life, for others may not count on it, and
    sweeps nothing.
    """

    def __init__(self, engine: Engine, *, concurrency: int, counted: bool = True) -> None:
        self._engine = engine
        self._concurrency = concurrency
        self._counted = counted
        self._pid = 0
        self._id = ""
        self._started_at = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        #: By the lease's token: a job whose lease was lost may be in hand twice.
        self._in_hand: dict[str, JobRecord] = {}
        self._lock = threading.Lock()
        self._taken = 0

    @property
    def id(self) -> str:
        """The worker's name: host, process, and a random part."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._id = f"{socket.gethostname()}-{self._pid}-{secrets.token_hex(3)}"
        return self._id

    @property
    def active_steps(self) -> list[JobRecord]:
        """The leased jobs whose steps are being taken."""
        with self._lock:
            return list(self._in_hand.values())

    def start(self) -> None:
        """Give a sign of life and go on doing so. Starting twice is harmless."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._ended.clear()
            self._thread = threading.Thread(target=self._keep, name="maintenance", daemon=True)
            self._thread.start()
            if self._counted:
                threading.Thread(target=self._run_chores, name="chores", daemon=True).start()
        with contextlib.suppress(StoreUnavailable, StoreFull):  # the thread tries again
            self._heartbeat()

    @contextlib.contextmanager
    def tracking(self, record: JobRecord) -> Iterator[None]:
        """Renew a job's lease for as long as a block runs."""
        self.track(record)
        try:
            yield
        finally:
            self.untrack(record)

    def track(self, record: JobRecord) -> None:
        """Renew a job's lease from now on."""
        with self._lock:
            self._in_hand[record.lease_token] = record

    def untrack(self, record: JobRecord) -> None:
        """Renew a job's lease no more: its step has ended."""
        with self._lock:
            if self._in_hand.pop(record.lease_token, None) is not None:
                self._taken += 1

    def end(self) -> None:
        """Hand back what is still in hand, and take the worker off the list."""
        for record in self.active_steps:
            _log.warning("job %s is handed back in its step %s", record.job_id, record.step)
            with contextlib.suppress(StoreError, QueueError):
                self._engine.queue.release_lease(record)
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=JOIN_SECONDS)
            with contextlib.suppress(StoreError):
                self._engine.store.forget_worker(self.id)

    def _keep(self) -> None:
        while not self._ended.wait(self._engine.queue.lease / 3):
            self._guarded(self.renew)
            self._guarded(self._heartbeat)

    def _run_chores(self) -> None:
        """Sweep now and then: it may take long, so it is no business of the thread that renews leases."""
        swept_at = looked_at = float("-inf")
        while not self._ended.wait(self._engine.queue.lease / 3):
            if time.monotonic() - swept_at > self._engine.timings.sweep_interval:
                swept_at = time.monotonic()
                self._guarded(self._engine.sweep)
                self._guarded(self._warn_of_the_clock)
            if time.monotonic() - looked_at > self._engine.timings.lost_delivery_interval:
                looked_at = time.monotonic()
                self._guarded(self._recover_lost)

    def _guarded(self, act: Callable[[], object]) -> None:
        """Act, and log what fails: the thread must go on."""
        try:
            act()
        except FlowError as error:
            _log.warning("%s waits: %s", act.__name__.strip("_"), error)
        except Exception:
            if not self._ended.is_set():  # whatever was used may be closed by now
                _log.exception("%s", act.__name__.strip("_"))

    def renew(self) -> None:
        """Prolong the leases in hand."""
        with self._lock:
            # Of two leases on one job the later is the one that holds.
            leases = {record.job_id: token for token, record in self._in_hand.items()}
        if leases:
            for job_id in self._engine.queue.renew(leases):
                _log.warning("the lease on job %s is lost", job_id)

    def _recover_lost(self) -> None:
        self._engine.queue.recover_lost(self.id)

    def _warn_of_the_clock(self) -> None:
        ahead = self._engine.store.now() - self._engine.clock.now()
        if abs(ahead) > CLOCK_TOLERANCE:
            _log.warning(
                "the store's time, which counts, is %.0f s %s this machine's clock: see whose is wrong",
                abs(ahead),
                "ahead of" if ahead > 0 else "behind",
            )

    def _heartbeat(self) -> None:
        if not self._counted:
            return
        self._started_at = self._started_at or self._engine.store.now()
        self._engine.store.heartbeat(
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


def step_log_context(record: JobRecord) -> contextlib.AbstractContextManager[None]:
    """Let every line that is logged within a block say which step of which job it is about."""
    return about(job_id=record.job_id, step=record.step.value, service=record.effective_service)


def log_step(before: JobRecord, after: JobRecord, seconds: float) -> None:
    """Write the one line that the log has about a finished step."""
    event, submission = after.events[-1], after.submission
    # What is not known is left out.
    fields = {
        "job_id": before.job_id,
        "step": before.step.value,
        "service": after.effective_service,
        "status": after.status.value,
        "took_ms": round(seconds * 1000),
        "outcome": event.what,
        "queue": before.queue,
        "seq": before.seq,
        "attempts": after.attempts or None,
        "channel": before.job.channel or None,
        "ticket": submission.ticket.id if submission.ticket else None,
        "progress": round(after.progress, 3) or None,
        "due": iso(after.due) if after.due is not None else None,
        "usd": after.cost.usd if after.cost and after.purchases else None,
        "error": after.error.code if after.error else None,
    }
    detail = f"{event.what}: {event.detail}" if event.detail else event.what
    told = {name: value for name, value in fields.items() if value is not None}
    _log.info("%s of %s: %s", before.step, before.job_id, detail, extra=told)
