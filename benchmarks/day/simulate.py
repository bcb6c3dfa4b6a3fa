"""Simulate a day: the engine's own planner, queue, limiter and worker parts, on a simulated clock."""

from __future__ import annotations

import math
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.day.simulated_threads import SimulatedThreads
from benchmarks.day.vendors import MODELS, Vendor, vendor_of
from tenxsom_flow_engine.composition import make_services, open_engine, open_store
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord, VideoJob
from tenxsom_flow_engine.planning.periods import DAY, window
from tenxsom_flow_engine.planning.rotation import builtin_topic
from tenxsom_flow_engine.planning.slots import check_count, grid, parse_rate, slot_job_id, steady_slots
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.queues.stores import open_ledger
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.services.registry import service_specs
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.workers.maintenance import WorkerMaintenance

#: The variable that switches each simulated service on.
KEYS = {name: service_specs()[name].switch for name in MODELS}
#: Concurrency of the worker: the default of `worker.py`.
THREADS = 4
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
    #: Number of steps, by kind.
    steps: Counter[str] = field(default_factory=Counter)
    #: Seconds for which due jobs waited, and the first such second of the day, by reason.
    waited_for: dict[str, float] = field(default_factory=dict)
    first_waited: dict[str, float] = field(default_factory=dict)
    #: Real seconds that the simulation took.
    run_time: float = 0.0
    _reasons: frozenset[str] = frozenset()
    _sampled_at: float = 0.0
    _renew_at: float = math.inf

    def __post_init__(self) -> None:
        self.midnight = self._sampled_at = self.clock.now()
        self.maintenance = WorkerMaintenance(self.engine, concurrency=THREADS)

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
        while (at := self._work()) is not None and at < end:
            self.clock.set(at)
            self._renew()
            self.threads.resume()
        self._sample(frozenset())
        while (at := self.threads.next_wake_up) is not None:  # let running steps finish, as a stopped worker does
            self.clock.set(max(at, self.clock.now()))
            self.threads.resume()
        self.run_time = time.perf_counter() - began

    def records(self) -> Sequence[JobRecord]:
        """Return the records of all jobs."""
        return self.engine.store.page(JobFilter(), limit=len(self.planned)).records

    def _work(self) -> float | None:
        """Claim due jobs, start their steps, and return when to continue; None if nothing is left to do."""
        queue, again_at = self.engine.queue, None
        assert isinstance(queue, PullsJobs)
        while (free := THREADS - len(self.maintenance.active_steps)) > 0:
            claim = queue.claim(
                self.maintenance.id,
                free,
                self.engine.slots,
                auto_services=self.engine.auto_services,
                closed=self.engine.gate.closed(),
            )
            for record in claim.records:
                self.maintenance.track(record)
                self.threads.start(partial(self._step, record))
            if not claim.records:
                again_at = None if claim.again_at is None else max(claim.again_at, self.clock.now() + 0.001)
                break
        if self.clock.now() >= self._sampled_at + SAMPLE_INTERVAL:
            self._sample(frozenset(self._find_reasons(free)))
        self._renew_at = (
            min(self._renew_at, self.clock.now() + queue.lease / 3) if self.maintenance.active_steps else math.inf
        )
        events = (again_at, self.threads.next_wake_up, self._renew_at if self.maintenance.active_steps else None)
        return min((at for at in events if at is not None), default=None)

    def _step(self, record: JobRecord) -> None:
        try:
            after = self.engine.step(record)
        finally:
            self.maintenance.untrack(record)
        self.steps[record.step.value] += 1
        if after.result is not None:
            # Delete the published video, since those of a whole day would fill the disk.
            shutil.rmtree(Path(after.result.path).parent)

    def _renew(self) -> None:
        if self.clock.now() >= self._renew_at:
            self.maintenance.renew()
            self._renew_at = math.inf

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


@contextmanager
def open_day(folder: Path, *, services: Sequence[str], environment: Mapping[str, str], seed: int) -> Iterator[Day]:
    """Open a day with fake vendors. `environment` has settings of the engine, such as limits."""
    random.seed(seed)  # the engine's backoff draws from it
    clock = ManualClock(1_800_057_600.0)  # 2027-01-16, midnight UTC
    threads = SimulatedThreads(clock, THREADS)
    keys = {KEYS[name]: "not-needed" for name in services}
    settings = load({"TENXSOM_HOME": str(folder), **keys, **environment})
    store = open_store(settings, "local", clock)
    real = make_services(settings, clock, Timings())
    vendors = {name: vendor_of(real[name], threads, clock, seed) for name in services}
    # The limiter's cache of closed gates must expire in simulated time.
    gate = RateLimiter(open_ledger(store), settings.limits, services, clock.now)
    with open_engine(settings, "local", clock=clock, services=vendors, store=store, gate=gate) as engine:
        try:
            yield Day(engine, clock, threads, vendors)
        finally:
            threads.close()
