"""The time that a person wants planned: the next 24 hours, or a calendar day of a zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.timestamps import FIRST_YEAR, LAST_YEAR, bounded, parse_moment

DAY = 86400


@dataclass(frozen=True, slots=True)
class Period:
    """The time to plan, in seconds since 1970: from `start` up to, not including, `end`."""

    start: float
    end: float
    #: Seconds that a change of the clocks within the window takes from it (in spring) or gives to it (less than 0).
    lost: float = 0.0
    #: What a person should be told about its start.
    note: str = ""

    @property
    def seconds(self) -> float:
        """How long it is, to the millisecond, which is finer than anybody plans and coarser than floats err."""
        return round(self.end - self.start, 3)

    @property
    def usual(self) -> float:
        """How long it would be in seconds if no clock was put forward."""
        return self.seconds + max(0.0, self.lost)


def window(now: float, *, day: str | None = None, zone: str | None = None, start: str | None = None) -> Period:
    """Return the time that a person means.

    Without `day` it is 24 hours from `start` (a moment) or from now. `day` is an ISO date, `today` or `tomorrow` in
    `zone` (default UTC), from `start` (a time of day, or a moment in it) or from midnight on. Raises `InvalidInput`.
    """
    if day is None:
        begin = now if start is None else parse_moment(start, "start")
        return Period(begin, bounded(begin + DAY, "start"))
    where = _zone(zone or "UTC")
    wanted = _date(day, datetime.fromtimestamp(now, where).date())
    whole = civil_day(wanted, where)
    if start is None:
        return whole
    begin, note = _moment_in(start, wanted, where)
    if not whole.start <= begin < whole.end:
        raise InvalidInput("start", f"{start!r} is not within the day that is planned")
    return Period(begin, whole.end, _lost(begin, whole.end, where), note)


def civil_day(day: date, zone: ZoneInfo) -> Period:
    """Return a calendar day of a zone, which has 23 or 25 hours where the clocks change.

    Raises `InvalidInput` for a day that the zone has passed over.
    """
    if not FIRST_YEAR < day.year <= LAST_YEAR:
        raise InvalidInput("date", f"{day} is outside the years {FIRST_YEAR + 1} to {LAST_YEAR}")
    start, end = (datetime.combine(day + timedelta(days=n), time(), zone).timestamp() for n in (0, 1))
    if start >= end:
        raise InvalidInput("date", f"there was no {day} in {zone.key}: its calendar passed over that day")
    return Period(start, end, DAY - (end - start))


def _lost(start: float, end: float, zone: ZoneInfo) -> float:
    """Return by how much the clocks on the wall go on more than time does."""
    shown = datetime.fromtimestamp(end, zone).replace(tzinfo=UTC) - datetime.fromtimestamp(start, zone).replace(
        tzinfo=UTC
    )
    return shown.total_seconds() - (end - start)


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


def _moment_in(text: str, day: date, zone: ZoneInfo) -> tuple[float, str]:
    """Return the instant of a time of day, or of a moment, and what to say if no clock of the zone shows it."""
    try:
        of_day = time.fromisoformat(text.strip())
    except ValueError:
        return parse_moment(text, "start", zone), ""
    if of_day.tzinfo is not None:
        raise InvalidInput("start", f"{text!r} has a zone of its own", next_step="give the time zone by itself")
    begin = datetime.combine(day, of_day, zone).timestamp()
    shown = datetime.fromtimestamp(begin, zone)
    if shown.time() == of_day:
        return begin, ""
    return begin, f"the clocks are put forward over {of_day:%H:%M} on {day}, so it begins at {shown:%H:%M}"
