"""Simulate a day: the engine's own planner, queue, limiter and worker parts, on a simulated clock."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.day.simulated_threads import SimulatedThreads
from benchmarks.day.vendors import MODELS, Vendor, vendor_of
from benchmarks.day.worker import THREADS, Worker
from tenxsom_flow_engine.composition import make_services, open_engine, open_store
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord, VideoJob
from tenxsom_flow_engine.planning.periods import DAY, window
from tenxsom_flow_engine.planning.rotation import builtin_topic
from tenxsom_flow_engine.planning.slots import check_count, grid, parse_rate, slot_job_id, steady_slots
from tenxsom_flow_engine.services.registry import service_specs
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.timings import Timings

#: The variable that switches each simulated service on.
KEYS = {name: service_specs()[name].switch for name in MODELS}
#: Seconds after the end of the day for its last videos.
EXTRA_TIME = 7200.0
#: Seconds between two samples of the reasons for which due jobs wait.
SAMPLE_INTERVAL = 60.0


@dataclass
class Day:
    """A day of videos, from midnight on, and its statistics."""

    engine: Engine
    clock: ManualClock
    threads: SimulatedThreads
    vendors: Mapping[str, Vendor]
    #: When each job is due, in seconds since 1970, by job id.
    planned: dict[str, float] = field(default_factory=dict)
    #: Seconds for which due jobs waited, and the first such second of the day, by reason.
    waited_for: dict[str, float] = field(default_factory=dict)
    first_waited: dict[str, float] = field(default_factory=dict)
    #: Real seconds that the simulation took.
    run_time: float = 0.0
    _reasons: frozenset[str] = frozenset()
    _sampled_at: float = 0.0

    def __post_init__(self) -> None:
        self.midnight = self._sampled_at = self.clock.now()
        self.worker = Worker(self.engine, self.clock, self.threads)

    def plan(self, videos: int) -> None:
        """Plan videos like `schedule --daily-count VIDEOS`, with the lowest hourly rate that fits them into the day."""
        rate = parse_rate(str(math.ceil(videos / 24)))
        span = window(self.midnight)
        check_count(span, videos, rate)
        slots = steady_slots(grid(span, rate), videos, ())
        self.planned = {slot_job_id("", slot.instant): float(slot.instant) for slot in slots}
        jobs = (
            VideoJob(job_id=slot_job_id("", slot.instant), topic=builtin_topic(slot), created_at=self.midnight)
            for slot in slots
        )
        self.engine.queue.enqueue(self.engine.prepare(job, self.planned[job.job_id]).new for job in jobs)

    def run(self) -> None:
        """Move the clock from event to event, until there is no work left or the day is over."""
        began, end = time.perf_counter(), self.midnight + DAY + EXTRA_TIME
        while (at := self._work()) < end:
            self.worker.advance(at)
        self._sample(frozenset())
        self.worker.stop()
        self.run_time = time.perf_counter() - began

    @property
    def steps(self) -> Counter[str]:
        """Number of steps, by kind."""
        return self.worker.steps

    def records(self) -> Sequence[JobRecord]:
        """Return the records of all jobs."""
        return self.engine.store.page(JobFilter(), limit=len(self.planned)).records

    def _work(self) -> float:
        """Claim due jobs, start their steps, and return when to continue; infinity if nothing is left to do."""
        next_due = self.worker.claim()
        if self.clock.now() >= self._sampled_at + SAMPLE_INTERVAL:
            self._sample(frozenset(self._find_reasons(self.worker.free)))
        return self.worker.next_event(next_due)

    def _sample(self, reasons: frozenset[str]) -> None:
        """Add the time since the last sample to the reasons of that sample, and keep the present reasons."""
        now = self.clock.now()
        for reason in self._reasons:
            self.waited_for[reason] = self.waited_for.get(reason, 0.0) + now - self._sampled_at
        for reason in reasons:
            self.first_waited.setdefault(reason, now - self.midnight)
        self._reasons, self._sampled_at = reasons, now

    def _find_reasons(self, free: int) -> Iterator[str]:
        """Yield the reasons for which due jobs wait now."""
        oldest = self.engine.store.status_counts(self.engine.queue.name).oldest_due
        if oldest is None or oldest > self.clock.now() - 1.0:
            return
        if free <= 0:
            yield f"the worker's {THREADS} threads"
        services = self.engine.limiter.get_rate_limit_stats()["services"]
        for name, vendor in self.vendors.items():
            if self.engine.store.in_flight(name) >= vendor.max_in_flight:
                yield f"{name}'s {vendor.max_in_flight} slots"
            elif why := services[name]["why"]:
                yield why.partition(",")[0]


@dataclass(frozen=True, slots=True)
class Parts:
    """An engine in simulated time, with fake vendors."""

    engine: Engine
    clock: ManualClock
    threads: SimulatedThreads
    vendors: Mapping[str, Vendor]


@contextmanager
def open_parts(
    folder: Path,
    begin: float,
    *,
    services: Sequence[str],
    environment: Mapping[str, str],
    seed: int,
    open_store_with: Callable[[ManualClock], JobStore] | None = None,
) -> Iterator[Parts]:
    """Open an engine whose clock is at `begin`. `environment` has settings of the engine, such as limits.

    The embedded queue is used, unless another store is opened, which is a Redis server.
    """
    random.seed(seed)  # the engine's backoff draws from it
    clock = ManualClock(begin)
    # One thread more than steps, for the chores.
    threads = SimulatedThreads(clock, THREADS + 1)
    keys = {KEYS[name]: "not-needed" for name in services}
    settings = load({"TENXSOM_HOME": str(folder), **keys, **environment})
    real = make_services(settings, clock, Timings())
    vendors = {name: vendor_of(real[name], threads, clock, seed) for name in services}
    store, queue = (
        (open_store_with(clock), "redis") if open_store_with else (open_store(settings, "local", clock), "local")
    )
    # What the gates remember must expire in simulated time.
    with open_engine(settings, queue, clock=clock, services=vendors, store=store, monotonic=clock.now) as engine:
        try:
            yield Parts(engine, clock, threads, vendors)
        finally:
            threads.close()


@contextmanager
def open_day(folder: Path, *, services: Sequence[str], environment: Mapping[str, str], seed: int) -> Iterator[Day]:
    """Open a day with fake vendors. `environment` has settings of the engine, such as limits."""
    begin = 1_800_057_600.0  # 2027-01-16, midnight UTC
    with open_parts(folder, begin, services=services, environment=environment, seed=seed) as parts:
        yield Day(parts.engine, parts.clock, parts.threads, parts.vendors)
