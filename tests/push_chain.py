"""A system on Cloud Tasks in one process: a real server that delivers over HTTP, workers that can die, a clock.

A worker dies as suddenly as with `kill -9`: it changes nothing after that action.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.budgets.charges import BudgetCheck
from tenxsom_flow_engine.composition import Overrides, open_engine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError, LeasedElsewhere
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.queues.cloud_tasks.api import Api, NewTask
from tenxsom_flow_engine.queues.cloud_tasks.queue import CloudTasksQueue
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.settings import CloudTasksSettings, Settings, load
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import DispatchLimits, Slots
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.web.deliveries import previous_attempt_got_no_response
from tenxsom_flow_engine.workers.push import Delivered, PushWorker
from tests.http_target import HttpTarget, Received, Reply


class Killed(BaseException):
    """The worker is dead."""


@dataclass
class Death:
    """When a worker dies: before or after the action with this number."""

    act_number: int
    after: bool
    acts: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    dead: bool = False

    @contextmanager
    def act(self) -> Iterator[None]:
        """Make a function an action of the worker."""
        number = next(self.acts)  # two steps can run at once
        self._die(number == self.act_number and not self.after)
        yield
        self._die(number == self.act_number and self.after)

    def _die(self, now: bool) -> None:
        self.dead = self.dead or now
        if self.dead:
            raise Killed


class DyingStore(SQLiteStore):
    """A store whose writes about a job are actions of the worker."""

    def __init__(self, death: Death, path: Path, clock: ManualClock) -> None:
        super().__init__(path, clock)
        self._death = death

    def update(
        self,
        job_id: str,
        change: Callable[[JobRecord, float], JobRecord],
        *,
        slots: Slots | None = None,
        budgets: BudgetCheck | None = None,
        on_disk: bool = False,
    ) -> JobRecord:
        with self._death.act():
            return super().update(job_id, change, slots=slots, budgets=budgets, on_disk=on_disk)

    def adopt(self, record: JobRecord) -> bool:
        with self._death.act():
            return super().adopt(record)

    def mark_dispatched(self, deliveries: Mapping[str, int]) -> None:
        with self._death.act():
            super().mark_dispatched(deliveries)


class DyingApi(Api):
    """Calls to Cloud Tasks; creating tasks is an action of the worker."""

    def __init__(self, death: Death, settings: CloudTasksSettings) -> None:
        super().__init__(settings)
        self._death = death

    def create_tasks(self, tasks: Sequence[NewTask]) -> Iterator[str]:
        with self._death.act():
            created = list(super().create_tasks(tasks))
        yield from created


def dying_service(service: VideoService, death: Death) -> VideoService:
    """Return a handle on a service with shared state, whose create is an action of the worker."""

    def create(self: VideoService, *arguments: Any) -> Any:
        with death.act():
            return type(service).create(self, *arguments)

    kind: type[VideoService] = type(f"Dying{type(service).__name__}", (type(service),), {"create": create})
    handle = object.__new__(kind)
    handle.__dict__ = service.__dict__
    return handle


class Chain:
    """The system. `death` applies to the first worker; another one starts immediately."""

    def __init__(
        self, home: Path, clock: ManualClock, server: CloudTasksServer, *services: VideoService,
        death: Death | None = None, queue: str = "videos", timings: Timings = Timings(),
    ) -> None:  # fmt: skip
        self.clock = clock
        self.timings = timings
        self.server = server
        #: Most tests are about the first one.
        self.services = services
        self.service = services[0]
        self.target = HttpTarget(self._handle)
        self.settings = load({
            "TENXSOM_HOME": str(home), "CLOUD_TASKS_EMULATOR_HOST": server.target, "GOOGLE_CLOUD_PROJECT": "p-1",
            "CLOUD_TASKS_WORKER_URL": self.target.address, "CLOUD_TASKS_QUEUE": queue, "CLOUDSDK_CONFIG": str(home),
        })  # fmt: skip
        #: The result of each delivery: the worker's return value or error.
        self.outcomes: list[Delivered | BaseException] = []
        #: Called before each delivery.
        self.before: Callable[[], object] = lambda: None
        self._open: list[Engine] = []
        self._workers: list[PushWorker] = []
        #: The process that adds jobs and controls the queue.
        self.producer = self.start()
        self.queue.create()
        self.worker = self.join(death)

    @property
    def queue(self) -> CloudTasksQueue:
        """The producer's queue."""
        assert isinstance(self.producer.queue, CloudTasksQueue)
        return self.producer.queue

    def start(self, home: Path | None = None, death: Death | None = None) -> Engine:
        """Open an engine, as a new process does."""
        settings = replace(self.settings, home=home) if home else self.settings
        services = {service.name: service for service in self.services}
        store = queue = None
        if death is not None:
            store = DyingStore(death, settings.home / "jobs.sqlite3", self.clock)
            queue = self._dying_queue(settings, store, death)
            services = {name: dying_service(service, death) for name, service in services.items()}
        engine = open_engine(
            settings, "cloud_tasks", clock=self.clock, services=services, store=store, queue=queue,
            overrides=Overrides(timings=self.timings),
        )  # fmt: skip
        self._open.append(engine)
        return engine

    def _dying_queue(self, settings: Settings, store: DyingStore, death: Death) -> CloudTasksQueue:
        limits = DispatchLimits(settings.max_dispatches_per_second, settings.max_concurrent_dispatches)
        api = DyingApi(death, settings.cloud_tasks)
        return CloudTasksQueue(store, settings.cloud_tasks, limits, settings.lease, self.timings, api=api)

    def join(self, death: Death | None = None, *, home: Path | None = None) -> PushWorker:
        """Start a worker that gets the deliveries from now on."""
        self.worker = PushWorker(self.start(home, death))
        self._workers.append(self.worker)
        return self.worker

    def record(self, job_id: str = "job-1") -> JobRecord:
        """Return the record of a job."""
        return self.worker._engine.store.require(job_id)

    def play(self, *, seconds: float = 86400.0) -> None:
        """Advance the time from event to event until nothing is left to do, or until the given time has passed."""
        ends = self.clock.now() + seconds
        self.server.wait_idle()
        while (at := self.server.next_at()) is not None and at <= ends:
            self.clock.set(max(at, self.clock.now()))
            self.server.wait_idle()

    def close(self) -> None:
        """Close everything."""
        self.target.close()
        for worker in self._workers:
            worker.close()
        for engine in self._open:
            engine.close()

    def _handle(self, request: Received) -> Reply | None:
        self.before()
        worker = self.worker
        try:
            self.outcomes.append(
                worker.deliver(
                    request.body, previous_attempt_unanswered=previous_attempt_got_no_response(request.headers)
                )
            )
        except Killed as end:
            self.outcomes.append(end)
            if self.worker is worker:
                self.join()
            return None
        except LeasedElsewhere as error:
            self.outcomes.append(error)
            return Reply(409)
        except FlowError as error:
            self.outcomes.append(error)
            return Reply(500)
        return Reply()
