"""Which video service makes a job: the one that it names, or for `auto` the best of those that can.

Best is whose gate opens first, then who is cheaper. Options name the services that they are for: a job that has some
goes to one of those. `auto` is decided anew at each submit step, so a job changes its service for as long as nothing
may have been bought for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import AUTO, Cost, VideoJob
from tenxsom_flow_engine.rate_limits.base import QuotaGate
from tenxsom_flow_engine.services.base import Fit, VideoService

#: Seconds for which a service without a free slot counts as closed, since nobody knows when one falls free.
FULL_SERVICE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A service that can make a job, and the job as it would be made there."""

    service: VideoService
    fit: Fit

    @property
    def cost(self) -> Cost | None:
        """What the job is expected to cost there, if prices are known."""
        return self.service.estimate(self.fit.job)

    @property
    def price(self) -> float:
        """What it costs in USD; what is not known counts as more than any price."""
        return math.inf if self.cost is None or self.cost.usd is None else self.cost.usd


def auto_services(services: Mapping[str, VideoService]) -> frozenset[str]:
    """Return the services that may be chosen for a job that names none; a stand-in only where there is no other."""
    names = {name: service for name, service in services.items() if service.auto_selectable}
    proper = [name for name, service in names.items() if not service.is_fallback]
    return frozenset(proper or names)


def candidates(job: VideoJob, services: Mapping[str, VideoService]) -> Sequence[Candidate]:
    """Return the services that can make a job, the cheapest first: the one that it names, or for `auto` several.

    Raises `InvalidInput` if there is none, saying what each lacks.
    """
    if job.service != AUTO:
        service = services.get(job.service)
        if service is None:
            names = ", ".join((AUTO, *services))
            raise InvalidInput("service", f"there is no service {job.service!r}", next_step=f"use one of: {names}")
        return [Candidate(service, service.fit(job))]
    refusals: dict[str, InvalidInput] = {}
    fitting = sorted(_fitting(job, services, refusals), key=lambda candidate: candidate.price)
    if fitting:
        return fitting
    if len(refusals) == 1:
        raise next(iter(refusals.values()))
    lacks = "; ".join(f"{name}: {refusal.message}" for name, refusal in refusals.items())
    raise InvalidInput("service", f"none can make this job ({lacks or 'none is chosen by itself'})")


def _fitting(
    job: VideoJob, services: Mapping[str, VideoService], refusals: dict[str, InvalidInput]
) -> Iterator[Candidate]:
    allowed, asked = auto_services(services), job.allowed_services
    for name, service in services.items():
        # Any other would leave the options aside, such as a script that somebody wants spoken.
        if name in allowed and (not asked or name in asked):
            try:
                yield Candidate(service, service.fit(job))
            except InvalidInput as refusal:
                refusals[name] = refusal
    for name in sorted(asked - allowed):
        here = name in services
        lack = f"{name} is chosen only where a job names it" if here else f"{name} is not configured"
        mend = f"set the job's service to {name}" if here else "configure it"
        refusals[name] = InvalidInput(f"options.{name}", lack, next_step=f"{mend}, or leave its options out")


def first_to_open(
    choice: Sequence[Candidate], gate: QuotaGate, in_flight: Callable[[str], int], now: float
) -> tuple[float, Candidate]:
    """Return the candidate whose gate opens first, of several the first, and when. Full slots count as not open."""

    def opens_at(candidate: Candidate) -> float:
        service = candidate.service
        full = in_flight(service.name) >= service.max_in_flight
        return max(gate.opens_at(service.name), now + FULL_SERVICE_SECONDS if full else now)

    openings = [opens_at(candidate) for candidate in choice]
    first = min(openings)
    return first, choice[openings.index(first)]
