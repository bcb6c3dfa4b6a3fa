"""Template filters that format numbers and instants for people."""

from __future__ import annotations

from collections.abc import Collection

from markupsafe import Markup

from tenxsom_flow_engine.clock import iso, utc_datetime
from tenxsom_flow_engine.rate_limits.windows import parse_windows
from tenxsom_flow_engine.text import ago, balance, duration, number, percent, plural, rough_duration, usd, within


def size(count: float) -> str:
    """Write a number of bytes: `4.2 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} bytes"


def moment(instant: float | None, *, exact: str = "minute") -> Markup:
    """Write an instant as a `<time>` in UTC, which the script converts to the browser's zone; a dash for None.

    `exact`: resolution `minute` or `second`, or `clock` for the time without the day.
    """
    if instant is None:
        return Markup("–")
    form = {"minute": "%d %b %H:%M", "second": "%d %b %H:%M:%S", "clock": "%H:%M"}[exact]
    text = utc_datetime(instant).strftime(form)
    return Markup('<time datetime="{}" data-exact="{}">{}</time>').format(iso(instant), exact, text)


def utc(instant: float) -> str:
    """Write an instant in UTC, as the command line does, and independent of the browser: `2026-12-24 18:00 UTC`."""
    return utc_datetime(instant).strftime("%Y-%m-%d %H:%M UTC")


def hour(instant: float) -> str:
    """Write the hour of a day (UTC) that begins at an instant."""
    return utc_datetime(instant).strftime("%d %b %H:%M")


def per(window: str) -> str:
    """Write the span of a limit such as `10/m`: `a minute`."""
    seconds = parse_windows(window)[0].span
    return {1.0: "a second", 60.0: "a minute", 3600.0: "an hour", 86400.0: "a day"}.get(seconds, duration(seconds))


def sentence(text: str, names: Collection[str]) -> str:
    """Write a sentence with a capital letter, unless it begins with one of these names."""
    return text if text.partition(" ")[0] in names else text[:1].upper() + text[1:]


_WRITERS = (
    duration, rough_duration, ago, within, usd, balance, plural, number, percent, size, moment, utc, hour, per,
    sentence,
)  # fmt: skip
#: The filters by name.
FILTERS = {write.__name__: write for write in _WRITERS}
