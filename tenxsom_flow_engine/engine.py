"""The composition root: settings in, open parts out. The only place that chooses a carrier, a store or a service."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Event

from tenxsom_flow_engine.clock import Clock, SystemClock
from tenxsom_flow_engine.errors import (
    ActionRefused,
    ConfigurationError,
    InvalidInput,
    ServiceError,
)
from tenxsom_flow_engine.generation.routing import automatic, candidates
from tenxsom_flow_engine.generation.runner import StepRunner
from tenxsom_flow_engine.generation.step import expected_cost
from tenxsom_flow_engine.jobs import AUTO, PLAYLIST_POSITION, JobRecord, SubmissionState, Ticket, VideoJob, lifecycle
from tenxsom_flow_engine.jobs.codec import check_options
from tenxsom_flow_engine.jobs.legacy import read_legacy
from tenxsom_flow_engine.jobs.outcomes import ConfirmedPurchase, GiveUp, Resubmit
from tenxsom_flow_engine.logs import Redactor
from tenxsom_flow_engine.output.folder import OutputFolder
from tenxsom_flow_engine.queues.base import JobQueue, PullsJobs, PushesJobs
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.rate_limits.base import QuotaGate
from tenxsom_flow_engine.rate_limits.ledger import Ledger
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.services.base import Cancels, VideoService
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.store.base import DispatchLimits, ImportResult, JobStore, LegacyImport, NewJob, Retention
from tenxsom_flow_engine.store.retrying import RetryingWrites

_log = logging.getLogger(__name__)

#: The one carrier that pushes.
CLOUD_TASKS = "cloud_tasks"
#: The carriers of jobs, by the name that `--queue-type` takes.
QUEUE_TYPES = (CLOUD_TASKS, "redis", "local")
#: The last instant that a job may start at: the end of the year 9998, which every calendar and zone can write.
MAX_START = 253_370_764_799.0


def _draft(settings: Settings, clock: Clock) -> VideoService:
    from tenxsom_flow_engine.services.draft.service import DraftService

    return DraftService(settings.output_dir / ".drafts")


def _simulated(settings: Settings, clock: Clock) -> VideoService:
    from tenxsom_flow_engine.services.simulated.service import SimulatedService, SimulationPlan

    return SimulatedService(SimulationPlan.parse(settings.simulated), settings.home / "simulated-ledger", clock)


def _pixverse(settings: Settings, clock: Clock) -> VideoService | None:
    if settings.pixverse is None:
        return None
    from tenxsom_flow_engine.services.http.download import Downloader
    from tenxsom_flow_engine.services.pixverse.service import PixVerseService

    return PixVerseService(settings.pixverse, Downloader(allow_private=settings.allow_private_downloads))


def _ltx_studio(settings: Settings, clock: Clock) -> VideoService | None:
    if settings.ltx is None:
        return None
    from tenxsom_flow_engine.services.http.download import Downloader
    from tenxsom_flow_engine.services.ltx_studio.service import LtxStudioService

    return LtxStudioService(settings.ltx, Downloader(allow_private=settings.allow_private_downloads))


def _heygen(settings: Settings, clock: Clock) -> VideoService | None:
    if settings.heygen is None:
        return None
    from tenxsom_flow_engine.services.heygen.service import HeyGenService
    from tenxsom_flow_engine.services.http.download import Downloader

    return HeyGenService(settings.heygen, Downloader(allow_private=settings.allow_private_downloads), clock)


#: How each service is made. None: it is not configured.
SERVICES: Mapping[str, Callable[[Settings, Clock], VideoService | None]] = {
    "pixverse": _pixverse,
    "ltx_studio": _ltx_studio,
    "heygen": _heygen,
    "draft": _draft,
    "simulated": _simulated,
}


@dataclass(frozen=True, slots=True)
class QueueChoice:
    """Which carrier was chosen, and why."""

    queue_type: str
    reason: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that can be added, the cheapest service that can make it, and what was changed to fit it there."""

    new: NewJob
    service: str
    #: What that service would be told.
    prompt: str
    notes: tuple[str, ...]


def choose_queue(settings: Settings, flag: str | None, *, pulled: bool = False) -> QueueChoice:
    """Choose the carrier: a flag wins over the environment, and `auto` takes what is there, saying what was missing.

    A Redis server that somebody has named is never passed over silently: where it is away, opening it will say so.
    With `pulled`, `auto` passes over the carriers that push: a worker asks that pulls.
    """
    wanted, source = (flag, "asked for with --queue-type") if flag else (settings.queue_type, "set in the environment")
    if wanted != AUTO:
        if wanted not in QUEUE_TYPES:
            raise ConfigurationError(
                f"there is no queue type {wanted!r}", next_step=f"use one of: {AUTO}, {', '.join(QUEUE_TYPES)}"
            )
        return QueueChoice(wanted, source)
    if pulled:
        passed = "workers do not pull from Cloud Tasks"
    else:
        from tenxsom_flow_engine.queues.cloud_tasks.access import lacking

        missing = lacking(settings.cloud_tasks)
        if not missing:
            return QueueChoice(CLOUD_TASKS, "auto: credentials, project and worker of Cloud Tasks are there")
        passed = f"Cloud Tasks lacks {', '.join(missing)}"
    if settings.redis.named:
        return QueueChoice("redis", f"auto: {passed}, and a Redis server is named in the environment")
    from tenxsom_flow_engine.store.redis.probe import is_redis_listening

    if is_redis_listening(settings.redis.address):
        return QueueChoice("redis", f"auto: {passed}, and a Redis server answers")
    return QueueChoice(
        "local", f"auto: {passed}, no server is named and no Redis server answers, so the embedded queue is used"
    )


def open_store(settings: Settings, queue_type: str, clock: Clock) -> JobStore:
    """Open the store of a queue, or the one that TENXSOM_STORE names. Raises `ConfigurationError`, `StoreError`."""
    place = settings.store or ""
    if queue_type == "redis":
        if place:
            raise ConfigurationError("the redis queue keeps its records on the server", next_step="unset TENXSOM_STORE")
        return _redis_store(settings, settings.redis.address)
    if queue_type == CLOUD_TASKS:
        if place.startswith(("redis://", "rediss://", "unix://")):
            return _redis_store(settings, place)
        if not place and settings.redis.named:
            return _redis_store(settings, settings.redis.address)
    from tenxsom_flow_engine.store.sqlite import SQLiteStore

    if not place:
        return SQLiteStore(settings.home / "jobs.sqlite3", clock)
    scheme, separator, rest = place.partition("://")
    if scheme != "sqlite" or not separator or not rest.startswith("/") or not rest.strip("/"):
        either = " or redis://HOST" if queue_type == CLOUD_TASKS else ""
        shown = f"{scheme}://…" if separator else str(place)  # a server's address may hold a password
        raise ConfigurationError(
            f"TENXSOM_STORE {shown!r} names no store of the {queue_type} queue",
            next_step=f"write sqlite:///ABSOLUTE/PATH{either}",
        )
    # Some write four slashes for an absolute path; that is the same path.
    return SQLiteStore(Path("/" + rest.lstrip("/")), clock)


def _redis_store(settings: Settings, url: str) -> JobStore:
    from tenxsom_flow_engine.store.redis.store import RedisStore

    return RedisStore(url, settings.redis.key)


def open_ledger(store: JobStore) -> Ledger:
    """Open the rate limiter's ledger, which is kept where the records are."""
    from tenxsom_flow_engine.store.sqlite import SQLiteStore

    if isinstance(store, SQLiteStore):
        from tenxsom_flow_engine.rate_limits.sqlite import SQLiteLedger

        return SQLiteLedger(store)
    from tenxsom_flow_engine.rate_limits.redis import RedisLedger
    from tenxsom_flow_engine.store.redis.store import RedisStore

    assert isinstance(store, RedisStore)
    return RedisLedger(store.connection)


def open_queue(settings: Settings, queue_type: str, store: JobStore) -> JobQueue:
    """Open a carrier over a store."""
    limits = DispatchLimits(settings.max_dispatches_per_second, settings.max_concurrent_dispatches)
    if queue_type == CLOUD_TASKS:
        from tenxsom_flow_engine.queues.cloud_tasks.queue import CloudTasksQueue

        return CloudTasksQueue(store, settings.cloud_tasks, limits, settings.lease)
    return PullQueue(queue_type, store, limits, settings.lease)


class Engine:
    """The open parts of one process, and what is done with them."""

    def __init__(self, settings: Settings, choice: QueueChoice, clock: Clock) -> None:
        self.settings = settings
        self.choice = choice
        self.clock = clock
        self.services = {
            name: service for name, make in SERVICES.items() if (service := make(settings, clock)) is not None
        }
        self.output = OutputFolder(settings.output_dir)
        self.store = open_store(settings, choice.queue_type, clock)
        self.queue = open_queue(settings, choice.queue_type, self.store)
        self.retention = Retention(age=settings.keep_days * 86400, count=settings.keep_jobs)
        #: Set by a stop that waits no longer: writes that the store refuses are given up.
        self.abandon = Event()
        self.insist = RetryingWrites(self.abandon)
        self._retry = RetryPolicy()
        self._redaction = Redactor(settings.secrets)

    @cached_property
    def limiter(self) -> RateLimiter:
        """The quotas of the services; opened when first asked for, since few commands need them."""
        return RateLimiter(open_ledger(self.store), self.settings.limits, self.services)

    @cached_property
    def gate(self) -> QuotaGate:
        """What is asked before each paid create."""
        return self.limiter

    @property
    def slots(self) -> Mapping[str, int]:
        """The services that this process can use, and how many generations each may have in flight."""
        return {name: service.slots for name, service in self.services.items()}

    @property
    def automatic(self) -> frozenset[str]:
        """The services that may be chosen for a job that names none."""
        return automatic(self.services)

    def prepare(self, job: VideoJob, due: float | None = None) -> Prepared:
        """Fit a job to the service that it names, or see that some service can make it.

        Raises `InvalidInput` saying what each service lacks.
        """
        if due is not None and not 0 <= due <= MAX_START:
            raise InvalidInput("at", "is not a moment that a job can start at")
        check_options(job)
        self._check_names(job)
        if isinstance(self.queue, PushesJobs):
            self.queue.check(job, due)
        best = candidates(job, self.services)[0]
        # A job that names no service stays open: which one is best is known when its turn comes.
        new = NewJob(best.fit.job if job.service != AUTO else job, due, best.cost)
        return Prepared(new, best.service.name, best.service.prompt(best.fit.job), best.fit.notes)

    def _check_names(self, job: VideoJob) -> None:
        """Raise `InvalidInput` for a service that is not configured, and for options of one that does not exist."""
        if job.service in SERVICES.keys() - self.services.keys():
            step = f"see docs/services/{job.service}.md"
            raise InvalidInput("service", f"{job.service} is not configured", next_step=step)
        if unknown := sorted(job.options.keys() - SERVICES.keys() - self.services.keys() - {PLAYLIST_POSITION}):
            services = ", ".join(SERVICES)
            raise InvalidInput("options", f"there is no service {unknown[0]!r}", next_step=f"use one of: {services}")

    def step(self, record: JobRecord) -> JobRecord:
        """Take one step of a leased job, and hand the job on as the step's outcome says.

        Raises `LeaseLost` if another worker has the job, `StoreError` if the store cannot be used.
        """
        stepper = StepRunner(
            self.services, self.store, self.queue, self.output, self.gate, self.insist, self._retry, self._redaction
        )
        outcome = stepper.take(record)
        return self.insist(lambda: self.queue.settle(record, outcome), f"the outcome of {record.job_id}")

    def cancel(self, job_id: str) -> JobRecord:
        """Take a job back, and stop its generation where the service can. Raises `JobNotFound`, `ActionRefused`."""
        record = self.store.cancel(job_id)
        service, ticket = self.services.get(record.service), record.submission.ticket
        if service is None or ticket is None or not record.holds_slot or not isinstance(service, Cancels):
            return record
        try:
            service.cancel(ticket)
        except ServiceError as error:
            _log.warning("the generation of job %s goes on: %s", job_id, error)
            return record
        return self.store.update(job_id, lifecycle.render_stopped)

    def retry(self, job_id: str) -> JobRecord:
        """Try a failed or cancelled job again. Raises `JobNotFound`, `ActionRefused`, `QueueError`."""
        return self.hand_on(self.store.retry(job_id))

    def resolve(self, job_id: str, decision: Resubmit | GiveUp | Ticket) -> JobRecord:
        """Say what came of a create whose outcome is not known; a ticket means that it was bought.

        Raises `JobNotFound`, `ActionRefused`, `QueueError`, and `InvalidInput` for what no service gives as an id.
        """
        if not isinstance(decision, Ticket):
            return self.hand_on(self.store.resolve(job_id, decision))
        if not re.fullmatch(r"[!-~]{1,500}", decision.id):
            raise InvalidInput("ticket", "must be the service's id of the generation, without blanks")
        record = self.store.require(job_id)
        name, service = record.service, self.services.get(record.service)
        if service is None and record.submission.state is SubmissionState.UNKNOWN:
            raise ActionRefused(
                f"a ticket of {name or 'no service'} cannot be followed here, so job {job_id} stays as it is",
                next_step="run this where its service is configured"
                if name
                else f"order it anew, or let it be: run_flow_enhanced.py jobs resolve {job_id} --resubmit or --give-up",
            )
        lifetime = service.lifetime if service else 0.0  # refused, since nothing is unknown
        cost = expected_cost(record.job, service) if service else None
        return self.hand_on(self.store.resolve(job_id, ConfirmedPurchase(decision, lifetime, cost)))

    def hand_on(self, record: JobRecord) -> JobRecord:
        """Tell a job's carrier of its next delivery, where the carrier must be told; return the record."""
        if record.undispatched:
            # A store may hold the jobs of several carriers.
            own = record.queue == self.queue.name
            queue = self.queue if own else open_queue(self.settings, record.queue, self.store)
            try:
                if isinstance(queue, PushesJobs):
                    queue.dispatch([record])
            finally:
                if not own:
                    queue.close()
        return record

    @property
    def unattended(self) -> bool:
        """Whether jobs would wait because no worker is alive that pulls them."""
        return isinstance(self.queue, PullsJobs) and not self.queue.status().workers_alive

    def import_legacy(self) -> ImportResult:
        """Move what producers of old pushed onto a plain list into the queue, where the store has such a list."""
        if not isinstance(self.store, LegacyImport):
            return ImportResult()
        return self.store.import_legacy(self.queue.name, lambda entry: self.prepare(read_legacy(entry)).new)

    def check_output(self) -> None:
        """Raise `OutputError` unless videos can be written."""
        self.output.check()

    def sweep(self) -> None:
        """Remove what is not needed any more: old records, and leftovers of killed workers on this machine."""
        self.store.trim(self.retention)
        self.output.sweep()
        for service in self.services.values():
            service.sweep()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the queue and the store. Closing twice is harmless."""
        self.queue.close()
        self.store.close()


def open_engine(
    settings: Settings, queue_type: str | None = None, clock: Clock | None = None, *, pulled: bool = False
) -> Engine:
    """Open the parts that the settings ask for; `queue_type`, a flag, wins over them (see `choose_queue`)."""
    return Engine(settings, choose_queue(settings, queue_type, pulled=pulled), clock or SystemClock())
