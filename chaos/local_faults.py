"""Faults of workers, Redis, the disk and deliveries: a schedule drawn from the seed, and its execution.

A full disk is simulated with the kernel's limit on the size of a process's files (RLIMIT_FSIZE, set from outside with
`prlimit`): every write(2) of the processes that write the store then fails, in the middle of their work. This needs
neither root nor a separate file system nor a hook in those processes. The error is EFBIG instead of ENOSPC: SQLite
reports it as a failed write, Redis as MISCONF, as for any full disk.
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

from chaos.cluster import Backend, Cluster, Scale
from chaos.fast_timings import LEASE
from tenxsom_flow_engine.errors import ActionRefused, JobNotFound, StoreError
from tests.fork_server import Child

#: Mean seconds between two faults of a kind: on every queue backend, with a Redis server, and with Cloud Tasks.
EVERY_BACKEND: Mapping[str, float] = {"kill": 1.0, "stop": 4.0, "freeze": 3.0, "cancel": 2.0, "full disk": 6.0}
REDIS: Mapping[str, float] = {"kill Redis": 6.0, "freeze Redis": 8.0}
CLOUD_TASKS: Mapping[str, float] = {"deliver twice": 0.5, "miss responses": 1.0, "refuse tasks": 1.0, "purge": 4.0}
BUCKET: Mapping[str, float] = {"bucket away": 5.0}
#: Seconds that the disk stays full, and that the bucket refuses every request.
FULL_DISK, BUCKET_AWAY = 0.8, 1.5
#: Seconds that a worker stays frozen: longer than its lease, and than the wait before others look up its create.
FROZEN_WORKER = 2.5 * LEASE
#: Seconds that the Redis server stays frozen: as long as a lease, and longer than some clients wait.
FROZEN_REDIS = LEASE
DURATIONS = {
    "freeze": FROZEN_WORKER, "full disk": FULL_DISK, "freeze Redis": FROZEN_REDIS, "bucket away": BUCKET_AWAY
}  # fmt: skip
#: Seconds between two checks for processes to restart.
CHECK_INTERVAL = 0.05
#: Size limit of a file in bytes while the disk is full.
FULL_DISK_LIMIT = 1


@dataclass(frozen=True, slots=True, order=True)
class ScheduledFault:
    """A kind of fault, `at` seconds after the start of the faults."""

    at: float
    kind: str


def schedule(backend: Backend, seconds: float, random: Random, *, bucket: bool = False) -> list[ScheduledFault]:
    """Draw the faults of a run in the order of their times, each kind at least once."""
    periods = {
        **EVERY_BACKEND,
        **(REDIS if backend.on_redis else {}),
        **(CLOUD_TASKS if backend.pushed else {}),
        **(BUCKET if bucket else {}),
    }
    faults = []
    for kind, period in periods.items():
        number = max(1, round(seconds / period))
        # A fault with a duration ends within the run, unless the run is too short for it.
        span = max(seconds / 2, seconds - DURATIONS.get(kind, 0.0))
        faults += [ScheduledFault((n + random.random()) * span / number, kind) for n in range(number)]
    return sorted(faults)


class LocalFaults:
    """Injects the scheduled faults into a cluster."""

    def __init__(self, cluster: Cluster, scale: Scale, random: Random) -> None:
        self._cluster = cluster
        self._jobs, self._seconds = scale.jobs, scale.seconds
        self._random = random
        self._number = itertools.count()
        #: Heap of (instant, number, function); the number keeps functions from being compared.
        self._actions: list[tuple[float, int, Callable[[], None]]] = []
        self._frozen: list[Child] = []
        self._cancelling = ThreadPoolExecutor(1, thread_name_prefix="cancel")
        if cluster.cloud is not None:
            cluster.cloud.faults.shuffle = Random(random.random())

    def run(self) -> None:
        """Inject all faults and restart ended processes; return when the last fault has ended."""
        began = time.monotonic()
        actions: Mapping[str, Callable[[], None]] = {
            "kill": self._kill, "stop": self._stop, "freeze": self._freeze, "cancel": self._cancel,
            "full disk": self._fill_disk, "kill Redis": self._kill_redis,
            "freeze Redis": self._freeze_redis, "deliver twice": self._deliver_twice,
            "miss responses": self._miss_responses, "refuse tasks": self._refuse_tasks, "purge": self._purge,
            "bucket away": self._refuse_bucket,
        }  # fmt: skip
        in_bucket = self._cluster.bucket is not None
        for fault in schedule(self._cluster.backend, self._seconds, self._random, bucket=in_bucket):
            self._at(began + fault.at, actions[fault.kind])
        with self._cancelling:
            while (now := time.monotonic()) < began + self._seconds or self._actions:
                while self._actions and self._actions[0][0] <= now:
                    heapq.heappop(self._actions)[2]()
                self._cluster.restart_ended()
                time.sleep(CHECK_INTERVAL)

    def _at(self, instant: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._actions, (instant, next(self._number), action))

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._at(time.monotonic() + seconds, action)

    def _victim(self) -> Child | None:
        running = [worker for worker in self._cluster.workers if worker.alive and worker not in self._frozen]
        return self._random.choice(running) if running else None

    def _kill(self) -> None:
        if victim := self._victim():
            self._cluster.counts["workers killed"] += 1
            victim.kill()
            victim.wait(60)

    def _stop(self) -> None:
        if victim := self._victim():
            self._cluster.counts["workers stopped"] += 1
            victim.signal(signal.SIGTERM)

    def _cancel(self) -> None:
        # In another thread: a frozen worker can hold a lock on the store, and this thread has to resume that worker.
        self._cancelling.submit(self._cancel_job, f"job-{self._random.randrange(self._jobs)}")

    def _cancel_job(self, job_id: str) -> None:
        with suppress(JobNotFound, ActionRefused, StoreError):
            self._cluster.engine.cancel(job_id)
            self._cluster.counts["jobs cancelled"] += 1

    def _freeze(self) -> None:
        if victim := self._victim():
            self._cluster.counts["workers frozen"] += 1
            self._frozen.append(victim)
            victim.signal(signal.SIGSTOP)
            self._after(FROZEN_WORKER, lambda: self._resume(victim))

    def _resume(self, victim: Child) -> None:
        self._frozen.remove(victim)
        victim.signal(signal.SIGCONT)

    def _kill_redis(self) -> None:
        assert self._cluster.redis is not None
        self._cluster.counts["Redis killed"] += 1
        self._cluster.redis.kill()

    def _freeze_redis(self) -> None:
        assert self._cluster.redis is not None
        self._cluster.counts["Redis frozen"] += 1
        server = self._cluster.redis.process
        server.send_signal(signal.SIGSTOP)
        self._after(FROZEN_REDIS, lambda: server.send_signal(signal.SIGCONT))

    def _fill_disk(self) -> None:
        self._cluster.counts["disk full"] += 1
        limited = [pid for pid in self._cluster.store_writers if _limit_file_size(pid, FULL_DISK_LIMIT)]

        def lift_limit() -> None:
            for pid in limited:
                _limit_file_size(pid, resource.RLIM_INFINITY)

        self._after(FULL_DISK, lift_limit)

    def _deliver_twice(self) -> None:
        assert self._cluster.cloud is not None
        self._cluster.cloud.faults.deliver_twice(self._random.randint(1, 8))

    def _miss_responses(self) -> None:
        assert self._cluster.cloud is not None
        self._cluster.cloud.faults.miss_answers(self._random.randint(1, 4))

    def _refuse_bucket(self) -> None:
        bucket = self._cluster.bucket
        assert bucket is not None
        self._cluster.counts["bucket away"] += 1
        bucket.refusal = self._random.choice((403, 500, 503))
        self._after(BUCKET_AWAY, lambda: setattr(bucket, "refusal", 0))

    def _refuse_tasks(self) -> None:
        assert self._cluster.cloud is not None
        faults = self._cluster.cloud.faults
        faults.refuse("CreateTask", StatusCode.UNAVAILABLE, times=self._random.randint(0, 3))
        faults.lose_answer("CreateTask", times=self._random.randint(0, 3))

    def _purge(self) -> None:
        self._cluster.counts["tasks purged"] += self._cluster.purge()


def _limit_file_size(pid: int, limit: int) -> bool:
    """Limit the size in bytes of the files that a process writes; return whether the process still runs."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if limit == resource.RLIM_INFINITY else limit, hard))
    except (ProcessLookupError, PermissionError):
        return False
    return True
