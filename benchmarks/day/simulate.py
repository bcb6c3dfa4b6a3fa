"""Playing a day: it is planned and worked off by the engine's own parts, only faster than it passes."""

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

from benchmarks.day.setup import Stage
from benchmarks.day.vendors import Vendor, vendor_of
from tenxsom_flow_engine.composition import make_services, open_engine, open_ledger, open_store
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord, VideoJob
from tenxsom_flow_engine.planning.periods import DAY, window
from tenxsom_flow_engine.planning.rotation import builtin_topic
from tenxsom_flow_engine.planning.slots import check_count, grid, parse_rate, slot_job_id, steady_slots
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.workers.maintenance import WorkerMaintenance

#: What switches each service on.
KEYS = {"pixverse": "USEAPI_TOKEN", "ltx_studio": "LTX_API_KEY", "heygen": "HEYGEN_API_KEY"}
#: Steps at once in the worker, as `worker.py` has them unless told otherwise.
THREADS = 4
#: Seconds after the day within which its last videos may be made.
AFTER = 7200.0
#: Seconds between two looks at what holds jobs back.
LOOK = 60.0


@dataclass
class Day:
    """A day of videos, from midnight on, and all that happens in it."""

    engine: Engine
    clock: ManualClock
    stage: Stage
    vendors: Mapping[str, Vendor]
    #: For when each job was planned.
    planned: dict[str, float] = field(default_factory=dict)
    #: Steps that were taken, by what they did.
    steps: Counter[str] = field(default_factory=Counter)
    #: For how many seconds due jobs were held back by what, and since when.
    held_back: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    #: How long it took to play, in real seconds.
    took: float = 0.0
    _holding: frozenset[str] = frozenset()
    _looked_at: float = 0.0
    _renew_at: float = math.inf

    def __post_init__(self) -> None:
        self.midnight = self._looked_at = self.clock.now()
        self.maintenance = WorkerMaintenance(self.engine, concurrency=THREADS)

    def plan(self, videos: int) -> None:
        """Plan so many videos, as `schedule --daily-count VIDEOS --videos-per-hour (as many as it takes)` does."""
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

    def play(self) -> None:
        """Let time jump from one thing to do to the next, until nothing is left or the day is over."""
        began, end = time.perf_counter(), self.midnight + DAY + AFTER
        while (at := self._turn()) is not None and at < end:
            self.clock.set(at)
            self._renew()
            self.stage.go_on()
        self._look(frozenset())
        while (at := self.stage.wakes_at) is not None:  # the steps in hand end, as those of a worker that is stopped
            self.clock.set(max(at, self.clock.now()))
            self.stage.go_on()
        self.took = time.perf_counter() - began

    def records(self) -> Sequence[JobRecord]:
        """Return what is known of all jobs."""
        return self.engine.store.page(JobFilter(), limit=len(self.planned)).records

    def _turn(self) -> float | None:
        """Claim what can be claimed, let its steps begin, and return when there is more to do; None: never."""
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
                self.stage.start(partial(self._step, record))
            if not claim.records:
                again_at = None if claim.again_at is None else max(claim.again_at, self.clock.now() + 0.001)
                break
        if self.clock.now() >= self._looked_at + LOOK:
            self._look(frozenset(self._reasons(free)))
        self._renew_at = (
            min(self._renew_at, self.clock.now() + queue.lease / 3) if self.maintenance.active_steps else math.inf
        )
        moments = (again_at, self.stage.wakes_at, self._renew_at if self.maintenance.active_steps else None)
        return min((at for at in moments if at is not None), default=None)

    def _step(self, record: JobRecord) -> None:
        try:
            after = self.engine.step(record)
        finally:
            self.maintenance.untrack(record)
        self.steps[record.step.value] += 1
        if after.result is not None:
            # As if it was taken away to where it is shown, so that no day needs much room.
            shutil.rmtree(Path(after.result.path).parent)

    def _renew(self) -> None:
        if self.clock.now() >= self._renew_at:
            self.maintenance.renew()
            self._renew_at = math.inf

    def _look(self, holding: frozenset[str]) -> None:
        """Count what has held jobs back since the last look, and take note of what does now."""
        now = self.clock.now()
        for reason in self._holding:
            self.held_back[reason] = self.held_back.get(reason, 0.0) + now - self._looked_at
        for reason in holding:
            self.first.setdefault(reason, now - self.midnight)
        self._holding, self._looked_at = holding, now

    def _reasons(self, free: int) -> Iterator[str]:
        oldest = self.engine.store.status_counts(self.engine.queue.name).oldest_due
        if oldest is None or oldest > self.clock.now() - 1.0:
            return
        if free <= 0:
            yield f"the worker's {THREADS} threads"
        told = self.engine.limiter.get_rate_limit_stats()["services"]
        for name, vendor in self.vendors.items():
            if self.engine.store.in_flight(name) >= vendor.max_in_flight:
                yield f"{name}'s {vendor.max_in_flight} slots"
            elif why := told[name]["why"]:
                yield why.partition(",")[0]


@contextmanager
def open_day(folder: Path, *, services: Sequence[str], environment: Mapping[str, str], seed: int) -> Iterator[Day]:
    """Open a day whose vendors are not there; `environment` is that of the engine, with all limits that it may set."""
    random.seed(seed)  # the engine's backoff draws from it
    clock = ManualClock(1_800_057_600.0)  # a midnight
    stage = Stage(clock, THREADS)
    keys = {KEYS[name]: "not-needed" for name in services}
    settings = load({"TENXSOM_HOME": str(folder), **keys, **environment})
    store = open_store(settings, "local", clock)
    real = make_services(settings, clock, Timings())
    vendors = {name: vendor_of(real[name], stage, clock, seed) for name in services}
    # The process's cache of closed gates expires with the simulated time, not with ours.
    gate = RateLimiter(open_ledger(store), settings.limits, services, clock.now)
    with open_engine(settings, "local", clock=clock, services=vendors, store=store, gate=gate) as engine:
        try:
            yield Day(engine, clock, stage, vendors)
        finally:
            stage.close()
