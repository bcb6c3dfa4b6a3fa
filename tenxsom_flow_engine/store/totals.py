"""Totals that a store updates in the same transaction as the record whose change they count.

Reports of what was bought, made or lost read these totals, so their cost does not grow with the number of records,
and totals outlive the records. Each total covers all queues.

A purchase that a person booked by mistake is taken out of its hour and day again. Totals of all time never go down,
because Prometheus reads them as counters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import product

from tenxsom_flow_engine.clock import utc_datetime
from tenxsom_flow_engine.jobs import FINAL, Cost, JobRecord, Purchase, Status
from tenxsom_flow_engine.jobs.purchases import day, purchase_changes
from tenxsom_flow_engine.store.histogram import bucket

#: The kinds of periods. Totals of hours are kept for `KEEP_HOURS`, those of channels for a year, others permanently.
DAY, HOUR, EVER = "day", "hour", "ever"
#: Prefix of the kind of the totals of channels in one month, which are apart from those of other months.
CHANNEL_MONTH = "channel:"
#: Seconds for which the totals of an hour are kept.
KEEP_HOURS = 49 * 3600.0
#: The name of the total of seconds that succeeded jobs took, and the name prefix of the histogram's buckets.
SECONDS, BUCKET_PREFIX = "seconds", "s"
#: Prefix of the name of a total of retried jobs.
RETRIED = "retried_"
#: The name of the total of jobs that could not start in time.
EXPIRED = "expired"
#: The name of the total of jobs with a latest start that bought in time.
ON_TIME = "on_time"
_BOUGHT = ("videos", "usd", "credits", "unpriced")


@dataclass(frozen=True, slots=True)
class Total:
    """One counter of one service in one period (UTC); of a channel, if its kind is that of channels.

    Counters of purchases: `videos`, `usd`, `credits` and `unpriced`. Counters of finished jobs: `succeeded`, `failed`,
    `cancelled`, and of these `expired`; for succeeded jobs also the `seconds` from the create to the published video,
    and their `histogram` as `s<bucket>`. By hour also `retried_failed`, `retried_cancelled` and `retried_expired`: of
    those that finished in it, the retried ones.
    """

    kind: str
    #: A day or hour in ISO 8601, such as `2026-12-24T18`; empty for all time.
    period: str
    service: str
    name: str
    amount: float


def read_total(kind: str, period: str, service: str, name: str, amount: float) -> Total:
    """Return a stored total. Raises `ValueError` or `TypeError` for an impossible period or amount."""
    if period:
        datetime.fromisoformat(f"{period}-01" if kind.startswith(CHANNEL_MONTH) else period)
    if not math.isfinite(amount):
        raise ValueError(f"the amount {amount} of {name}")
    return Total(kind, period, service, name, amount)


@dataclass(frozen=True, slots=True)
class Spent:
    """Spending at one service on one day (UTC)."""

    #: In ISO 8601.
    day: str
    service: str
    #: Number of generations.
    videos: int
    usd: float
    #: The service's credits.
    credits: float
    #: Number of generations whose price in USD is unknown.
    unpriced: int


@dataclass(frozen=True, slots=True)
class LastError:
    """The latest error of a job of a service."""

    at: float
    job_id: str
    code: str
    message: str


def hour(instant: float) -> str:
    """Return the hour of an instant in UTC, in ISO 8601, so that hours sort as text."""
    return _hour(instant // 3600)


@lru_cache(maxsize=100)
def _hour(number: float) -> str:
    return utc_datetime(number * 3600).strftime("%Y-%m-%dT%H")


def month(instant: float) -> str:
    """Return the month of an instant in UTC, in ISO 8601."""
    return utc_datetime(instant).strftime("%Y-%m")


def channel_kind(of_month: str) -> str:
    """Return the kind of the totals of channels in a month."""
    return f"{CHANNEL_MONTH}{of_month}"


def expired_kind(now: float) -> str:
    """Return the kind of the latest totals of channels that are no longer kept: those of the month a year ago."""
    today = utc_datetime(now)
    return channel_kind(f"{today.year - 1}-{today.month:02}")


def additions(before: JobRecord, after: JobRecord) -> Sequence[Total]:
    """Return the amounts that a change adds to the totals; most changes add nothing."""
    found = list(_purchased(before, after))
    if after.finished_at is not None and after.status in FINAL and before.status is not after.status:
        found += _of(after.finished_at, after.effective_service, _ended(after, after.finished_at))
    if before.finished_at is not None and before.status in FINAL and after.status not in FINAL:
        ended = hour(before.finished_at)
        for name in (before.status.value, *([EXPIRED] if before.expired else [])):
            found.append(Total(HOUR, ended, before.effective_service, f"{RETRIED}{name}", 1.0))
    return [*found, *_of_channel(before, after)] if after.job.channel else found


def _of_channel(before: JobRecord, after: JobRecord) -> Iterator[Total]:
    """Give the amounts that a change adds to the totals of the job's channel."""
    channel = after.job.channel
    for sign, purchases in zip((-1, 1), purchase_changes(before, after), strict=True):
        for purchase in purchases:
            for name, amount in _bought(purchase):
                if name != "credits":  # the credits of services have different units
                    yield _of_month(purchase.at, channel, name, sign * amount)
    if after.finished_at is not None and after.status in FINAL and before.status is not after.status:
        for name in _endings(after):
            yield _of_month(after.finished_at, channel, name, 1.0)
    if before.finished_at is not None and before.status in FINAL and after.status not in FINAL:
        for name in _endings(before):
            yield _of_month(before.finished_at, channel, f"{RETRIED}{name}", 1.0)


def _of_month(instant: float, channel: str, name: str, amount: float) -> Total:
    return Total(channel_kind(month(instant)), month(instant), channel, name, amount)


def _endings(record: JobRecord) -> Iterator[str]:
    """Give the names of the totals that the end of a job counts in."""
    yield record.status.value
    if record.expired:
        yield EXPIRED
    elif record.start_by is not None and record.purchases and record.purchases[0].at <= record.start_by:
        yield ON_TIME


def new_error(before: JobRecord, after: JobRecord) -> tuple[str, LastError] | None:
    """Return the service and the error that a change has added to a record; None if it added none."""
    # Compared by identity: the same failure again is a new error.
    # A job that could not start in time says nothing about its service.
    if after.error is None or after.error is before.error or after.expired:
        return None
    return after.effective_service, LastError(after.updated_at, after.job_id, after.error.code, after.error.message)


def spending(sums: Iterable[Total]) -> Sequence[Spent]:
    """Return the totals of days as spending, oldest first."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for one in sums:
        found.setdefault((one.period, one.service), dict.fromkeys(_BOUGHT, 0.0))[one.name] = one.amount
    return [
        Spent(day, service, int(sum_["videos"]), sum_["usd"], sum_["credits"], int(sum_["unpriced"]))
        for (day, service), sum_ in sorted(found.items())
        if sum_["videos"] > 0
    ]


def _of(instant: float, service: str, amounts: Iterable[tuple[str, float]]) -> Iterator[Total]:
    for name, amount in amounts:
        yield Total(HOUR, hour(instant), service, name, amount)
        yield Total(EVER, "", service, name, amount)


def _purchased(before: JobRecord, after: JobRecord) -> Iterator[Total]:
    """Give the amounts of the purchases that a change added, and the negative amounts of those that it removed."""
    amounts: Counter[tuple[str, str, str, str]] = Counter()
    for sign, purchases in zip((-1, 1), purchase_changes(before, after), strict=True):
        for purchase in purchases:
            periods = ((HOUR, hour(purchase.at)), (DAY, day(purchase.at)), (EVER, ""))
            for (kind, period), (name, amount) in product(periods, _bought(purchase)):
                amounts[kind, period, purchase.service, name] += sign * amount  # type: ignore[assignment]
    for (kind, period, service, name), amount in amounts.items():
        if amount > 0 or (amount < 0 and kind != EVER):
            yield Total(kind, period, service, name, amount)


def _bought(purchase: Purchase) -> Sequence[tuple[str, float]]:
    cost = purchase.cost or Cost()
    unpriced = 1.0 if cost.usd is None else 0.0
    amounts = zip(_BOUGHT, (1.0, cost.usd or 0.0, cost.credits or 0.0, unpriced), strict=True)
    return [(name, amount) for name, amount in amounts if amount]


def _ended(record: JobRecord, at: float) -> Sequence[tuple[str, float]]:
    amounts = [(record.status.value, 1.0)]
    if record.expired:
        amounts.append((EXPIRED, 1.0))
    began = record.submission.first_intended_at
    if record.status is Status.SUCCEEDED and began:
        seconds = max(0.0, at - began)
        amounts += [(SECONDS, seconds), (f"{BUCKET_PREFIX}{bucket(seconds)}", 1.0)]
    return amounts
