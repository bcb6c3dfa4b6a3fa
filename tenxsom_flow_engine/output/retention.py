"""Which videos are removed: those beyond an age, and the oldest ones beyond a total size. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.output.base import Publication
from tenxsom_flow_engine.output.leftovers import STALE

_AGES = {"h": 3600, "d": 86400}
_SIZES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(h|d|MB|GB|TB)")


@dataclass(frozen=True, slots=True)
class KeepVideos:
    """How long videos are kept, in seconds, and how many bytes of them."""

    age: float = math.inf
    size: float = math.inf

    @property
    def limited(self) -> bool:
        """Whether videos are ever removed."""
        return min(self.age, self.size) < math.inf


#: The default: no video is removed.
ALL_VIDEOS = KeepVideos()


def parse_keep_videos(name: str, text: str) -> KeepVideos:
    """Return the rule in a text such as `30d,200GB`. Raises `ConfigurationError` naming the variable."""
    age = size = math.inf
    for part in (one.strip() for one in text.split(",")):
        match = _PART.fullmatch(part)
        value = float(match[1]) if match else 0.0
        if match and match[2] in _AGES and age == math.inf and value:
            age = value * _AGES[match[2]]
        elif match and match[2] in _SIZES and size == math.inf and value:
            size = value * _SIZES[match[2]]
        else:
            raise ConfigurationError(
                f"{name} must be an age, a size or both, such as 30d, 200GB or 30d,200GB, not {text[:40]!r}"
            )
    return KeepVideos(age, size)


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
