"""`cost`: what was bought, what is left to spend, and what the queue itself costs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tenxsom_flow_engine.cli import options
from tenxsom_flow_engine.cli.console import count, info, out
from tenxsom_flow_engine.cli.session import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenxsom_flow_engine.engine import Engine
    from tenxsom_flow_engine.report.queue_cost import Load, QueueCost
    from tenxsom_flow_engine.store.totals import Spent

#: Videos a day that the queue's cost is reckoned for where none were made: a channel's four an hour.
TYPICAL_VIDEOS = 96.0
#: Made videos, the latest, that the steps are measured on.
SAMPLE = 1000

EPILOG = """\b
Prices in USD are list prices of the credits that the services named; a bill may differ.
Cloud Tasks is reckoned by its operations, a managed Redis by the month: the default is the smallest of Google's.

\b
Examples:
  run_flow_enhanced.py cost --days 7
  run_flow_enhanced.py cost --videos-per-day 20000 --redis-usd 72
"""


@click.command(epilog=EPILOG)
@click.option("--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="Days in UTC, with today.")
@click.option("--videos-per-day", type=click.FloatRange(0, min_open=True), help="Default: as in these days, or 96.")
@click.option("--redis-usd", type=click.FloatRange(0), help="A month of managed Redis in USD; default: 36.")
@options.queue_type
@options.as_json
def cost(
    days: int, videos_per_day: float | None, redis_usd: float | None, queue_type: str | None, as_json: bool
) -> None:
    """Show what was bought, what is left to spend, and what the queue itself costs."""
    from tenxsom_flow_engine.cli.format import print_json
    from tenxsom_flow_engine.jobs.purchases import day
    from tenxsom_flow_engine.report.queue_cost import REDIS_USD, measure, queue_cost

    with session(queue_type) as engine:
        now = engine.store.now()
        spent = engine.store.spent(day(now - (days - 1) * 86400.0))
        load = measure(_made(engine))
        volume = videos_per_day or pace(spent, day(now)) or TYPICAL_VIDEOS
        month = queue_cost(load, volume, REDIS_USD if redis_usd is None else redis_usd)
        left = _left(engine)
    if as_json:
        print_json({"days": days, "spent": [_row(row) for row in spent], "left": left, "queue": _facts(load, month)})
        return
    _print_spent(spent, days)
    for service, credits in left.items():
        out(f"left at {service}: {_remaining(credits)}")
    _print_queue(load, month)


def pace(spent: Sequence[Spent], today: str) -> float:
    """Return how many videos a day were bought since the first of them; 0 if there were none."""
    from datetime import date

    if not spent:
        return 0.0
    days = (date.fromisoformat(today) - date.fromisoformat(spent[0].day)).days + 1
    return sum(row.videos for row in spent) / days


def _row(row: Spent) -> dict[str, Any]:
    return asdict(row) | {"usd": round(row.usd, 6), "credits": round(row.credits, 6)}


def _made(engine: Engine) -> Sequence[Any]:
    from tenxsom_flow_engine.jobs import Status
    from tenxsom_flow_engine.store.values import JobFilter

    return engine.store.page(JobFilter(statuses=(Status.SUCCEEDED,)), limit=SAMPLE).records


def _left(engine: Engine) -> dict[str, dict[str, Any]]:
    """Ask the services that can tell what is left; one that does not answer says why."""
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


def _remaining(credits: dict[str, Any]) -> str:
    if credits["error"]:
        return f"cannot be asked: {credits['error']}"
    amount = "not told" if credits["remaining"] is None else f"{credits['remaining']:,.10g} {credits['unit']}"
    return amount + (f" ({credits['note']})" if credits["note"] else "")


def _facts(load: Load, month: QueueCost) -> dict[str, Any]:
    return {
        "videos_per_day": round(month.videos_per_day, 3),
        "steps_per_video": round(load.steps, 2),
        "steps_measured_on_videos": load.measured,
        "operations_per_month": round(month.operations),
        "cloud_tasks_usd_per_month": round(month.cloud_tasks_usd, 2),
        "redis_usd_per_month": month.redis_usd,
        "break_even_videos_per_day": round(month.break_even),
    }


def _print_spent(spent: Sequence[Spent], days: int) -> None:
    from tenxsom_flow_engine.cli.format import table

    if not spent:
        info(f"nothing was bought in {'this day' if days == 1 else f'these {days} days'}")
        return
    rows = [
        [row.day, row.service, f"{row.videos:,}", f"{row.credits:,.10g}", f"{row.usd:.2f}", f"{row.unpriced:,}"]
        for row in spent
    ]
    out(table(rows, head=("DAY (UTC)", "SERVICE", "VIDEOS", "CREDITS", "USD", "UNPRICED")))
    unpriced = sum(row.unpriced for row in spent)
    more = f", and {unpriced:,} of unknown price" if unpriced else ""
    out(f"together: {count(sum(row.videos for row in spent), 'video')}, USD {sum(row.usd for row in spent):.2f}{more}")


def _print_queue(load: Load, month: QueueCost) -> None:
    how = f"measured on {count(load.measured, 'video')}" if load.measured else "estimated, no video was made yet"
    out(f"the queue, at {month.videos_per_day:,.1f} videos a day of {load.steps:.1f} steps ({how}):")
    out(f"  Cloud Tasks: USD {month.cloud_tasks_usd:.2f} a month ({month.operations:,.0f} operations)")
    out(f"  managed Redis: USD {month.redis_usd:.2f} a month; cheaper from {month.break_even:,.0f} videos a day on")
