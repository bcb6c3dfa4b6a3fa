"""Durations counted by size: counts can be summed over processes, and tell mean and percentiles."""

from __future__ import annotations

import math
from collections.abc import Mapping

#: Seconds up to which a duration falls into the first bucket; each next bucket ends a fifth later.
FIRST = 0.001
PER_DOUBLING = 4
#: The last bucket, which ends at some 12 days.
LAST = 120


def bucket(seconds: float) -> int:
    """Return the bucket of a duration."""
    if seconds <= FIRST:
        return 0
    return min(LAST, math.ceil(PER_DOUBLING * math.log2(seconds / FIRST)))


def bound(number: int) -> float:
    """Return the longest duration of a bucket, in seconds."""
    return float(FIRST * 2 ** (number / PER_DOUBLING))


def percentile(counts: Mapping[int, float], share: float, *, none: float = 0) -> float | None:
    """Return a duration that at least this share does not exceed, up to a fifth too long; None without any.

    `none` is how many durations of nothing there are beside the counted ones.
    """
    total = none + sum(counts.values())
    if total <= 0:
        return None
    passed = none
    if passed >= share * total:
        return 0.0
    for number in sorted(counts):
        passed += counts[number]
        if passed >= share * total:
            break
    return bound(number)
