"""What goes wrong on our side: a plan of blows, drawn from the seed, and the hand that deals them.

The store's disk is full by the system's own limit on the size of a process's files (RLIMIT_FSIZE, set from outside by
`prlimit`): then each write(2) of the processes that write the store fails, in the middle of whatever they do. That
needs no root, no file system of its own and no line of code in those processes. What it cannot do is say ENOSPC: the
error is EFBIG, which SQLite reports as a failed write and Redis as MISCONF, its word for any full disk.
"""

from __future__ import annotations

import heapq
import itertools
import resource
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from grpc import StatusCode

from chaos.cluster import Scale, Setting, Site
from chaos.fast_timings import LEASE
from tenxsom_flow_engine.errors import ActionRefused, JobNotFound, StoreError
from tests.fork_server import Child

#: Seconds between two blows of a kind, where they befall everybody, a Redis server, and what is pushed.
EVERYWHERE: Mapping[str, float] = {"kill": 1.0, "stop": 4.0, "freeze": 3.0, "cancel": 2.0, "fill the disk": 6.0}
SERVED: Mapping[str, float] = {"kill the server": 6.0, "freeze the server": 8.0}
PUSHED: Mapping[str, float] = {"deliver twice": 0.5, "miss answers": 1.0, "refuse tasks": 1.0, "purge": 4.0}
#: Seconds for which the disk is full.
FULL = 0.8
#: Seconds for which a worker stands still: longer than its lease, and than others wait before they ask what it did.
FROZEN = 2.5 * LEASE
#: Seconds for which the Redis server does: longer than leases last and some of its callers wait.
FROZEN_SERVER = LEASE
LASTING = {"freeze": FROZEN, "fill the disk": FULL, "freeze the server": FROZEN_SERVER}
#: Seconds between two looks at who has to be started anew.
WATCH = 0.05
#: Bytes that a file may have while the disk is full.
NO_ROOM = 1


@dataclass(frozen=True, slots=True, order=True)
class Blow:
    """What befalls a site so many seconds after the storm began."""

    at: float
    kind: str


def plan(setting: Setting, seconds: float, draw: Random) -> list[Blow]:
    """Draw the blows of a storm, each kind at least once."""
    periods = {**EVERYWHERE, **(SERVED if setting.served else {}), **(PUSHED if setting.pushed else {})}
    blows = []
    for kind, period in periods.items():
        number = max(1, round(seconds / period))
        # What lasts is over when the storm is, if that is long enough.
        span = max(seconds / 2, seconds - LASTING.get(kind, 0.0))
        blows += [Blow((n + draw.random()) * span / number, kind) for n in range(number)]
    return sorted(blows)


class Storm:
    """Deals the blows of a plan to a site."""

    def __init__(self, site: Site, scale: Scale, draw: Random) -> None:
        self._site = site
        self._jobs, self._seconds = scale.jobs, scale.seconds
        self._draw = draw
        self._tie = itertools.count()
        self._acts: list[tuple[float, int, Callable[[], None]]] = []
        self._frozen: list[Child] = []
        self._people = ThreadPoolExecutor(1, thread_name_prefix="people")
        if site.cloud is not None:
            site.cloud.faults.shuffle = Random(draw.random())

    def rage(self) -> None:
        """Deal all blows, keep everything alive meanwhile, and undo at the end what is not over."""
        began = time.monotonic()
        deal: Mapping[str, Callable[[], None]] = {
            "kill": self._kill, "stop": self._stop, "freeze": self._freeze, "cancel": self._cancel,
            "fill the disk": self._fill, "kill the server": self._kill_server,
            "freeze the server": self._freeze_server, "deliver twice": self._deliver_twice,
            "miss answers": self._miss_answers, "refuse tasks": self._refuse_tasks, "purge": self._purge,
        }  # fmt: skip
        for blow in plan(self._site.setting, self._seconds, self._draw):
            self._at(began + blow.at, deal[blow.kind])
        with self._people:
            while (now := time.monotonic()) < began + self._seconds or self._acts:
                while self._acts and self._acts[0][0] <= now:
                    heapq.heappop(self._acts)[2]()
                self._site.revive()
                time.sleep(WATCH)

    def _at(self, instant: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._acts, (instant, next(self._tie), act))

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._at(time.monotonic() + seconds, act)

    def _victim(self) -> Child | None:
        standing = [worker for worker in self._site.workers if worker.alive and worker not in self._frozen]
        return self._draw.choice(standing) if standing else None

    def _kill(self) -> None:
        if victim := self._victim():
            self._site.counts["workers killed"] += 1
            victim.kill()
            victim.wait(60)

    def _stop(self) -> None:
        if victim := self._victim():
            self._site.counts["workers stopped"] += 1
            victim.signal(signal.SIGTERM)

    def _cancel(self) -> None:
        # Aside: a frozen worker may hold the store, and it is thawed from this thread.
        self._people.submit(self._cancel_job, f"job-{self._draw.randrange(self._jobs)}")

    def _cancel_job(self, job_id: str) -> None:
        with suppress(JobNotFound, ActionRefused, StoreError):
            self._site.engine.cancel(job_id)
            self._site.counts["jobs cancelled"] += 1

    def _freeze(self) -> None:
        if victim := self._victim():
            self._site.counts["workers frozen"] += 1
            self._frozen.append(victim)
            victim.signal(signal.SIGSTOP)
            self._after(FROZEN, lambda: self._thaw(victim))

    def _thaw(self, victim: Child) -> None:
        self._frozen.remove(victim)
        victim.signal(signal.SIGCONT)

    def _kill_server(self) -> None:
        assert self._site.redis is not None
        self._site.counts["Redis killed"] += 1
        self._site.redis.kill()

    def _freeze_server(self) -> None:
        assert self._site.redis is not None
        self._site.counts["Redis frozen"] += 1
        server = self._site.redis.process
        server.send_signal(signal.SIGSTOP)
        self._after(FROZEN_SERVER, lambda: server.send_signal(signal.SIGCONT))

    def _fill(self) -> None:
        self._site.counts["disk full"] += 1
        full = [pid for pid in self._site.storing if _let_files_have(pid, NO_ROOM)]

        def make_room() -> None:
            for pid in full:
                _let_files_have(pid, resource.RLIM_INFINITY)

        self._after(FULL, make_room)

    def _deliver_twice(self) -> None:
        assert self._site.cloud is not None
        self._site.cloud.faults.deliver_twice(self._draw.randint(1, 8))

    def _miss_answers(self) -> None:
        assert self._site.cloud is not None
        self._site.cloud.faults.miss_answers(self._draw.randint(1, 4))

    def _refuse_tasks(self) -> None:
        assert self._site.cloud is not None
        faults = self._site.cloud.faults
        faults.refuse("CreateTask", StatusCode.UNAVAILABLE, times=self._draw.randint(0, 3))
        faults.lose_answer("CreateTask", times=self._draw.randint(0, 3))

    def _purge(self) -> None:
        self._site.counts["tasks lost in purges"] += self._site.purge()


def _let_files_have(pid: int, most: int) -> bool:
    """Set how many bytes the files that a process writes may have; return whether it still runs."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if most == resource.RLIM_INFINITY else most, hard))
    except (ProcessLookupError, PermissionError):
        return False
    return True
