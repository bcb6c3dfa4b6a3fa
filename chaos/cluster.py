"""A queue backend with its servers, settings and worker processes, all on this machine."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Event

from chaos import workers
from chaos.fast_timings import LEASE, TIMINGS
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.queues.selection import CLOUD_TASKS
from tenxsom_flow_engine.rate_limits.windows import Limits, parse_limits
from tenxsom_flow_engine.settings import load
from tests import fork_server
from tests.bucket_servers import BucketServer, S3Server
from tests.environment import without_engine_variables
from tests.fake_vendors import Vendors
from tests.fork_server import Child
from tests.ports import free_port
from tests.redis_proxy import RedisProxy
from tests.redis_server import RedisServer, newer_binary

ACCOUNT = "caller@project.iam.gserviceaccount.com"
#: Worker processes, and the concurrency of each.
PROCESSES, STEPS = 3, 6


@dataclass(frozen=True, slots=True)
class Backend:
    """A queue backend with its job store, and the clock errors of its workers."""

    queue_type: str
    #: Whether the job store is on a Redis server, not in a SQLite file.
    on_redis: bool
    #: Seconds by which a worker's clock is fast; one value is drawn for each worker.
    clock_offsets: tuple[float, ...]

    @property
    def pushed(self) -> bool:
        """Whether Cloud Tasks calls the workers."""
        return self.queue_type == CLOUD_TASKS


BACKENDS: Mapping[str, Backend] = {
    # Workers of the embedded queue share a machine: its clock can have stepped back while they ran, so a worker can be
    # slow but never fast.
    "local": Backend("local", False, (0.0, 0.0, -90.0)),
    "redis": Backend("redis", True, (0.0, 300.0, -300.0)),
    # No slow clocks: such a worker would reject every token as not valid yet, and do nothing.
    "cloud_tasks": Backend(CLOUD_TASKS, True, (0.0, 300.0, 1500.0)),
    "cloud_tasks_on_a_file": Backend(CLOUD_TASKS, False, (0.0,)),
}
DEFAULT_BACKENDS = ("local", "redis", "cloud_tasks")


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a run."""

    jobs: int
    #: Seconds of faults.
    seconds: float
    #: Whether the videos go to a bucket.
    bucket: bool = False

    def limits(self, services: Collection[str]) -> Limits:
        """Return quotas of the services that are often full, yet let all jobs pass in about the time of the faults.

        The windows of a day are never full. Their purpose is that the ledger keeps all admissions, which the judge
        needs: it keeps them for the longest window.
        """
        # The jobs are divided about equally among the services, and a few are submitted twice.
        pace = max(2.0, self.jobs / len(services) / self.seconds * 1.5)
        windows = f"{round(pace * 1.5)}/s {round(pace * 5)}/5s 100000/d"
        each = "; ".join(f"{name}={windows}" for name in services)
        return parse_limits(f"{each}; global={round(pace * 2.5)}/s {round(pace * 12)}/5s 100000/d")


class Stopped(Exception):
    """The run was interrupted."""


class Cluster:
    """See the module. Use as a context manager. `counts` has the number of faults and restarts, by kind.

    `timings` is a name of `TIMINGS`; except in production, leases are short. With `proxied`, all reach the Redis
    server through `proxy`, which can answer in its place. The server is `redis_program`, by default the newest one.
    With `bucket`, the videos go to an S3 server.
    """

    def __init__(
        self,
        backend: str,
        folder: Path,
        vendors: Vendors,
        limits: Limits,
        random: Random,
        stop: Event,
        *,
        timings: str = "fast",
        proxied: bool = False,
        redis_program: str | None = None,
        appendfsync: str | None = None,
        bucket: bool = False,
    ) -> None:
        self.backend = BACKENDS[backend]
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.limits = limits
        self.proxy: RedisProxy | None = None
        self.workers: list[Child] = []
        self.redis: RedisServer | None = None
        self.cloud: CloudTasksServer | None = None
        self.bucket: BucketServer | None = None
        self._random = random
        self._stop = stop
        self._timings = timings
        self._proxied = proxied
        self._in_bucket = bucket
        self._redis_program = redis_program or newer_binary()
        self._appendfsync = appendfsync
        self._stack = ExitStack()
        self._port = free_port()
        self.environment = without_engine_variables() | vendors.environment | {
            "TENXSOM_HOME": str(folder / "home"), "TENXSOM_QUEUE_TYPE": self.backend.queue_type,
            "CLOUD_TASKS_MAX_DISPATCHES": "200", "CLOUD_TASKS_MAX_CONCURRENT": "24", "CLOUDSDK_CONFIG": str(folder),
        }  # fmt: skip
        if limits:
            text = "; ".join(f"{name}={','.join(map(str, windows))}" for name, windows in limits.items())
            self.environment["TENXSOM_LIMITS"] = text
        if timings != "production":
            self.environment["TENXSOM_LEASE_SECONDS"] = str(LEASE)

    def __enter__(self) -> Cluster:
        with self._stack:
            if self._in_bucket:
                self.bucket = S3Server()
                self._stack.callback(self.bucket.close)
                self.environment |= self.bucket.environment(self.folder)
            if self.backend.on_redis:
                # With Redis's default, everysec, the store waits for the file after a write; with the advised value,
                # always, the server ends when a write fails.
                appendfsync = self._appendfsync or self._random.choice(("everysec", "always"))
                folder, program = self._new_folder("redis"), self._redis_program
                self.redis = RedisServer(folder, "--appendfsync", appendfsync, program=program)
                self._stack.callback(self._end_redis)
                url = self.redis.url
                if self._proxied:
                    self.proxy = RedisProxy(self.redis.port)
                    self._stack.callback(self.proxy.close)
                    url = self.proxy.url
                self.environment |= {"REDIS_URL": url, "REDIS_QUEUE_KEY": secrets.token_hex(6)}
            if self.backend.pushed:
                self.cloud = self._stack.enter_context(CloudTasksServer())
                self.environment |= {
                    "GOOGLE_CLOUD_PROJECT": "project", "CLOUD_TASKS_EMULATOR_HOST": self.cloud.target,
                    "TENXSOM_TOKEN_CERTS_URL": self.cloud.certs_url, "CLOUD_TASKS_SERVICE_ACCOUNT": ACCOUNT,
                    "CLOUD_TASKS_WORKER_URL": f"http://127.0.0.1:{self._port}",
                }  # fmt: skip
            self._stack.callback(self._end_workers)
            self.engine: Engine = self._stack.enter_context(
                open_engine(load(self.environment), overrides=TIMINGS[self._timings])
            )
            if self.backend.pushed:
                self.engine.queue.create()  # type: ignore[attr-defined]
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def purge(self) -> int:
        """Purge the Cloud Tasks queue without the engine; return the number of deleted tasks."""
        assert self.cloud is not None
        client = self.cloud.client()
        queue = client.queue_path("project", "us-central1", "tenxsom-video-generation")
        waiting = len(list(client.list_tasks(parent=queue)))
        client.purge_queue(name=queue)
        return waiting

    def restart_ended(self) -> None:
        """Restart ended servers, then ended workers, as a supervisor does. Raises `Stopped`."""
        if self._stop.is_set():
            raise Stopped
        if self.redis is not None and self.redis.process.poll() is not None:
            self.redis.start()
        running = [worker for worker in self.workers if worker.alive]
        self.workers = [*running, *(self._start_worker() for _ in range(PROCESSES - len(running)))]

    @property
    def log(self) -> Path:
        """The log of all workers."""
        return self.folder / "workers.log"

    @property
    def store_writers(self) -> Sequence[int]:
        """The ids of the processes that write the store's files."""
        if self.redis is not None:
            return [self.redis.process.pid]
        return [worker.pid for worker in self.workers if worker.alive]

    def _start_worker(self) -> Child:
        self.counts["workers started"] += 1
        clock_offset = self._random.choice(self.backend.clock_offsets)
        if self.backend.pushed:
            # All workers listen on one port, as machines behind a load balancer.
            arguments = ["-b", f"127.0.0.1:{self._port}", "--reuse-port", "-w", "1"]
        else:
            arguments = ["--concurrency", str(STEPS)]
        program = workers.push if self.backend.pushed else workers.pull
        return fork_server.start(program, self.environment, clock_offset, self._timings, arguments, log=self.log)

    def _new_folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder

    def _end_workers(self) -> None:
        for worker in self.workers:
            worker.kill()

    def _end_redis(self) -> None:
        assert self.redis is not None
        self.redis.kill()
