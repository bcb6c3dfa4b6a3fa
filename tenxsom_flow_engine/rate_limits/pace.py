"""How a service's gate reacts to the answers of the service: pure rules, which a ledger applies in one transaction.

A service can have undocumented limits, so its pace is found the way TCP finds the capacity of a link. A refusal halves
the pace and sets the ceiling to the refused pace. Successes raise it quickly to just below the ceiling, then so slowly
that the next refusal is hundreds of calls away. Well above the ceiling the limit must have risen: then faster again.

Services also answer busy for reasons other than our rate, and slower calls would not help. So a refusal at a pace that
the service accepted before only closes the gate for a while, as long as such refusals are rare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import msgspec

from tenxsom_flow_engine import clock
from tenxsom_flow_engine.errors import Busy, ServiceError
from tenxsom_flow_engine.events import Event
from tenxsom_flow_engine.events.changes import service_events
from tenxsom_flow_engine.timings import Timings

#: Below the share NEAR of the ceiling, a success closes the fraction QUICK of the gap to it; above, it raises the pace
#: by the fraction SLOW_RECOVERY.
NEAR, QUICK, SLOW_RECOVERY = 0.92, 0.25, 1 / 3000
#: From this share of the ceiling, a success raises the pace ten times as fast: the limit must have risen.
PAST = 1.08
#: From the share SUSPECT of the ceiling, a refusal is attributed to the pace; below it only if at least the share
#: TOO_MANY of about RECENT_ANSWERS recent answers were refusals.
SUSPECT, TOO_MANY, RECENT_ANSWERS = 0.97, 0.035, 150
#: The lowest pace: after a long outage, calls must still reach the service.
LEAST = 1 / 16
#: An answer is slow from this multiple of the mean response time; the mean is used after this number of answers.
SLOW_FACTOR, KNOWN_AFTER = 3.0, 20
#: Number of recent answers that the mean response time covers.
MEMORY = 200
#: The factor that a slow answer and another answer apply to the latency factor, and its minimum.
SLOWED, LIFTED, MIN_LATENCY_FACTOR = 0.9, 1.05, 0.5
#: The value of `stopped` after a pause by an operator; otherwise it is the code of the service's error.
BY_HAND = "by hand"


@dataclass(frozen=True, slots=True)
class Gate:
    """The state of a service apart from its admissions."""

    #: Share of the limits in use, learned from busy answers.
    pace: float = 1.0
    #: The pace at the service's latest refusal.
    ceiling: float = 1.0
    #: Whether the service has accepted a call since its latest refusal.
    succeeded_since_rejection: bool = True
    #: The share of refusals among recent answers.
    rejection_rate: float = 0.0
    #: Factor on the pace, learned from slow answers.
    latency_factor: float = 1.0
    #: Until when the service wants no calls (its `Retry-After`).
    closed_until: float = 0.0
    #: Why it is stopped: the code of its error, or `BY_HAND`; empty if it is not.
    stopped: str = ""
    #: When one create is admitted to check whether a stopped service works again.
    probe_at: float = 0.0
    #: The reason in the service's latest refusal, or the operator's.
    why: str = ""
    #: The run-time limits; empty: not set, so the environment's limits apply.
    limits: str = ""

    @property
    def effective_pace(self) -> float:
        """The share of the limits that may be used."""
        return self.pace * self.latency_factor

    def reopens(self, now: float) -> float | None:
        """Return until when the gate is closed, regardless of windows; None if it is open."""
        if self.stopped == BY_HAND:
            return float("inf")
        until = max(self.closed_until, self.probe_at if self.stopped else 0.0)
        return until if until > now else None


#: Stored names of the fields that were renamed since release 0.1.
_STORED_NAMES = {"succeeded_since_rejection": "proven", "rejection_rate": "trouble", "latency_factor": "drag"}
_FIELDS = {stored: field for field, stored in _STORED_NAMES.items()}


def to_stored(gate: Gate) -> dict[str, object]:
    """Return a gate's fields under their stored names."""
    return {_STORED_NAMES.get(name, name): value for name, value in asdict(gate).items()}


def from_stored(fields: Mapping[str, object]) -> Gate:
    """Decode a stored gate; numbers can be text."""
    return msgspec.convert({_FIELDS.get(name, name): value for name, value in fields.items()}, Gate, strict=False)


def silence(busy: Busy, timings: Timings) -> float:
    """Return the pause after a busy answer, in seconds."""
    return timings.busy_pause if busy.retry_after is None else busy.retry_after


def refused(gate: Gate, error: ServiceError, now: float, timings: Timings = Timings()) -> Gate:
    """Return the gate after an answer of busy, misconfigured or out of credit."""
    if gate.stopped == BY_HAND:
        return gate
    why = error.reason
    if not isinstance(error, Busy):
        return replace(gate, stopped=error.code, probe_at=now + timings.probe_interval, why=why)
    closed = replace(gate, closed_until=max(gate.closed_until, now + silence(error, timings)), why=why)
    if now < gate.closed_until:  # an answer to a call that was under way when the gate closed
        return closed
    rejection_rate = gate.rejection_rate + (1 - gate.rejection_rate) / RECENT_ANSWERS
    if gate.succeeded_since_rejection and gate.pace < SUSPECT * gate.ceiling and rejection_rate < TOO_MANY:
        return replace(closed, rejection_rate=rejection_rate, succeeded_since_rejection=False)
    # Refused again without a success in between: the service is down, so this pace says nothing about its limit.
    return replace(
        closed,
        pace=max(LEAST, gate.pace / 2),
        ceiling=gate.pace if gate.succeeded_since_rejection else gate.ceiling,
        rejection_rate=rejection_rate,
        succeeded_since_rejection=False,
    )


def answered(gate: Gate, seconds: float, usual: float | None) -> Gate:
    """Return the gate after an accepted call; `usual` is the service's mean response time (s), once it is known."""
    near = NEAR * gate.ceiling
    if gate.pace < near:
        # Plus 1% of the ceiling: a fraction of the remaining gap alone would never reach it.
        pace = min(near, gate.pace + QUICK * (near - gate.pace) + 0.01 * gate.ceiling)
    else:
        pace = min(1.0, gate.pace * (1 + SLOW_RECOVERY * (1 if gate.pace < PAST * gate.ceiling else 10)))
    slow = usual is not None and seconds > SLOW_FACTOR * usual
    latency_factor = (
        max(MIN_LATENCY_FACTOR, gate.latency_factor * SLOWED) if slow else min(1.0, gate.latency_factor * LIFTED)
    )
    rejection_rate = gate.rejection_rate * (1 - 1 / RECENT_ANSWERS)
    # A tiny rate becomes 0, so that a settled gate stays equal and is not written at each call.
    taught = replace(
        gate,
        pace=pace,
        latency_factor=latency_factor,
        succeeded_since_rejection=True,
        rejection_rate=rejection_rate if rejection_rate > 0.001 else 0.0,
    )
    return resumed(taught) if gate.stopped not in ("", BY_HAND) else taught


def paused(gate: Gate, why: str) -> Gate:
    """Return the gate of a service that an operator pauses."""
    return replace(gate, stopped=BY_HAND, why=why)


def resumed(gate: Gate) -> Gate:
    """Return the open gate of a stopped or closed service, with its pace unchanged."""
    return replace(gate, stopped="", probe_at=0.0, closed_until=0.0, why="")


def events(service: str, before: Gate, after: Gate, now: float) -> Sequence[Event]:
    """Return the events of a change of a gate: a service that is stopped, by an error or an operator, or resumed."""
    return service_events(service, before.stopped, after.stopped, after.why, now)


def set_back(gate: Gate, now: float, lead: float) -> Gate:
    """Return the gate with the instants that were set while the clock was `lead` seconds ahead of `now`."""
    return replace(
        gate,
        closed_until=clock.set_back(gate.closed_until, now, lead),
        probe_at=clock.set_back(gate.probe_at, now, lead),
    )
