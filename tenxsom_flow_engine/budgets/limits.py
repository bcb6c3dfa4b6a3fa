"""A budget: limits of spending in calendar days, weeks and months of a time zone, for one scope.

Amounts are whole micro-dollars, so that sums are exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tenxsom_flow_engine.clock import MAX_INSTANT
from tenxsom_flow_engine.errors import InvalidInput

#: Micro-dollars in a dollar.
MICRO = 1_000_000
#: The scope of a budget for all jobs.
ALL = "all"
CHANNEL, SERVICE, KEY = "channel:", "service:", "key:"
#: Scopes with names that only operators and callers with a key see.
PRIVATE = (CHANNEL, KEY)
UTC_NAME = "UTC"
#: The largest limit; sums of far more than this are exact in Lua's numbers, too.
MAX_USD = 1_000_000_000

_SCOPE = re.compile(r"all|channel:[\w.:@-]{1,64}|service:[a-z0-9_]{1,40}|key:[0-9a-f]{1,40}")
_LIMIT = re.compile(r"\$?([0-9]{1,10}(?:\.[0-9]{1,6})?)/(d|w|mo)")


class Span(StrEnum):
    """A kind of calendar period. A week starts on Monday."""

    DAY = "d"
    WEEK = "w"
    MONTH = "mo"


@dataclass(frozen=True, slots=True)
class Period:
    """A calendar period in a zone: from `begins` to `ends` (exclusive), in seconds since 1970.

    `name` is a date, or as `2026-W49` and `2026-11` a week or a month.
    """

    name: str
    begins: float
    ends: float


@dataclass(frozen=True, slots=True, order=True)
class Limit:
    """At most `micro_usd` in each calendar period of a kind."""

    span: Span
    micro_usd: int

    def __str__(self) -> str:
        return f"{_decimal(self.micro_usd)}/{self.span.value}"


@dataclass(frozen=True, slots=True)
class Amounts:
    """The use of a period, in micro-dollars: `reserved` by creates that are under way or in doubt, and spent."""

    reserved: int = 0
    spent: int = 0

    @property
    def used(self) -> int:
        """The sum of both."""
        return self.reserved + self.spent


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of one scope, at most one of each kind, in calendar periods of a zone."""

    scope: str
    limits: tuple[Limit, ...]
    zone: str = UTC_NAME

    @property
    def text(self) -> str:
        """The stored form, which `parse_budget` reads."""
        zone = "" if self.zone == UTC_NAME else f" {self.zone}"
        return " ".join(map(str, self.limits)) + zone

    def __str__(self) -> str:
        return f"{self.scope} {self.text}"

    def periods(self, instant: float) -> Iterator[tuple[Limit, Period]]:
        """Yield each limit with its period that contains an instant."""
        for limit in self.limits:
            yield limit, period(limit.span, self.zone, instant)


def scopes_of(channel: str, service: str, key_id: str = "") -> tuple[str, ...]:
    """Return the scopes of the budgets that match a purchase of a job; `key_id` is of the API key that added it."""
    named = ((CHANNEL, channel), (SERVICE, service), (KEY, key_id))
    return (ALL, *(kind + name for kind, name in named if name))


def in_force(environment: Mapping[str, Budget], stored: Mapping[str, Budget]) -> dict[str, Budget]:
    """Return the budgets in force by scope: those of the store win over those of the environment."""
    return {**environment, **stored}


def to_usd(micro_usd: int) -> float:
    """Return micro-dollars as dollars."""
    return micro_usd / MICRO


def to_micro_usd(usd: float) -> int:
    """Return dollars as whole micro-dollars."""
    return round(usd * MICRO)


def check_scope(text: str) -> str:
    """Return the scope that a text names. Raises `InvalidInput`."""
    if not _SCOPE.fullmatch(text):
        raise InvalidInput(
            "scope", f"{text[:100]!r} is not a scope", next_step="write all, channel:NAME, service:NAME or key:ID"
        )
    return text


@lru_cache(maxsize=4096)
def parse_budget(scope: str, text: str) -> Budget:
    """Parse the limits of a scope, such as `10/d 200/mo Europe/Berlin`. Raises `InvalidInput`."""
    words = text.replace(",", " ").split()
    zone = UTC_NAME
    if words and not _LIMIT.fullmatch(words[-1]) and not words[-1][0].isdigit() and words[-1][0] not in "$-.":
        zone = check_zone(words.pop())
    limits = tuple(sorted(map(_limit, words), key=lambda limit: list(Span).index(limit.span)))
    if not limits:
        raise InvalidInput(
            "budget", f"that of {scope} has no limit", next_step="write for example 40/d, or 10/d 200/mo"
        )
    if len({limit.span for limit in limits}) < len(limits):
        raise InvalidInput("budget", f"{text!r} names one kind of period twice")
    return Budget(check_scope(scope), limits, zone)


def parse_budgets(text: str) -> dict[str, Budget]:
    """Parse budgets such as `all=40/d; channel:fun=10/d 200/mo Europe/Berlin`, by scope. Raises `InvalidInput`."""
    found: dict[str, Budget] = {}
    for part in text.split(";"):
        scope, equals, limits = part.partition("=")
        if not part.strip():
            continue
        if not equals:
            raise InvalidInput("budget", f"{part.strip()!r} is not of the form all=40/d")
        if scope.strip() in found:
            raise InvalidInput("budget", f"{scope.strip()} is named twice")
        found[scope.strip()] = parse_budget(scope.strip(), limits)
    return found


def check_zone(name: str) -> str:
    """Return the name of a time zone. Raises `InvalidInput` for an unknown one."""
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput("timezone", f"{name!r} is unknown; use a name such as Europe/Berlin") from None


@lru_cache(maxsize=4096)
def _period_of_day(span: Span, zone_name: str, day: date) -> Period:
    zone = _zone(zone_name)
    match span:
        case Span.DAY:
            first, following, name = day, day + timedelta(days=1), day.isoformat()
        case Span.WEEK:
            first = day - timedelta(days=day.weekday())
            year, week, _ = first.isocalendar()
            following, name = first + timedelta(days=7), f"{year}-W{week:02}"
        case Span.MONTH:
            first = day.replace(day=1)
            following, name = (first + timedelta(days=31)).replace(day=1), f"{first:%Y-%m}"
    # The first midnight of a day that has two, and for a skipped one the instant at which the clocks change.
    begins, ends = (datetime.combine(one, time(), zone).timestamp() for one in (first, following))
    return Period(name, begins, ends)


def period(span: Span, zone: str, instant: float) -> Period:
    """Return the calendar period of a zone that contains an instant."""
    instant = min(max(instant, 86400.0 * 40), MAX_INSTANT - 86400.0 * 40)
    # Whole seconds, since a datetime rounds to microseconds, which can be those of the next day.
    day = datetime.fromtimestamp(int(instant), _zone(zone)).date()
    found = _period_of_day(span, zone, day)
    # Where the clocks go back at midnight, the last hour of a day is shown again after the next day has begun.
    while instant >= found.ends:
        day += timedelta(days=1)
        found = _period_of_day(span, zone, day)
    return found


def moment_in(instant: float, zone: str) -> str:
    """Format an instant in a zone to the minute: `2026-12-01 00:00 Europe/Berlin`."""
    return f"{datetime.fromtimestamp(instant, _zone(zone)):%Y-%m-%d %H:%M} {zone}"


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _limit(word: str) -> Limit:
    match = _LIMIT.fullmatch(word)
    if not match:
        raise InvalidInput("budget", f"{word[:40]!r} is not of the form 40/d", next_step="periods are d, w and mo")
    amount = int(Decimal(match[1]) * MICRO)
    if amount > MAX_USD * MICRO:
        raise InvalidInput("budget", f"{word!r} is more than {MAX_USD:,} dollars")
    return Limit(Span(match[2]), amount)


def _decimal(micro_usd: int) -> str:
    return f"{Decimal(micro_usd) / MICRO:f}"
