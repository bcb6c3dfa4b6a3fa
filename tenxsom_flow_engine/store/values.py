"""The values that job stores take and return: jobs to add, claims, filters, pages, counts, workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tenxsom_flow_engine.jobs import Cost, JobRecord, Status, VideoJob

#: The statuses of unfinished jobs that wait for no scheduled time and for no person.
IN_PROGRESS = (Status.QUEUED, Status.RUNNING, Status.RENDERING)
#: Seconds after its last heartbeat for which a worker is remembered.
FORGET_WORKERS_AFTER_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to add. `due` is the instant from which it may be worked on; None means at once."""

    job: VideoJob
    due: float | None = None
    #: What it is expected to cost, if that is known.
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """The result of `add`: ids that are new, and ids that the store had already (their records stay as they are)."""

    new: tuple[str, ...]
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoreAdvice:
    """How records could be lost, in one sentence, and what to do about it."""

    message: str
    next_step: str = ""

    def __str__(self) -> str:
        return f"{self.message}; {self.next_step}" if self.next_step else self.message


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
    """A queue's settings made at run time. None: not set, so the environment's value holds."""

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
    """A worker's request for jobs."""

    queue: str
    worker: str
    #: How many jobs it can work on at once now.
    count: int
    #: Seconds that each lease lasts.
    lease: float
    #: The environment's limits; those set at run time win.
    limits: DispatchLimits
    #: The services that this worker can use, and how many generations each may have in flight. Jobs of other
    #: services are left alone, and so are jobs that would need a slot where none is free.
    slots: Mapping[str, int]
    #: The services among them that may be chosen for a job that names none; None: all of them.
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
    #: The store's revision that this claim saw (see `JobStore.revision`).
    revision: object = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; a field that is None or empty does not restrict."""

    queue: str | None = None
    statuses: Collection[Status] = ()
    service: str | None = None
    channel: str | None = None
    #: Part of the topic or of the job's id, ignoring case.
    text: str | None = None
    added_from: float | None = None
    added_before: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Records, newest first, and the cursor to ask for the next page with (None: there is none).

    A page with a cursor may hold fewer records than asked for, or none: the number of records examined for one page
    is bounded.
    """

    records: tuple[JobRecord, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class ListBounds:
    """How many records a store examines at most for one page, and for one count."""

    page: int
    count: int


@dataclass(frozen=True, slots=True)
class MatchCount:
    """How many jobs match a filter; `complete` is False if only the newest were examined, so there may be more."""

    jobs: int
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs a queue has now."""

    by_status: Mapping[Status, int]
    #: When the job that has waited longest for a worker became due; None if none is due.
    oldest_due: float | None = None

    @property
    def unfinished(self) -> int:
        """Jobs that the queue still has to deliver."""
        return sum(self.by_status.get(s, 0) for s in (Status.SCHEDULED, *IN_PROGRESS))


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker's heartbeat."""

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

    #: Seconds after a job finished.
    age: float = 30 * 86400.0
    #: The maximum number of succeeded and cancelled records.
    count: int = 100_000
    #: Seconds for which the id of a trimmed job stays known, so that adding it again adds nothing.
    ids: float = 32 * 86400.0


@dataclass(frozen=True, slots=True)
class ImportResult:
    """How many entries were moved from a plain list into the store, and how many were set aside as invalid."""

    moved: int = 0
    rejected: int = 0
