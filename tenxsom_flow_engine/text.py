"""Formats counts, durations, money, captions and external text for people, in one form everywhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

#: Control characters except newline and tab, and unpaired surrogates.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
#: What players of captions take for a command (`{\an8}`) or a tag (`<i>`). SRT has no way to escape them.
_COMMAND = re.compile(r"[{<](?=[\\/A-Za-z])")
_UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))


def plural(number: int, noun: str, plural_noun: str = "") -> str:
    """Format a count with its noun: `1 job`, `2,000 jobs`, `2 entries`."""
    return f"{number:,} {noun if number == 1 else plural_noun or noun + 's'}"


def duration(seconds: float | None) -> str:
    """Format a duration in its two largest units: `45 s`, `3 min 20 s`, `2 days 4 h`; a dash for None."""
    if seconds is None:
        return "–"
    left = round(max(0.0, seconds))
    for place, (unit, size) in enumerate(_UNITS):
        if left >= size:
            whole, left = divmod(left, size)
            finer, finer_size = _UNITS[min(place + 1, len(_UNITS) - 1)]
            rest = left // finer_size if unit != "s" else 0
            return _count(whole, unit) + (f" {_count(rest, finer)}" if rest else "")
    return "0 s"


def clock_lead(seconds: float) -> str:
    """Format how far one clock is from another, before its name: `3 min 20 s ahead of`, `2 h behind`."""
    return f"{duration(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'}"


def rough_duration(seconds: float) -> str:
    """Format a duration in its largest unit: `12 min`."""
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), _UNITS[-1])
    return _count(int(seconds // size), unit)


def ago(seconds: float) -> str:
    """Format a time in the past: `just now`, `12 min ago`."""
    return f"{rough_duration(seconds)} ago" if seconds >= 5 else "just now"


def within(seconds: float) -> str:
    """Format a time in the future: `now`, `in 12 min`."""
    return f"in {rough_duration(seconds)}" if seconds >= 1 else "now"


def host_in_url(host: str) -> str:
    """Return a host name or address as a URL contains it: IPv6 addresses get brackets."""
    # A name has no colon; `HOST:PORT` has one, and an IPv6 address at least two.
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host


def percent(share: float | None) -> str:
    """Format a share: `42%`, `99.5%`; a dash for None."""
    return "–" if share is None else f"{share:.0%}" if share in (0, 1) or 0.01 <= share <= 0.99 else f"{share:.1%}"


def usd(amount: float | None) -> str:
    """Format an amount of US dollars: `$0.14`, `$1,200.00`, `$0.0004`; a dash for None."""
    if amount is None:
        return "–"
    return f"${amount:,.2f}" if amount == 0 or amount >= 0.005 else f"${amount:.4f}"


def number(value: float) -> str:
    """Format a number with thousands separators and without trailing zeros."""
    return f"{value:,.10g}"


def balance(value: float, unit: str) -> str:
    """Format a balance in its unit: `$993.80` for `USD`, `6,963 credits`."""
    return usd(value) if unit == "USD" else f"{number(value)} {unit}"


def visible(text: str) -> str:
    """Replace the characters that could manipulate a terminal, and those that UTF-8 cannot encode, by their escapes."""
    # Newlines and tabs are wanted; a fast path covers almost every text.
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str, most: int) -> str:
    """Convert external text to one printable line of at most `most` characters."""
    # Category C: characters without a glyph, such as control characters, which could manipulate a terminal.
    printable = "".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text)
    line = " ".join(printable.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def either(names: Sequence[str]) -> str:
    """Format alternatives: `a`, `a or b`, `a, b or c`."""
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def srt(cues: Iterable[tuple[float, float, str]]) -> str:
    """Return the content of an SRT file with these cues: start and end in seconds, and a line of text.

    A word joiner, which is not visible, makes commands and tags text; an arrow replaces the one of times.
    """
    return "\n".join(
        f"{place}\n{_stamp(start)} --> {_stamp(end)}\n{_harmless(text)}\n"
        for place, (start, end, text) in enumerate(cues, start=1)
    )


def _harmless(text: str) -> str:
    return _COMMAND.sub("\\g<0>\u2060", text).replace("-->", "→")


def _stamp(seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02},{milliseconds % 1000:03}"


def _count(count: int, unit: str) -> str:
    return f"{count} {unit}{'s' * (unit == 'day' and count != 1)}"
