"""The ledger's contract: what all processes know together of admissions, waiters and gates, and how they decide.

Each method is one transaction (or one script on a server) at the store's own time, and may raise `StoreError`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.rate_limits.base import Admission, Closed
from tenxsom_flow_engine.rate_limits.pace import BY_HAND, Gate
from tenxsom_flow_engine.rate_limits.windows import Limits, Window, Windows, parse_windows
from tenxsom_flow_engine.timings import Timings

#: Admissions that a log keeps at least, so that limits may be raised without forgetting what they count.
KEPT = 1000
#: Admissions beyond those that are thrown away at a time.
TRIM = 100
#: Seconds after its hint at which a waiter that did not come is forgotten.
FORGET_WAITERS = 3600.0
#: Of one waiter after the other, spread evenly however many there are.
GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Scope:
    """The windows of a service, or those over all, beside their log: `recent(n)`, the n-th most recent admission.

    Where there were never so many, that is minus infinity. Of the windows a share is used, as the pace says.
    """

    name: str
    windows: Iterable[Window]
    recent: Callable[[int], float]
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """What is known of a service, or of `global`, at an instant."""

    now: float
    gate: Gate
    #: The instants of admissions, most recent first, as far as they are kept.
    recent: Sequence[float]
    waiting: int
    #: Counts and sums since the ledger was made (see `stats`).
    tally: Mapping[str, float]


class Ledger(ABC):
    """Where admissions are decided. Every ledger passes the same conformance suite."""

    timings: Timings

    @abstractmethod
    def ask(self, service: str, waiter_id: str, limits: Limits) -> Admission | Closed:
        """Admit, and count it in the log of the service and of `global`; or refuse, and remember the waiter.

        `limits` are the environment's; those that were set at run time win. A service that has none at all is admitted
        and not counted.
        """

    @abstractmethod
    def peek(self, service: str, limits: Limits) -> Closed | None:
        """Return what one that comes first would be told, or None if it would be admitted. Changes nothing."""

    @abstractmethod
    def give_back(self, admission: Admission) -> None:
        """Take an admission out of the logs."""

    @abstractmethod
    def forget(self, service: str, waiter_id: str) -> None:
        """Forget a waiter that will not come again."""

    @abstractmethod
    def answered(self, service: str, seconds: float) -> None:
        """Count an answer, and teach the gate (`pace.answered`)."""

    @abstractmethod
    def change(self, service: str, rule: Callable[[Gate, float], Gate], *, count: str = "") -> Gate:
        """Replace a gate by what the pure `rule(gate, now)` returns, and return that; `count` adds one to a tally."""

    @abstractmethod
    def snapshot(self, service: str) -> LedgerSnapshot:
        """Return what is known."""


def in_force(gate: Gate, environment: Windows | None) -> Windows | None:
    """Return the windows that hold; None: the service is not metered."""
    return parse_windows(gate.limits) if gate.limits else environment


def decide(
    service: str,
    gate: Gate,
    scopes: Iterable[Scope],
    *,
    now: float,
    timings: Timings,
    place: int = 0,
    waited: float = 0.0,
) -> Closed | None:
    """Return None if an admission may be given now, else what the waiter at this place in the line is told.

    The k-th waiter gets the instant at which the k-th admission falls free, so they come one after another. Nobody
    knows when a stopped service goes on: whoever has waited long for it may wait a little longer.
    """
    shut = gate.reopens(now)
    if gate.stopped and shut is not None:
        hint = min(shut, now + min(max(timings.stopped_hint, waited / 2), timings.max_hint))
        return Closed(hint, reason(service, gate.why, stopped=gate.stopped), opens_at=shut, at=now)
    earliest = opens_at = until = now if shut is None else shut
    last: tuple[str, Window, float] | None = None
    for scope in scopes:
        for limit in scope.windows:
            window = limit.at(scope.share)
            frees = window.frees(scope.recent, earliest=earliest)
            if frees > opens_at:
                opens_at, last = frees, (scope.name, limit, scope.share)
            until = max(until, window.frees(scope.recent, place=place, earliest=earliest))
    if opens_at <= now:
        return None
    if until - now > timings.max_hint:
        until = now + timings.max_hint * (0.5 + place * GOLDEN % 1 / 2)
    return Closed(until, reason(service, gate.why, last=last), opens_at=opens_at, at=now)


def reason(service: str, said: str, *, stopped: str = "", last: tuple[str, Window, float] | None = None) -> str:
    """Say why a gate is shut: stopped, asked for silence, or the last window that has no room."""
    if stopped == BY_HAND:
        return f"{service} is paused: {said}"
    if stopped:
        return f"{service} is stopped ({stopped}): {said}"
    if last is None:
        return f"{service} asked for silence: {said}"
    name, window, share = last
    return f"all of {name}'s {window} are used" + (f", at a pace of {share:.0%}" if share < 1 else "")


def kept(windows: Iterable[Window]) -> int:
    """Return how many admissions a log must keep."""
    return max([KEPT, *(window.limit for window in windows)])
