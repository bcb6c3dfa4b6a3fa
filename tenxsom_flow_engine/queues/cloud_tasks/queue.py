"""The queue on Google Cloud Tasks: records are in the job store, and a task pushes each delivery to the worker.

The order of writes ensures that no job is lost: first the record with the new delivery number, not dispatched; then the
task, named after that number; then the mark that it is dispatched. A process that finds the mark missing creates the
task again, under the same name.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from tenxsom_flow_engine.errors import (
    ActionRefused,
    ConfigurationError,
    InvalidInput,
    JobNotFound,
    LeaseLost,
    QueueError,
    QueueForbidden,
    QueueUnavailable,
    StoreError,
)
from tenxsom_flow_engine.jobs import Failure, JobRecord, Lease, Status, SubmissionState, VideoJob, lifecycle
from tenxsom_flow_engine.jobs.codec import encode
from tenxsom_flow_engine.jobs.delivery import Delivery, task_id
from tenxsom_flow_engine.jobs.outcomes import Outcome
from tenxsom_flow_engine.queues.base import (
    LIMITS,
    MAX_CONCURRENT,
    MAX_RATE,
    JobQueue,
    PushesJobs,
    QueueStatus,
    check_limits,
)
from tenxsom_flow_engine.queues.fallback import fall_back
from tenxsom_flow_engine.settings import CloudTasksSettings
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import IN_PROGRESS, Added, DispatchLimits, JobFilter, NewJob
from tenxsom_flow_engine.timings import Timings

if TYPE_CHECKING:
    from tenxsom_flow_engine.queues.cloud_tasks.api import Api, QueueFacts

_log = logging.getLogger(__name__)

#: The name of the queue in records. A store has one queue of this type.
NAME = "cloud_tasks"
#: Jobs added at a time, and cancelled in one transaction by a purge.
CHUNK_JOBS = 500
#: Maximum time ahead that a task can be scheduled, in seconds (https://docs.cloud.google.com/tasks/docs/quotas).
FURTHEST = 30 * 86400.0
#: Maximum size of a job's JSON in bytes, so that its task, which contains more, fits.
MAX_JOB = 1_000_000
#: Seconds overdue, beyond the delay by the backlog, after which a delivery counts as lost if the account may not read
#: tasks.
OVERDUE_UNSEEN = 600.0
#: Maximum number of overdue jobs checked at a time.
SWEEP = 200
#: Number of later deliveries to search for before a job is adopted: the first poll after a create, and two more.
LOOK_AHEAD = 3


class CloudTasksQueue(PushesJobs, JobQueue):
    """The queue in the settings, over a store, with the environment's limits and lease (seconds).

    `fallback` names the pull queue that takes jobs while Cloud Tasks cannot be reached; empty: there is none.
    Every call can raise `QueueError`, whose next step names the role to grant or the command to run.
    """

    name = NAME

    def __init__(
        self,
        store: JobStore,
        settings: CloudTasksSettings,
        limits: DispatchLimits,
        lease: float = 30.0,
        timings: Timings = Timings(),
        *,
        fallback: str = "",
        api: Api | None = None,
    ) -> None:
        self._store = store
        self._fallback = fallback
        self._given_api = api
        self._timings = timings
        self._settings = settings
        self._limits = DispatchLimits(
            min(limits.max_dispatches_per_second, MAX_RATE), min(limits.max_concurrent_dispatches, MAX_CONCURRENT)
        )
        self.lease = lease

    @cached_property
    def _api(self) -> Api:
        if self._given_api is not None:
            return self._given_api
        # gRPC takes a large part of a command's time to import, and not every command needs it.
        from tenxsom_flow_engine.queues.cloud_tasks.api import Api

        return Api(self._settings, self._timings)

    def enqueue(self, jobs: Iterable[NewJob]) -> Added:
        new: list[str] = []
        known: list[str] = []
        items = list(jobs)
        for item in items:
            self.check(item.job, item.due)
        away = self._is_away()
        for chunk in _chunks(items):
            added = self._store.add(self._fallback if away else self.name, chunk)
            records = self._store.get_each(list(dict.fromkeys((*added.new, *added.known))))
            missing = [record for record in records if record.queue == self.name and record.undispatched]
            away = not self._dispatch_or_fall_back(missing) or away
            new += added.new
            known += added.known
        return Added(tuple(new), tuple(known))

    def check(self, job: VideoJob, due: float | None) -> None:
        if due is not None and due > self._store.now() + FURTHEST:
            raise InvalidInput(
                "at",
                "is more than 30 days ahead, the limit of Cloud Tasks",
                next_step="add the job later, or use a queue of type redis or local",
            )
        if (size := len(encode(job))) > MAX_JOB:
            raise InvalidInput("job", f"{job.job_id} has {size:,} bytes, but Cloud Tasks accepts at most {MAX_JOB:,}")

    def dispatch(self, records: Sequence[JobRecord]) -> None:
        if not records:
            return
        from tenxsom_flow_engine.queues.cloud_tasks.api import NewTask

        now = self._store.now()
        waiting = {task_id(record): record for record in records}
        tasks = [NewTask(id_, encode(Delivery.of(record)), _later(record, now)) for id_, record in waiting.items()]
        dispatched: dict[str, int] = {}
        try:
            for created in self._api.create_tasks(tasks):
                dispatched[waiting[created].job_id] = waiting[created].seq
        finally:
            try:
                self._store.mark_dispatched(dispatched)
            except StoreError as error:  # safe: a process that finds the mark missing creates a task that exists
                _log.warning("%d tasks were created but not marked as dispatched: %s", len(dispatched), error)

    def status(self) -> QueueStatus:
        state = self._store.queue_state(self.name)
        facts, unknown = self._facts()
        configured = state.limits(self._limits)
        limits = facts.limits if facts else configured
        ours = [name for name in LIMITS if getattr(limits, name) == getattr(configured, name)]
        return QueueStatus(
            queue_type=self.name,
            paused=facts.paused if facts else state.paused,
            limits=limits,
            set_at_run_time=tuple(name for name in ours if getattr(state, name) is not None),
            counts=self._store.status_counts(self.name),
            workers_alive=None,
            unknown=unknown,
            task_count=self._api.task_count() if facts else None,
            set_at_backend=tuple(name for name in LIMITS if name not in ours),
        )

    def pause(self) -> None:
        self._api.pause()
        self._store.set_queue_state(self.name, lambda state: replace(state, paused=True))

    def resume(self) -> None:
        self._api.resume()
        self._store.set_queue_state(self.name, lambda state: replace(state, paused=False))

    def purge(self) -> int:
        purged = 0
        while chunk := self._store.cancel_waiting(self.name, CHUNK_JOBS):
            purged += chunk
        if purged:
            self._api.purge()
            self._redeliver_remaining()
        return purged

    def set_limits(self, rate: float | None, concurrent: int | None) -> DispatchLimits:
        check_limits(rate, concurrent)
        limits = self._store.queue_state(self.name).with_limits(rate, concurrent).limits(self._limits)
        if rate is not None or concurrent is not None:
            self._api.update_queue(limits)
            self._store.set_queue_state(self.name, lambda state: state.with_limits(rate, concurrent))
        return limits

    def create(self) -> None:
        self._api.create_queue(self._store.queue_state(self.name).limits(self._limits))

    def update(self) -> None:
        self._api.update_queue(self._store.queue_state(self.name).limits(self._limits))

    def renew(self, leases: Mapping[str, str]) -> Collection[str]:
        return self._store.renew(leases, self.lease)

    def settle(self, record: JobRecord, outcome: Outcome) -> JobRecord:
        after = self._store.settle(record.job_id, record.lease_token, outcome)
        self._ensure_dispatched(after)
        return after

    def release_lease(self, record: JobRecord) -> None:
        with suppress(LeaseLost):
            self._ensure_dispatched(self._store.release_lease(record.job_id, record.lease_token))

    def receive(
        self, delivery: Delivery, worker: str, *, previous_attempt_unanswered: bool = False
    ) -> JobRecord | None:
        token = secrets.token_hex(8)

        def take(record: JobRecord, now: float) -> JobRecord:
            return lifecycle.receive(record, delivery, self.name, Lease(token, worker, now + self.lease), now)

        try:
            return self._store.update(delivery.job_id, take)
        except ActionRefused:
            self._ensure_dispatched(self._store.get(delivery.job_id))
            return None
        except JobNotFound:
            if self._store.knows_id(delivery.job_id):
                if self._store.get(delivery.job_id) is None:
                    return None  # it has finished, and its record was trimmed
            elif self._already_stepped(delivery):
                return None  # a later delivery has the result of this step
            elif self._store.adopt(
                lifecycle.adopt(
                    delivery, self.name, self._store.now(), previous_attempt_unanswered=previous_attempt_unanswered
                )
            ):
                _log.info("job %s is unknown to this store and was adopted from its task", delivery.job_id)
        return self.receive(delivery, worker, previous_attempt_unanswered=previous_attempt_unanswered)

    def min_requeue_delay(self) -> float:
        # Jobs that wait for a slot use at most a quarter of the dispatch rate.
        return 4 * self._seconds_per_round([Status.QUEUED])

    def recover_lost(self, owner: str) -> int:
        if not self._store.acquire_lock(f"sweep:{self.name}", owner, self._timings.lost_delivery_interval):
            return 0
        overdue = self._store.overdue(self.name, self._store.now() - self._timings.overdue, SWEEP)
        if not overdue or self._paused():
            return 0
        lost = self._lost(overdue)
        renumbered = [record if record.undispatched else self._renumber(record) for record in lost]
        redelivered = [record for record in renumbered if record is not None and record.undispatched]
        self.dispatch(redelivered)
        if redelivered:
            _log.warning("redelivered %d jobs whose tasks were lost", len(redelivered))
        return len(redelivered)

    def close(self) -> None:
        """Close the connection to Google. Can be called again."""
        if "_api" in self.__dict__:
            self._api.close()

    def _already_stepped(self, delivery: Delivery) -> bool:
        """Return whether the step of a delivery has already run, for a job that this store has never seen.

        A worker with a store that was lost since then might have run the step, bought a video in it, and created later
        tasks. Finished tasks cannot be read, so this detects a job that waits at the service, not a finished one.
        """
        if delivery.submission.state is SubmissionState.ACCEPTED:
            return False  # the job has a ticket, so no step buys anything
        later = (msgspec.structs.replace(delivery, seq=delivery.seq + n) for n in range(1, LOOK_AHEAD + 1))
        try:
            return bool(self._api.existing_tasks([task_id(link) for link in later]))
        except QueueForbidden:  # an account that may only add tasks
            return False

    def _is_away(self) -> bool:
        """Return whether the credentials cannot be used now, if there is a fallback. Raises `ConfigurationError`."""
        try:
            self._api.check()
        except QueueUnavailable as error:
            if not self._fallback:
                raise
            _log.warning("Cloud Tasks cannot be reached, so the %s queue takes the jobs: %s", self._fallback, error)
            return True
        return False

    def _dispatch_or_fall_back(self, records: Sequence[JobRecord]) -> bool:
        """Dispatch deliveries, or move them to the fallback if Cloud Tasks is away; return whether it was not."""
        try:
            self.dispatch(records)
        except QueueUnavailable as error:
            if not self._fallback:
                raise
            fall_back(self._store, records, self.name, self._fallback, error)
            return False
        return True

    def _ensure_dispatched(self, record: JobRecord | None) -> None:
        """Dispatch the delivery that a job waits for, if it is not dispatched yet."""
        if record is not None and record.queue == self.name and record.undispatched:
            self._dispatch_or_fall_back([record])

    def _facts(self) -> tuple[QueueFacts | None, Failure | None]:
        """Return the queue as Google reports it, or the reason why it is unknown."""
        try:
            return self._api.facts(), None
        except (QueueError, ConfigurationError) as error:
            return None, Failure.of(error)

    def _paused(self) -> bool:
        facts, _ = self._facts()
        return facts.paused if facts else self._store.queue_state(self.name).paused

    def _lost(self, overdue: Sequence[JobRecord]) -> list[JobRecord]:
        """Return those of the overdue jobs whose delivery is lost."""
        tasks = [task_id(record) for record in overdue if not record.undispatched]
        try:
            existing = self._api.existing_tasks(tasks)
        except QueueForbidden as error:
            lost = [record for record in overdue if record.undispatched or self._long_overdue(record)]
            if lost:
                _log.warning("the deliveries of %d jobs count as lost; tasks cannot be read: %s", len(lost), error)
            return lost
        return [record for record in overdue if record.undispatched or task_id(record) not in existing]

    def _long_overdue(self, record: JobRecord) -> bool:
        """Return whether no backlog explains the delay of a delivery whose task cannot be read."""
        since = record.due if record.lease is None else record.lease.until
        longest = OVERDUE_UNSEEN + 2 * self._seconds_per_round(IN_PROGRESS)
        return since is not None and since < self._store.now() - longest

    def _seconds_per_round(self, statuses: Iterable[Status]) -> float:
        """Return how many seconds it takes to deliver each job of these statuses once."""
        counts = self._store.status_counts(self.name).by_status
        limits = self._store.queue_state(self.name).limits(self._limits)
        return sum(counts[status] for status in statuses) / limits.max_dispatches_per_second

    def _renumber(self, record: JobRecord) -> JobRecord | None:
        try:
            return self._store.update(record.job_id, lambda r, now: lifecycle.redispatch(r, record.seq, now))
        except (ActionRefused, JobNotFound):
            return None  # the job has changed since

    def _redeliver_remaining(self) -> None:
        """Create new tasks for jobs that survive a purge: the old tasks are deleted, and their names stay in use."""
        waiting = JobFilter(queue=self.name, statuses=(Status.SCHEDULED, *IN_PROGRESS))
        for page in self._store.pages(waiting, limit=CHUNK_JOBS):
            renumbered = [self._renumber(record) for record in page.records if record.due is not None]
            self.dispatch([record for record in renumbered if record is not None])


def _later(record: JobRecord, now: float) -> float | None:
    """Return when a delivery is due, or None if that has passed."""
    return record.due if record.due is not None and record.due > now else None


def _chunks(jobs: Iterable[NewJob]) -> Iterator[list[NewJob]]:
    remaining = iter(jobs)
    while chunk := list(islice(remaining, CHUNK_JOBS)):
        yield chunk
