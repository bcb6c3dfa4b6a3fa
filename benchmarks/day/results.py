"""The figures of a simulated day, from the records, the limiter and the vendors' books."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from benchmarks.day.simulate import Day
from benchmarks.day.vendors import Vendor, job_of
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, Limits, Window
from tenxsom_flow_engine.report.queue_cost import REDIS_USD, QueueCost, measure, queue_cost
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.totals import Spent
from tenxsom_flow_engine.store.values import NewJob, Retention
from tests.redis_server import RedisServer

#: Seconds by which the difference of two timestamps since 1970 can be too small after rounding.
ROUNDING = 1e-6
#: Records written to Redis before the measurement starts.
WARM_UP = 30


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits of videos, in seconds."""

    median: float
    p95: float
    longest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Waits:
        """Return median, 95th percentile and maximum; zeros if there are no waits."""
        ordered = sorted(seconds) or [0.0]
        last = len(ordered) - 1
        return cls(ordered[len(ordered) // 2], ordered[min(last, len(ordered) * 19 // 20)], ordered[last])


@dataclass(frozen=True, slots=True)
class WindowUse:
    """The largest number of creates in a window of a limit."""

    name: str
    window: Window
    most: int

    @property
    def share(self) -> float:
        """That number as a share of the limit."""
        return self.most / self.window.limit


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a day."""

    planned: int
    by_status: Counter[Status]
    #: Number of failed and held jobs, by error.
    reasons: Counter[str]
    #: From the due time of a job to its purchase, and to its publication.
    to_create: Waits
    to_published: Waits
    steps: Counter[str]
    #: Calls to all vendors, by kind.
    calls: Counter[str]
    #: Creates that arrived while all slots of the vendor were taken.
    overbooked: int
    #: Jobs for which a vendor sold more than one video.
    sold_twice: int
    windows: Sequence[WindowUse]
    #: Out of 100.
    efficiency: float
    bought: Sequence[Spent]
    queue_cost: QueueCost
    steps_per_video: float
    #: Seconds for which due jobs waited, and the first such second of the day, by reason.
    waited_for: dict[str, float]
    first_waited: dict[str, float]
    #: Real seconds that the simulation took.
    run_time: float

    @property
    def unfinished(self) -> int:
        """Jobs that are neither final nor held."""
        finished = (Status.SUCCEEDED, Status.FAILED, Status.HELD)
        return self.planned - sum(self.by_status[status] for status in finished)


def figures(day: Day) -> Figures:
    """Compute the figures of a day."""
    records = day.records()
    succeeded = [record for record in records if record.status is Status.SUCCEEDED]
    bought = [record for record in records if record.purchases]
    load = measure(succeeded)
    stats: dict[str, Any] = day.engine.limiter.get_rate_limit_stats()
    return Figures(
        planned=len(day.planned),
        by_status=Counter(record.status for record in records),
        reasons=Counter(_error(record) for record in records if record.error and record.finished_at is not None)
        + Counter(_error(record) for record in records if record.status is Status.HELD),
        to_create=Waits.of([record.purchases[0].at - day.planned[record.job_id] for record in bought]),
        to_published=Waits.of([(record.finished_at or 0.0) - day.planned[record.job_id] for record in succeeded]),
        steps=day.steps,
        calls=sum((vendor.calls for vendor in day.vendors.values()), Counter[str]()),
        overbooked=sum(vendor.overbooked for vendor in day.vendors.values()),
        sold_twice=sum(videos > 1 for videos in _sold(day).values()),
        windows=list(window_uses(day.engine.settings.limits, day.vendors)),
        efficiency=stats["efficiency_metrics"]["efficiency_score"],
        bought=day.engine.store.spent("1970-01-01"),
        queue_cost=queue_cost(load, len(day.planned), REDIS_USD),
        steps_per_video=load.steps,
        waited_for=day.waited_for,
        first_waited=day.first_waited,
        run_time=day.run_time,
    )


def store_bytes(day: Day) -> int:
    """Return the size of the store's file in bytes."""
    path = Path(day.engine.store.place.removeprefix("sqlite://"))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size


def redis_bytes(records: Sequence[JobRecord]) -> tuple[float, float]:
    """Return the bytes of Redis memory for each final record, and for the id that remains after it is trimmed."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        client = redis.Redis(port=server.port)
        try:
            with closing(RedisStore(server.url, "day")) as store:
                # The first records also create keys that exist only once, such as totals.
                _write(store, records[:WARM_UP])
                store.trim(Retention(age=0.0, count=0))
                before, measured = _used(client), records[WARM_UP:]
                _write(store, measured)
                filled = _used(client)
                store.trim(Retention(age=0.0, count=0))
                assert store.get(measured[0].job_id) is None
                return (filled - before) / len(measured), (_used(client) - before) / len(measured)
        finally:
            client.close()
            server.kill()


def _write(store: RedisStore, records: Sequence[JobRecord]) -> None:
    store.add("day", [NewJob(record.job) for record in records])
    for record in records:
        store.update(record.job_id, _replace_by(record))


def _replace_by(record: JobRecord) -> Callable[[JobRecord, float], JobRecord]:
    return lambda before, now: record


def _used(client: redis.Redis) -> int:
    found: Any = client.info("memory")
    return int(found["used_memory_dataset"])  # without the overhead of the server itself


def fullest(instants: Sequence[float], span: float) -> int:
    """Return the largest number of instants, which must be sorted, within any `span` seconds."""
    most = first = 0
    for last, instant in enumerate(instants):
        while instant - instants[first] >= span - ROUNDING:
            first += 1
        most = max(most, last - first + 1)
    return most


def window_uses(limits: Limits, vendors: Mapping[str, Vendor]) -> Iterator[WindowUse]:
    """Yield the largest number of creates in each window of the vendors, and of all together."""
    creates = {name: vendor.creates for name, vendor in vendors.items()}
    creates[GLOBAL] = sorted(instant for instants in creates.values() for instant in instants)
    for name, instants in creates.items():
        for window in limits[name]:
            yield WindowUse(name, window, fullest(instants, window.span))


def _sold(day: Day) -> Counter[str]:
    """Return the number of videos that the vendors sold for each job."""
    return Counter(job_of(sale.reference) for vendor in day.vendors.values() for sale in vendor.sold.values())


def _error(record: JobRecord) -> str:
    assert record.error is not None
    return f"{record.error.code}: " + re.sub(r" create \S+", " create", record.error.message)
