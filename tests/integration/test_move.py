"""Moving waiting jobs between queue backends with a shared store, on a real Redis and a Cloud Tasks emulator."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenxsom_flow_engine.composition import Overrides, open_engine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput, QueueUnavailable
from tenxsom_flow_engine.jobs import JobRecord, Status
from tenxsom_flow_engine.jobs.codec import encode
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.jobs.outcomes import Wait
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.operations.move import move_jobs
from tenxsom_flow_engine.queues.base import PullsJobs, PushesJobs
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter
from tenxsom_flow_engine.testing.samples import ALPHA, ROOMY, TICKET, new
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.workers.push import PushWorker
from tests.redis_server import RedisServer

OpenQueue = Callable[[str], Engine]
#: The caller does not retry the creation of a task.
NO_REPEATS = Overrides(timings=Timings(task_create_retry=0))


@pytest.fixture
def server() -> Iterator[CloudTasksServer]:
    with CloudTasksServer() as server:
        yield server


@pytest.fixture(params=["redis", "local"])
def pulled(request: pytest.FixtureRequest) -> str:
    """Return the queue backend that shares its store with Cloud Tasks."""
    name: str = request.param
    return name


@pytest.fixture
def open_queue(tmp_path: Path, redis_server: RedisServer, server: CloudTasksServer, pulled: str) -> Iterator[OpenQueue]:
    # REDIS_PORT alone does not select Redis as the store of Cloud Tasks; REDIS_URL does.
    where = "REDIS_URL" if pulled == "redis" else "REDIS_PORT"
    shared = {where: redis_server.url if pulled == "redis" else str(redis_server.port)}
    settings = load({
        "TENXSOM_HOME": str(tmp_path), "CLOUD_TASKS_EMULATOR_HOST": server.target, "GOOGLE_CLOUD_PROJECT": "p-1",
        "CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:9", "CLOUD_TASKS_MAX_DISPATCHES": "500",
        "REDIS_QUEUE_KEY": secrets.token_hex(6), **shared,
    })  # fmt: skip
    opened: list[Engine] = []

    def open_one(queue_type: str) -> Engine:
        opened.append(open_engine(settings, queue_type, overrides=NO_REPEATS))
        return opened[-1]

    cloud = open_one("cloud_tasks")
    assert isinstance(cloud.queue, PushesJobs)
    cloud.queue.create()
    cloud.queue.pause()  # so that tasks stay and can be read
    yield open_one
    for engine in opened:
        engine.close()


def tasks(server: CloudTasksServer) -> list[str]:
    """Return the job ids of all tasks."""
    client = server.client()
    queue = client.queue_path("p-1", "us-central1", "tenxsom-video-generation")
    return sorted(task.name.rpartition("/")[2].split("-")[1] for task in client.list_tasks(parent=queue))


def various(engine: Engine) -> dict[str, JobRecord]:
    """Add a waiting job, a scheduled one, a paid one, and a leased one."""
    queue, store = engine.queue, engine.store
    assert isinstance(queue, PullsJobs)
    queue.enqueue(new("paid"))
    (record,) = queue.claim("w", 1, ROOMY).records
    store.intend("paid", record.lease_token, Intent(submission_id="s", service=ALPHA, lifetime=9e4, max_in_flight=9))
    store.accept("paid", Receipt(submission_id="s", ticket=TICKET, lifetime=9e4))
    queue.settle(record, Wait(store.now() + 900, "rendering"))
    queue.enqueue(new("leased"))
    assert [record.job_id for record in queue.claim("w", 1, ROOMY).records] == ["leased"]
    queue.enqueue([*new("waits"), *new("later", due=store.now() + 86400)])
    return {record.job_id: record for record in store.page(JobFilter(), limit=9).records}


def test_there_and_back(open_queue: OpenQueue, server: CloudTasksServer, pulled: str) -> None:
    """Waiting jobs move with due time, ticket and status; leased jobs stay; and all move back."""
    source = open_queue(pulled)
    before = various(source)
    cloud = open_queue("cloud_tasks")
    progress: list[int] = []
    moved = move_jobs(cloud, pulled, progress=progress.append)
    assert (moved.jobs, sum(progress)) == (3, 3)
    assert [job_id for job_id, _ in moved.left] == ["leased"]
    assert tasks(server) == ["later", "paid", "waits"]
    assert source.store.status_counts(pulled).unfinished == 1
    assert isinstance(source.queue, PullsJobs)
    assert source.queue.claim("w", 9, ROOMY).records == ()
    for name in ("paid", "waits", "later"):
        record = cloud.store.require(name)
        assert (record.queue, record.undispatched) == ("cloud_tasks", False)
        assert (record.due, record.submission) == (before[name].due, before[name].submission)
        assert record.status is before[name].status
    pushed = cloud.store.require("waits")
    assert move_jobs(source, "cloud_tasks").jobs == 3
    assert [record.job_id for record in source.queue.claim("w", 9, ROOMY).records] == ["waits"]
    # The tasks still exist but have no effect.
    worker = PushWorker(cloud)
    assert not worker.deliver(encode(Delivery.of(pushed))).worked
    worker.close()
    assert move_jobs(source, "cloud_tasks").jobs == 0


def test_an_interrupted_move(open_queue: OpenQueue, server: CloudTasksServer, pulled: str) -> None:
    """An interrupted move is completed by the same command, wherever it stopped; no job is in two queues."""
    source, cloud = open_queue(pulled), open_queue("cloud_tasks")
    names = [f"j{number}" for number in range(12)]
    source.queue.enqueue(new(*names))
    server.faults.refuse("CreateTask", times=2)
    with pytest.raises(QueueUnavailable):
        move_jobs(cloud, pulled, chunk=5)
    counts = [source.store.status_counts(name).unfinished for name in (pulled, "cloud_tasks")]
    assert sum(counts) == 12
    assert counts[0] > 0
    move_jobs(cloud, pulled, chunk=5)
    assert tasks(server) == sorted(names)
    assert not any(cloud.store.require(name).undispatched for name in names)


def test_an_outage(open_queue: OpenQueue, pulled: str, server: CloudTasksServer) -> None:
    """Jobs leave Cloud Tasks without a call to Google, so also during an outage."""
    cloud = open_queue("cloud_tasks")
    cloud.queue.enqueue(new("a", "b"))
    for method in ("GetQueue", "GetTask", "CreateTask", "PauseQueue"):
        server.faults.refuse(method, times=9)
    target = open_queue(pulled)
    assert move_jobs(target, "cloud_tasks").jobs == 2
    assert {target.store.require(name).status for name in ("a", "b")} == {Status.QUEUED}


def test_jobs_that_cloud_tasks_cannot_schedule_stay(open_queue: OpenQueue, pulled: str) -> None:
    """A job that is due in more than 30 days is not moved, with the reason."""
    source = open_queue(pulled)
    source.queue.enqueue([*new("far", due=time.time() + 31 * 86400), *new("near", due=time.time() + 29 * 86400)])
    moved = move_jobs(open_queue("cloud_tasks"), pulled)
    assert (moved.jobs, moved.left[0][0]) == (1, "far")
    assert "30 days" in moved.left[0][1]


def test_queues_of_two_stores(open_queue: OpenQueue, pulled: str) -> None:
    """Between queues without a shared store nothing moves, and the error names both stores."""
    other = "local" if pulled == "redis" else "redis"
    with pytest.raises(ConfigurationError) as refusal:
        move_jobs(open_queue("cloud_tasks"), other)
    assert "redis://" in refusal.value.message
    assert "sqlite://" in refusal.value.message
    for source in ("cloud_tasks", "kafka"):
        with pytest.raises(InvalidInput):
            move_jobs(open_queue("cloud_tasks"), source)
