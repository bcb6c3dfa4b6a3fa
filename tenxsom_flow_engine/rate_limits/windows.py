"""Limits as sliding windows, and when they next have room.

A window of limit L and span W allows an admission if the L-th most recent one is at least W old, so that no W seconds
ever contain more than L. A pace p below 1 slows a service down: a window then allows p L admissions in W seconds. If
p L is not a whole number, the limit is rounded up and the span stretched to keep the rate: (10 in 60 s) at 0.55 is
6 in 65.5 s, and (1 in 1 s) at 0.5 is 1 in 2 s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from tenxsom_flow_engine.errors import InvalidInput

#: The name of the limits that all services share.
GLOBAL = "global"
#: The largest limit, which bounds the length of a log of admissions.
MAX_LIMIT = 100_000

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` admissions in any `span` seconds."""

    limit: int
    span: float

    def __str__(self) -> str:
        unit = next(name for name, seconds in reversed(_UNITS.items()) if self.span % seconds == 0 or name == "s")
        number = self.span / _UNITS[unit]
        return f"{self.limit}/{'' if number == 1 else f'{number:.0f}'}{unit}"

    @property
    def wire(self) -> str:
        """The stored form of the window, with its span in seconds; `parse_windows` reads it too."""
        return f"{self.limit}/{self.span:.0f}s"

    def at(self, pace: float) -> Window:
        """Return the window at a pace."""
        limit = max(1, math.ceil(self.limit * pace))
        return Window(limit, self.span * limit / (self.limit * pace))

    def frees(self, recent: Callable[[int], float], *, place: int = 0, earliest: float) -> float:
        """Return when the window has room for the waiter at a place in the line (from 0), but not before `earliest`.

        `recent(n)` returns the instant of the n-th most recent admission, minus infinity if there were fewer.
        """
        laps, rank = divmod(place, self.limit)
        return max(earliest, recent(self.limit - rank) + self.span) + laps * self.span


Windows = tuple[Window, ...]
#: Windows by service; those that all services share are under `GLOBAL`.
Limits = Mapping[str, Windows]


def last_begin(starts: Iterable[float], windows: Windows) -> float:
    """Return when the last of several creates, due at these instants, is admitted if there are no others."""
    begins: list[float] = []
    for start in sorted(starts):
        full = [window for window in windows if len(begins) >= window.limit]
        begins.append(max([start, *(begins[-window.limit] + window.span for window in full)]))
    return begins[-1]


def parse_windows(text: str) -> Windows:
    """Parse windows such as `2/s 20/m 100/15m`; `none` means no limit. Raises `InvalidInput`."""
    words = text.replace(",", " ").split()
    if words == ["none"]:
        return ()
    windows = tuple(map(_window, words))
    if not windows:
        raise InvalidInput("limits", "are empty", next_step="write for example 2/s 20/m 200/h, or none")
    if len({window.span for window in windows}) < len(windows):
        raise InvalidInput("limits", f"{text!r} names one span twice")
    return tuple(sorted(windows, key=lambda window: window.span))


@cache
def write_windows(windows: Windows) -> str:
    """Return the stored form of windows, which `parse_windows` reads."""
    return " ".join(window.wire for window in windows) or "none"


def parse_limits(text: str) -> dict[str, Windows]:
    """Parse limits such as `pixverse=1/s,10/m; global=5/s,2000/d`. Raises `InvalidInput`."""
    limits: dict[str, Windows] = {}
    for part in text.split(";"):
        name, equals, windows = part.partition("=")
        if not part.strip():
            continue
        if not equals or not re.fullmatch(r"[a-z][a-z0-9_]*", name.strip()):
            raise InvalidInput("limits", f"{part.strip()!r} is not of the form pixverse=1/s,10/m")
        limits[name.strip()] = parse_windows(windows)
    return limits


def _window(word: str) -> Window:
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{0,7})([smhd])", word)
    if not match:
        raise InvalidInput("limits", f"{word!r} is not of the form 20/m", next_step="units are s, m, h and d")
    limit, span = int(match[1]), int(match[2] or 1) * _UNITS[match[3]]
    if not 1 <= limit <= MAX_LIMIT or not 1 <= span <= 31 * 86400:
        raise InvalidInput("limits", f"{word!r} is not from 1 to {MAX_LIMIT:,} in a second to 31 days")
    return Window(limit, span)


#: The default limits that all services share. The limits of one service are the quotas of its spec.
DEFAULT_GLOBAL: Windows = (Window(5, 1.0), Window(50, 60.0), Window(500, 3600.0), Window(2000, 86400.0))
