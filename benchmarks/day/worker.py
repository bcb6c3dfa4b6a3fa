"""A worker in simulated time: the engine's own queue, steps and maintenance, in the order of their events."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

from benchmarks.day.simulated_threads import SimulatedThreads
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.workers.maintenance import WorkerMaintenance

#: Concurrency of the worker: the default of `worker.py`.
THREADS = 4


class Worker:
    """One worker process. Its chores are done every `chores` seconds, by default never."""

    def __init__(
        self, engine: Engine, clock: ManualClock, threads: SimulatedThreads, *, chores: float = math.inf
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._threads = threads
        self._maintenance = WorkerMaintenance(engine, concurrency=THREADS)
        #: Number of steps, by kind.
        self.steps: Counter[str] = Counter()
        self._renew_at = math.inf
        self._chores = chores
        self._chores_at = clock.now() + chores
        self._busy_with_chores = False

    @property
    def free(self) -> int:
        """The number of threads that run no step."""
        return THREADS - self._maintenance.count

    def start(self) -> None:
        """Plan the schedules, as a worker does when it starts."""
        self._threads.start(self._maintenance.plan_schedules)

    def claim(self) -> float | None:
        """Claim due jobs and start their steps; return when the next job is due, None if that is not known."""
        engine = self._engine
        assert isinstance(engine.queue, PullsJobs)
        while (free := self.free) > 0:
            claim = engine.queue.claim(
                self._maintenance.id,
                free,
                engine.slots,
                auto_services=engine.auto_services,
                closed=engine.closed_services(),
            )
            for record in claim.records:
                self._maintenance.track(record)
                self._threads.start(partial(self._step, record))
            if not claim.records:
                return None if claim.again_at is None else max(claim.again_at, self._clock.now() + 0.001)
        return None

    def next_event(self, next_due: float | None) -> float:
        """Return when this worker has something to do: infinity if never."""
        soonest = min(at for at in (next_due, self._threads.next_wake_up, math.inf) if at is not None)
        if not self._maintenance.count:
            self._renew_at = math.inf
        else:
            self._renew_at = min(self._renew_at, self._clock.now() + self._engine.queue.lease / 3)
        return min(soonest, self._renew_at, self._chores_at)

    def advance(self, at: float) -> None:
        """Move the clock to an instant, and do what is due by then except to claim jobs."""
        self._clock.set(at)
        if at >= self._renew_at:
            self._maintenance.renew()
            self._renew_at = math.inf
        if at >= self._chores_at:
            self._chores_at = at + self._chores
            if not self._busy_with_chores:
                self._busy_with_chores = True
                self._threads.start(self._do_chores)
        self._threads.resume()

    def run(self, end: float) -> None:
        """Work until an instant."""
        while (at := self.next_event(self.claim())) < end:
            self.advance(at)

    def stop(self) -> None:
        """Let running steps finish and end, as a stopped worker does."""
        while (at := self._threads.next_wake_up) is not None:
            self._clock.set(max(at, self._clock.now()))
            self._threads.resume()
        self._maintenance.end()

    def _do_chores(self) -> None:
        try:
            self._maintenance.do_chores(self._clock.now())
        finally:
            self._busy_with_chores = False

    def _step(self, record: JobRecord) -> None:
        try:
            after = self._engine.step(record)
        finally:
            self._maintenance.untrack(record)
        self.steps[record.step.value] += 1
        if after.result is not None:
            # Delete the published video, since those of a whole day would fill the disk.
            shutil.rmtree(Path(after.result.path).parent)
