"""What a day came to: asked of the records, the limiter and the vendors when it is over."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks.day.simulate import Day
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, Window
from tenxsom_flow_engine.report.queue_cost import REDIS_USD, QueueCost, measure, queue_cost
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.totals import Spent
from tenxsom_flow_engine.store.values import NewJob, Retention
from tests.redis_server import RedisServer

#: By how many seconds two instants of a clock that counts from 1970 may seem nearer than they are.
ROUNDING = 1e-6
#: So many records are kept on Redis before anything is measured.
WARMING = 30


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds that videos waited."""

    half: float
    most: float
    longest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Waits:
        """Sum up waits: what half of them, 19 of 20 and all do not exceed."""
        line = sorted(seconds) or [0.0]
        return cls(line[len(line) // 2], line[min(len(line) - 1, len(line) * 19 // 20)], line[-1])


@dataclass(frozen=True, slots=True)
class Filled:
    """How full a window was when it was fullest."""

    name: str
    window: Window
    most: int

    @property
    def share(self) -> float:
        """The share of the limit."""
        return self.most / self.window.limit


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is told of a day."""

    planned: int
    by_status: Counter[Status]
    #: Why jobs failed or are held.
    reasons: Counter[str]
    #: From when a job was due until it was bought, and until it was published.
    to_create: Waits
    to_published: Waits
    steps: Counter[str]
    #: Calls of all vendors.
    calls: Counter[str]
    overbooked: int
    #: Jobs for which more than one video was sold.
    sold_twice: int
    windows: Sequence[Filled]
    #: Of 100.
    efficiency: float
    bought: Sequence[Spent]
    queue_cost: QueueCost
    steps_a_video: float
    held_back: dict[str, float]
    first: dict[str, float]
    took: float

    @property
    def waiting(self) -> int:
        """Jobs that are not over."""
        over = (Status.SUCCEEDED, Status.FAILED, Status.HELD)
        return self.planned - sum(self.by_status[status] for status in over)


def figures(day: Day) -> Figures:
    """Sum a day up."""
    records = day.records()
    made = [record for record in records if record.status is Status.SUCCEEDED]
    bought = [record for record in records if record.purchases]
    load = measure(made)
    stats: dict[str, Any] = day.engine.limiter.get_rate_limit_stats()
    return Figures(
        planned=len(day.planned),
        by_status=Counter(record.status for record in records),
        reasons=Counter(_why(record) for record in records if record.error and record.finished_at is not None)
        + Counter(_why(record) for record in records if record.status is Status.HELD),
        to_create=Waits.of([record.purchases[0].at - day.planned[record.job_id] for record in bought]),
        to_published=Waits.of([(record.finished_at or 0.0) - day.planned[record.job_id] for record in made]),
        steps=day.steps,
        calls=sum((vendor.calls for vendor in day.vendors.values()), Counter[str]()),
        overbooked=sum(vendor.overbooked for vendor in day.vendors.values()),
        sold_twice=sum(videos > 1 for videos in _sold(day).values()),
        windows=list(_windows(day)),
        efficiency=stats["efficiency_metrics"]["efficiency_score"],
        bought=day.engine.store.spent("1970-01-01"),
        queue_cost=queue_cost(load, len(day.planned), REDIS_USD),
        steps_a_video=load.steps,
        held_back=day.held_back,
        first=day.first,
        took=day.took,
    )


def store_bytes(day: Day) -> int:
    """Return what the store takes on disk."""
    path = Path(day.engine.store.place.removeprefix("sqlite://"))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size


def redis_bytes(records: Sequence[JobRecord]) -> tuple[float, float]:
    """Return what each record that is over takes of a Redis server's memory, and what is left when it is trimmed."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        client = redis.Redis(port=server.port)
        try:
            with closing(RedisStore(server.url, "day")) as store:
                # What is there once and for all, such as scripts and sums, is made by the first ones.
                _keep(store, records[:WARMING])
                store.trim(Retention(age=0.0, count=0))
                before, measured = _used(client), records[WARMING:]
                _keep(store, measured)
                kept = _used(client)
                store.trim(Retention(age=0.0, count=0))
                assert store.get(measured[0].job_id) is None
                return (kept - before) / len(measured), (_used(client) - before) / len(measured)
        finally:
            client.close()
            server.kill()


def _keep(store: RedisStore, records: Sequence[JobRecord]) -> None:
    store.add("day", [NewJob(record.job) for record in records])
    for record in records:
        store.update(record.job_id, _becomes(record))


def _becomes(record: JobRecord) -> Callable[[JobRecord, float], JobRecord]:
    return lambda before, now: record


def _used(client: redis.Redis) -> int:
    found: Any = client.info("memory")
    return int(found["used_memory_dataset"])  # without what the server itself needs


def fullest(instants: Sequence[float], span: float) -> int:
    """Return how many of these instants, in order, lie in the `span` seconds that hold most of them."""
    most = first = 0
    for last, instant in enumerate(instants):
        while instant - instants[first] >= span - ROUNDING:
            first += 1
        most = max(most, last - first + 1)
    return most


def _windows(day: Day) -> Iterator[Filled]:
    asked = {name: vendor.asked for name, vendor in day.vendors.items()}
    asked[GLOBAL] = sorted(instant for instants in asked.values() for instant in instants)
    for name, instants in asked.items():
        for window in day.engine.settings.limits[name]:
            yield Filled(name, window, fullest(instants, window.span))


def _sold(day: Day) -> Counter[str]:
    """Return how many videos the vendors sold for each job, by their own books."""
    # A create's reference begins with the id of its job.
    return Counter(sale.reference.partition(".")[0] for vendor in day.vendors.values() for sale in vendor.sold.values())


def _why(record: JobRecord) -> str:
    assert record.error is not None
    return f"{record.error.code}: " + re.sub(r" create \S+", " create", record.error.message)
