"""Decide, independently of any store, how many due jobs of each lane may be leased now, and which.

A store counts the load of its queue, calls `capacity`, reads the due jobs of the lanes that have openings, and calls
`select`. On Redis, `redis/scripts/claim.lua` applies the same rules inside the server: change both together.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.jobs import AUTO, TICKET_MARK, JobRecord, Status, lifecycle
from tenxsom_flow_engine.store.values import ClaimRequest, DispatchLimits

_log = logging.getLogger(__name__)

#: Rounding error of a present-day instant as a float, in seconds (upper bound).
ROUNDING_SECONDS = 1e-6


def expire(record: JobRecord, now: float) -> JobRecord:
    """Return a job after its lease expired (see `lifecycle.expire`); log one that fails by that, as no worker does."""
    after = lifecycle.expire(record, now)
    if after.status is Status.FAILED and after.error is not None:
        fields = {"job_id": after.job_id, "service": after.effective_service, "error": after.error.code}
        _log.error("%s of %s: failed: %s", record.step, after.job_id, after.error.message, extra=fields)
    return after


@dataclass(frozen=True, slots=True)
class Load:
    """The current load of a queue and of the services named in a claim."""

    #: Jobs of the queue that are leased.
    leased: int
    #: In-flight slots taken, by service.
    in_flight: Mapping[str, int]
    #: Leased jobs of the queue that still need a slot, by lane.
    wanting: Mapping[str, int]
    #: Tokens in the bucket of the dispatch rate.
    tokens: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many jobs may be leased now, by lane and in total."""

    openings: Mapping[str, int]
    total: int
    #: The services whose openings are shared with the lane of jobs that name no service.
    shared: frozenset[str]
    #: Earliest instant at which `total` is above zero: now, or when the bucket has a token again. None: when a lease
    #: ends.
    opens_at: float | None

    def lanes_used(self, lane: str) -> Sequence[str]:
        """Return the lanes of whose openings a job of this lane takes one: also that of jobs that name no service."""
        return (lane, AUTO) if lane in self.shared else (lane,)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A due job. `position` numbers jobs in the order of adding."""

    job_id: str
    lane: str
    due: float
    position: int


def refilled(tokens: float, refilled_at: float, limits: DispatchLimits, now: float) -> float:
    """Return the tokens in the dispatch rate's bucket now, given the tokens at an earlier instant."""
    return min(limits.burst, tokens + max(0.0, now - refilled_at) * limits.max_dispatches_per_second)


def capacity(request: ClaimRequest, limits: DispatchLimits, load: Load, now: float) -> Capacity:
    """Return how many jobs of each lane may be leased now."""
    shared = request.open_to_all
    free = {
        service: max(0, slots - load.in_flight.get(service, 0) - load.wanting.get(service, 0))
        for service, slots in request.slots.items()
    }
    # Jobs that name no service share the slots with those that name one, so neither may overbook the other.
    free_for_auto = max(0, sum(free[service] for service in shared) - load.wanting.get(AUTO, 0))
    openings = {TICKET_MARK + service: request.count for service in request.slots}
    openings |= {service: min(count, free_for_auto) if service in shared else count for service, count in free.items()}
    openings[AUTO] = free_for_auto
    total, opens_at = _total(request, limits, load, now)
    return Capacity(openings, total, shared, opens_at)


def _total(request: ClaimRequest, limits: DispatchLimits, load: Load, now: float) -> tuple[int, float | None]:
    if load.leased >= limits.max_concurrent_dispatches:
        return 0, None
    if load.tokens < 1:
        return 0, now + (1 - load.tokens) / limits.max_dispatches_per_second + ROUNDING_SECONDS
    return min(request.count, limits.max_concurrent_dispatches - load.leased, int(load.tokens)), now


def select(candidates: Iterable[Candidate], allowed: Capacity) -> list[Candidate]:
    """Choose jobs within a capacity: jobs with a ticket first, then by due time, then in the order of adding."""
    openings = dict(allowed.openings)
    chosen: list[Candidate] = []
    for job in sorted(candidates, key=lambda job: (not job.lane.startswith(TICKET_MARK), job.due, job.position)):
        lanes = allowed.lanes_used(job.lane)
        if len(chosen) < allowed.total and all(openings.get(lane, 0) > 0 for lane in lanes):
            chosen.append(job)
            for lane in lanes:
                openings[lane] -= 1
    return chosen
