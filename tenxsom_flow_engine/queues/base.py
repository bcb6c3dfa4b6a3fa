"""The queue's contract: what every queue backend of jobs can do, what only those can that workers pull from, or that push."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Failure, JobRecord, VideoJob
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.jobs.outcomes import Outcome
from tenxsom_flow_engine.store.values import Added, Claim, Counts, DispatchLimits, NewJob

#: Bounds of the limits, which are those of Cloud Tasks, so that a queue can move between queue backends.
MAX_RATE, MAX_CONCURRENT = 500.0, 5000
#: The names of the limits, in `DispatchLimits` as in a store's `QueueState`.
LIMITS = ("max_dispatches_per_second", "max_concurrent_dispatches")


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What there is to say about a queue."""

    queue_type: str
    paused: bool
    limits: DispatchLimits
    #: The names of the limits that were set at run time and so win over the environment.
    set_at_run_time: tuple[str, ...]
    counts: Counts
    #: Workers that gave a sign of life lately; None where the queue backend cannot know.
    workers_alive: int | None
    #: Why the queue backend does not tell its state; None if it does. Otherwise `paused` is what we last asked for.
    unknown: Failure | None = None
    #: How many deliveries the queue backend itself says that it has; None where it does not say.
    task_count: int | None = None
    #: The names of the limits in force that are neither the environment's nor set through us: the queue backend has others.
    set_at_backend: tuple[str, ...] = ()


class JobQueue(ABC):
    """A queue backend: takes jobs in, and brings each to a worker when it is due, as often as its steps ask for."""

    name: str
    #: Seconds that a job stays with a worker that gives no sign of life.
    lease: float

    @abstractmethod
    def enqueue(self, jobs: Iterable[NewJob]) -> Added:
        """Add jobs. A known id adds nothing, so a repeated call is harmless, and completes one that was interrupted."""

    @abstractmethod
    def status(self) -> QueueStatus:
        """Return the queue's state, limits and counts."""

    @abstractmethod
    def pause(self) -> None:
        """Hand out nothing more until `resume`. Adding goes on, and so do steps in hand."""

    @abstractmethod
    def resume(self) -> None:
        """Hand out jobs again."""

    @abstractmethod
    def purge(self) -> int:
        """Cancel all waiting jobs that certainly bought nothing; return how many."""

    @abstractmethod
    def set_limits(self, rate: float | None, concurrent: int | None) -> DispatchLimits:
        """Change limits at run time, over all workers; None leaves one as it is. Raises `InvalidInput`."""

    @abstractmethod
    def renew(self, leases: Mapping[str, str]) -> Collection[str]:
        """Prolong leases; return the ids of those that are lost."""

    @abstractmethod
    def settle(self, record: JobRecord, outcome: Outcome) -> JobRecord:
        """Apply what a step of a leased job returned, and hand the job on. Raises `LeaseLost`."""

    @abstractmethod
    def release_lease(self, record: JobRecord) -> None:
        """Return a leased job undone. A lease that is lost is no error."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; the store stays open. Closing twice is harmless."""

    # A queue that pushes each delivery to a worker overrides these; where workers pull, there is nothing to do.

    #: Whether the queue brings jobs to a worker's address, so that it must be told of every delivery.
    pushes: bool = False

    def check(self, job: VideoJob, due: float | None) -> None:  # noqa: B027 - see above
        """Raise `InvalidInput` for a job that the queue cannot take, or not that far ahead."""

    def dispatch(self, records: Sequence[JobRecord]) -> None:  # noqa: B027 - see above
        """Announce the deliveries that these jobs wait for; announced twice, each comes once.

        Raises `QueueError` when the first cannot be announced; the rest may have been, and the same call completes
        them.
        """

    def min_requeue_delay(self) -> float:
        """Return the least seconds after which a job that cannot continue may come again, to leave room for others.

        A queue that pushes delivers a job also while its service is full; pulled jobs wait in the store.
        """
        return 0.0

    def recover_lost(self, owner: str) -> int:
        """Redeliver jobs whose delivery was lost; return how many. One owner a minute does it."""
        return 0


class PullsJobs(ABC):
    """The capability that pull workers need."""

    @abstractmethod
    def claim(
        self,
        worker: str,
        count: int,
        slots: Mapping[str, int],
        *,
        auto_services: Collection[str] | None = None,
        only: str | None = None,
        closed: Mapping[str, float] = MappingProxyType({}),
    ) -> Claim:
        """Lease up to `count` due jobs (see `store.values.ClaimRequest`).

        Of a service that is `closed` until an instant to come only jobs that need no create are handed out.
        """


class PushesJobs(ABC):
    """The capability of queues that bring each job to a worker's address."""

    pushes = True

    @abstractmethod
    def receive(
        self, delivery: Delivery, worker: str, *, previous_attempt_unanswered: bool = False
    ) -> JobRecord | None:
        """Lease the job that a delivery brings, also one that the store has never seen.

        `previous_attempt_unanswered`: an earlier attempt at this delivery got no response, so a store that was lost
        since may have known more of it. None: there is nothing to do, since the job has gone on, is over, or has moved
        away; the delivery that it waits for now is sure to come. The job may come back dead, if its workers died over
        it. Raises `LeasedElsewhere`.
        """

    @abstractmethod
    def create(self) -> None:
        """Make the queue at the queue backend, with the limits in force. Raises `QueueError` if it is there."""

    @abstractmethod
    def update(self) -> None:
        """Give the queue at the queue backend the limits in force, and how it retries."""


def check_limits(rate: float | None, concurrent: int | None) -> None:
    """Raise `InvalidInput` unless the limits are ones that every queue backend can hold."""
    # Programs pass these too, so their types are checked as well.
    if rate is not None and not (type(rate) in (int, float) and 0 < rate <= MAX_RATE):
        raise InvalidInput("max_dispatches_per_second", f"must be more than 0 and at most {MAX_RATE:g}, not {rate!r}")
    if concurrent is not None and not (type(concurrent) is int and 1 <= concurrent <= MAX_CONCURRENT):
        raise InvalidInput("max_concurrent_dispatches", f"must be 1 to {MAX_CONCURRENT}, not {concurrent!r}")
