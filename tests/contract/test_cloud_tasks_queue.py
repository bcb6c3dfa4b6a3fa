"""The Cloud Tasks queue passes the queue suite, on a real server of its API that delivers over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.errors import LeasedElsewhere
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.jobs.codec import decode_delivery
from tenxsom_flow_engine.queues.base import JobQueue
from tenxsom_flow_engine.queues.cloud_tasks.queue import CloudTasksQueue
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import DispatchLimits
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import WIDE
from tests.contract.queue_suite import QueueBackendSuite, RunningSystem
from tests.http_target import HttpTarget, Received, Reply

#: Real seconds after which a missing event counts as stuck.
STUCK = 30.0
CLOSED, RUNNING, HOLDING = "closed", "running", "holding"


class PushSystem(RunningSystem):
    """The server, and a worker that it delivers to; a gate holds deliveries until the test opens it."""

    def __init__(self, store: JobStore, clock: ManualClock, server: CloudTasksServer) -> None:
        super().__init__(clock)
        self.wide = DispatchLimits(500.0, 5000)
        self.store = store
        self.server = server
        self.target = HttpTarget(self._handle)
        self._worker: CloudTasksQueue | None = None
        self._changed = threading.Condition()
        self._gate = CLOSED
        self._leased: dict[str, JobRecord] = {}
        self._begun: list[str] = []
        self._to_finish: set[str] = set()
        self._ended = 0
        self._failures: list[Exception] = []
        #: A worker runs at most as many steps as it has threads.
        self._threads = threading.Semaphore(32)
        self._beta = server.beta_client()

    def queue(self, limits: DispatchLimits = WIDE) -> JobQueue:
        settings = load({
            "CLOUD_TASKS_EMULATOR_HOST": self.server.target, "GOOGLE_CLOUD_PROJECT": "p-1",
            "CLOUD_TASKS_WORKER_URL": self.target.address, "CLOUD_TASKS_SERVICE_ACCOUNT": "caller@p-1.test",
        })  # fmt: skip
        queue = CloudTasksQueue(self.store, settings.cloud_tasks, limits, lease=30.0)
        queue.create() if self._worker is None else queue.update()
        self._worker = queue
        return queue

    def record(self, job_id: str) -> JobRecord:
        return self.store.require(job_id)

    def deliver(self) -> None:
        self._open(RUNNING)
        self.server.wait_idle()
        self._open(CLOSED)
        self._raise()

    def begin(self) -> list[str]:
        self._open(HOLDING)
        with self._changed:
            while not self._settled():
                self._changed.wait(0.005)
            begun, self._begun = self._begun, []
        self._open(CLOSED)
        self._raise()
        return begun

    def finish(self, job_id: str) -> None:
        with self._changed:
            ended = self._ended
            self._to_finish.add(job_id)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._ended > ended, STUCK)
        self._raise()

    def close(self) -> None:
        """Close everything."""
        self._open(RUNNING)
        if self._worker is not None:
            self._worker.close()
        self.target.close()

    def _settled(self) -> bool:
        """Return whether all deliveries of this instant are under way."""
        before, at, after = self._under_way(), self.server.next_at(), self._under_way()
        return before == after == len(self._leased) and (at is None or at > self.clock.now())

    def _under_way(self) -> int:
        name = "projects/p-1/locations/us-central1/queues/tenxsom-video-generation"
        stats = self._beta.get_queue(request={"name": name, "read_mask": "stats"}).stats
        return int(stats.concurrent_dispatches_count)

    def _open(self, state: str) -> None:
        with self._changed:
            self._gate = state
            self._changed.notify_all()

    def _raise(self) -> None:
        if self._failures:
            raise self._failures[0]

    def _handle(self, request: Received) -> Reply:
        try:
            with self._changed:
                assert self._changed.wait_for(lambda: self._gate != CLOSED, STUCK)
            return self._take(request.body)
        except Exception as error:
            self._failures.append(error)
            return Reply(500)

    def _take(self, body: bytes) -> Reply:
        assert self._worker is not None
        try:
            with self._threads:
                record = self._worker.receive(decode_delivery(body), "w-1")
        except LeasedElsewhere:
            return Reply(409)
        if record is None:
            return Reply()
        with self._changed:
            self.steps.append((self.clock.now(), record.job_id))
            if self._gate == HOLDING:
                self._leased[record.job_id] = record
                self._begun.append(record.job_id)
                self._changed.notify_all()
                assert self._changed.wait_for(lambda: record.job_id in self._to_finish, STUCK)
        with self._threads:
            self._end(self._worker, record)
        return Reply()

    def _end(self, worker: CloudTasksQueue, record: JobRecord) -> None:
        job_id = record.job_id
        self.submit(self.store, record)
        worker.settle(record, self.play(record))
        with self._changed:
            self._leased.pop(job_id, None)
            self._to_finish.discard(job_id)
            self._ended += 1
            self._changed.notify_all()


@pytest.fixture
def system(tmp_path: Path) -> Iterator[PushSystem]:
    clock = ManualClock()
    with ExitStack() as open_runtime:
        store = open_runtime.enter_context(closing(SQLiteStore(tmp_path / "jobs.sqlite3", clock)))
        server = open_runtime.enter_context(CloudTasksServer(clock))
        yield open_runtime.enter_context(closing(PushSystem(store, clock, server)))


class TestCloudTasksQueue(QueueBackendSuite):
    """The queue suite."""
