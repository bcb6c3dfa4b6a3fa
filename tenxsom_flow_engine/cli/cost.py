"""`cost`: purchases, remaining credits, and the cost of the queue."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import info, out
from tenxsom_flow_engine.cli.program import Command
from tenxsom_flow_engine.cli.session import session
from tenxsom_flow_engine.text import balance, number, plural, usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.report.model import ChannelFigures
    from tenxsom_flow_engine.report.queue_cost import Choice, Load, QueueCost
    from tenxsom_flow_engine.store.totals import Spent

#: Assumed videos a day if none were made yet: one channel with four an hour.
TYPICAL_VIDEOS = 96.0
#: Number of recent videos from which the steps per video are measured.
SAMPLE = 1000

EPILOG = """\b
Costs are list prices in USD of the credits that the services reported; a bill can differ.
NO PRICE counts videos whose price is unknown. Cloud Tasks charges by the operation, and needs a
store besides: a managed Redis, charged by the month (by default Google's smallest one), or a file
on a machine. The other queues are a store alone. The arrow marks what this home uses.

\b
Examples:
  {program} cost --days 7
  {program} cost --videos-per-day 20000 --redis-usd 72
"""


@click.command(cls=Command, epilog=EPILOG)
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    default=30,
    show_default=True,
    help="Number of days to show (UTC, including today).",
)
@click.option(
    "--videos-per-day",
    type=click.FloatRange(0, min_open=True),
    help="Estimate the queue's cost for this volume. Default: the average of these days, or 96.",
)
@click.option("--redis-usd", type=click.FloatRange(0), help="Price of a managed Redis, USD a month. Default: 36.")
@click.option(
    "--machine-usd",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Price of the machine of a SQLite store, USD a month; 0 if it runs anyway.",
)
@options.queue_type
@options.as_json
def cost(
    days: int,
    videos_per_day: float | None,
    redis_usd: float | None,
    machine_usd: float,
    queue_type: str | None,
    as_json: bool,
) -> None:
    """Show purchases, the month of each channel, remaining credits, and the queue's own cost."""
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.jobs.purchases import day
    from tenxsom_flow_engine.report.channels import channel_figures
    from tenxsom_flow_engine.report.model import Ended
    from tenxsom_flow_engine.report.operator_json import channel
    from tenxsom_flow_engine.report.queue_cost import REDIS_USD, choices, measure, queue_cost

    with session(queue_type) as engine:
        now = engine.store.now()
        spent = engine.store.spent(day(now - (days - 1) * 86400.0))
        load = measure(_latest_videos(engine))
        volume = videos_per_day or pace(spent, day(now)) or TYPICAL_VIDEOS
        month = queue_cost(load, volume, REDIS_USD if redis_usd is None else redis_usd)
        possible = choices(month, machine_usd)
        used = (engine.queue.name, engine.store.scheme)
        left = _credits_left(engine)
        channels = [one for one in channel_figures(engine.store, now) if one.videos or one.ended != Ended()]
    if as_json:
        print_json(
            {
                "days": days,
                "spent": [_row(row) for row in spent],
                "channels": [channel(one) for one in channels],
                "left": left,
                "queue": _as_json(load, month, possible, used),
            }
        )
        return
    _print_spent(spent, days)
    _print_channels(channels)
    for service, credits in left.items():
        out(f"left at {service}: {_credits_text(credits)}")
    _print_queue(load, month, possible, used)


def pace(spent: Sequence[Spent], today: str) -> float:
    """Return the average number of videos bought a day since the first one; 0 without purchases."""
    from datetime import date

    if not spent:
        return 0.0
    days = (date.fromisoformat(today) - date.fromisoformat(spent[0].day)).days + 1
    return sum(row.videos for row in spent) / days


def _row(row: Spent) -> dict[str, Any]:
    return asdict(row) | {"usd": round(row.usd, 6), "credits": round(row.credits, 6)}


def _latest_videos(engine: Engine) -> Sequence[Any]:
    from tenxsom_flow_engine.jobs import Status
    from tenxsom_flow_engine.store.values import JobFilter

    return engine.store.page(JobFilter(statuses=(Status.SUCCEEDED,)), limit=SAMPLE).records


def _credits_left(engine: Engine) -> dict[str, dict[str, Any]]:
    """Ask each service that reports credits for its balance; an error replaces the answer."""
    from tenxsom_flow_engine.errors import ServiceError
    from tenxsom_flow_engine.services.base import HasCredits

    left: dict[str, dict[str, Any]] = {}
    for name, service in engine.services.items():
        if isinstance(service, HasCredits):
            try:
                left[name] = asdict(service.credits()) | {"error": None}
            except ServiceError as error:
                left[name] = {"remaining": None, "unit": None, "note": None, "error": str(error)}
    return left


def _credits_text(credits: dict[str, Any]) -> str:
    if credits["error"]:
        return f"not available: {credits['error']}"
    known = credits["remaining"] is not None
    left = balance(credits["remaining"], credits["unit"]) if known else "unknown"
    return left + (f" ({credits['note']})" if credits["note"] else "")


def _as_json(load: Load, month: QueueCost, possible: Sequence[Choice], used: tuple[str, str]) -> dict[str, Any]:
    return {
        "videos_per_day": round(month.videos_per_day, 3),
        "steps_per_video": round(load.steps, 2),
        "steps_measured_on_videos": load.measured,
        "operations_per_month": round(month.operations),
        "cloud_tasks_usd_per_month": round(month.cloud_tasks_usd, 2),
        "redis_usd_per_month": month.redis_usd,
        "break_even_videos_per_day": round(month.break_even),
        "choices": [
            {
                "queue_type": one.queue_type,
                "store": one.store,
                "queue_usd_per_month": round(one.queue_usd, 2),
                "store_usd_per_month": round(one.store_usd, 2),
                "usd_per_month": round(one.usd, 2),
                "used": (one.queue_type, one.store) == used,
            }
            for one in possible
        ],
    }


def _print_spent(spent: Sequence[Spent], days: int) -> None:
    from tenxsom_flow_engine.cli.format import table

    if not spent:
        info(f"nothing was bought in the last {plural(days, 'day')}")
        return
    rows = [
        [row.day, row.service, f"{row.videos:,}", number(row.credits), usd(row.usd), f"{row.unpriced:,}"]
        for row in spent
    ]
    out(table(rows, head=("DAY (UTC)", "SERVICE", "VIDEOS", "CREDITS", "COST", "NO PRICE")))
    unpriced = sum(row.unpriced for row in spent)
    more = f", and {unpriced:,} of unknown price" if unpriced else ""
    out(f"total: {plural(sum(row.videos for row in spent), 'video')}, {usd(sum(row.usd for row in spent))}{more}")


def _print_channels(channels: Sequence[ChannelFigures]) -> None:
    """Print the present month of each channel, with what it will cost at the pace so far."""
    from tenxsom_flow_engine.cli.format import table
    from tenxsom_flow_engine.text import percent

    if not channels:
        return
    rows = [
        [
            one.name, f"{one.videos:,}", usd(one.usd), "–" if one.forecast_usd is None else usd(one.forecast_usd),
            percent(one.ended.success_rate), percent(one.on_time_rate),
        ]
        for one in channels
    ]  # fmt: skip
    out(table(rows, head=("CHANNEL (THIS MONTH, UTC)", "VIDEOS", "COST", "FORECAST", "SUCCEEDED", "ON TIME")))


def _print_queue(load: Load, month: QueueCost, possible: Sequence[Choice], used: tuple[str, str]) -> None:
    from tenxsom_flow_engine.cli.format import table

    how = f"measured on {plural(load.measured, 'video')}" if load.measured else "estimated; no video was made yet"
    out(f"cost of the queue at {month.videos_per_day:,.1f} videos a day, {load.steps:.1f} steps each ({how}):")
    stores = {"sqlite": "SQLite file", "redis": "managed Redis"}
    rows = [
        [
            "→" if (one.queue_type, one.store) == used else "", one.queue_type, usd(one.queue_usd), stores[one.store],
            usd(one.store_usd), usd(one.usd),
        ]
        for one in possible
    ]  # fmt: skip
    out(table(rows, head=("", "QUEUE", "A MONTH", "STORE", "A MONTH", "TOGETHER")))
    out(
        f"Cloud Tasks: {month.operations:,.0f} operations a month; a managed Redis alone costs less than Cloud Tasks "
        f"with a file from {month.break_even:,.0f} videos a day"
    )
