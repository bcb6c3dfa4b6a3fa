"""Parses dates and times from users, and limits them to the years that the engine supports."""

from __future__ import annotations

from datetime import datetime, tzinfo

from tenxsom_flow_engine.clock import FIRST_YEAR, LAST_YEAR, MAX_INSTANT
from tenxsom_flow_engine.errors import InvalidInput


def parse_moment(text: str, field: str = "at", zone: tzinfo | None = None) -> float:
    """Parse a date and time in ISO 8601; without a zone it is in `zone` (default: this machine's).

    Raises `InvalidInput`.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        instant = moment.timestamp()
    except (ValueError, OverflowError, OSError):
        example = "2026-12-24T18:00 or 2026-12-24T18:00+01:00"
        raise InvalidInput(field, f"{text[:60]!r} is not a date and time such as {example}") from None
    return bounded(instant, field)


def bounded(instant: float, field: str) -> float:
    """Return the instant. Raises `InvalidInput` if it is outside the supported years."""
    if not 0 <= instant <= MAX_INSTANT:
        raise InvalidInput(field, f"must be in the years {FIRST_YEAR} to {LAST_YEAR}")
    return instant
