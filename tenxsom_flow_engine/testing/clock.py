"""A clock that tests set."""

from __future__ import annotations

from collections.abc import Callable


class ManualClock:
    """A clock that only changes when a test sets it. It starts at a fixed instant, so that runs are reproducible."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> float:
        """Return the instant that was set."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Advance by `seconds`, which can be negative: real clocks step backwards too."""
        self.set(self._now + seconds)

    def set(self, now: float) -> None:
        """Set the instant."""
        self._now = now
        for moved in self._watchers:
            moved()

    def watch(self, moved: Callable[[], None]) -> None:
        """Call a function after each change, for components whose own thread waits for a time."""
        self._watchers.append(moved)
