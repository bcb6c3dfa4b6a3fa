"""How a service's gate reacts to what the service says: pure rules, which every ledger applies in one transaction.

A service may have limits that nobody told us, so its pace is found as TCP finds the capacity of a line. A refusal
halves it and is remembered as the ceiling. Successes bring it back quickly to just below the ceiling, then on so slowly
that the next refusal is hundreds of calls away; once well past the ceiling, which has moved then, on faster.

Services also say busy for reasons of their own. Slower calls would not change that, so a refusal at a pace that was
taken before teaches nothing but silence, as long as there are few of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import msgspec

from tenxsom_flow_engine.errors import Busy, ServiceError
from tenxsom_flow_engine.timings import Timings

#: Below this share of the ceiling a success adds a quarter of the way to it; above, only a little of itself.
NEAR, QUICK, SLOW_RECOVERY = 0.92, 0.25, 1 / 3000
#: From this share of the ceiling on, it has moved, and a success adds ten times as much.
PAST = 1.08
#: From this share of the ceiling on a refusal is put down to the pace; below it only where so large a share of so many
#: answers, the latest, were refusals.
SUSPECT, TOO_MANY, RECENT_ANSWERS = 0.97, 0.035, 150
#: No pace is lower: after a long outage a service must be found again.
LEAST = 1 / 16
#: An answer counts as slow from so many times the usual, and the usual is known after so many answers.
SLOW_FACTOR, KNOWN_AFTER = 3.0, 20
#: So many answers make up the usual.
MEMORY = 200
#: What a slow answer leaves of the latency factor, how another one lifts it, and its least.
SLOWED, LIFTED, MIN_LATENCY_FACTOR = 0.9, 1.05, 0.5
#: What `stopped` says where a person did it; else it holds the code of the service's error.
BY_HAND = "by hand"


@dataclass(frozen=True, slots=True)
class Gate:
    """What is kept of a service beside its admissions."""

    #: Share of the limits that may be used, as busy answers teach it.
    pace: float = 1.0
    #: The pace at which the service refused last.
    ceiling: float = 1.0
    #: Whether the service took anything since it refused last.
    succeeded_since_rejection: bool = True
    #: The share of the latest answers that were refusals.
    rejection_rate: float = 0.0
    #: Share of the pace, as slow answers teach it.
    latency_factor: float = 1.0
    #: Until when the service asked for silence.
    closed_until: float = 0.0
    #: Why it is stopped: the code of its error, or `BY_HAND`; empty if it is not.
    stopped: str = ""
    #: When a create may be let through to see whether a stopped service works again.
    probe_at: float = 0.0
    #: What it said last, in words.
    why: str = ""
    #: The windows that were set at run time; empty: none were, so the environment's hold.
    limits: str = ""

    @property
    def effective_pace(self) -> float:
        """The share of the limits that may be used."""
        return self.pace * self.latency_factor

    def reopens(self, now: float) -> float | None:
        """Return until when the gate itself is shut, whatever the windows say; None if it is open."""
        if self.stopped == BY_HAND:
            return float("inf")
        until = max(self.closed_until, self.probe_at if self.stopped else 0.0)
        return until if until > now else None


#: The names under which ledgers store the fields that were renamed since release 0.1.
_STORED_NAMES = {"succeeded_since_rejection": "proven", "rejection_rate": "trouble", "latency_factor": "drag"}
_FIELDS = {stored: field for field, stored in _STORED_NAMES.items()}


def to_stored(gate: Gate) -> dict[str, object]:
    """Return a gate's fields as ledgers store them."""
    return {_STORED_NAMES.get(name, name): value for name, value in asdict(gate).items()}


def from_stored(fields: Mapping[str, object]) -> Gate:
    """Read a gate that a ledger stored; numbers may be text."""
    return msgspec.convert({_FIELDS.get(name, name): value for name, value in fields.items()}, Gate, strict=False)


def silence(busy: Busy, timings: Timings) -> float:
    """Return how many seconds a busy answer asks to be left alone."""
    return timings.busy_pause if busy.retry_after is None else busy.retry_after


def refused(gate: Gate, error: ServiceError, now: float, timings: Timings = Timings()) -> Gate:
    """Learn that a service said busy, misconfigured or out of credit."""
    if gate.stopped == BY_HAND:
        return gate
    why = error.reason
    if not isinstance(error, Busy):
        return replace(gate, stopped=error.code, probe_at=now + timings.probe_interval, why=why)
    closed = replace(gate, closed_until=max(gate.closed_until, now + silence(error, timings)), why=why)
    if now < gate.closed_until:  # the echo of calls that were under way when it closed
        return closed
    rejection_rate = gate.rejection_rate + (1 - gate.rejection_rate) / RECENT_ANSWERS
    if gate.succeeded_since_rejection and gate.pace < SUSPECT * gate.ceiling and rejection_rate < TOO_MANY:
        return replace(closed, rejection_rate=rejection_rate, succeeded_since_rejection=False)
    # Refused again before it took anything, it is down rather than too busy for this pace: nothing to remember.
    return replace(
        closed,
        pace=max(LEAST, gate.pace / 2),
        ceiling=gate.pace if gate.succeeded_since_rejection else gate.ceiling,
        rejection_rate=rejection_rate,
        succeeded_since_rejection=False,
    )


def answered(gate: Gate, seconds: float, usual: float | None) -> Gate:
    """Learn that a service took a call, and how long that took; `usual` is its own mean, once that is known."""
    near = NEAR * gate.ceiling
    if gate.pace < near:
        # The last hundredth is a step, since a share of what is left would never arrive.
        pace = min(near, gate.pace + QUICK * (near - gate.pace) + 0.01 * gate.ceiling)
    else:
        pace = min(1.0, gate.pace * (1 + SLOW_RECOVERY * (1 if gate.pace < PAST * gate.ceiling else 10)))
    slow = usual is not None and seconds > SLOW_FACTOR * usual
    latency_factor = (
        max(MIN_LATENCY_FACTOR, gate.latency_factor * SLOWED) if slow else min(1.0, gate.latency_factor * LIFTED)
    )
    rejection_rate = gate.rejection_rate * (1 - 1 / RECENT_ANSWERS)
    # What is next to nothing becomes nothing, so that a gate that has settled need not be written at each call.
    taught = replace(
        gate,
        pace=pace,
        latency_factor=latency_factor,
        succeeded_since_rejection=True,
        rejection_rate=rejection_rate if rejection_rate > 0.001 else 0.0,
    )
    return resumed(taught) if gate.stopped not in ("", BY_HAND) else taught


def paused(gate: Gate, why: str) -> Gate:
    """Stop a service until a person lets it go on."""
    return replace(gate, stopped=BY_HAND, why=why)


def resumed(gate: Gate) -> Gate:
    """Let a stopped or closed service go on at once, at the pace it had."""
    return replace(gate, stopped="", probe_at=0.0, closed_until=0.0, why="")
