"""Clocks that are passed in. Instants are seconds since 1970-01-01 UTC (float); only front ends format them as text."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

#: Instants are in the years 1970 to 9998, so that they can be converted to every zone and text format.
FIRST_YEAR, LAST_YEAR = 1970, 9998
#: The last whole second of these years.
MAX_INSTANT = datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC).timestamp() - 1

#: The latest time of a store: instants that are computed from it, such as the end of a lease, are possible, too.
LATEST_NOW = MAX_INSTANT - 400 * 86400.0

#: The difference in seconds between the clocks of a store and of a machine from which on one of them must be wrong.
CLOCK_TOLERANCE = 60.0


class Clock(Protocol):
    """The source of instants; tests pass one that they set."""

    def now(self) -> float:
        """Return the present instant in seconds since 1970-01-01 UTC."""


@runtime_checkable
class WatchableClock(Clock, Protocol):
    """A clock that tests set, and that calls back after each change."""

    def watch(self, moved: Callable[[], None]) -> None:
        """Call `moved` after each change, for components whose own thread waits for a time."""


class SystemClock:
    """The machine's clock. It can step backwards; a store's never does (see `store.base.JobStore.now`)."""

    def now(self) -> float:
        """Return the present instant in seconds since 1970-01-01 UTC."""
        return time.time()


class SteadyClock:
    """A wrapper that makes a clock monotonic without ever stopping it.

    After the wrapped clock stepped back, or another process stored a later instant (`learn`), it continues from the
    latest instant at half speed until the wrapped clock has caught up. So leases still expire, and the lead shrinks.
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
        """Treat an instant that another process used as past; return the later of it and this clock's latest one."""
        self._latest = max(self.now(), instant)
        return self._latest


def utc_datetime(instant: float) -> datetime:
    """Return an instant as a date and time in UTC; the nearest one of the supported years for any other number."""
    return datetime.fromtimestamp(min(max(instant, 0.0), MAX_INSTANT), UTC)


def set_back(instant: float, now: float, lead: float) -> float:
    """Return the correct instant for one that was set while the clock was `lead` seconds ahead; past ones stay."""
    return max(now, instant - lead) if instant > now else instant


def iso(instant: float) -> str:
    """Format an instant as ISO 8601 in UTC with milliseconds, e.g. `2026-11-23T09:30:00.000Z`."""
    return utc_datetime(instant).isoformat(timespec="milliseconds").replace("+00:00", "Z")
