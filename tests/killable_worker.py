"""Workers that process jobs until they are killed at a planned point, or until nothing is left to do."""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import struct
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tenxsom_flow_engine.budgets import Budget
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.errors import LeaseLost
from tenxsom_flow_engine.jobs import JobRecord, Video
from tenxsom_flow_engine.jobs.outcomes import Outcome
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.logs import configure
from tenxsom_flow_engine.output.folder import OutputFolder
from tenxsom_flow_engine.output.media import examine
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.rate_limits.redis import RedisLedger
from tenxsom_flow_engine.settings import Settings, load
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import DispatchLimits
from tests import fork_server


class SharedClock:
    """A clock that only changes when a process sets it, shared by all processes that open the same file."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(struct.pack("d", 1_800_000_000.0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    def now(self) -> float:
        """Return the instant that was set."""
        instant: float = struct.unpack("d", self._memory[:])[0]
        return instant

    def set(self, now: float) -> None:
        """Advance to an instant."""
        self._memory[:] = struct.pack("d", max(now, self.now()))


@dataclass(frozen=True, slots=True)
class Order:
    """The configuration of a worker process."""

    queue: str
    environment: dict[str, str]
    clock: str
    #: The point at which a job's worker dies, once for each job.
    deaths: str
    #: The file in which it records its death, because it must not die twice for one job.
    died: str
    #: Maximum number of steps; 0: until nothing is left to do.
    steps: int = 0
    #: Share of the steps whose delivery is repeated.
    doubles: float = 0.1


class Lives:
    """Runs workers, one at a time. Their log goes to a file."""

    def __init__(self, log: Path) -> None:
        self.log = log
        #: The running worker, once its process id is known.
        self._worker: Future[fork_server.Child] = Future()

    def run(self, order: Order) -> int:
        """Run one worker, and return its exit code; negative for the signal that killed it."""
        self._worker = Future()
        worker = fork_server.start(live, order, log=self.log)
        self._worker.set_result(worker)
        return worker.wait()

    def kill(self) -> None:
        """Kill the running worker with `kill -9`."""
        self._worker.result().kill()


def live(order: Order) -> None:
    """Run jobs until the planned death, or until nothing is left to do."""
    configure("debug")
    clock = SharedClock(Path(order.clock))
    settings = load(order.environment)
    deaths = Deaths(order)
    store, gate = _open_store(settings, order.queue, clock, deaths)
    limits = DispatchLimits(settings.max_dispatches_per_second, settings.max_concurrent_dispatches)
    queue = DyingQueue(deaths, order.queue, store, limits, settings.lease)
    output = DyingOutput(deaths, settings.work_dir)
    draw = random.Random(os.getpid())
    with open_engine(settings, order.queue, clock=clock, store=store, queue=queue, gate=gate, output=output) as engine:
        taken = 0
        while not order.steps or taken < order.steps:
            claim = queue.claim(
                f"w-{os.getpid()}", 1, engine.slots, auto_services=engine.auto_services, closed=engine.gate.closed()
            )
            for record in claim.records:
                taken += 1
                with suppress(LeaseLost):
                    engine.step(record)
                    if draw.random() < order.doubles:
                        engine.step(record)
            if not claim.records:
                if claim.again_at is None:
                    return
                clock.set(claim.again_at)


def _open_store(
    settings: Settings, queue: str, clock: SharedClock, deaths: Deaths
) -> tuple[JobStore, RateLimiter | None]:
    """Open the store, and another gate if the default one would use a clock that cannot be set."""
    if queue == "local":
        return DyingSQLiteStore(deaths, settings.home / "jobs.sqlite3", clock), None
    store = DyingRedisStore(deaths, settings.redis.address, settings.redis.key, clock)
    return store, RateLimiter(RedisLedger(store.connection, clock), settings.limits)


class Deaths:
    """The points at which this process dies, once for each job."""

    def __init__(self, order: Order) -> None:
        self._died = Path(order.died)
        planned: dict[str, str] = json.loads(Path(order.deaths).read_text())
        died = set(self._died.read_text().split()) if self._died.exists() else set()
        self._planned = {job_id: point for job_id, point in planned.items() if job_id not in died}

    @contextmanager
    def around(self, job_id: str, act: str) -> Iterator[None]:
        """Add a point before and after a function: `before` and `after` it."""
        self._point(job_id, f"before {act}")
        yield
        self._point(job_id, f"after {act}")

    def _point(self, job_id: str, name: str) -> None:
        if self._planned.get(job_id) == name:
            with self._died.open("a") as file:
                file.write(f"{job_id}\n")
            os.kill(os.getpid(), signal.SIGKILL)


class _DyingJournal(JobStore):
    """A store whose worker can die before and after each write of the journal."""

    deaths: Deaths

    def intend(self, job_id: str, token: str, intent: Intent, budgets: Mapping[str, Budget] | None = None) -> JobRecord:
        with self.deaths.around(job_id, "intend"):
            return super().intend(job_id, token, intent, budgets)

    def accept(self, job_id: str, receipt: Receipt) -> JobRecord:
        with self.deaths.around(job_id, "accept"):
            return super().accept(job_id, receipt)

    def mark_unknown(self, job_id: str, *, submission_id: str, reason: str) -> JobRecord:
        with self.deaths.around(job_id, "mark_unknown"):
            return super().mark_unknown(job_id, submission_id=submission_id, reason=reason)

    def clear_submission(self, job_id: str, *, submission_id: str, reason: str, token: str = "") -> JobRecord:
        with self.deaths.around(job_id, "clear_submission"):
            return super().clear_submission(job_id, submission_id=submission_id, reason=reason, token=token)


class DyingSQLiteStore(_DyingJournal, SQLiteStore):
    """The store of one machine."""

    def __init__(self, deaths: Deaths, path: Path, clock: SharedClock) -> None:
        super().__init__(path, clock)
        self.deaths = deaths


class DyingRedisStore(_DyingJournal, RedisStore):
    """The store on a Redis server."""

    def __init__(self, deaths: Deaths, url: str, prefix: str, clock: SharedClock) -> None:
        super().__init__(url, prefix, clock)
        self.deaths = deaths


class DyingOutput(OutputFolder):
    """An output folder whose worker can die before and after it publishes."""

    def __init__(self, deaths: Deaths, root: Path) -> None:
        # In this process, which has the library loaded: most of these workers die soon after they would start another.
        super().__init__(root, examine)
        self._deaths = deaths

    def publish(
        self, record: JobRecord, fill: Callable[[Path], None], *, reported_duration: float | None = None
    ) -> Video:
        with self._deaths.around(record.job_id, "publish"):
            return super().publish(record, fill, reported_duration=reported_duration)


class DyingQueue(PullQueue):
    """A queue whose worker can die before and after it writes the outcome of a step."""

    def __init__(self, deaths: Deaths, name: str, store: JobStore, limits: DispatchLimits, lease: float) -> None:
        super().__init__(name, store, limits, lease)
        self._deaths = deaths

    def settle(self, record: JobRecord, outcome: Outcome) -> JobRecord:
        with self._deaths.around(record.job_id, f"settle {record.step}"):
            return super().settle(record, outcome)
