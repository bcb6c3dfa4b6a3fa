"""Workers that take jobs one after the other until they are killed, at a point of a plan, or nothing is left to do."""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import struct
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.fork_server import Child, ForkServer


class SharedClock:
    """A clock that stands still until a process moves it, for all that open the same file. It outlives them."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(struct.pack("d", 1_800_000_000.0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    def now(self) -> float:
        """Return the instant that it was moved to."""
        instant: float = struct.unpack("d", self._memory[:])[0]
        return instant

    def set(self, now: float) -> None:
        """Move forwards to an instant."""
        self._memory[:] = struct.pack("d", max(now, self.now()))


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to do."""

    queue: str
    environment: dict[str, str]
    clock: str
    #: At which point the worker that has a job in hand dies, once for each job.
    deaths: str
    #: Where it notes that it died, since it cannot die twice for one job.
    died: str
    #: How many steps it takes at most; 0: until nothing is left to do.
    steps: int = 0
    #: Share of the steps whose delivery comes a second time.
    doubles: float = 0.1


class Lives:
    """Has workers live, one at a time."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._nursery = ForkServer(log)
        #: The worker at work, once its number is known.
        self._worker: Future[Child] = Future()

    def run(self, order: Order) -> int:
        """Let one worker live, and return its exit code; negative for the signal that killed it."""
        self._worker = Future()
        worker = self._nursery.start("tests.killable_worker:live", asdict(order))
        self._worker.set_result(worker)
        return worker.wait()

    def kill(self) -> None:
        """Kill the worker at work, as `kill -9` does."""
        self._worker.result().kill()

    def close(self) -> None:
        """End the process that they are forked from."""
        self._nursery.close()


def live(given: dict[str, Any]) -> None:
    """Take jobs until the plan says to die, or nothing is left to do."""
    from tenxsom_flow_engine.composition import open_engine
    from tenxsom_flow_engine.errors import LeaseLost
    from tenxsom_flow_engine.queues.base import PullsJobs
    from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
    from tenxsom_flow_engine.rate_limits.redis import RedisLedger
    from tenxsom_flow_engine.settings import load
    from tenxsom_flow_engine.store.base import JobStore
    from tenxsom_flow_engine.store.redis.store import RedisStore

    order = Order(**given)
    clock = SharedClock(Path(order.clock))
    settings = load(order.environment)
    store: JobStore | None = None
    gate: RateLimiter | None = None
    if order.queue == "redis":  # its server's time cannot be moved
        store = RedisStore(settings.redis.address, settings.redis.key, clock)
        gate = RateLimiter(RedisLedger(store.connection, clock), settings.limits)
    draw = random.Random(os.getpid())
    with open_engine(settings, order.queue, clock=clock, store=store, gate=gate) as engine:
        _plan_deaths(engine, order)
        assert isinstance(engine.queue, PullsJobs)
        taken = 0
        while not order.steps or taken < order.steps:
            claim = engine.queue.claim(
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


def _plan_deaths(engine: Any, order: Order) -> None:
    """Surround each write of the journal, the publishing and the outcome by points at which the worker may die."""
    deaths: dict[str, str] = json.loads(Path(order.deaths).read_text())
    died = Path(order.died)
    gone = set(died.read_text().split()) if died.exists() else set()

    def point(job_id: str, name: str) -> None:
        if deaths.get(job_id) == name and job_id not in gone:
            with died.open("a") as file:
                file.write(f"{job_id}\n")
            os.kill(os.getpid(), signal.SIGKILL)

    def surround(owner: Any, method: str, identify: Callable[..., tuple[str, str]]) -> None:
        act = getattr(owner, method)

        def between(*arguments: Any, **options: Any) -> Any:
            job_id, name = identify(*arguments)
            point(job_id, f"before {name}")
            result = act(*arguments, **options)
            point(job_id, f"after {name}")
            return result

        setattr(owner, method, between)

    for journaled in ("intend", "accept", "mark_unknown", "clear_submission"):
        surround(engine.store, journaled, lambda job_id, *_, name=journaled: (job_id, name))
    surround(engine.output, "publish", lambda record, fill: (record.job_id, "publish"))
    surround(engine.queue, "settle", lambda record, outcome: (record.job_id, f"settle {record.step}"))
