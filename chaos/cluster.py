"""One queue backend with its servers, its settings and its workers, all on this machine."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Event

from chaos import workers
from chaos.fast_timings import FAST, LEASE
from tenxsom_flow_engine.composition import CLOUD_TASKS, open_engine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.rate_limits.windows import Limits, parse_limits
from tenxsom_flow_engine.settings import load
from tests import fork_server
from tests.environment import outside
from tests.fake_vendors import Vendors
from tests.fork_server import Child
from tests.ports import free_port
from tests.redis_server import RedisServer, newer_binary

ACCOUNT = "caller@project.iam.gserviceaccount.com"
#: Worker processes, and the steps at once in each.
PROCESSES, STEPS = 3, 6


@dataclass(frozen=True, slots=True)
class Setting:
    """A queue backend, where its records are, and by how many seconds the clocks of its workers' machines may be off."""

    queue: str
    #: Whether a Redis server keeps the records; else a file does.
    served: bool
    clocks: tuple[float, ...]

    @property
    def pushed(self) -> bool:
        """Whether jobs are pushed to workers."""
        return self.queue == CLOUD_TASKS


SETTINGS: Mapping[str, Setting] = {
    # Its processes share one machine: the clock may have stepped back under some of them, but ahead of all others none
    # can be.
    "local": Setting("local", False, (0.0, 0.0, -90.0)),
    "redis": Setting("redis", True, (0.0, 300.0, -300.0)),
    # A machine that lags by more than seconds takes no token for valid yet, and does nothing.
    "cloud_tasks": Setting(CLOUD_TASKS, True, (0.0, 300.0, 1500.0)),
    "cloud_tasks_on_a_file": Setting(CLOUD_TASKS, False, (0.0,)),
}
#: Those that are tried where nobody names any.
USUAL = ("local", "redis", "cloud_tasks")


@dataclass(frozen=True, slots=True)
class Scale:
    """How large an ordeal is."""

    jobs: int
    #: Seconds of storm.
    seconds: float

    @property
    def limits(self) -> Limits:
        """Quotas that are used up again and again, yet let all jobs pass within the storm's time or so.

        The windows of a day are never full: they make a ledger keep every admission for the judge.
        """
        # A third of the jobs or so goes to each service; a few are ordered anew.
        pace = max(2.0, self.jobs / 3 / self.seconds * 1.5)
        windows = f"{round(pace * 1.5)}/s {round(pace * 5)}/5s 100000/d"
        each = "; ".join(f"{name}={windows}" for name in ("pixverse", "ltx_studio", "heygen"))
        return parse_limits(f"{each}; global={round(pace * 2.5)}/s {round(pace * 12)}/5s 100000/d")


class Stopped(Exception):
    """Whoever runs this has enough of it."""


class Site:
    """See the module. Use as a context manager; `counts` tells what was done to it."""

    def __init__(
        self,
        backend: str,
        folder: Path,
        vendors: Vendors,
        scale: Scale,
        draw: Random,
        stop: Event,
    ) -> None:
        self.setting = SETTINGS[backend]
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.limits = scale.limits
        self.workers: list[Child] = []
        self.redis: RedisServer | None = None
        self.cloud: CloudTasksServer | None = None
        self._draw = draw
        self._stop = stop
        self._parts = ExitStack()
        self._port = free_port()
        limits = "; ".join(f"{name}={','.join(map(str, windows))}" for name, windows in self.limits.items())
        self.environment = outside() | vendors.environment | {
            "TENXSOM_HOME": str(folder / "home"), "TENXSOM_LIMITS": limits, "TENXSOM_LEASE_SECONDS": str(LEASE),
            "TENXSOM_QUEUE_TYPE": self.setting.queue, "HEYGEN_PRICES": "agent=0.05 avatar_iv=0.05",
            "CLOUD_TASKS_MAX_DISPATCHES": "200", "CLOUD_TASKS_MAX_CONCURRENT": "24", "CLOUDSDK_CONFIG": str(folder),
        }  # fmt: skip

    def __enter__(self) -> Site:
        with self._parts:
            if self.setting.served:
                # As it comes: then it is asked to wait for its file. As is advised: then it ends where it cannot write.
                habit = self._draw.choice(("everysec", "always"))
                self.redis = RedisServer(self._new_folder("redis"), "--appendfsync", habit, program=newer_binary())
                self._parts.callback(self._end_redis)
                self.environment |= {"REDIS_URL": self.redis.url, "REDIS_QUEUE_KEY": secrets.token_hex(6)}
            if self.setting.pushed:
                self.cloud = self._parts.enter_context(CloudTasksServer())
                self.environment |= {
                    "GOOGLE_CLOUD_PROJECT": "project", "CLOUD_TASKS_EMULATOR_HOST": self.cloud.target,
                    "TENXSOM_TOKEN_CERTS_URL": self.cloud.certs_url, "CLOUD_TASKS_SERVICE_ACCOUNT": ACCOUNT,
                    "CLOUD_TASKS_WORKER_URL": f"http://127.0.0.1:{self._port}",
                }  # fmt: skip
            self._parts.callback(self._end_workers)
            self.engine: Engine = self._parts.enter_context(open_engine(load(self.environment), overrides=FAST))
            if self.setting.pushed:
                self.engine.queue.create()  # type: ignore[attr-defined]
            self._parts = self._parts.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._parts.close()

    def purge(self) -> int:
        """Purge the Cloud Tasks queue behind the engine's back; return how many tasks that took."""
        assert self.cloud is not None
        client = self.cloud.client()
        queue = client.queue_path("project", "us-central1", "tenxsom-video-generation")
        waiting = len(list(client.list_tasks(parent=queue)))
        client.purge_queue(name=queue)
        return waiting

    def revive(self) -> None:
        """Start what has ended, as a supervisor does: servers, then workers. Raises `Stopped`."""
        if self._stop.is_set():
            raise Stopped
        if self.redis is not None and self.redis.process.poll() is not None:
            self.redis.start()
        living = [worker for worker in self.workers if worker.alive]
        self.workers = [*living, *(self._start() for _ in range(PROCESSES - len(living)))]

    @property
    def storing(self) -> Sequence[int]:
        """The processes that write the store."""
        if self.redis is not None:
            return [self.redis.process.pid]
        return [worker.pid for worker in self.workers if worker.alive]

    def _start(self) -> Child:
        self.counts["workers started"] += 1
        clock_off = self._draw.choice(self.setting.clocks)
        if self.setting.pushed:
            # Machines behind one address.
            arguments = ["-b", f"127.0.0.1:{self._port}", "--reuse-port", "-w", "1"]
        else:
            arguments = ["--concurrency", str(STEPS)]
        program = workers.push if self.setting.pushed else workers.pull
        return fork_server.start(program, self.environment, clock_off, arguments, log=self.folder / "workers.log")

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
