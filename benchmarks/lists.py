"""How long a page of 50 jobs and a count take among 100,000, on both stores, by what they are asked for.

Run by `make bench-lists`; takes a minute. The jobs were added a hundred at a time, for four channels by turns, over a
thousand days; one in a hundred is cancelled, and one in two thousand is of a channel and a service of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import milliseconds
from benchmarks.table import print_table
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import new
from tests.redis_server import RedisServer

JOBS, AT_ONCE, DAY = 100_000, 100, 86400.0
CHANNELS = ("fun", "sea", "space", "history")
BEGAN = 1_700_000_000.0
FILTERS = {
    "everything": JobFilter(),
    "cancelled": JobFilter(statuses=[Status.CANCELLED]),
    "a channel": JobFilter(channel="fun"),
    "a rare channel": JobFilter(channel="rare"),
    "a channel that there is not": JobFilter(channel="none"),
    "a rare service": JobFilter(service="beta"),
    "a channel's held jobs, of which there are none": JobFilter(channel="fun", statuses=[Status.HELD]),
    "a rare channel's cancelled jobs": JobFilter(channel="rare", statuses=[Status.CANCELLED]),
    "a day two years ago": JobFilter(added_from=BEGAN + 270 * DAY, added_before=BEGAN + 271 * DAY),
    "a word of each fourth topic": JobFilter(text="whale"),
    "a word that nobody wrote": JobFilter(text="zebra"),
}
TOPICS = ("Why the sea is salt", "How a whale sleeps", "The year without a summer", "What a compass knows")


def fill(store: JobStore, clock: ManualClock) -> None:
    """Add the jobs."""
    for first in range(0, JOBS, AT_ONCE):
        channel = CHANNELS[first // AT_ONCE % len(CHANNELS)]
        for number in range(first, first + AT_ONCE, 25):
            names = [f"job-{one}" for one in range(number, number + 25)]
            store.add("local", new(*names, channel=channel, topic=TOPICS[number // 25 % 4], service="alpha"))
        store.cancel(f"job-{first}")
        if first % 2_000 == 0:
            store.add("local", new(f"rare-{first}", channel="rare", service="beta"))
        clock.advance(DAY)


def rows(name: str, store: JobStore, clock: ManualClock) -> Iterator[list[str]]:
    """Measure one store."""
    fill(store, clock)
    for what, jobs in FILTERS.items():
        page = store.page(jobs, limit=50)
        found = f"{len(page.records)}{'' if page.cursor is None or len(page.records) == 50 else ', and look further'}"
        took = milliseconds(lambda: store.page(jobs, limit=50))  # noqa: B023
        yield [name, what, found, took, milliseconds(lambda: store.count_matching(jobs))]  # noqa: B023


def main() -> None:
    """Print the table."""
    found: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        clock = ManualClock(BEGAN)
        file = SQLiteStore(Path(folder) / "jobs.sqlite3", clock)
        found += rows("SQLite", file, clock)
        file.close()
        server = RedisServer(Path(folder))
        try:
            clock = ManualClock(BEGAN)
            remote = RedisStore(server.url, "bench", clock)
            found += rows("Redis", remote, clock)
            remote.close()
        finally:
            server.kill()
    print_table(["store", "asked for", "found", "page ms", "count ms"], found)


if __name__ == "__main__":
    main()
