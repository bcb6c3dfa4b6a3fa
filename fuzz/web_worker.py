"""The web worker in this process, with a queue that sends no tasks and a service that sells at once."""

from __future__ import annotations

import logging
import shutil
import socket
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from chaos.fast_timings import FAST
from fuzz.sample_store import SERVICE, environment
from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.emulator.tokens import TokenIssuer
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.queues.cloud_tasks.api import Api, NewTask, QueueFacts
from tenxsom_flow_engine.queues.cloud_tasks.certificates import Fetched
from tenxsom_flow_engine.queues.cloud_tasks.queue import CloudTasksQueue
from tenxsom_flow_engine.services.simulated.config import SimulationPlan
from tenxsom_flow_engine.services.simulated.service import SimulatedService
from tenxsom_flow_engine.settings import Settings, load
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import DispatchLimits
from tenxsom_flow_engine.web.app import worker_app
from tenxsom_flow_engine.web.auth import TokensOf
from tenxsom_flow_engine.web.certificates import Certificates
from tenxsom_flow_engine.web.http_server import Limits, Server
from tenxsom_flow_engine.web.runtime import OpenRuntime, WorkerRuntime
from tenxsom_flow_engine.workers.push import PushWorker

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

ACCOUNT, AUDIENCE = "caller@project.iam.gserviceaccount.com", "https://worker.example.test"
ADMIN = "the-admin-token-of-the-fuzz-run"
KEY = "the-secret-key-of-a-service"


class NoTasks(Api):
    """Calls to Cloud Tasks that create no tasks."""

    def create_tasks(self, tasks: Sequence[NewTask]) -> Iterator[str]:
        """Claim that the tasks were created."""
        return (task.id for task in tasks)

    def existing_tasks(self, ids: Sequence[str]) -> Collection[str]:
        """Claim that all tasks exist."""
        return ids

    def facts(self) -> QueueFacts:
        """Return the state of a queue that runs."""
        return QueueFacts(paused=False, limits=DispatchLimits(500.0, 64))

    def task_count(self) -> int | None:
        """Return that the queue is empty."""
        return 0

    def pause(self) -> None:
        """Do nothing."""

    def resume(self) -> None:
        """Do nothing."""

    def purge(self) -> None:
        """Do nothing."""


class Log(logging.Handler):
    """The lines that were logged, and those that report a defect."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, with its traceback."""
        self.lines.append(self.format(record))

    def take(self) -> str:
        """Return the lines since the last call."""
        lines, self.lines = self.lines, []
        return "\n".join(lines)


class WebWorker:
    """The application of a worker; a context that serves it on a loopback port if `serve` is true."""

    def __init__(self, *, serve: bool) -> None:
        self._serves = serve
        self._changed, self._running = threading.Condition(), 0
        self.issuer = TokenIssuer()

    def __enter__(self) -> Self:
        self._root = Path(tempfile.mkdtemp(prefix="fuzz-web-"))
        more = {"GOOGLE_CLOUD_PROJECT": "p-1", "CLOUD_TASKS_QUEUE": "videos", "CLOUD_TASKS_WORKER_URL": AUDIENCE,
                "CLOUD_TASKS_SERVICE_ACCOUNT": ACCOUNT, "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:1",
                "TENXSOM_LEASE_SECONDS": "30", "USEAPI_TOKEN": KEY}  # fmt: skip
        settings = load(environment(self._root, **more))
        self.engine = _open(settings)
        self._worker = PushWorker(self.engine)
        runtime = WorkerRuntime(lambda: OpenRuntime(self.engine, self._worker))
        certificates = Certificates(lambda: Fetched(self.issuer.certificates(), 86400.0))
        access = TokensOf(ACCOUNT, AUDIENCE, certificates)
        self.app = worker_app(runtime, access, concurrency=4, admin=ADMIN)
        self.token = self.issuer.issue(ACCOUNT, AUDIENCE)
        self.log = Log()
        self._level = logging.getLogger().level
        logging.getLogger().addHandler(self.log)
        logging.getLogger().setLevel(logging.INFO)
        if self._serves:
            self._start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._serves:
            self._ended.set()
            self._server.wake()
            self._thread.join()
        logging.getLogger().removeHandler(self.log)
        logging.getLogger().setLevel(self._level)
        self._worker.close()
        self.engine.close()
        shutil.rmtree(self._root)

    @property
    def jobs(self) -> int:
        """The number of jobs in the store."""
        return sum(self.engine.store.status_counts().by_status.values())

    def settle(self) -> None:
        """Wait until no request is running, such as that of a client that has left."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._running, 60.0), "a request does not end"

    def _counted(self, request: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer like the application, and count the running requests."""
        with self._changed:
            self._running += 1
        try:
            return self.app(request, start_response)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _start(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = listener.getsockname()
        self._server = Server(self._counted, [listener], Limits(threads=6))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fuzz-server")
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._server.turn()
        self._server.stop()
        while self._server.connections:
            self._server.turn(0.01)
        self._server.close()


def _open(settings: Settings) -> Engine:
    clock = SystemClock()
    service = SimulatedService(SimulationPlan(latency=0), settings.home / "simulated-ledger", clock)
    store = SQLiteStore(settings.home / "jobs.sqlite3", clock)
    limits = DispatchLimits(settings.max_dispatches_per_second, settings.max_concurrent_dispatches)
    queue = CloudTasksQueue(store, settings.cloud_tasks, limits, settings.lease, api=NoTasks(settings.cloud_tasks))
    return open_engine(settings, "cloud_tasks", services={SERVICE: service}, store=store, queue=queue, overrides=FAST)
