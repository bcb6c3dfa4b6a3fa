"""Print what days of videos come to: `make day`, or one day of one's own.

    python -m benchmarks.day --videos 1000 --services pixverse,ltx_studio USEAPI_PIXVERSE_SLOTS=8 LTX_SLOTS=6

Without arguments: the 96 videos of a channel, and 10,000 a day with the default limits and with limits that suffice.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.day.results import Figures, Waits, figures, redis_bytes, store_bytes
from benchmarks.day.simulate import KEYS, open_day
from benchmarks.table import print_table
from tenxsom_flow_engine.jobs import Status

#: What 10,000 videos a day ask for: three linked accounts of PixVerse that render eight at once each, and windows half
#: as wide again as 417 an hour.
ENOUGH = {
    "USEAPI_PIXVERSE_SLOTS": "24",
    "TENXSOM_LIMITS": "pixverse=2/s,30/m,600/h; global=5/s,50/m,1000/h,15000/d",
}
#: So many records tell what one takes on Redis.
SAMPLE = 2_000


@dataclass(frozen=True, slots=True)
class Setting:
    """A day that is played."""

    name: str
    videos: int
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Played:
    """What it came to."""

    setting: Setting
    figures: Figures
    #: Bytes of the store for each record, when all waited and at the end.
    waiting: float
    finished: float
    #: Bytes of a Redis server for each record of a video that is made, and for its id when the record is trimmed; None:
    #: there were too few.
    on_redis: tuple[float, float] | None


def play(setting: Setting, services: Sequence[str], seed: int) -> Played:
    """Play a day, in memory where there is a folder that is."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        open_day(Path(folder), services=services, environment=setting.environment, seed=seed) as day,
    ):
        day.plan(setting.videos)
        waiting = store_bytes(day)
        day.play()
        made = [record for record in day.records() if record.status is Status.SUCCEEDED]
        return Played(
            setting,
            figures(day),
            waiting / setting.videos,
            store_bytes(day) / setting.videos,
            redis_bytes(made[:SAMPLE]) if len(made) >= SAMPLE else None,
        )


def main(arguments: Sequence[str]) -> None:
    """Play the days that are asked for, and print them side by side."""
    asked = _parser().parse_args(arguments)
    services, environment = asked.services.split(","), dict(asked.environment)
    if asked.videos is None:
        days = [
            Setting("96 a day", 96, environment),
            Setting("10,000, default limits", 10_000, environment),
            Setting("10,000, limits that suffice", 10_000, ENOUGH | environment),
        ]
    else:
        days = [Setting(f"{asked.videos:,} a day", asked.videos, environment)]
    played = []
    for setting in days:
        print(f"playing {setting.name} …", file=sys.stderr)
        played.append(play(setting, services, asked.seed))
    _tell(played)
    if asked.videos is None:
        print("\nThe limits that suffice: " + " ".join(f"{name}='{value}'" for name, value in ENOUGH.items()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.day", description="Play days of videos in a minute.")
    parser.add_argument("--videos", type=int, help="videos of one day; default: 96, and 10,000 twice")
    parser.add_argument("--services", default=",".join(KEYS), help="those that `auto` chooses among (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what the vendors do (%(default)s)")
    parser.add_argument("environment", nargs="*", type=_variable, metavar="NAME=VALUE", help="settings of the engine")
    return parser


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _tell(played: Sequence[Played]) -> None:
    names = [day.setting.name for day in played]
    columns = [_column(day) for day in played]
    print_table(["", *names], [[row, *(column[row] for column in columns)] for row in columns[0]])
    told = [(day.setting.name, day.figures) for day in played]
    _table(
        "What due jobs waited for (at the same time where several are busy)",
        ["day", "", "first at", "hours"],
        [
            [name, what, _time(found.first[what]), f"{seconds / 3600:.1f}"]
            for name, found in told
            for what, seconds in sorted(found.held_back.items(), key=lambda item: -item[1])
        ],
    )
    _table(
        "The fullest moment of each window",
        ["day", "", "window", "most"],
        [
            [name, filled.name, str(filled.window), f"{filled.most:,}"]
            for name, found in told
            for filled in found.windows
        ],
    )
    _table(
        "What was bought",
        ["day", "service", "videos", "USD"],
        [
            [name, service, f"{videos:,}", f"{usd:,.2f}"]
            for name, found in told
            for service, (videos, usd) in _bought(found).items()
        ],
    )
    _table(
        "Why jobs failed or are held",
        ["day", "", "jobs"],
        [[name, why, str(jobs)] for name, found in told for why, jobs in found.reasons.most_common()],
    )


def _column(day: Played) -> dict[str, str]:
    found = day.figures
    made = found.by_status[Status.SUCCEEDED]
    over = [filled for filled in found.windows if filled.share > 1]
    usd = sum(usd for _, usd in _bought(found).values())
    return {
        "planned": f"{found.planned:,}",
        "published": f"{made:,}",
        "failed, with a reason": str(found.by_status[Status.FAILED]),
        "held for a person": str(found.by_status[Status.HELD]),
        "not over after 26 hours": f"{found.waiting:,}",
        "due to bought, s: p50 / p95 / max": _waits(found.to_create),
        "due to published, s: p50 / p95 / max": _waits(found.to_published),
        "creates sent": f"{found.calls['create']:,}",
        "polls sent": f"{found.calls['check']:,}",
        "steps dispatched": f"{found.steps.total():,}",
        "steps of a video": f"{found.steps_a_video:.1f}",
        "efficiency score": f"{found.efficiency:.1f}",
        "windows over their limit": str(len(over)),
        "creates beyond the slots": str(found.overbooked),
        "jobs bought twice": str(found.sold_twice),
        "bought, USD": f"{usd:,.2f}",
        "Cloud Tasks, USD a month": f"{found.queue_cost.cloud_tasks_usd:,.2f}",
        "SQLite, bytes a record that waits": f"{day.waiting:,.0f}",
        "SQLite, bytes a record at the end": f"{day.finished:,.0f}",
        "Redis, bytes a record that is over": f"{day.on_redis[0]:,.0f}" if day.on_redis else "–",
        "Redis, bytes an id of a trimmed record": f"{day.on_redis[1]:,.0f}" if day.on_redis else "–",
        "played in, s": f"{found.took:.1f}",
    }


def _waits(waits: Waits) -> str:
    return f"{waits.half:,.0f} / {waits.most:,.0f} / {waits.longest:,.0f}"


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
    main(sys.argv[1:])
