"""When the videos of a day are made: slots on a fixed grid in UTC, so that planning twice plans the same.

Slot number k stands at k x 3600 / (videos per hour) seconds since 1970, cut to the second. So every hour of UTC begins
with a slot where the rate is a whole number, and two plans that overlap share their slots.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.moments import parse_moment

DAY = 86400
#: Slots are whole seconds, so no more than one a second.
MAX_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Window:
    """The time to plan, in seconds since 1970: from `start` up to, not including, `end`."""

    start: float
    end: float
    #: Seconds that a change of the clocks takes from the day (an hour in spring) or gives to it (less than 0).
    lost: float = 0.0

    @property
    def hours(self) -> float:
        """How long it is."""
        return (self.end - self.start) / 3600


@dataclass(frozen=True, slots=True)
class Slot:
    """A place on the grid: its number and its instant (whole seconds since 1970)."""

    number: int
    instant: int


def parse_rate(text: str) -> Fraction:
    """Read how many videos an hour: `4`, `0.5`, `1/3`. Raises `InvalidInput`."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise InvalidInput("videos-per-hour", f"{text!r} is not a number such as 4 or 0.5") from None
    if not 0 < rate <= MAX_PER_HOUR or rate.denominator > 10_000:
        raise InvalidInput("videos-per-hour", f"must be more than 0 and at most {MAX_PER_HOUR}, not {text}")
    return rate


def window(now: float, *, day: str | None = None, zone: str | None = None, start: str | None = None) -> Window:
    """Return the time that a person means.

    Without `day` it is 24 hours from `start` (a moment) or from now. `day` is an ISO date, `today` or `tomorrow` in
    `zone` (default UTC), from `start` (a time of day, or a moment in it) or from midnight on. Raises `InvalidInput`.
    """
    if day is None:
        begin = now if start is None else parse_moment(start, "start")
        return Window(begin, begin + DAY)
    where = _zone(zone or "UTC")
    whole = civil_day(_date(day, datetime.fromtimestamp(now, where).date()), where)
    if start is None:
        return whole
    begin = _moment_in(start, datetime.fromtimestamp(whole.start, where))
    if not whole.start <= begin < whole.end:
        raise InvalidInput("start", f"{start!r} is not within the day that is planned")
    return Window(begin, whole.end, whole.lost)


def civil_day(day: date, zone: ZoneInfo) -> Window:
    """Return a calendar day of a zone, which has 23 or 25 hours where the clocks change."""
    start, end = (datetime.combine(day + timedelta(days=n), time(), zone).timestamp() for n in (0, 1))
    return Window(start, end, DAY - (end - start))


def capacity(window: Window, per_hour: Fraction) -> int:
    """Return how many slots lie in a window."""
    return _first_number(window.end, per_hour) - _first_number(window.start, per_hour)


def plan(span: Window, count: int, per_hour: Fraction) -> list[Slot]:
    """Return the first `count` slots of a window. Raises `InvalidInput` if they do not fit, saying what would.

    A day that the clocks make shorter takes what would have fitted as far as it goes: the caller sees fewer slots.
    """
    if count < 1:
        raise InvalidInput("daily-count", f"must be at least 1, not {count}")
    room = capacity(span, per_hour)
    usual = max(room, capacity(Window(span.start, span.end + max(0.0, span.lost)), per_hour))
    if count > usual:
        enough = math.ceil(count / span.hours)
        raise InvalidInput(
            "daily-count",
            f"{count} videos do not fit: {float(per_hour):g} an hour are {usual} in {span.hours:g} hours",
            next_step=f"ask for --daily-count {usual}" + f" or --videos-per-hour {enough}" * (enough <= MAX_PER_HOUR),
        )
    first = _first_number(span.start, per_hour)
    return [_slot(number, per_hour) for number in range(first, first + min(count, room))]


def before(slot: Slot, per_hour: Fraction) -> Iterator[Slot]:
    """Give the slots of the day before a slot, latest first."""
    for number in range(slot.number - 1, slot.number - 1 - math.ceil(24 * per_hour), -1):
        yield _slot(number, per_hour)


def slot_job_id(channel: str, slot: Slot) -> str:
    """Return the id of a channel's job in a slot: the same on every machine and in every run."""
    name = channel or "slot"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        # Letters that an id cannot have are replaced; the digest keeps such channels apart.
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
        name = f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")
    return f"{name}-{datetime.fromtimestamp(slot.instant, UTC):%Y%m%dT%H%M%SZ}"


def _slot(number: int, per_hour: Fraction) -> Slot:
    return Slot(number, _instant(number, per_hour))


def _instant(number: int, per_hour: Fraction) -> int:
    return math.floor(number * 3600 / per_hour)


def _first_number(instant: float, per_hour: Fraction) -> int:
    """Return the number of the first slot at or after an instant."""
    number = math.floor(Fraction(instant) * per_hour / 3600)
    while _instant(number, per_hour) < instant:
        number += 1
    return number


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput("timezone", f"{name!r} is not known; write it as in Europe/Berlin") from None


def _date(text: str, today: date) -> date:
    known = {"today": today, "tomorrow": today + timedelta(days=1)}
    try:
        return known.get(text) or date.fromisoformat(text)
    except ValueError:
        raise InvalidInput("date", f"{text!r} is not a date such as 2026-12-24, today or tomorrow") from None


def _moment_in(text: str, midnight: datetime) -> float:
    try:
        return datetime.combine(midnight.date(), time.fromisoformat(text), midnight.tzinfo).timestamp()
    except ValueError:
        return parse_moment(text, "start")
