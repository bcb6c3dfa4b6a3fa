"""When jobs must start at the latest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LatestStart:
    """The latest start of jobs that are planned at `now`: `within` seconds after each is due. None: no limit."""

    now: float
    within: float | None = None

    def of(self, due: float | None) -> float | None:
        """Return the latest start of a job that is due at an instant (None: now)."""
        if self.within is None:
            return None
        return max(self.now, due or self.now) + self.within
