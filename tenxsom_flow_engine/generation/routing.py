"""Choose the video service for a job: the named one, or for `auto` the best of those that can make it.

The best service is the one whose gate opens first, then the cheapest. A job with service-specific options goes to one
of those services; one with a script goes to a service that shows or speaks it, if there is one. `auto` is decided again
at each submit step, so the service can change until a create is sent. It never chooses a service that costs more than
the highest price that was shown when the job was added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import AUTO, Cost, JobRecord, VideoJob
from tenxsom_flow_engine.rate_limits.base import QuotaGate
from tenxsom_flow_engine.services.base import Fit, VideoService
from tenxsom_flow_engine.text import usd

#: Seconds for which a service without a free slot counts as closed, because the time of the next free slot is unknown.
FULL_SERVICE_SECONDS = 5.0
#: Rounding error of a price in USD (upper bound).
ROUNDING_USD = 1e-6


@dataclass(frozen=True, slots=True)
class Candidate:
    """A service that can make a job, with the job adjusted to that service."""

    service: VideoService
    fit: Fit

    @property
    def cost(self) -> Cost | None:
        """The estimated cost of the job at this service; None if its prices are unknown."""
        return self.service.estimate(self.fit.job)

    @property
    def price(self) -> float:
        """The estimated cost in USD; infinity if unknown, so that it sorts last."""
        return math.inf if self.cost is None or self.cost.usd is None else self.cost.usd


def auto_services(services: Mapping[str, VideoService]) -> frozenset[str]:
    """Return the services that `auto` can choose from; fallback services only if there is no other."""
    selectable = {name: service for name, service in services.items() if service.auto_selectable}
    preferred = [name for name, service in selectable.items() if not service.is_fallback]
    return frozenset(preferred or selectable)


def candidates(
    job: VideoJob, services: Mapping[str, VideoService], max_usd: float | None = None
) -> Sequence[Candidate]:
    """Return the services that can make a job, the cheapest first: the named one, or for `auto` possibly several.

    `max_usd` limits the price in USD for `auto`. Raises `InvalidInput` if there is none, with the reason for each
    service.
    """
    if job.service != AUTO:
        service = services.get(job.service)
        if service is None:
            names = ", ".join((AUTO, *services))
            raise InvalidInput("service", f"unknown service {job.service!r}", next_step=f"use one of: {names}")
        return [_candidate(service, job)]
    refusals: dict[str, InvalidInput] = {}
    fitting = sorted(_fitting(job, services, refusals), key=lambda candidate: candidate.price)
    if max_usd is not None:
        fitting = _affordable(fitting, max_usd, refusals)
    if fitting:
        return [candidate for candidate in fitting if candidate.service.uses_scripts or not job.script] or fitting
    if len(refusals) == 1:
        raise next(iter(refusals.values()))
    reasons = "; ".join(f"{name}: {refusal.message}" for name, refusal in refusals.items())
    raise InvalidInput("service", f"no service can make this job ({reasons or 'auto has none to choose from'})")


def _candidate(service: VideoService, job: VideoJob) -> Candidate:
    """Fit a job to a service. Raises `InvalidInput`."""
    fit = service.fit(job)
    if job.script and not service.uses_scripts:
        fit = Fit(fit.job, (*fit.notes, f"{service.name} neither shows nor speaks the script"))
    return Candidate(service, fit)


def candidates_of(record: JobRecord, services: Mapping[str, VideoService]) -> Sequence[Candidate]:
    """Return the candidates of an added job within the price that was shown when it was added.

    Records of release 0.2 have the lowest price only. If it is 0, the job was planned as a free draft and stays one.
    """
    max_usd = record.max_usd
    if record.job.service == AUTO and max_usd is None and record.cost is not None and record.cost.usd == 0:
        services, max_usd = {name: one for name, one in services.items() if one.is_fallback} or services, 0.0
    return candidates(record.job, services, max_usd)


def highest_price(choice: Sequence[Candidate]) -> float | None:
    """Return the highest known price in USD among candidates; None if none is known."""
    return max((candidate.price for candidate in choice if candidate.price != math.inf), default=None)


def _affordable(choice: Sequence[Candidate], max_usd: float, refusals: dict[str, InvalidInput]) -> list[Candidate]:
    """Return the candidates within a price, and explain the refusal of the others."""
    found = []
    for candidate in choice:
        if candidate.price <= max_usd + ROUNDING_USD:
            found.append(candidate)
            continue
        price = "an unknown amount" if candidate.price == math.inf else f"about {usd(candidate.price)}"
        refusals[candidate.service.name] = InvalidInput(
            "service",
            f"{candidate.service.name} costs {price} now, more than the {usd(max_usd)} shown when the job was added",
            next_step="retry the job to accept the new price",
        )
    return found


def _fitting(
    job: VideoJob, services: Mapping[str, VideoService], refusals: dict[str, InvalidInput]
) -> Iterator[Candidate]:
    allowed, requested = auto_services(services), job.allowed_services
    for name, service in services.items():
        # Any other service would ignore the options, for example a script to be spoken.
        if name in allowed and (not requested or name in requested):
            try:
                yield _candidate(service, job)
            except InvalidInput as refusal:
                refusals[name] = refusal
    for name in sorted(requested - allowed):
        configured = name in services
        reason = f"{name} is used only for jobs that name it" if configured else f"{name} is not configured"
        remedy = f"set the job's service to {name}" if configured else "configure it"
        refusals[name] = InvalidInput(f"options.{name}", reason, next_step=f"{remedy}, or omit its options")


def first_to_open(
    choice: Sequence[Candidate],
    gate: QuotaGate,
    in_flight: Callable[[str], int],
    now: float,
    spent_until: Callable[[Candidate], float] = lambda candidate: 0.0,
) -> tuple[float, Candidate]:
    """Return when the first gate opens, and its candidate (on a tie, the earlier one).

    A full service is not open, nor one whose budget has no room before `spent_until`.
    """

    def opens_at(candidate: Candidate) -> float:
        service = candidate.service
        full = in_flight(service.name) >= service.max_in_flight
        return max(gate.opens_at(service.name), spent_until(candidate), now + FULL_SERVICE_SECONDS if full else now)

    openings = [opens_at(candidate) for candidate in choice]
    first = min(openings)
    return first, choice[openings.index(first)]
