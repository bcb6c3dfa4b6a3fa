"""A clock that tests move by hand."""

from __future__ import annotations

from collections.abc import Callable


class ManualClock:
    """Stands still until it is moved. Starts at a fixed instant, so that runs repeat."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> float:
        """Return the instant that it was moved to."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move by so many seconds, which may be negative: real clocks step backwards too."""
        self.set(self._now + seconds)

    def set(self, now: float) -> None:
        """Move to an instant."""
        self._now = now
        for moved in self._watchers:
            moved()

    def watch(self, moved: Callable[[], None]) -> None:
        """Call a function after each move: for parts that wait for a time in a thread of their own."""
        self._watchers.append(moved)
