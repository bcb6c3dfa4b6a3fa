"""The store's time: the server's, continued by this machine's monotonic clock between two calls, or a test's own."""

from __future__ import annotations

import time

from tenxsom_flow_engine.clock import Clock, SteadyClock
from tenxsom_flow_engine.store.redis.connection import Connection

#: Seconds for which the monotonic clock is trusted to run as the server's does.
TRUST_SECONDS = 1.0


class ServerClock:
    """Never ahead of the server (by more than two clocks drift apart within `TRUST_SECONDS`), and never backwards.

    `clock` replaces the server's time, for tests.
    """

    def __init__(self, connection: Connection, clock: Clock | None) -> None:
        self._connection = connection
        self._own = None if clock is None else SteadyClock(clock)
        #: The server's time minus the monotonic clock, and until when that is trusted.
        self._found = (0.0, float("-inf"))
        self._latest = 0.0

    def instant(self) -> str:
        """Return the instant that scripts use as the present, or an empty text for the server's own time."""
        return "" if self._own is None else repr(self._own.now())

    def now(self) -> float:
        """Return the store's time; asks the server if its time was not seen lately."""
        offset, trusted_until = self._found
        here = time.monotonic()
        if self._own is not None or here > trusted_until:
            return self.learn(self._connection.run("now", self.instant()))
        self._latest = max(self._latest, here + offset)
        return self._latest

    def learn(self, text: str) -> float:
        """Take the time that a script has just returned; return the latest instant known."""
        instant = float(text)
        if self._own is not None:
            return self._own.learn(instant)
        here = time.monotonic()
        # As if the answer had taken no time: so this is never ahead of the server.
        self._found = (instant - here, here + TRUST_SECONDS)
        self._latest = max(self._latest, instant)
        return self._latest
