"""Time as an argument. Instants are seconds since 1970-01-01 UTC (float); only the edges turn them into text."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where instants come from; tests pass one that they move by hand."""

    def now(self) -> float:
        """Return the present instant in seconds since 1970-01-01 UTC."""


class SystemClock:
    """The machine's clock. It may step backwards; a store never does (see `store.base.JobStore.now`)."""

    def now(self) -> float:
        """Return the present instant in seconds since 1970-01-01 UTC."""
        return time.time()


def iso(instant: float) -> str:
    """Write an instant as ISO 8601 in UTC with milliseconds, e.g. `2026-11-23T09:30:00.000Z`."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
