"""When jobs must start at the latest, and which missed slots of a schedule are made up for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

_T = TypeVar("_T")


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


class CatchUp(StrEnum):
    """What to do with slots that have passed without a job, because nothing planned them in time."""

    NONE = "none"  # leave them out
    LATEST = "latest"  # start the latest one now
    ALL = "all"  # start all of them now

    def choose(self, missed: Sequence[_T]) -> Sequence[_T]:
        """Choose from missed slots in order of time."""
        match self:
            case CatchUp.NONE:
                return []
            case CatchUp.LATEST:
                return missed[-1:]
            case CatchUp.ALL:
                return missed
