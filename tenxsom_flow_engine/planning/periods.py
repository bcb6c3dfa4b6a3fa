"""The period to plan: the next 24 hours, or a calendar day in a time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tenxsom_flow_engine.clock import FIRST_YEAR, LAST_YEAR
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.clock_changes import LocalTime
from tenxsom_flow_engine.planning.timestamps import bounded, parse_moment, parse_time_of_day

DAY = 86400


@dataclass(frozen=True, slots=True)
class Period:
    """A period in seconds since 1970: from `start` to `end` (exclusive)."""

    start: float
    end: float
    #: Seconds that a clock change within the period removes (in spring), or adds (negative).
    lost: float = 0.0
    #: A note for the user about the start; empty if there is none.
    note: str = ""

    @property
    def seconds(self) -> float:
        """The length, rounded to milliseconds to hide floating-point errors."""
        return round(self.end - self.start, 3)

    @property
    def usual(self) -> float:
        """The length in seconds, including an hour that the clocks skip in spring."""
        return self.seconds + max(0.0, self.lost)


def window(now: float, *, day: str | None = None, zone: str | None = None, start: str | None = None) -> Period:
    """Parse a period.

    Without `day`, it is 24 hours from `start` (an ISO date and time) or from now. `day` is an ISO date, `today` or
    `tomorrow` in `zone` (default UTC), from `start` (a time of day, or a date and time within the day) or from
    midnight. Raises `InvalidInput`.
    """
    if day is None:
        begin = now if start is None else parse_moment(start, "start")
        return Period(begin, bounded(begin + DAY, "start"))
    where = _zone(zone or "UTC")
    planned_day = _date(day, datetime.fromtimestamp(now, where).date())
    whole = civil_day(planned_day, where)
    if start is None:
        return whole
    begin, note = _moment_in(start, planned_day, where)
    if not whole.start <= begin < whole.end:
        raise InvalidInput("start", f"{start!r} is not on {planned_day}, the day to plan")
    return Period(begin, whole.end, _lost(begin, whole.end, where), note)


def civil_day(day: date, zone: ZoneInfo) -> Period:
    """Return a calendar day of a zone, which has 23 or 25 hours if the clocks change.

    Raises `InvalidInput` for a day that the zone's calendar skipped.
    """
    if not FIRST_YEAR < day.year <= LAST_YEAR:
        raise InvalidInput("date", f"{day} is outside the years {FIRST_YEAR + 1} to {LAST_YEAR}")
    start, end = (datetime.combine(day + timedelta(days=n), time(), zone).timestamp() for n in (0, 1))
    if start >= end:
        raise InvalidInput("date", f"{day} does not exist in {zone.key}: its calendar skipped that day")
    return Period(start, end, DAY - (end - start))


def _lost(start: float, end: float, zone: ZoneInfo) -> float:
    """Return by how many seconds the zone's local time advances more than elapsed time."""
    shown = datetime.fromtimestamp(end, zone).replace(tzinfo=UTC) - datetime.fromtimestamp(start, zone).replace(
        tzinfo=UTC
    )
    return shown.total_seconds() - (end - start)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput("timezone", f"{name!r} is unknown; use a name such as Europe/Berlin") from None


def _date(text: str, today: date) -> date:
    known = {"today": today, "tomorrow": today + timedelta(days=1)}
    try:
        return known.get(text) or date.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput("date", f"{text!r} is not a date such as 2026-12-24, today or tomorrow") from None


def _moment_in(text: str, day: date, zone: ZoneInfo) -> tuple[float, str]:
    """Return the instant of a time of day or a date and time, and a note if clocks skip or repeat that time of day.

    A time of day is for every day, so it must not fail on the two days a year on which the clocks change.
    """
    of_day = parse_time_of_day(text, "start")
    if of_day is None:
        return parse_moment(text, "start", zone), ""
    if of_day.tzinfo is not None:
        raise InvalidInput("start", f"{text!r} contains a time zone", next_step="pass the time zone separately")
    local = LocalTime(datetime.combine(day, of_day), zone)
    begin = local.shown.replace(tzinfo=zone).timestamp()
    if not local.instants:
        shown = datetime.fromtimestamp(begin, zone)
        return begin, f"the clocks skip {of_day:%H:%M} on {day}, so the period begins at {shown:%H:%M}"
    if len(local.instants) > 1:
        return begin, f"the clocks show {of_day:%H:%M} twice on {day}, so the period begins at {local.forms[0]}"
    return begin, ""
