"""The store's time: the server's time, extrapolated between calls with this machine's monotonic clock."""

from __future__ import annotations

import time

from tenxsom_flow_engine.clock import Clock, SteadyClock
from tenxsom_flow_engine.store.redis.connection import Connection

#: Seconds for which the server's time is extrapolated with the monotonic clock.
TRUST_SECONDS = 1.0


class ServerClock:
    """The server's time: never ahead of the server by more than the drift of `TRUST_SECONDS`, and never going back.

    `clock` replaces the server's time in tests.
    """

    def __init__(self, connection: Connection, clock: Clock | None) -> None:
        self._connection = connection
        self._own = None if clock is None else SteadyClock(clock)
        #: The server's time minus the monotonic clock, and until when this offset is used.
        self._found = (0.0, float("-inf"))
        self._latest = 0.0

    def instant(self) -> str:
        """Return the current instant for scripts, or an empty text for the server's time."""
        return "" if self._own is None else repr(self._own.now())

    def now(self) -> float:
        """Return the store's time; asks the server if the latest answer is older than `TRUST_SECONDS`."""
        offset, trusted_until = self._found
        here = time.monotonic()
        if self._own is not None or here > trusted_until:
            return self.learn(self._connection.run("now", self.instant()))
        self._latest = max(self._latest, here + offset)
        return self._latest

    def learn(self, text: str) -> float:
        """Record the time that a script has just returned; return the latest known instant."""
        instant = float(text)
        if self._own is not None:
            return self._own.learn(instant)
        here = time.monotonic()
        # Assume that the answer took no time, so that this clock is never ahead of the server.
        self._found = (instant - here, here + TRUST_SECONDS)
        self._latest = max(self._latest, instant)
        return self._latest
