"""Slots: a fixed grid of times in UTC for the videos of a day, so that planning again gives the same times.

Slot number k is at k x 3600 / (videos per hour) seconds since 1970, rounded down to a second. So if the rate is a whole
number, every hour of UTC begins with a slot, and overlapping plans share their slots.
"""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.periods import DAY, Period
from tenxsom_flow_engine.text import duration, plural

#: Slots are whole seconds, so there is at most one per second.
MAX_PER_HOUR = 3600
#: The largest denominator of a rate, which keeps the fractions small.
MAX_DENOMINATOR = 10_000

_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot of the grid: its number and its instant (whole seconds since 1970)."""

    number: int
    instant: int


def parse_rate(text: str) -> Fraction:
    """Parse a number of videos per hour: `4`, `0.5`, `1/3`. Raises `InvalidInput`."""
    field = "videos-per-hour"
    # Checked before the conversion: a power such as 1e999999999 would take forever.
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}|[0-9]{1,9}/0*[1-9][0-9]{0,8}", text.strip()):
        raise InvalidInput(field, f"{text[:40]!r} is not a number such as 4, 0.5 or 1/3")
    rate = Fraction(text)
    if not 0 < rate <= MAX_PER_HOUR:
        raise InvalidInput(field, f"must be more than 0 and at most {MAX_PER_HOUR}, not {text.strip()}")
    if rate.denominator > MAX_DENOMINATOR:
        raise InvalidInput(
            field, f"{text.strip()} is too precise", next_step="use at most 4 decimals, or 1/N up to 1/10000"
        )
    return rate


def capacity(window: Period, per_hour: Fraction) -> int:
    """Return the number of slots in a period."""
    return _first_number(window.end, per_hour) - _first_number(window.start, per_hour)


def grid(window: Period, per_hour: Fraction) -> list[Slot]:
    """Return the slots in a period."""
    first = _first_number(window.start, per_hour)
    return [Slot(number, _instant(number, per_hour)) for number in range(first, first + capacity(window, per_hour))]


def check_count(span: Period, count: int, per_hour: Fraction) -> None:
    """Raise `InvalidInput` unless `count` videos fit into a period, with the number that would fit.

    Only the length of the period matters, not its position on the grid nor an hour that the clocks skip. So a number
    that fits on one day fits on every day.
    """
    if count < 1:
        raise InvalidInput("daily-count", f"must be at least 1, not {count}")
    room = Fraction(round(span.usual * 1000), 3_600_000) * per_hour
    most = math.ceil(room)
    if count > most:
        enough = math.ceil(count * 3600 / span.usual)
        pace = per_hour if per_hour.denominator == 1 else f"{float(per_hour):g}"
        raise InvalidInput(
            "daily-count",
            f"{count} videos do not fit: {pace} per hour gives {'at most ' * (room != most)}{most} "
            f"in {duration(span.usual)}",
            next_step=f"use {plural(most, 'video')}" + f", or {enough} per hour" * (enough <= MAX_PER_HOUR),
        )


def first_slots(slots: list[Slot], count: int, taken: Collection[int]) -> list[Slot]:
    """Choose the first slots of a day, so that with the videos at `taken` instants off the grid it has `count`."""
    on_grid = {slot.instant for slot in slots}
    return slots[: max(0, count - sum(instant not in on_grid for instant in taken))]


def steady_slots(slots: list[Slot], count: int, taken: Collection[int]) -> list[Slot]:
    """Choose the taken slots, and as many others as possible without exceeding `count` videos in any 24 hours.

    `taken` are the instants of the existing videos, on or off the grid, including those before and after `slots`.
    """
    instants = sorted(taken)
    known = set(instants)
    chosen = []
    for slot in slots:
        if slot.instant in known:
            chosen.append(slot)
        elif _has_room(slot.instant, instants, count):
            insort(instants, slot.instant)
            chosen.append(slot)
    return chosen


def _has_room(instant: int, instants: list[int], count: int) -> bool:
    """Return whether all 24-hour spans that contain `instant` contain fewer than `count` of the other instants."""
    first, last = bisect_right(instants, instant - DAY), bisect_left(instants, instant + DAY)
    if last - first < count:
        return True
    place = bisect_left(instants, instant)
    # It is enough to check the spans that begin at one of the instants or at the slot: the number in a span that begins
    # between two of them is not larger.
    begins = [*instants[first:place], instant]
    return all(bisect_left(instants, begin + DAY) - bisect_left(instants, begin) < count for begin in begins)


def slot_prefix(channel: str) -> str:
    """Return the prefix of the job ids of a channel's slots, up to the last hyphen."""
    name = channel or "slot"
    if channel != "slot" and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        return name
    # Characters that an id cannot contain are replaced. The digest distinguishes such channels, and a channel named
    # `slot` from jobs without a channel.
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


def slot_job_id(channel: str, instant: int) -> str:
    """Return the job id of a channel's slot at an instant: the same on every machine and in every run."""
    return f"{slot_prefix(channel)}-{datetime.fromtimestamp(instant, UTC):{_STAMP}}"


def slot_instant(channel: str, job_id: str) -> int | None:
    """Return the instant of the slot that a job id names; None if it is not a slot of this channel."""
    prefix, _, stamp = job_id.rpartition("-")
    if prefix != slot_prefix(channel) or not re.fullmatch(r"\d{8}T\d{6}Z", stamp):
        return None
    try:
        return int(datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _instant(number: int, per_hour: Fraction) -> int:
    return math.floor(number * 3600 / per_hour)


def _first_number(instant: float, per_hour: Fraction) -> int:
    """Return the number of the first slot at or after an instant."""
    number = math.floor(Fraction(instant) * per_hour / 3600)
    while _instant(number, per_hour) < instant:
        number += 1
    return number
