"""Time as an argument. Instants are seconds since 1970-01-01 UTC (float); only the edges turn them into text."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable


class Clock(Protocol):
    """Where instants come from; tests pass one that they move by hand."""

    def now(self) -> float:
        """Return the present instant in seconds since 1970-01-01 UTC."""


@runtime_checkable
class WatchableClock(Clock, Protocol):
    """A clock that a test sets, and that calls back after each change."""

    def watch(self, moved: Callable[[], None]) -> None:
        """Call `moved` after each change: for parts that wait for a time in a thread of their own."""


class SystemClock:
    """The machine's clock. It may step backwards; a store never does (see `store.base.JobStore.now`)."""

    def now(self) -> float:
        """Return the present instant in seconds since 1970-01-01 UTC."""
        return time.time()


class SteadyClock:
    """A clock made never to go backwards, and never to stand still.

    Where the clock beneath stepped back, or others have been told a later instant (`learn`), it goes on from the latest
    one at half speed until the clock beneath has caught up. So leases still run out, and the lead melts away.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen = clock.now()
        self._latest = self._seen

    def now(self) -> float:
        """Return the present instant in seconds since 1970-01-01 UTC."""
        seen = self._clock.now()
        passed, self._seen = max(0.0, seen - self._seen), seen
        self._latest = max(seen, self._latest + passed / 2)
        return self._latest

    def learn(self, instant: float) -> float:
        """Take an instant that others were told as the past; return the later of it and the latest one here."""
        self._latest = max(self.now(), instant)
        return self._latest


def iso(instant: float) -> str:
    """Write an instant as ISO 8601 in UTC with milliseconds, e.g. `2026-11-23T09:30:00.000Z`."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
