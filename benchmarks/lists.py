"""Time to list a page of 50 of 100,000 jobs, and to count the matching jobs, on both stores, by filter.

Run by `make bench-lists`; takes a minute. The jobs were added in hundreds to four channels in turn, one hundred a day
for a thousand days. One in a hundred is cancelled; one in two thousand has a rare channel and a rare service.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import median_ms
from benchmarks.table import print_table
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import new
from tests.redis_server import RedisServer

JOBS, BATCH, DAY = 100_000, 100, 86400.0
CHANNELS = ("fun", "sea", "space", "history")
START = 1_700_000_000.0
FILTERS = {
    "none": JobFilter(),
    "cancelled": JobFilter(statuses=[Status.CANCELLED]),
    "a channel": JobFilter(channel="fun"),
    "a rare channel": JobFilter(channel="rare"),
    "a channel that does not exist": JobFilter(channel="none"),
    "a rare service": JobFilter(service="beta"),
    "a channel's held jobs (none exist)": JobFilter(channel="fun", statuses=[Status.HELD]),
    "a rare channel's cancelled jobs": JobFilter(channel="rare", statuses=[Status.CANCELLED]),
    "a day two years ago": JobFilter(added_from=START + 270 * DAY, added_before=START + 271 * DAY),
    "a word in every fourth topic": JobFilter(text="whale"),
    "a word in no topic": JobFilter(text="zebra"),
}
TOPICS = ("Why the sea is salt", "How a whale sleeps", "The year without a summer", "How a compass works")


def fill(store: JobStore, clock: ManualClock) -> None:
    """Add the jobs."""
    for first in range(0, JOBS, BATCH):
        channel = CHANNELS[first // BATCH % len(CHANNELS)]
        for number in range(first, first + BATCH, 25):
            names = [f"job-{one}" for one in range(number, number + 25)]
            store.add("local", new(*names, channel=channel, topic=TOPICS[number // 25 % 4], service="alpha"))
        store.cancel(f"job-{first}")
        if first % 2_000 == 0:
            store.add("local", new(f"rare-{first}", channel="rare", service="beta"))
        clock.advance(DAY)


def rows(name: str, store: JobStore, clock: ManualClock) -> Iterator[list[str]]:
    """Measure one store."""
    fill(store, clock)
    for label, jobs in FILTERS.items():
        page = store.page(jobs, limit=50)
        # A search stops after some thousand records; the cursor then continues it.
        found = f"{len(page.records)}{'' if page.cursor is None or len(page.records) == 50 else ', search incomplete'}"
        page_ms = median_ms(lambda: store.page(jobs, limit=50))  # noqa: B023
        yield [name, label, found, page_ms, median_ms(lambda: store.count_matching(jobs))]  # noqa: B023


def main() -> None:
    """Print the table."""
    table: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        clock = ManualClock(START)
        sqlite = SQLiteStore(Path(folder) / "jobs.sqlite3", clock)
        table += rows("SQLite", sqlite, clock)
        sqlite.close()
        server = RedisServer(Path(folder))
        try:
            clock = ManualClock(START)
            redis = RedisStore(server.url, "bench", clock)
            table += rows("Redis", redis, clock)
            redis.close()
        finally:
            server.kill()
    print_table(["store", "filter", "found", "page ms", "count ms"], table)


if __name__ == "__main__":
    main()
