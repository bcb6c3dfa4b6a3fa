"""Start times that lie in the past. Starting all such jobs at once would buy a whole calendar of last year."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: A start that has passed by this number of seconds or less still means now.
GRACE_SECONDS = 60.0


class Past(StrEnum):
    """What to do with jobs whose start time lies in the past."""

    REFUSE = "refuse"  # add nothing, and report them
    NOW = "now"  # start them like jobs without a time, usually at once
    SKIP = "skip"  # leave them out


@dataclass(frozen=True, slots=True)
class PastStart:
    """A start time of a list that lies in the past: its line, and the instant in seconds since 1970."""

    line: int
    at: float


def is_past(start: float | None, now: float) -> bool:
    """Return whether a start lies in the past; None means now."""
    return start is not None and start < now - GRACE_SECONDS
