"""Histograms of durations with fixed buckets, so that counts of several processes can be added up."""

from __future__ import annotations

import math
from collections.abc import Mapping

#: Upper bound of the first bucket in seconds; the bound of each next bucket is 2^(1/4) (about 19%) higher.
FIRST = 0.001
PER_DOUBLING = 4
#: The last bucket; its upper bound is about 12 days.
LAST = 120


def bucket(seconds: float) -> int:
    """Return the number of the bucket of a duration."""
    if seconds <= FIRST:
        return 0
    return min(LAST, math.ceil(PER_DOUBLING * math.log2(seconds / FIRST)))


def bound(number: int) -> float:
    """Return the upper bound of a bucket, in seconds."""
    return float(FIRST * 2 ** (number / PER_DOUBLING))


def percentile(counts: Mapping[int, float], share: float, *, none: float = 0) -> float | None:
    """Return the percentile `share` (0.5: median) in seconds, up to 19% too high; None for an empty histogram.

    `none` is the number of zero durations, which have no bucket.
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
