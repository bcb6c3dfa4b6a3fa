"""A whole system on Cloud Tasks in one process: a real server that delivers over HTTP, workers that may die, a clock.

A worker's death is as sudden as `kill -9`: from that act on it changes nothing any more.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError, LeasedElsewhere
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.queues.cloud_tasks.queue import CloudTasksQueue
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.web.deliveries import previous_attempt_got_no_response
from tenxsom_flow_engine.workers.push import Delivered, PushWorker
from tests.http_target import HttpTarget, Received, Reply


class Killed(BaseException):
    """The worker is dead."""


@dataclass
class Death:
    """When a worker dies: before or after its so-manieth act."""

    act: int
    after: bool
    acts: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    dead: bool = False

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Count a call as an act of the worker."""

        def act(*args: Any, **kwargs: Any) -> Any:
            number = next(self.acts)  # two steps may be in hand
            self._die(number == self.act and not self.after)
            result = call(*args, **kwargs)
            self._die(number == self.act and self.after)
            return result

        return act

    def _die(self, now: bool) -> None:
        self.dead = self.dead or now
        if self.dead:
            raise Killed


class Chain:
    """The system. `death` comes to the first worker; another one starts at once."""

    def __init__(
        self, home: Path, clock: ManualClock, server: CloudTasksServer, *services: VideoService,
        death: Death | None = None, queue: str = "videos",
    ) -> None:  # fmt: skip
        self.clock = clock
        self.server = server
        #: The first is what most tests are about.
        self.services = services
        self.service = services[0]
        self.target = HttpTarget(self._handle)
        self.settings = load({
            "TENXSOM_HOME": str(home), "CLOUD_TASKS_EMULATOR_HOST": server.target, "GOOGLE_CLOUD_PROJECT": "p-1",
            "CLOUD_TASKS_WORKER_URL": self.target.address, "CLOUD_TASKS_QUEUE": queue, "CLOUDSDK_CONFIG": str(home),
        })  # fmt: skip
        #: What became of each delivery: what the worker returned or raised.
        self.outcomes: list[Delivered | BaseException] = []
        #: Called before each delivery.
        self.before: Callable[[], object] = lambda: None
        self._open: list[Engine] = []
        self._workers: list[PushWorker] = []
        #: The process that adds jobs and steers the queue.
        self.producer = self.start()
        self.queue.create()
        self.worker = self.join(death)

    @property
    def queue(self) -> CloudTasksQueue:
        """The producer's queue."""
        assert isinstance(self.producer.queue, CloudTasksQueue)
        return self.producer.queue

    def start(self, home: Path | None = None) -> Engine:
        """Open an engine, as a new process does."""
        settings = replace(self.settings, home=home) if home else self.settings
        services = {service.name: service for service in self.services}
        engine = open_engine(settings, "cloud_tasks", clock=self.clock, services=services)
        self._open.append(engine)
        return engine

    def join(self, death: Death | None = None, *, home: Path | None = None) -> PushWorker:
        """Start a worker that gets the deliveries from now on."""
        engine = self.start(home)
        if death is not None:
            store, queue = engine.store, engine.queue
            assert isinstance(queue, CloudTasksQueue)
            for parts, name in ((store, "update"), (store, "adopt"), (store, "mark_dispatched"),
                                (queue._api, "create_task"),
                                *((service, "create") for service in self.services)):  # fmt: skip
                call = getattr(parts, name)
                setattr(parts, name, death.around(call))
        self.worker = PushWorker(engine)
        self._workers.append(self.worker)
        return self.worker

    def record(self, job_id: str = "job-1") -> JobRecord:
        """Return what is known about a job."""
        return self.worker._engine.store.require(job_id)

    def play(self, *, seconds: float = 86400.0) -> None:
        """Let time jump from event to event until nothing is left to do, or so much time has passed."""
        ends = self.clock.now() + seconds
        self.server.wait_idle()
        while (at := self.server.next_at()) is not None and at <= ends:
            self.clock.set(max(at, self.clock.now()))
            self.server.wait_idle()

    def close(self) -> None:
        """Let everything go."""
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
                for service in self.services:
                    service.__dict__.pop("create", None)
                self.join()
            return None
        except LeasedElsewhere as error:
            self.outcomes.append(error)
            return Reply(409)
        except FlowError as error:
            self.outcomes.append(error)
            return Reply(500)
        return Reply()
