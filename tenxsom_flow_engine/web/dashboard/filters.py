"""Numbers and instants in words for people: the filters that templates write them with."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime

from markupsafe import Markup, escape

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.rate_limits.windows import parse_windows

_UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))
#: A command of ours within a sentence.
_COMMAND = re.compile(
    r"(?:python3 )?(?:run_flow_enhanced|worker|cloud_tasks_worker)\.py(?:\s(?:-{1,2})?[\w=./:@-]*[\w/])*"
)


def lasting(seconds: float | None) -> str:
    """Write a length of time in its two largest units: `45 s`, `3 min 20 s`, `2 days 4 h`; a dash for None."""
    if seconds is None:
        return "–"
    left = round(max(0.0, seconds))
    for place, (unit, size) in enumerate(_UNITS):
        if left >= size:
            whole, left = divmod(left, size)
            first = _counted(whole, unit)
            finer, finer_size = _UNITS[min(place + 1, len(_UNITS) - 1)]
            rest = left // finer_size if unit != "s" else 0
            return f"{first} {_counted(rest, finer)}" if rest else first
    return "0 s"


def roughly(seconds: float) -> str:
    """Write a length of time in its largest unit: `12 min`."""
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), _UNITS[-1])
    return _counted(int(seconds // size), unit)


def ago(seconds: float) -> str:
    """Write how long ago something was: `just now`, `12 min ago`."""
    return f"{roughly(seconds)} ago" if seconds >= 5 else "just now"


def within(seconds: float) -> str:
    """Write how soon something will be: `now`, `in 12 min`."""
    return f"in {roughly(seconds)}" if seconds >= 1 else "now"


def usd(amount: float | None) -> str:
    """Write an amount of money; a dash where it is not known."""
    if amount is None:
        return "–"
    return f"USD {amount:,.2f}" if amount == 0 or amount >= 0.005 else f"USD {amount:.4f}"


def number(value: float) -> str:
    """Write a number with marks at its thousands, and without needless digits."""
    return f"{value:,.10g}"


def percent(share: float | None) -> str:
    """Write a share; a dash for None."""
    return "–" if share is None else f"{share:.0%}" if share in (0, 1) or 0.01 <= share <= 0.99 else f"{share:.1%}"


def size(count: float) -> str:
    """Write a number of bytes: `4.2 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} bytes"


def moment(instant: float | None, *, exact: str = "minute") -> Markup:
    """Write an instant as a `<time>` in UTC, which the browser turns into its own zone; a dash for None.

    `exact`: to the `minute`, to the `second`, or the `clock` alone, where the day is known.
    """
    if instant is None:
        return Markup("–")
    form = {"minute": "%d %b %H:%M", "second": "%d %b %H:%M:%S", "clock": "%H:%M"}[exact]
    text = datetime.fromtimestamp(instant, UTC).strftime(form)
    return Markup('<time datetime="{}" data-exact="{}">{}</time>').format(iso(instant), exact, text)


def utc(instant: float) -> str:
    """Write an instant as the command line does, in UTC whatever the browser's zone is: `2026-12-24 18:00 UTC`."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M UTC")


def hour(instant: float) -> str:
    """Write the hour of a day (UTC) that begins at an instant."""
    return datetime.fromtimestamp(instant, UTC).strftime("%d %b %H:%M")


def per(window: str) -> str:
    """Write the span of a limit such as `10/m`: `a minute`."""
    seconds = parse_windows(window)[0].span
    return {1.0: "a second", 60.0: "a minute", 3600.0: "an hour", 86400.0: "a day"}.get(seconds, lasting(seconds))


def told(sentence: str) -> Markup:
    """Write a sentence with the commands in it set as such."""
    parts = []
    end = 0
    for found in _COMMAND.finditer(sentence):
        parts += [escape(sentence[end : found.start()]), Markup("<code>{}</code>").format(found.group())]
        end = found.end()
    return Markup("").join([*parts, escape(sentence[end:])])


def sentence(text: str, names: Collection[str]) -> Markup:
    """Write a sentence as `told` does, with a capital letter unless it begins with one of these names."""
    return told(text if text.partition(" ")[0] in names else text[:1].upper() + text[1:])


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}s" if unit == "day" and count != 1 else f"{count} {unit}"


#: What templates find under the functions' names.
FILTERS = {
    write.__name__: write
    for write in (lasting, roughly, ago, within, usd, number, percent, size, moment, utc, hour, per, told, sentence)
}
