"""Background maintenance of one worker process: lease renewal, heartbeats and periodic sweeps.

It runs in separate threads, so that a slow step cannot delay it. They start at the first use in a process, never before
a fork.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from tenxsom_flow_engine.clock import CLOCK_TOLERANCE, iso
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError, QueueError, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.events.incidents import Finding
from tenxsom_flow_engine.jobs import EventKind, JobRecord, Status
from tenxsom_flow_engine.logs import about
from tenxsom_flow_engine.notifiers.incidents import update_incidents
from tenxsom_flow_engine.notifiers.messenger import Messenger
from tenxsom_flow_engine.store.values import WorkerInfo
from tenxsom_flow_engine.text import plural
from tenxsom_flow_engine.workers.budget_alerts import BudgetAlerts
from tenxsom_flow_engine.workers.fallback import take_back_jobs

_log = logging.getLogger(__name__)

#: Returns the present verdicts.
Findings = Callable[[Engine], Sequence[Finding]]
#: Seconds to wait for the maintenance thread to end.
JOIN_SECONDS = 1.0


class WorkerMaintenance:
    """Keeps the leases of one worker process alive, sends its heartbeats and sweeps.

    It delivers the messages about events. `findings` returns the present verdicts, of which incidents are made.
    A worker that is not `counted` handles a single job: it sends no heartbeat, because other processes must not rely on
    it, and does no sweeps; it frees slots, because its job might wait for one.
    """

    def __init__(
        self, engine: Engine, *, concurrency: int, counted: bool = True, findings: Findings | None = None
    ) -> None:
        self._engine = engine
        self._findings = findings
        self._messenger: Messenger | None = None
        self._concurrency = concurrency
        self._counted = counted
        self._pid = 0
        self._id = ""
        self._started_at = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        #: By the lease's token, because a job whose lease was lost can be active twice in one process.
        self._active: dict[str, JobRecord] = {}
        #: The tokens whose loss is of no interest: the log has named it, or the step has its outcome, and settling ends
        #: the lease, or finds it lost.
        self._silent: set[str] = set()
        self._lock = threading.Lock()
        self._finished_steps = 0
        self._alerts = BudgetAlerts(engine)
        #: When each chore was done last.
        self._done_at: dict[str, float] = {}

    @property
    def id(self) -> str:
        """The worker's name: host, process, and a random part."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._id = f"{socket.gethostname()}-{self._pid}-{secrets.token_hex(3)}"
        return self._id

    @property
    def active_steps(self) -> list[JobRecord]:
        """The leased jobs whose steps are running."""
        with self._lock:
            return list(self._active.values())

    @property
    def count(self) -> int:
        """The number of running steps."""
        return len(self._active)

    def start(self) -> None:
        """Send a heartbeat now and start the threads. Does nothing if they are already running."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._ended.clear()
            self._thread = threading.Thread(target=self._run_upkeep, name="maintenance", daemon=True)
            self._thread.start()
            for name, do in (("chores", self.do_chores), ("output", self.do_output_chores)):
                threading.Thread(target=self._run_chores, args=(do,), name=name, daemon=True).start()
            self._start_messenger()
        with contextlib.suppress(StoreUnavailable, StoreFull):  # the thread tries again
            self._heartbeat()

    def _start_messenger(self) -> None:
        if not self._engine.notifiers:
            return
        engine = self._engine
        self._messenger = messenger = Messenger(
            engine.store, engine.notifiers, lambda: self.id, engine.timings, engine.store_outage
        )
        # Now: the first job that ends must find the command of this process.
        with contextlib.suppress(StoreUnavailable, StoreFull):
            messenger.register()
        threading.Thread(target=messenger.run, name="messenger", daemon=True).start()

    def _end_messenger(self) -> None:
        if self._messenger is None:
            return
        self._messenger.finish(self._engine.timings.last_messages, self._engine.abandon)
        self._messenger.end()
        with contextlib.suppress(StoreError):
            self._messenger.release()

    @contextlib.contextmanager
    def tracking(self, record: JobRecord) -> Iterator[None]:
        """Renew a job's lease while a block runs."""
        self.track(record)
        try:
            yield
        finally:
            self.untrack(record)

    def track(self, record: JobRecord) -> None:
        """Start to renew a job's lease."""
        with self._lock:
            self._active[record.lease_token] = record

    def settling(self, record: JobRecord) -> None:
        """Report the loss of a job's lease no more, because its step has an outcome. It is still renewed."""
        with self._lock:
            self._silent.add(record.lease_token)

    def untrack(self, record: JobRecord) -> None:
        """Stop renewing a job's lease, because its step has ended."""
        with self._lock:
            self._silent.discard(record.lease_token)
            if self._active.pop(record.lease_token, None) is not None:
                self._finished_steps += 1

    def end(self) -> None:
        """Release the leases of running steps, stop the threads and remove the worker from the store."""
        for record in self.active_steps:
            _log.warning("releasing job %s during its %s step", record.job_id, record.step)
            with contextlib.suppress(StoreError, QueueError):
                self._engine.queue.release_lease(record)
        self._end_messenger()
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=JOIN_SECONDS)
            with contextlib.suppress(StoreError):
                self._engine.store.forget_worker(self.id)
                if self._started_at:
                    # One for each queue: the report says when its last worker ended.
                    self._send(f"ended-{self._engine.queue.name}", concurrency=0)

    def _run_upkeep(self) -> None:
        while not self._ended.wait(self._engine.queue.lease / 3):
            self._guarded(self.renew)
            self._guarded(self._heartbeat)

    def _run_chores(self, do: Callable[[float], None]) -> None:
        """Do chores in a separate thread: a sweep can take long, and leases must be renewed in time."""
        while not self._ended.wait(self._engine.queue.lease / 3):
            do(time.monotonic())

    def do_chores(self, now: float) -> None:
        """Do the periodic work that is due at an instant of a monotonic clock. One thread at a time may call this."""
        timings = self._engine.timings
        if self._counted:
            self._guarded(self._expire_unstarted)
            if self._is_due("plan", timings.schedule_interval, now):
                self.plan_schedules()
            if self._is_due("sweep", timings.sweep_interval, now):
                self._guarded(self._engine.sweep)
                self._guarded(self._check_clock)
            if self._findings is not None and self._is_due("incidents", timings.incident_check, now):
                self._guarded(self._check_incidents)
            if self._is_due("recover", timings.lost_delivery_interval, now):
                self._guarded(self._recover_lost)
                self._guarded(self._take_back)
        if self._is_due("check", timings.slot_check_interval, now):
            self._guarded(self._free_slots)
            self._guarded(self._check_budgets)

    def do_output_chores(self, now: float) -> None:
        """Do the periodic work on the output, which can take minutes for each video, like `do_chores`."""
        timings = self._engine.timings
        if self._counted:
            if self._is_due("videos", timings.prune_interval, now):
                self._guarded(self._prune_videos)
            if self._is_due("spool", timings.output_retry, now):
                self._guarded(self._engine.empty_spool)

    def _is_due(self, chore: str, interval: float, now: float) -> bool:
        """Return whether a chore was not done for longer than its interval; it then counts as done now."""
        if now - self._done_at.get(chore, -math.inf) <= interval:
            return False
        self._done_at[chore] = now
        return True

    def _guarded(self, act: Callable[[], object]) -> None:
        """Call `act` and log any error: the thread must not end."""
        name = act.__name__.strip("_")
        try:
            act()
        except (StoreUnavailable, StoreFull) as error:
            self._engine.store_outage.failed(name, f"{name} failed and will be repeated: {error}")
            return
        except FlowError as error:
            _log.warning("%s failed and will be repeated: %s", name, error)
        except Exception:
            if not self._ended.is_set():  # after the end, its resources can be closed
                _log.exception("%s", name)
        self._engine.store_outage.succeeded(name)

    def renew(self) -> None:
        """Renew the leases of all running steps."""
        with self._lock:
            # Of two leases on one job, only the later one is valid.
            leases = {record.job_id: token for token, record in self._active.items()}
        lost = {leases[job_id] for job_id in self._engine.queue.renew(leases)} if leases else set()
        with self._lock:
            for token in lost & self._active.keys() - self._silent:
                _log.warning("lost the lease on job %s", self._active[token].job_id)
                self._silent.add(token)

    def _expire_unstarted(self) -> None:
        if count := self._engine.expire_unstarted():
            _log.warning("%s expired: they could not start in time, and bought nothing", plural(count, "job"))

    def plan_schedules(self) -> None:
        """Plan the schedules now, if no other process does."""
        self._guarded(self._plan_schedules)

    def _plan_schedules(self) -> None:
        self._engine.plan_schedules(self.id)

    def _recover_lost(self) -> None:
        self._engine.queue.recover_lost(self.id)

    def _take_back(self) -> None:
        take_back_jobs(self._engine, self.id)

    def _free_slots(self) -> None:
        self._engine.free_slots(self.id)

    def _check_budgets(self) -> None:
        self._alerts.check()

    def _check_incidents(self) -> None:
        """Begin and end incidents, if an endpoint wants to know, and if no other process does."""
        engine, findings = self._engine, self._findings
        if findings is None or not any(one.wants_verdicts for one in engine.store.endpoints()):
            return
        # Longer than the interval: the same worker checks again, because verdicts about disks depend on the machine.
        if engine.store.acquire_lock("incidents", self.id, 3 * engine.timings.incident_check):
            update_incidents(engine.store, findings(engine))

    def _prune_videos(self) -> None:
        if count := self._engine.prune_videos(self.id):
            _log.info("removed %s beyond TENXSOM_KEEP_VIDEOS", plural(count, "video"))

    def _check_clock(self) -> None:
        ahead = self._engine.clock_lead
        if abs(ahead) > CLOCK_TOLERANCE:
            _log.warning(
                "the store's clock, which the engine uses, is %.0f s %s this machine's clock: check both",
                abs(ahead),
                "ahead of" if ahead > 0 else "behind",
            )

    def _heartbeat(self) -> None:
        if not self._counted:
            return
        self._started_at = self._started_at or self._engine.store.now()
        self._send(self.id, self._concurrency)

    def _send(self, worker_id: str, concurrency: int) -> None:
        self._engine.store.heartbeat(
            WorkerInfo(
                worker_id,
                self._engine.queue.name,
                socket.gethostname(),
                os.getpid(),
                concurrency,
                self._started_at,
                steps=self._finished_steps,
            )
        )


def step_log_context(record: JobRecord) -> contextlib.AbstractContextManager[None]:
    """Add the job, the step and the service to every line that is logged within a block."""
    return about(job_id=record.job_id, step=record.step.value, service=record.effective_service)


def log_step(before: JobRecord, after: JobRecord, seconds: float) -> None:
    """Log a finished step as one line; the level says whether a person should read it."""
    level = _level(after)
    if not _log.isEnabledFor(level):
        return
    event, submission = after.events[-1], after.submission
    fields = {
        "job_id": before.job_id,
        "step": before.step.value,
        "service": after.effective_service,
        "status": after.status.value,
        "outcome": event.what,
        "error": after.error.code if after.error else None,
        "attempts": after.attempts or None,
        "progress": round(after.progress, 3) or None,
        "due": iso(after.due) if after.due is not None else None,
        "usd": after.cost.usd if after.cost and after.purchases else None,
        "channel": before.job.channel or None,
        "ticket": submission.ticket.id if submission.ticket else None,
        "took_ms": round(seconds * 1000),
        "queue": before.queue,
        "seq": before.seq,
    }
    detail = f"{event.what}: {event.detail}" if event.detail else event.what
    known = {name: value for name, value in fields.items() if value is not None}
    _log.log(level, "%s of %s: %s", before.step, before.job_id, detail, extra=known)


def _level(after: JobRecord) -> int:
    """Return the level for the outcome of a step: a person must act on an error, and on nothing below."""
    if after.status in (Status.FAILED, Status.HELD):
        return logging.ERROR
    match after.events[-1].what:
        case EventKind.FAULT | EventKind.EXPIRED:  # it will be retried, or could not start in time
            return logging.WARNING
        case EventKind.RENDERING:  # the service is still rendering: many of these lines for each job
            return logging.DEBUG
        case _:
            return logging.INFO
