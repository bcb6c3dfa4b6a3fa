"""The interface of a ledger: the shared state of admissions, waiters and gates, and the decision about an admission.

Each method is one transaction (or one script on a server) at the store's time, and can raise `StoreError`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.rate_limits.base import Admission, Closed, MovedUp, Share
from tenxsom_flow_engine.rate_limits.pace import BY_HAND, Gate
from tenxsom_flow_engine.rate_limits.windows import Limits, Window, Windows, parse_windows
from tenxsom_flow_engine.timings import Timings

#: Minimum number of admissions that a log keeps, so that raised limits still count the recent ones.
KEPT = 1000
#: Number of excess admissions that are deleted at a time.
TRIM = 100
#: Seconds after its hint at which a waiter that has not asked again is removed.
FORGET_WAITERS = 3600.0
#: Seconds after its hint for which the others let a waiter of a channel that is next go first.
TURN_SECONDS = 2.0
#: The maximum number of other channels that are considered for the place of a waiter.
RIVALS = 100
#: Stands for all channels of a service among them; no channel can have this name.
OVERALL = "*"
#: Why a waiter is refused while the windows have room.
OTHERS_FIRST = "other channels are next"
#: The golden ratio: its multiples spread the hints of any number of waiters evenly.
GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Scope:
    """The windows of a service or of `global`, with their log: `recent(n)` is the n-th most recent admission.

    `recent(n)` is minus infinity if there were fewer admissions. `share` is the pace: the share of the windows in use.
    """

    name: str
    windows: Iterable[Window]
    recent: Callable[[int], float]
    share: float = 1.0
    #: Only one channel is counted.
    of_channel: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """Where a waiter stands: how many others are before it."""

    #: Of its channel.
    own: int = 0
    #: Of all channels, in fair order.
    place: int = 0
    #: Of those, the ones of other channels that are expected to ask now.
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Rival:
    """Another channel that waits: its waiters, those that are expected to ask now, its weight and its virtual time."""

    waiting: int
    present: int
    weight: float
    virtual_time: float

    def before(self, virtual_time: float, count: int) -> int:
        """Return how many of its next `count` admissions come before a virtual time."""
        return max(0, min(count, math.ceil((virtual_time - self.virtual_time) * self.weight)))


def fair_line(own: int, share: Share, virtual_time: float, rivals: Iterable[Rival]) -> Line:
    """Return the place of a waiter with `own` others of its channel before it.

    Like claims (`store.fair_share`), admissions go to the channel with the lowest virtual time: its admissions, divided
    by its weight.
    """
    place, ahead = own, 0
    for rival in rivals:
        place += rival.before(virtual_time + own / share.weight, rival.waiting)
        ahead += rival.before(virtual_time, rival.present)
    return Line(own, place, ahead)


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """The state of a service, or of `global`, at an instant."""

    now: float
    gate: Gate
    #: The instants of the admissions in the log, most recent first.
    recent: Sequence[float]
    waiting: int
    #: Counts and sums since the ledger was created (see `stats`).
    tally: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What a ledger keeps of a service, of `global` or of a channel's log, without the waiters and their turns."""

    name: str
    gate: Gate
    #: The instants of the admissions in the log, oldest first.
    admissions: Sequence[float]
    #: Whether older ones were deleted: windows with more admissions than these are full then.
    trimmed: bool
    tally: Mapping[str, float]


class Ledger(ABC):
    """Stores admissions, waiters and gates, and decides. Every ledger passes the same conformance suite."""

    timings: Timings

    @abstractmethod
    def ask(self, service: str, waiter_id: str, limits: Limits, share: Share = Share()) -> Admission | Closed:
        """Admit, and count the admission in the logs that apply; or refuse, and save the waiter.

        The logs are those of the service, of `global`, and of the channel if it has windows. `limits` are the
        environment's; run-time limits win. A service without any limits is admitted and not counted.
        """

    @abstractmethod
    def peek(self, service: str, limits: Limits) -> Closed | None:
        """Return the refusal that the first waiter would get, or None if it would be admitted. Changes nothing."""

    @abstractmethod
    def give_back(self, admission: Admission) -> None:
        """Remove an admission from the logs."""

    @abstractmethod
    def forget(self, service: str, waiter_id: str) -> MovedUp | None:
        """Remove a waiter that will not ask again; the last waiter takes its place in the line, if that is earlier."""

    @abstractmethod
    def answered(self, service: str, seconds: float) -> None:
        """Count an answer and update the gate (`pace.answered`)."""

    @abstractmethod
    def change(self, service: str, rule: Callable[[Gate, float], Gate], *, count: str = "") -> Gate:
        """Replace a gate by the result of the pure `rule(gate, now)`; return it. `count` names a tally to increment."""

    @abstractmethod
    def set_clock_back(self, service: str, now: float, lead: float) -> None:
        """Correct a service's admissions, waiters and gate after the store's clock was `lead` seconds ahead of `now`.

        Later admissions count as made at `now`, so that no limit is exceeded.
        """

    @abstractmethod
    def snapshot(self, service: str) -> LedgerSnapshot:
        """Return the state of a service, or of `global`."""

    @abstractmethod
    def entries(self) -> Iterable[LedgerEntry]:
        """Return everything that a move to another store must take along."""

    @abstractmethod
    def put(self, entry: LedgerEntry) -> None:
        """Add an entry to a ledger that does not have it."""


def channel_log(share: Share) -> str:
    """Return the name of the log of a channel's admissions; no service can have this name."""
    return f"channel:{share.channel}"


def in_force(gate: Gate, environment: Windows | None) -> Windows | None:
    """Return the windows in force; None: the service is not metered."""
    return parse_windows(gate.limits) if gate.limits else environment


def decide(
    service: str,
    gate: Gate,
    scopes: Iterable[Scope],
    *,
    now: float,
    timings: Timings,
    line: Line = Line(),
    waited: float = 0.0,
) -> Closed | None:
    """Return None if a create may be admitted now, else the refusal for the waiter at this place in the line.

    The hint of the k-th waiter is the instant at which the k-th admission becomes free, so waiters return one after
    another. When a stopped service resumes is unknown, so the hints of its waiters grow with the time waited.
    """
    reopens_at = gate.reopens(now)
    if gate.stopped and reopens_at is not None:
        hint = min(reopens_at, now + min(max(timings.stopped_hint, waited / 2), timings.max_hint))
        return Closed(hint, reason(service, gate.why, stopped=gate.stopped), opens_at=reopens_at, at=now)
    earliest = opens_at = admits_at = until = now if reopens_at is None else reopens_at
    last: tuple[str, Window, float] | None = None
    for scope in scopes:
        for limit in scope.windows:
            window = limit.at(scope.share)
            frees = window.frees(scope.recent, earliest=earliest)
            if frees > max(opens_at, admits_at):
                last = (scope.name, limit, scope.share)
            if scope.of_channel:
                admits_at = max(admits_at, frees)
            else:
                opens_at = max(opens_at, frees)
                admits_at = max(admits_at, window.frees(scope.recent, place=line.ahead, earliest=earliest))
            place = line.own if scope.of_channel else line.place
            until = max(until, window.frees(scope.recent, place=place, earliest=earliest))
    if admits_at <= now:
        return None
    if until - now > timings.max_hint:
        until = now + timings.max_hint * (0.5 + line.place * GOLDEN % 1 / 2)
    others_first = last is None and earliest <= now
    why = OTHERS_FIRST if others_first else reason(service, gate.why, last=last)
    return Closed(until, why, opens_at=opens_at, at=now)


def reason(service: str, message: str, *, stopped: str = "", last: tuple[str, Window, float] | None = None) -> str:
    """Say why a gate is closed: paused, stopped, rate-limited by the service, or the last window that is full."""
    if stopped == BY_HAND:
        # `paused` is the default of the command that pauses.
        return f"{service} is paused: {message}" if message not in ("", "paused") else f"{service} is paused"
    if stopped:
        return f"{service} is stopped ({stopped}): {message}"
    if last is None:
        return f"{service} is rate-limiting us: {message}"
    name, window, share = last
    name = name.replace(":", " ")  # the log of a channel
    return f"all of {name}'s {window} are used" + (f", at a pace of {share:.0%}" if share < 1 else "")


def read_tally(pairs: Iterable[tuple[str, float | str]]) -> dict[str, float]:
    """Return stored counts and sums by name. Raises `ValueError` or `TypeError` for an impossible one."""
    tally = {name: float(value) for name, value in pairs}
    for name, value in tally.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}")
    return tally


def kept(windows: Iterable[Window]) -> int:
    """Return how many admissions a log must keep."""
    return max([KEPT, *(window.limit for window in windows)])
