"""Which videos are removed: those beyond an age, and the oldest ones beyond a total size. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tenxsom_flow_engine.output.base import Publication
from tenxsom_flow_engine.output.keep import KeepVideos
from tenxsom_flow_engine.output.leftovers import STALE


def to_remove(
    publications: Iterable[Publication], keep: KeepVideos, now: float, may_remove: Callable[[Publication], bool]
) -> Sequence[Publication]:
    """Return the publications that a rule removes, oldest first, of those that may be removed.

    Files of unfinished uploads are removed after a day, whatever the rule. What may not be removed counts for the size.
    """
    found = sorted(publications, key=lambda one: one.at)
    total = sum(one.size for one in found)
    removed = []
    for one in found:
        too_old = now - one.at > (keep.age if one.complete else STALE)
        if (too_old or (one.complete and total > keep.size)) and may_remove(one):
            removed.append(one)
            total -= one.size
    return removed
