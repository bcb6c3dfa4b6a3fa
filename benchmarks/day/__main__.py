"""Simulate days of videos and print their figures: `make day`, or a day with your own settings.

    python -m benchmarks.day --videos 1000 --services pixverse,ltx_studio USEAPI_PIXVERSE_SLOTS=8 LTX_SLOTS=6

Without arguments: 96 videos a day, and 10,000 a day with the default limits and with limits that suffice.
With `--week`: two channels with schedules, through a clock change and an outage; 1 is the exit code if a check fails.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.day.results import Figures, Waits, figures, redis_bytes, store_bytes
from benchmarks.day.simulate import KEYS, open_day
from benchmarks.day.week import SCENARIOS, ZONE, Scenario, Week, simulate_week
from benchmarks.day.week_results import Row, WeekResults
from benchmarks.table import print_table
from tenxsom_flow_engine.jobs import Status

#: Sufficient for 10,000 videos a day: three linked PixVerse accounts with eight slots each, and windows for about
#: 1.5 times the mean rate of 417 an hour.
SUFFICIENT = {
    "USEAPI_PIXVERSE_SLOTS": "24",
    "TENXSOM_LIMITS": "pixverse=2/s,30/m,600/h; global=5/s,50/m,1000/h,15000/d",
}
#: The services of `--week`: one, so that all videos have one price.
WEEK_SERVICES = "pixverse"
#: The folder of files in memory, if there is one.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
#: Records to write to Redis for its bytes per record.
SAMPLE = 2_000


@dataclass(frozen=True, slots=True)
class Setting:
    """A day to simulate."""

    name: str
    videos: int
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of a simulated day, and the bytes per record."""

    setting: Setting
    figures: Figures
    #: Bytes of the SQLite file per record, while all jobs wait and at the end.
    waiting_bytes: float
    final_bytes: float
    #: Bytes of Redis memory per record of a succeeded job, and per id of a trimmed record; None if there are too few.
    redis_bytes: tuple[float, float] | None


def simulate(setting: Setting, services: Sequence[str], seed: int) -> Result:
    """Simulate a day, with its files in memory if possible."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        open_day(Path(folder), services=services, environment=setting.environment, seed=seed) as day,
    ):
        day.plan(setting.videos)
        waiting = store_bytes(day)
        day.run()
        succeeded = [record for record in day.records() if record.status is Status.SUCCEEDED]
        return Result(
            setting,
            figures(day),
            waiting / setting.videos,
            store_bytes(day) / setting.videos,
            redis_bytes(succeeded[:SAMPLE]) if len(succeeded) >= SAMPLE else None,
        )


def simulate_one_week(scenario: Scenario, services: Sequence[str], environment: Mapping[str, str], seed: int) -> Week:
    """Simulate a week, with its files in memory if possible."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        return simulate_week(scenario, Path(folder), services=services, environment=environment, seed=seed)


def main(arguments: Sequence[str]) -> int:
    """Simulate the requested days or weeks, and print their figures; return the exit code."""
    options = _parser().parse_args(arguments)
    environment = dict(options.environment)
    if options.week:
        logging.basicConfig(level=logging.CRITICAL)  # the table has what failed and expired
        return _simulate_weeks((options.services or WEEK_SERVICES).split(","), environment, options.seed)
    services = (options.services or ",".join(KEYS)).split(",")
    if options.videos is None:
        days = [
            Setting("96 a day", 96, environment),
            Setting("10,000, default limits", 10_000, environment),
            Setting("10,000, limits that suffice", 10_000, SUFFICIENT | environment),
        ]
    else:
        days = [Setting(f"{options.videos:,} a day", options.videos, environment)]
    results = []
    for setting in days:
        print(f"simulating {setting.name} …", file=sys.stderr)
        results.append(simulate(setting, services, options.seed))
    _print(results)
    if options.videos is None:
        print("\nThe limits that suffice: " + " ".join(f"{name}='{value}'" for name, value in SUFFICIENT.items()))
    return 0


def _simulate_weeks(services: Sequence[str], environment: Mapping[str, str], seed: int) -> int:
    broken = False
    for scenario in SCENARIOS:
        print(f"simulating a week, {scenario.name} …", file=sys.stderr)
        results = WeekResults(simulate_one_week(scenario, services, environment, seed))
        print_week(scenario, results)
        broken |= any(check.broken for check in results.checks())
    return int(broken)


def print_week(scenario: Scenario, results: WeekResults) -> None:
    """Print the rows of a week, and its checks."""
    choices = "; ".join(
        f"{terms.name}: {terms.daily_count} a day from {terms.start:02}:00, catch-up {terms.catch_up}, weight "
        f"{terms.weight:g}, budget ${terms.budget:.2f} a day"
        for terms in scenario.channels
    )
    print(f"\nA week with an {scenario.name}, {ZONE.key}. {choices}.")
    print(f"No worker from {scenario.outage_begins} to {scenario.outage_ends}.\n")
    head = ["day", "channel", "slots", "planned", "caught up", "skipped", "made", "expired", "failed", "on time", "USD"]
    print_table(head, [_week_row(row) for row in results.rows()])
    _table(
        "Checks",
        ["check", "examined", "result"],
        [[check.name, check.examined, "; ".join(check.broken[:5]) or "holds"] for check in results.checks()],
    )


def _week_row(row: Row) -> Sequence[str]:
    counts = (row.slots, row.planned, row.caught_up, row.skipped, row.made, row.expired, row.failed)
    on_time = f"{row.on_time / row.slots:.0%}" if row.slots else "–"
    return [f"{row.day:%a %m-%d}", row.channel, *map(str, counts), on_time, f"{row.usd:.2f}"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.day", description="Simulate days of videos in a few minutes."
    )
    parser.add_argument("--videos", type=int, help="videos of one day; default: 96, and 10,000 twice")
    parser.add_argument(
        "--week",
        action="store_true",
        help="two weeks of two channels with schedules, with a clock change and an outage of two days",
    )
    parser.add_argument("--services", help=f"the configured services ({','.join(KEYS)}; with --week: {WEEK_SERVICES})")
    parser.add_argument("--seed", type=int, default=1, help="seed of the vendors' delays and faults (%(default)s)")
    parser.add_argument("environment", nargs="*", type=_variable, metavar="NAME=VALUE", help="settings of the engine")
    return parser


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _print(results: Sequence[Result]) -> None:
    names = [result.setting.name for result in results]
    columns = [_column(result) for result in results]
    print_table(["", *names], [[row, *(column[row] for column in columns)] for row in columns[0]])
    days = [(result.setting.name, result.figures) for result in results]
    _table(
        "Reasons for which due jobs waited (several can apply at the same time)",
        ["day", "limit reached", "first at", "hours"],
        [
            [name, reason, _time(found.first_waited[reason]), f"{seconds / 3600:.1f}"]
            for name, found in days
            for reason, seconds in sorted(found.waited_for.items(), key=lambda item: -item[1])
        ],
    )
    _table(
        "Most creates in each window",
        ["day", "service", "window", "most"],
        [[name, use.name, str(use.window), f"{use.most:,}"] for name, found in days for use in found.windows],
    )
    _table(
        "Purchases",
        ["day", "service", "videos", "USD"],
        [
            [name, service, f"{videos:,}", f"{usd:,.2f}"]
            for name, found in days
            for service, (videos, usd) in _bought(found).items()
        ],
    )
    _table(
        "Errors of failed and held jobs",
        ["day", "error", "jobs"],
        [[name, error, str(jobs)] for name, found in days for error, jobs in found.reasons.most_common()],
    )


def _column(result: Result) -> dict[str, str]:
    found = result.figures
    exceeded = [use for use in found.windows if use.share > 1]
    usd = sum(usd for _, usd in _bought(found).values())
    return {
        "planned": f"{found.planned:,}",
        "published": f"{found.by_status[Status.SUCCEEDED]:,}",
        "failed, with a reason": str(found.by_status[Status.FAILED]),
        "held": str(found.by_status[Status.HELD]),
        "not finished after 26 hours": f"{found.unfinished:,}",
        "due to bought, s: median / p95 / max": _waits(found.to_create),
        "due to published, s: median / p95 / max": _waits(found.to_published),
        "creates sent": f"{found.calls['create']:,}",
        "polls sent": f"{found.calls['check']:,}",
        "steps dispatched": f"{found.steps.total():,}",
        "steps per video": f"{found.steps_per_video:.1f}",
        "efficiency score": f"{found.efficiency:.1f}",
        "windows over their limit": str(len(exceeded)),
        "creates above the slots": str(found.overbooked),
        "jobs bought twice": str(found.sold_twice),
        "purchases, USD": f"{usd:,.2f}",
        "Cloud Tasks, USD a month": f"{found.queue_cost.cloud_tasks_usd:,.2f}",
        "SQLite, bytes per waiting record": f"{result.waiting_bytes:,.0f}",
        "SQLite, bytes per record at the end": f"{result.final_bytes:,.0f}",
        "Redis, bytes per finished record": f"{result.redis_bytes[0]:,.0f}" if result.redis_bytes else "–",
        "Redis, bytes per remembered id": f"{result.redis_bytes[1]:,.0f}" if result.redis_bytes else "–",
        "simulated in, s": f"{found.run_time:.1f}",
    }


def _waits(waits: Waits) -> str:
    return f"{waits.median:,.0f} / {waits.p95:,.0f} / {waits.longest:,.0f}"


def _bought(found: Figures) -> dict[str, tuple[int, float]]:
    total: dict[str, tuple[int, float]] = {}
    for line in found.bought:
        videos, usd = total.get(line.service, (0, 0.0))
        total[line.service] = (videos + line.videos, usd + line.usd)
    return total


def _time(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        print(f"\n{title}:\n")
        print_table(head, rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
