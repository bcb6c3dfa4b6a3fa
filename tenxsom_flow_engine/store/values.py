"""The values that job stores take and return: jobs to add, claims, filters, pages, counts, workers."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tenxsom_flow_engine.jobs import Cost, JobRecord, Status, VideoJob

#: The statuses of unfinished jobs that are neither scheduled nor held.
IN_PROGRESS = (Status.QUEUED, Status.RUNNING, Status.RENDERING)
#: Seconds after its last heartbeat at which a worker is removed.
FORGET_WORKERS_AFTER_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to add. `due` is the instant at which it becomes due; None means at once."""

    job: VideoJob
    due: float | None = None
    #: The expected cost, if known.
    cost: Cost | None = None
    #: The highest price in USD that is accepted (see `JobRecord.max_usd`).
    max_usd: float | None = None
    #: The latest instant at which it may buy (see `JobRecord.start_by`).
    start_by: float | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """The result of `add`: new ids, and ids that the store already had (their records stay unchanged)."""

    new: tuple[str, ...]
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoreAdvice:
    """One sentence on how records could be lost, and the next step."""

    message: str
    next_step: str = ""

    def __str__(self) -> str:
        return f"{self.message}; {self.next_step}" if self.next_step else self.message


@dataclass(frozen=True, slots=True)
class DispatchLimits:
    """How fast a queue dispatches steps, over all its workers."""

    max_dispatches_per_second: float
    max_concurrent_dispatches: int

    @property
    def burst(self) -> float:
        """Size of the token bucket: the steps of 0.2 s, as in Cloud Tasks."""
        return max(1.0, self.max_dispatches_per_second / 5)


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue's run-time settings. None: not set, so the environment's value applies."""

    paused: bool = False
    max_dispatches_per_second: float | None = None
    max_concurrent_dispatches: int | None = None

    def __post_init__(self) -> None:
        # Stored values: `check_limits` has refused those of a user.
        for limit in (self.max_dispatches_per_second, self.max_concurrent_dispatches):
            if limit is not None and not 0 < limit < math.inf:
                raise ValueError(f"the limit {limit}")

    def with_limits(self, rate: float | None, concurrent: int | None) -> QueueState:
        """Return the state with other limits; None keeps the current one."""
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


class Slots(NamedTuple):
    """The limit of generations in flight at a service, and of those of the job's channel at all services, if any."""

    service: str
    limit: int
    of_channel: int | None = None


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A worker's request for jobs."""

    queue: str
    worker: str
    #: How many more jobs it can process now.
    count: int
    #: Seconds that each lease lasts.
    lease: float
    #: The environment's limits; those set at run time win.
    limits: DispatchLimits
    #: The services that this worker can use, with the maximum number of generations in flight at each. Jobs of other
    #: services are not claimed, nor are jobs that need a slot of a service that has none free.
    slots: Mapping[str, int]
    #: Those of the services that may be chosen for a job that names none; None: all.
    auto_services: Collection[str] | None = None
    #: Claim only this job.
    only: str | None = None

    @property
    def open_to_all(self) -> frozenset[str]:
        """The services that may be chosen for a job that names none."""
        return frozenset(self.slots if self.auto_services is None else self.auto_services)


@dataclass(frozen=True, slots=True)
class Claim:
    """The leased records, and when to claim again: at `again_at`, or, if None, when the store has changed."""

    records: tuple[JobRecord, ...]
    again_at: float | None
    #: The store's revision that this claim saw (see `JobStore.revision`).
    revision: object = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; a field that is None or empty matches every job."""

    queue: str | None = None
    statuses: Collection[Status] = ()
    service: str | None = None
    channel: str | None = None
    #: Part of the topic or of the job's id; case is ignored.
    text: str | None = None
    added_from: float | None = None
    added_before: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Records, newest first, and the cursor of the next page (None: this is the last page).

    A page with a cursor can hold fewer records than requested, or none, because the number of records examined for one
    page is bounded.
    """

    records: tuple[JobRecord, ...]
    cursor: str | None


class Order(StrEnum):
    """An order of a list of jobs, other than that of adding."""

    DUE = "due"  # waiting and rendering jobs by the time of their next step, the earliest first
    FINISHED = "finished"  # finished jobs, the latest first


@dataclass(frozen=True, slots=True)
class OrderedJobs:
    """The first records of an order; `more`: others follow, or could follow beyond the bound of the search."""

    records: tuple[JobRecord, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class ListBounds:
    """The maximum number of records that a store examines for one page, and for one count."""

    page: int
    count: int


@dataclass(frozen=True, slots=True)
class MatchCount:
    """How many jobs match a filter; if `complete` is False, only the newest were examined and more might match."""

    jobs: int
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of jobs in a queue."""

    by_status: Mapping[Status, int]
    #: The due time of the job that has waited longest for a worker; None if no job is due.
    oldest_due: float | None = None

    @property
    def unfinished(self) -> int:
        """Number of jobs that the queue still has to deliver."""
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

    @property
    def ended(self) -> bool:
        """Whether this is the last word of a worker that ended as intended: it can run no more steps."""
        return self.concurrency == 0


@dataclass(frozen=True, slots=True)
class Retention:
    """How long finished records are kept. Failed and held jobs are kept until an operator acts on them."""

    #: Seconds after a job finished.
    age: float = 30 * 86400.0
    #: The maximum number of succeeded and cancelled records.
    count: int = 100_000
    #: Seconds for which the id of a trimmed job stays known; adding it again adds nothing.
    ids: float = 32 * 86400.0


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The result of an import: how many entries of a legacy list became jobs, and how many were rejected."""

    moved: int = 0
    rejected: int = 0
