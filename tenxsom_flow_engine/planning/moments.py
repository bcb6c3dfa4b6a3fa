"""Moments as people write them."""

from __future__ import annotations

from datetime import datetime

from tenxsom_flow_engine.errors import InvalidInput


def parse_moment(text: str, field: str = "at") -> float:
    """Return the instant that ISO 8601 text names; without a zone it is this machine's. Raises `InvalidInput`."""
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        example = "2026-12-24T18:00 or 2026-12-24T18:00+01:00"
        raise InvalidInput(field, f"{text[:60]!r} is not a moment such as {example}") from None
