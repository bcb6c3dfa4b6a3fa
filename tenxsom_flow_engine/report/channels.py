"""The figures of channels: totals of the calendar month (UTC), with a forecast, and the next start of each."""

from __future__ import annotations

import calendar
from collections import defaultdict
from collections.abc import Mapping

from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.clock import utc_datetime
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.report.model import ChannelFigures, Ended
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.totals import EXPIRED, ON_TIME, RETRIED, channel_kind, month

#: The channels that a report has: those that spent most, then those that made most.
MOST_CHANNELS = 100
#: Scheduled jobs among which the next start of each channel is looked for.
NEXT_STARTS = 500


def channel_figures(store: JobStore, now: float) -> tuple[ChannelFigures, ...]:
    """Return the figures of the busiest channels. Its cost does not grow with the number of jobs."""
    this_month = month(now)
    amounts: dict[str, dict[str, float]] = defaultdict(dict)
    for one in store.totals(channel_kind(this_month)):
        amounts[one.service][one.name] = one.amount
    settings = store.channels()
    names = sorted(
        {*amounts, *settings},
        key=lambda name: (-amounts[name].get("usd", 0.0), -amounts[name].get("videos", 0.0), name),
    )[:MOST_CHANNELS]
    starts: dict[str, float] = {}
    for record in store.next_scheduled(NEXT_STARTS) if names else ():
        if record.due is not None:
            starts.setdefault(record.job.channel, record.due)
    elapsed = _share_of_month(now)
    return tuple(
        _figures(name, settings.get(name, Channel()), amounts[name], elapsed, starts.get(name)) for name in names
    )


def _figures(
    name: str, settings: Channel, amounts: Mapping[str, float], elapsed: float | None, next_due: float | None
) -> ChannelFigures:
    def left(kind: str) -> int:
        return int(amounts.get(kind, 0) - amounts.get(f"{RETRIED}{kind}", 0))

    usd = round(amounts.get("usd", 0.0), 6)
    return ChannelFigures(
        name=name,
        settings=settings,
        videos=int(amounts.get("videos", 0)),
        usd=usd,
        unpriced=int(amounts.get("unpriced", 0)),
        forecast_usd=round(usd / elapsed, 2) if elapsed else None,
        ended=Ended(succeeded=left(Status.SUCCEEDED.value), failed=left(Status.FAILED.value)),
        on_time=left(ON_TIME),
        expired=left(EXPIRED),
        next_due=next_due,
    )


def _share_of_month(now: float) -> float | None:
    """Return the elapsed share of the month; None on its first day, which is too short for a forecast."""
    moment = utc_datetime(now)
    days = moment.day - 1 + (moment.hour + moment.minute / 60) / 24
    return days / calendar.monthrange(moment.year, moment.month)[1] if days >= 1 else None
