"""The interfaces of a queue backend: of every backend, and of those that workers pull from or that push."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import Failure, JobRecord, VideoJob
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.jobs.outcomes import Outcome
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Added, Claim, Counts, DispatchLimits, NewJob

#: Bounds of the limits: those of Cloud Tasks, so that jobs can move between queue backends.
MAX_RATE, MAX_CONCURRENT = 500.0, 5000
#: The names of the limits, in `DispatchLimits` as in a store's `QueueState`.
LIMITS = ("max_dispatches_per_second", "max_concurrent_dispatches")


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The status of a queue."""

    queue_type: str
    paused: bool
    limits: DispatchLimits
    #: The names of the run-time limits, which win over the environment.
    set_at_run_time: tuple[str, ...]
    counts: Counts
    #: Workers that can take jobs now; None for a queue that pushes, which also starts workers.
    workers_alive: int | None
    #: Why the state of the queue backend is unknown; None if it is known. If unknown, `paused` is the state last set.
    unknown: Failure | None = None
    #: Number of deliveries that the queue backend reports; None if it reports none.
    task_count: int | None = None
    #: The names of the limits in force that were set at the queue backend, not by this engine.
    set_at_backend: tuple[str, ...] = ()


class JobQueue(ABC):
    """A queue backend: accepts jobs and delivers each to a worker when it is due, once for each step."""

    name: str
    #: Duration of a lease in seconds.
    lease: float

    @abstractmethod
    def enqueue(self, jobs: Iterable[NewJob]) -> Added:
        """Add jobs. A known id adds nothing, so repeating an interrupted call completes it."""

    @abstractmethod
    def status(self) -> QueueStatus:
        """Return the queue's state, limits and counts."""

    @abstractmethod
    def pause(self) -> None:
        """Stop deliveries until `resume`. Jobs can still be added, and running steps finish."""

    @abstractmethod
    def resume(self) -> None:
        """Resume deliveries."""

    @abstractmethod
    def purge(self) -> int:
        """Cancel all waiting jobs that certainly bought nothing; return how many."""

    @abstractmethod
    def set_limits(self, rate: float | None, concurrent: int | None) -> DispatchLimits:
        """Change the run-time limits of all workers; None keeps a limit. Raises `InvalidInput`."""

    @abstractmethod
    def renew(self, leases: Mapping[str, str]) -> Collection[str]:
        """Extend leases; return the job ids of lost leases."""

    @abstractmethod
    def settle(self, record: JobRecord, outcome: Outcome) -> JobRecord:
        """Apply the outcome of a step and end the lease; the job gets its next delivery. Raises `LeaseLost`."""

    @abstractmethod
    def release_lease(self, record: JobRecord) -> None:
        """End a lease without running a step. A lost lease is ignored."""

    @abstractmethod
    def close(self) -> None:
        """Close connections; the store stays open. Can be called again."""

    # A queue that pushes deliveries overrides the following; a queue that workers pull from needs none of them.

    #: Whether the queue pushes jobs to a worker's URL, so that every delivery must be dispatched.
    pushes: bool = False

    def check(self, job: VideoJob, due: float | None) -> None:  # noqa: B027 - see above
        """Raise `InvalidInput` for a job that is too large for the queue, or due too far ahead."""

    def dispatch(self, records: Sequence[JobRecord]) -> None:  # noqa: B027 - see above
        """Dispatch the deliveries that these jobs wait for; dispatching a delivery again has no effect.

        Raises `QueueError` at the first delivery that fails; others might have been dispatched, and repeating the call
        completes them.
        """

    def min_requeue_delay(self) -> float:
        """Return the minimum delay (s) before a job that cannot continue is delivered again, to leave room for others.

        A queue that pushes delivers a job even while its service is full; pulled jobs wait in the store.
        """
        return 0.0

    def recover_lost(self, owner: str) -> int:
        """Redeliver jobs whose delivery was lost; return how many. Only one owner a minute does this."""
        return 0


class PullsJobs(ABC):
    """A queue that workers can claim jobs from."""

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

        For a service that is `closed` until a later instant, only jobs that need no create are leased.
        """

    @abstractmethod
    def settle_each(self, steps: Sequence[tuple[JobRecord, Outcome]]) -> Sequence[JobRecord | Exception]:
        """Settle several steps, at the cost of one where possible; return for each its record or the error of it."""


class PushesJobs(ABC):
    """A queue that pushes each job to a worker's URL."""

    pushes = True

    @abstractmethod
    def receive(
        self, delivery: Delivery, worker: str, *, previous_attempt_unanswered: bool = False
    ) -> JobRecord | None:
        """Lease the job of a delivery; a job that the store has never seen is adopted.

        `previous_attempt_unanswered`: an earlier attempt at this delivery got no response, so a store that was lost
        since then might have had a newer record. Returns None if there is nothing to do: the job has a later delivery,
        is finished, or was moved to another queue; its current delivery is guaranteed to come. Returns a failed job if
        its workers kept dying. Raises `LeasedElsewhere`.
        """

    @abstractmethod
    def create(self) -> None:
        """Create the queue at the queue backend, with the limits in force. Raises `QueueError` if it exists."""

    @abstractmethod
    def update(self) -> None:
        """Update the queue at the queue backend with the limits in force and the retry settings."""


def count_alive(store: JobStore, queue: str, lease: float) -> int:
    """Return the number of a queue's workers with a heartbeat within one lease."""
    return sum(not worker.ended for worker in store.workers(queue, within=lease))


def check_limits(rate: float | None, concurrent: int | None) -> None:
    """Raise `InvalidInput` for limits that not every queue backend supports."""
    # Programs also pass these through the Python API, so check the types too.
    if rate is not None and not (type(rate) in (int, float) and 0 < rate <= MAX_RATE):
        raise InvalidInput("max_dispatches_per_second", f"must be more than 0 and at most {MAX_RATE:g}, not {rate!r}")
    if concurrent is not None and not (type(concurrent) is int and 1 <= concurrent <= MAX_CONCURRENT):
        raise InvalidInput("max_concurrent_dispatches", f"must be 1 to {MAX_CONCURRENT}, not {concurrent!r}")
