"""Parses dates and times from users, and limits them to the years that the engine supports.

Hours and minutes have a colon or nothing between them, as in ISO 8601. Python also reads `18.30`, as 0.3 seconds after
18:00; that is refused.
"""

from __future__ import annotations

import re
import time as machine
from datetime import datetime, time, tzinfo

from tenxsom_flow_engine.clock import FIRST_YEAR, LAST_YEAR, MAX_INSTANT
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.planning.clock_changes import LocalTime

#: A decimal mark that does not follow the seconds.
_MISPLACED_MARK = re.compile(r"(?<!\d\d:\d\d:\d\d)(?<!\d{6})[.,]")


def parse_moment(text: str, field: str = "at", zone: tzinfo | None = None) -> float:
    """Parse a date and time in ISO 8601; without a zone it is in `zone` (default: this machine's).

    Raises `InvalidInput`, also for a local time that clocks skip or repeat.
    """
    text = text.strip()
    try:
        moment = datetime.fromisoformat(_padded(text))
        _check_colon(text, field)
        instant = moment.timestamp() if moment.tzinfo else _instant(LocalTime(moment, zone), field)
    except InvalidInput:
        raise
    except (ValueError, OverflowError, OSError):
        example = "2026-12-24T18:00 or 2026-12-24T18:00+01:00"
        raise InvalidInput(field, f"{text[:60]!r} is not a date and time such as {example}") from None
    return bounded(instant, field)


def parse_time_of_day(text: str, field: str) -> time | None:
    """Parse a time of day such as `18:00`; None if the text is something else. Raises `InvalidInput` for `18.30`."""
    try:
        of_day = time.fromisoformat(_padded(text.strip()))
    except ValueError:
        return None
    _check_colon(text.strip(), field)
    return of_day


def bounded(instant: float, field: str) -> float:
    """Return the instant. Raises `InvalidInput` if it is outside the supported years."""
    if not 0 <= instant <= MAX_INSTANT:
        raise InvalidInput(field, f"must be in the years {FIRST_YEAR} to {LAST_YEAR}")
    return instant


def _padded(text: str) -> str:
    """Write an hour with two digits; spreadsheets write `8:30`."""
    return re.sub(r"(?:^|(?<=[T ]))(?=\d:\d\d)", "0", text)


def _check_colon(text: str, field: str) -> None:
    """Raise `InvalidInput` for a time such as `18.30` or `18,5`."""
    if _MISPLACED_MARK.search(text):
        raise InvalidInput(field, f"the time in {text[:60]!r} has no colon; write hours and minutes as 18:30")


def _instant(local: LocalTime, field: str) -> float:
    """Return the instant of a local time. Raises `InvalidInput` if clocks skip or repeat it."""
    instants = local.instants
    if len(instants) == 1:
        return instants[0]
    written = local.shown.isoformat(timespec="auto" if local.shown.second or local.shown.microsecond else "minutes")
    where = getattr(local.zone, "key", None) or f"this machine's zone ({'/'.join(dict.fromkeys(machine.tzname))})"
    if instants:
        raise InvalidInput(field, f"{written} is ambiguous in {where}: write {' or '.join(local.forms)}")
    before, after = local.skip
    form = "%H:%M" if before.date() == after.date() else "%Y-%m-%d %H:%M"
    raise InvalidInput(field, f"{written} does not exist in {where}: clocks go from {before:{form}} to {after:{form}}")
