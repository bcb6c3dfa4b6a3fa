"""The rule of retention: how long videos are kept, and how much of them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tenxsom_flow_engine.errors import ConfigurationError

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
