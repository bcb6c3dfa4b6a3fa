"""The server's time, told between two looks at it by this machine's monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds for which the monotonic clock is trusted to run as the server's does.
TRUST = 1.0


class ServerClock:
    """Never ahead of the server (by more than two clocks drift apart within `TRUST`), and never backwards."""

    def __init__(self, ask: Callable[[], float]) -> None:
        self._ask = ask
        #: The server's time minus the monotonic clock, and until when that is trusted.
        self._found = (0.0, float("-inf"))
        self._latest = 0.0

    def now(self) -> float:
        """Return the server's time; asks for it where it was not learnt of lately."""
        offset, trusted_until = self._found
        here = time.monotonic()
        if here > trusted_until:
            return self.learn(self._ask())
        self._latest = max(self._latest, here + offset)
        return self._latest

    def learn(self, instant: float) -> float:
        """Take the time that the server told in an answer just now; return the latest instant known."""
        here = time.monotonic()
        # As if the answer had taken no time: so this is never ahead of the server.
        self._found = (instant - here, here + TRUST)
        self._latest = max(self._latest, instant)
        return self._latest
