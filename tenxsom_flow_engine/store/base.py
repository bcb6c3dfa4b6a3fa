"""The job store's contract: what is known about every job, shared by all processes that use it.

Each method is one transaction (or one script on a server): it happens wholly or not at all, and several processes may
call at once. What a method returned is written; jobs that were added, intents and tickets are on disk, too. The rules
of a job's life are not here but in `lifecycle`; a store applies them with `update` and only keeps what they say.

Every method may raise `StoreUnavailable` (try again later), `StoreFull` or `StoreBroken`.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

from tenxsom_flow_engine.errors import InvalidInput, JobNotFound, StoreBroken
from tenxsom_flow_engine.jobs import Cost, JobRecord, Status, VideoJob, lifecycle
from tenxsom_flow_engine.jobs.codec import decode_record
from tenxsom_flow_engine.jobs.outcomes import Outcome, Resolution
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.store.totals import DAY, LastError, Spent, Total, spending


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to add. `due` is the instant from which it may be worked on; None means at once."""

    job: VideoJob
    due: float | None = None
    #: What it is expected to cost, if that is known.
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` did: ids that are new, and ids that the store knew already (their records are left as they are)."""

    new: tuple[str, ...]
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DispatchLimits:
    """How fast a queue hands out steps, over all its workers together."""

    max_dispatches_per_second: float
    max_concurrent_dispatches: int

    @property
    def burst(self) -> float:
        """Steps that may go out at once after a pause: a fifth of a second's worth, as Cloud Tasks does it."""
        return max(1.0, self.max_dispatches_per_second / 5)


@dataclass(frozen=True, slots=True)
class QueueState:
    """What was set on a queue at run time. None: not set, so the environment's value holds."""

    paused: bool = False
    max_dispatches_per_second: float | None = None
    max_concurrent_dispatches: int | None = None

    def with_limits(self, rate: float | None, concurrent: int | None) -> QueueState:
        """Return the state with other limits; None leaves one as it is."""
        return QueueState(
            paused=self.paused,
            max_dispatches_per_second=self.max_dispatches_per_second if rate is None else rate,
            max_concurrent_dispatches=self.max_concurrent_dispatches if concurrent is None else concurrent,
        )

    def limits(self, environment: DispatchLimits) -> DispatchLimits:
        """Return the limits in force."""
        rate, concurrent = self.max_dispatches_per_second, self.max_concurrent_dispatches
        return DispatchLimits(
            max_dispatches_per_second=environment.max_dispatches_per_second if rate is None else rate,
            max_concurrent_dispatches=environment.max_concurrent_dispatches if concurrent is None else concurrent,
        )


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a worker asks for."""

    queue: str
    worker: str
    #: How many jobs it can work on at once now.
    count: int
    #: Seconds that each lease lasts.
    lease: float
    #: The environment's limits; what was set at run time wins.
    limits: DispatchLimits
    #: The services that this worker can use, and how many generations each may have in flight. Jobs of other
    #: services are left alone, and so are jobs that would need a slot where none is free.
    slots: Mapping[str, int]
    #: Those among them that may be chosen for a job that names none; None: all of them.
    auto_services: Collection[str] | None = None
    #: Take this job only.
    only: str | None = None

    @property
    def open_to_all(self) -> frozenset[str]:
        """The services that may be chosen for a job that names none."""
        return frozenset(self.slots if self.auto_services is None else self.auto_services)


@dataclass(frozen=True, slots=True)
class Claim:
    """The leased records, and when to ask again: at `again_at`, or, if that is None, when the store has changed."""

    records: tuple[JobRecord, ...]
    again_at: float | None
    #: The mark of what this claim saw (see `JobStore.revision`).
    revision: object = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; what is None or empty does not restrict."""

    queue: str | None = None
    statuses: Collection[Status] = ()
    service: str | None = None
    channel: str | None = None
    #: Part of the topic or of the job's id, in any case of letters.
    text: str | None = None
    added_from: float | None = None
    added_before: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Records, newest first, and the cursor to ask for the next page with (None: there is none).

    A page with a cursor may hold fewer records than asked for, or none: so many records are looked at for one page at
    most, and it ends where these end.
    """

    records: tuple[JobRecord, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class MatchCount:
    """How many jobs match a filter; `complete` is False where only the newest were looked at, so there may be more."""

    jobs: int
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs a queue has, at the present moment."""

    by_status: Mapping[Status, int]
    #: Since when the job that has been due longest waits for a worker; None if none is due.
    oldest_due: float | None = None

    @property
    def unfinished(self) -> int:
        """Jobs that the queue still has to deliver."""
        return sum(self.by_status.get(s, 0) for s in (Status.SCHEDULED, *IN_PROGRESS))


#: The statuses of jobs that go on by themselves without waiting for a time that somebody set.
IN_PROGRESS = (Status.QUEUED, Status.RUNNING, Status.RENDERING)


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker's sign of life."""

    id: str
    queue: str
    host: str
    pid: int
    concurrency: int
    started_at: float
    last_heartbeat_at: float = 0.0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Retention:
    """How long finished records are kept. Failed and held jobs are kept until a person deals with them."""

    #: Seconds since a job finished.
    age: float = 30 * 86400.0
    #: At most so many succeeded and cancelled records.
    count: int = 100_000
    #: Seconds for which the id of a trimmed job is still known, so that adding it again adds nothing.
    ids: float = 32 * 86400.0


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What was moved from a plain list into the store, and how many entries were set aside because they are bad."""

    moved: int = 0
    rejected: int = 0


class LegacyImport(ABC):
    """The capability to take over what producers of old push onto a plain list beside the store."""

    @abstractmethod
    def import_legacy(self, queue: str, read: Callable[[str], NewJob]) -> ImportResult:
        """Move entries into a queue, each once; `read` makes a job of an entry's text or raises `InvalidInput`."""

    @abstractmethod
    def rejected_count(self) -> int:
        """Return how many bad entries are kept aside."""


#: Seconds after which a worker that gave no sign of life is forgotten.
FORGET_WORKERS_AFTER_SECONDS = 86400.0


def new_record(queue: str, item: NewJob, now: float) -> JobRecord:
    """Return the record of a job that is added to a queue now."""
    return lifecycle.add(
        item.job, queue=queue, nonce=secrets.token_hex(6), now=now, due=item.due or now, cost=item.cost
    )


def read_record(job_id: str, data: bytes | str, read: Callable[[bytes | str], JobRecord] = decode_record) -> JobRecord:
    """Read a stored record. Raises `StoreBroken` naming the job if it cannot be read."""
    try:
        return read(data)
    except InvalidInput as error:
        raise StoreBroken(
            f"the record of job {job_id} cannot be read: {error}",
            next_step="restore the store from a backup, or run the version that wrote it",
        ) from error


class JobStore(ABC):
    """The one place that knows. Made by `engine`; closed with `close`."""

    #: The first part of its URL, which names its kind (see `composition.STORES`).
    scheme: str
    #: Where the records are, for people to read; holds no password.
    place: str
    #: What a person should know about how safe the records are; empty if all is well.
    advice: str = ""

    # Primitives, which each store writes.

    @abstractmethod
    def now(self) -> float:
        """Return the store's own time: never earlier than this handle said before, or than any write that it sees."""

    @abstractmethod
    def add(self, queue: str, jobs: Iterable[NewJob]) -> Added:
        """Add jobs that wait in `queue`, in their order; an id that is known adds nothing.

        Long lists are added in chunks, each one transaction; after a crash the same call completes the rest.
        """

    @abstractmethod
    def adopt(self, record: JobRecord) -> bool:
        """Add a record as it is; return False, and add nothing, if its id is known or has finished before."""

    @abstractmethod
    def knows_id(self, job_id: str) -> bool:
        """Return whether a job was added here, also if it has finished and its record was trimmed since."""

    @abstractmethod
    def get(self, job_id: str) -> JobRecord | None:
        """Return a job's record, or None."""

    @abstractmethod
    def page(self, jobs: JobFilter, *, limit: int, cursor: str | None = None) -> Page:
        """Return records newest first, at most `limit` of them, from where `cursor` says (see `Page`).

        What it costs is bounded, whatever the filter and however many jobs there are. Raises `InvalidInput` for a
        cursor that no page gave.
        """

    @abstractmethod
    def count_matching(self, jobs: JobFilter) -> MatchCount:
        """Return how many jobs match: from the kept counts for queue and status alone, else at a bounded cost."""

    @abstractmethod
    def status_counts(self, queue: str | None = None) -> Counts:
        """Return how many jobs there are by status, without reading them one by one."""

    @abstractmethod
    def next_scheduled(self, limit: int) -> Sequence[JobRecord]:
        """Return up to `limit` jobs that are scheduled for a time to come, the next first."""

    @abstractmethod
    def scheduled_before(self, instant: float) -> int:
        """Return how many jobs are scheduled for a time from now until an instant, without reading them."""

    @abstractmethod
    def totals(self, kind: str, since: str = "") -> Sequence[Total]:
        """Return the sums of a kind of period (see `store.sums`), from a period on: the oldest first."""

    @abstractmethod
    def last_errors(self) -> Mapping[str, LastError]:
        """Return what went wrong last, by service."""

    @abstractmethod
    def in_flight(self, service: str) -> int:
        """Return how many generations of a service may be in flight."""

    @abstractmethod
    def claim(self, request: ClaimRequest) -> Claim:
        """Lease due jobs to a worker: those that hold a ticket first, then by due time, then as they were added.

        Takes back jobs whose lease ran out. Hands out nothing while the queue is paused, and no more than the limits
        of the queue and the slots of the services allow. Costs the same however many jobs wait.
        """

    @abstractmethod
    def renew(self, leases: Mapping[str, str], duration: float) -> Collection[str]:
        """Prolong leases (job id to token) to `duration` seconds from now; return the ids of those that are lost."""

    @abstractmethod
    def update(
        self,
        job_id: str,
        change: Callable[[JobRecord, float], JobRecord],
        *,
        slots: tuple[str, int] | None = None,
        on_disk: bool = False,
    ) -> JobRecord:
        """Replace a record by what `change(record, now)` returns, and return that.

        With `on_disk` it is there when this returns, also where a store lets its disk lag behind by a moment.

        `change` must be pure: it may be called again on a fresher record. With `slots` (a service and its limit) the
        change is refused with `SlotsBusy` if so many *other* jobs are in flight at that service. What the change
        adds to the sums (`store.sums`) is added. Raises `JobNotFound`, and what `change` raises; then nothing is
        written.
        """

    @abstractmethod
    def cancel_waiting(self, queue: str, limit: int) -> int:
        """Cancel up to `limit` waiting jobs of a queue for which nothing may have been bought; return how many."""

    @abstractmethod
    def overdue(self, queue: str, before: float, limit: int) -> Sequence[JobRecord]:
        """Return up to `limit` jobs of a queue that were due before an instant, or whose lease ran out before it.

        Those that have been due longest come first, then the leases.
        """

    @abstractmethod
    def acquire_lock(self, name: str, owner: str, seconds: float) -> bool:
        """Take or renew a lease of the store's own, so that one owner at a time does a chore; return whether it did."""

    @abstractmethod
    def queue_state(self, queue: str) -> QueueState:
        """Return what was set on a queue at run time."""

    @abstractmethod
    def set_queue_state(self, queue: str, change: Callable[[QueueState], QueueState]) -> QueueState:
        """Change what is set on a queue, for all its workers."""

    @abstractmethod
    def heartbeat(self, worker: WorkerInfo) -> None:
        """Keep a worker's sign of life."""

    @abstractmethod
    def forget_worker(self, worker_id: str) -> None:
        """Remove a worker that ended."""

    @abstractmethod
    def workers(self, queue: str | None = None, *, within: float) -> Sequence[WorkerInfo]:
        """Return the workers of a queue, or of all, that gave a sign of life within so many seconds."""

    @abstractmethod
    def trim(self, retention: Retention) -> int:
        """Remove finished records that need not be kept; return how many."""

    @abstractmethod
    def revision(self) -> object:
        """Return a mark of what the store holds, for `wait` on the same thread. A thread's own writes may not show."""

    @abstractmethod
    def wait(self, revision: object, *, timeout: float, wake: Event) -> None:
        """Block until the store has changed since `revision`, `timeout` seconds have passed, or `wake` is set.

        A `wake.WakeupEvent` is seen at once, any other event within a fifth of a second.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections. Closing twice is harmless."""

    # Decisions, the same in every store.

    def get_each(self, job_ids: Sequence[str]) -> Sequence[JobRecord]:
        """Return the records of those jobs that are known, in this order."""
        return [record for job_id in job_ids if (record := self.get(job_id)) is not None]

    def pages(self, jobs: JobFilter, *, limit: int) -> Iterator[Page]:
        """Give all pages of a list, newest first, each of at most `limit` records; some may be empty (see `Page`)."""
        cursor = None
        while True:
            page = self.page(jobs, limit=limit, cursor=cursor)
            yield page
            if (cursor := page.cursor) is None:
                return

    def require(self, job_id: str) -> JobRecord:
        """Return a job's record. Raises `JobNotFound`."""
        record = self.get(job_id)
        if record is None:
            raise JobNotFound(job_id)
        return record

    def spent(self, since: str) -> Sequence[Spent]:
        """Return what was bought, by day and service, from a day on: the oldest first."""
        return spending(self.totals(DAY, since))

    def settle(self, job_id: str, token: str, outcome: Outcome) -> JobRecord:
        """Apply what a step returned, and give up its lease. Raises `LeaseLost`."""
        return self.update(job_id, lambda record, now: lifecycle.settle(record, token, outcome, now))

    def release_lease(self, job_id: str, token: str) -> JobRecord:
        """Return a leased job undone, as no attempt. Raises `LeaseLost`."""
        return self.update(job_id, lambda record, now: lifecycle.release_lease(record, token, now))

    def mark_dispatched(self, deliveries: Mapping[str, int]) -> None:
        """Note that carriers were told of deliveries (job id to number); what has gone on meanwhile is left alone."""
        for job_id in deliveries:
            with suppress(JobNotFound):
                self.update(job_id, lambda record, now: lifecycle.dispatched(record, deliveries[record.job_id]))

    def cancel(self, job_id: str) -> JobRecord:
        """Take a job back. Raises `JobNotFound`, `ActionRefused`."""
        return self.update(job_id, lifecycle.cancel)

    def retry(self, job_id: str) -> JobRecord:
        """Try a failed or cancelled job again. Raises `JobNotFound`, `ActionRefused`."""
        return self.update(job_id, lifecycle.retry)

    def resolve(self, job_id: str, resolution: Resolution) -> JobRecord:
        """Say what came of a create whose outcome is not known. Raises `JobNotFound`, `ActionRefused`."""
        return self.update(job_id, lambda record, now: lifecycle.resolve(record, now, resolution))

    # The submission journal (the contract that `generate` names `Journal`).

    def intend(self, job_id: str, token: str, intent: Intent) -> JobRecord:
        """Journal a paid create before it is sent, and take its in-flight slot. Raises `SlotsBusy`, `LeaseLost`."""
        return self.update(
            job_id,
            lambda record, now: lifecycle.intend(record, token, now, intent),
            slots=(intent.service, intent.max_in_flight),
            on_disk=True,
        )

    def accept(self, job_id: str, receipt: Receipt) -> JobRecord:
        """Save the ticket of a submission, whoever holds the lease."""
        return self.update(job_id, lambda record, now: lifecycle.accept(record, now, receipt), on_disk=True)

    def mark_unknown(self, job_id: str, *, submission_id: str, reason: str) -> JobRecord:
        """Journal that the outcome of a create is not known."""
        return self.update(
            job_id, lambda record, now: lifecycle.mark_unknown(record, now, submission_id=submission_id, reason=reason)
        )

    def clear_submission(self, job_id: str, *, submission_id: str, reason: str, token: str = "") -> JobRecord:
        """Journal the proof that a submission bought nothing, and free its slot.

        With `token`, a lease's, the proof is about the create that was journaled under it, and about no other.
        """
        return self.update(
            job_id,
            lambda record, now: lifecycle.clear_submission(
                record, now, submission_id=submission_id, reason=reason, token=token
            ),
        )
