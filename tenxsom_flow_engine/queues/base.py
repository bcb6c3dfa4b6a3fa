"""The queue's contract: what every carrier of jobs can do, and what only those can that workers pull from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.outcomes import Outcome
from tenxsom_flow_engine.store.base import Added, Claim, Counts, DispatchLimits, NewJob

#: Bounds of the limits, which are those of Cloud Tasks, so that a queue can move between carriers.
MAX_RATE, MAX_CONCURRENT = 500.0, 5000


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What there is to say about a queue."""

    queue_type: str
    paused: bool
    limits: DispatchLimits
    #: The names of the limits that were set at run time and so win over the environment.
    set_at_run_time: tuple[str, ...]
    counts: Counts
    #: Workers that gave a sign of life lately; None where the carrier cannot know.
    workers_alive: int | None


class JobQueue(ABC):
    """A carrier: takes jobs in, and brings each to a worker when it is due, as often as its steps ask for."""

    name: str

    @abstractmethod
    def enqueue(self, jobs: Iterable[NewJob]) -> Added:
        """Add jobs. An id that is known adds nothing, so a repeated call is harmless."""

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
        """Cancel all waiting jobs for which nothing may have been bought; return how many."""

    @abstractmethod
    def set_limits(self, rate: float | None, concurrent: int | None) -> DispatchLimits:
        """Change limits at run time, over all workers; None leaves one as it is. Raises `InvalidInput`."""


class PullsJobs(ABC):
    """The capability that pull workers need. Cloud Tasks pushes, so it has none of this."""

    @abstractmethod
    def claim(
        self,
        worker: str,
        count: int,
        slots: Mapping[str, int],
        *,
        automatic: Collection[str] | None = None,
        only: str | None = None,
    ) -> Claim:
        """Lease up to `count` due jobs (see `store.base.ClaimRequest`)."""

    @abstractmethod
    def renew(self, leases: Mapping[str, str]) -> Collection[str]:
        """Prolong leases; return the ids of those that are lost."""

    @abstractmethod
    def settle(self, record: JobRecord, outcome: Outcome) -> JobRecord:
        """Apply what a step of a leased job returned. Raises `LeaseLost`."""

    @abstractmethod
    def hand_back(self, record: JobRecord) -> None:
        """Return a leased job undone. A lease that is lost is no error."""


def check_limits(rate: float | None, concurrent: int | None) -> None:
    """Raise `InvalidInput` unless the limits are ones that every carrier can hold."""
    # Programs pass these too, so their types are checked as well.
    if rate is not None and not (type(rate) in (int, float) and 0 < rate <= MAX_RATE):
        raise InvalidInput("max_dispatches_per_second", f"must be more than 0 and at most {MAX_RATE:g}, not {rate!r}")
    if concurrent is not None and not (type(concurrent) is int and 1 <= concurrent <= MAX_CONCURRENT):
        raise InvalidInput("max_concurrent_dispatches", f"must be 1 to {MAX_CONCURRENT}, not {concurrent!r}")
