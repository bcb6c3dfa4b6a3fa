"""Prepare, step, cancel, retry and resolve jobs with the open parts of one process, which `composition` hands in."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping
from threading import Event

from tenxsom_flow_engine.clock import Clock, SystemClock
from tenxsom_flow_engine.errors import Action, ActionRefused, InvalidInput, ServiceError
from tenxsom_flow_engine.generation.routing import auto_services, candidates
from tenxsom_flow_engine.generation.runner import StepRunner
from tenxsom_flow_engine.generation.step import expected_cost
from tenxsom_flow_engine.jobs import AUTO, PLAYLIST_POSITION, JobRecord, SubmissionState, Ticket, VideoJob, lifecycle
from tenxsom_flow_engine.jobs.codec import check_options
from tenxsom_flow_engine.jobs.legacy import read_legacy
from tenxsom_flow_engine.jobs.outcomes import ConfirmedPurchase, GiveUp, Resubmit
from tenxsom_flow_engine.logs import Redactor
from tenxsom_flow_engine.output.folder import OutputFolder
from tenxsom_flow_engine.planning.prepared import Prepared
from tenxsom_flow_engine.planning.timestamps import bounded
from tenxsom_flow_engine.queues.base import JobQueue
from tenxsom_flow_engine.rate_limits.base import QuotaGate
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.services.base import Cancels, VideoService
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.store.base import JobStore, LegacyImport
from tenxsom_flow_engine.store.retrying import RetryingWrites
from tenxsom_flow_engine.store.values import ImportResult, NewJob, Retention
from tenxsom_flow_engine.timings import Timings

_log = logging.getLogger(__name__)


class Engine:
    """The open parts of one process, and what is done with them.

    Every part is handed in. `gate` is asked before each paid create; `limiter` is what operators look at and change,
    and is the gate too unless another one is given. `open_queue` opens the backend of a job that another queue owns.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: JobStore,
        queue: JobQueue,
        services: Mapping[str, VideoService],
        limiter: RateLimiter,
        gate: QuotaGate | None = None,
        output: OutputFolder | None = None,
        retry: RetryPolicy = RetryPolicy(),
        timings: Timings = Timings(),
        clock: Clock | None = None,
        open_queue: Callable[[str], JobQueue] | None = None,
        queue_reason: str = "",
        known_services: Collection[str] = (),
    ) -> None:
        self.settings = settings
        self.store = store
        self.queue = queue
        self.services = services
        self.limiter = limiter
        self.gate = gate or limiter
        self.output = output or OutputFolder(settings.output_dir)
        self.timings = timings
        self.clock = clock or SystemClock()
        #: Why this queue backend was chosen.
        self.queue_reason = queue_reason
        self.retention = Retention(age=settings.keep_days * 86400, count=settings.keep_jobs)
        #: Set by a stop that waits no longer: writes that the store refuses are given up.
        self.abandon = Event()
        self._open_queue = open_queue
        #: The names of all services that exist, configured or not.
        self._known_services = frozenset(known_services) | services.keys()
        self._persist = RetryingWrites(self.abandon, timings)
        self._runner = StepRunner(
            services,
            store,
            self.output,
            self.gate,
            persist=self._persist,
            retry=retry,
            timings=timings,
            redactor=Redactor(settings.secrets),
            min_requeue_delay=queue.min_requeue_delay if queue.pushes else None,
        )

    @property
    def slots(self) -> Mapping[str, int]:
        """How many generations each service of this process may have in flight."""
        return {name: service.max_in_flight for name, service in self.services.items()}

    @property
    def auto_services(self) -> frozenset[str]:
        """The services that may be chosen for a job that names none."""
        return auto_services(self.services)

    def prepare(self, job: VideoJob, due: float | None = None) -> Prepared:
        """Fit a job to the service that it names, or see that some service can make it.

        Raises `InvalidInput` saying what each service lacks.
        """
        if due is not None:
            bounded(due, "at")
        check_options(job)
        self._check_names(job)
        self.queue.check(job, due)
        best = candidates(job, self.services)[0]
        # A job that names no service stays open: which one is best is known when its turn comes.
        new = NewJob(best.fit.job if job.service != AUTO else job, due, best.cost)
        return Prepared(new, best.service.name, best.service.prompt(best.fit.job), best.fit.notes)

    def _check_names(self, job: VideoJob) -> None:
        """Raise `InvalidInput` for a service that is not configured, and for options of one that does not exist."""
        if job.service in self._known_services - self.services.keys():
            step = f"see docs/services/{job.service}.md"
            raise InvalidInput("service", f"{job.service} is not configured", next_step=step)
        if unknown := sorted(job.options.keys() - self._known_services - {PLAYLIST_POSITION}):
            services = ", ".join(sorted(self._known_services))
            raise InvalidInput("options", f"there is no service {unknown[0]!r}", next_step=f"use one of: {services}")

    def step(self, record: JobRecord) -> JobRecord:
        """Take one step of a leased job, and hand the job on as the step's outcome says.

        Raises `LeaseLost` if another worker has the job, `StoreError` if the store cannot be used.
        """
        outcome = self._runner.run(record)
        return self._persist(lambda: self.queue.settle(record, outcome), f"the outcome of {record.job_id}")

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
        return self.dispatch(self.store.retry(job_id))

    def resolve(self, job_id: str, decision: Resubmit | GiveUp | Ticket) -> JobRecord:
        """Say what came of a create whose outcome is not known; a ticket means that it was bought.

        Raises `JobNotFound`, `ActionRefused`, `QueueError`, and `InvalidInput` for what no service gives as an id.
        """
        if not isinstance(decision, Ticket):
            return self.dispatch(self.store.resolve(job_id, decision))
        if not re.fullmatch(r"[!-~]{1,500}", decision.id):
            raise InvalidInput("ticket", "must be the service's id of the generation, without blanks")
        record = self.store.require(job_id)
        name, service = record.service, self.services.get(record.service)
        if service is None and record.submission.state is SubmissionState.UNKNOWN:
            raise ActionRefused(
                f"a ticket of {name or 'no service'} cannot be followed here, so job {job_id} stays as it is",
                next_step="do this where its service is configured" if name else "",
                actions=() if name else (Action.RESUBMIT, Action.GIVE_UP),
                subject=job_id,
            )
        lifetime = service.lifetime if service else 0.0  # refused, since nothing is unknown
        cost = expected_cost(record.job, service) if service else None
        return self.dispatch(self.store.resolve(job_id, ConfirmedPurchase(decision, lifetime, cost)))

    def dispatch(self, record: JobRecord) -> JobRecord:
        """Announce a job's next delivery to the queue that owns it, if that queue pushes; return the record."""
        if not record.undispatched:
            return record
        if record.queue == self.queue.name or self._open_queue is None:
            self.queue.dispatch([record])
            return record
        queue = self._open_queue(record.queue)  # a store may hold the jobs of several queues
        try:
            queue.dispatch([record])
        finally:
            queue.close()
        return record

    @property
    def unattended(self) -> bool:
        """Whether jobs would wait because no worker is alive that pulls them."""
        return not self.queue.pushes and not self.queue.status().workers_alive

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
