"""The pull queue that takes jobs while Cloud Tasks is away, with an emulator that is killed and restarted."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from google.cloud import tasks_v2

from tenxsom_flow_engine.composition import Overrides, open_engine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ConfigurationError, FlowError, QueueUnavailable
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.jobs.codec import encode
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import WorkerInfo
from tenxsom_flow_engine.testing.samples import ROOMY, new
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.workers.fallback import take_back_jobs
from tenxsom_flow_engine.workers.pull import PullWorker
from tenxsom_flow_engine.workers.push import PushWorker
from tests.http_target import HttpTarget, Received, Reply
from tests.ports import free_port
from tests.redis_server import RedisServer

LOCATION = "projects/p-1/locations/us-central1"
QUEUE = f"{LOCATION}/queues/tenxsom-video-generation"
#: One attempt to create a task, and a lock that another call can take at once.
QUICK = Overrides(timings=Timings(task_create_retry=0, lost_delivery_interval=0.001, overdue=0.0))


class Cloud:
    """An emulator on a fixed port that can be killed and started again, without its tasks."""

    def __init__(self) -> None:
        self.port = free_port()
        self.server: CloudTasksServer | None = None

    def start(self, *, paused: bool = True) -> None:
        """Start it with the queue; a paused one keeps its tasks."""
        self.server = CloudTasksServer(port=self.port).__enter__()
        client = self.server.client()
        client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=QUEUE))
        if paused:
            client.pause_queue(name=QUEUE)

    def kill(self) -> None:
        if self.server is not None:
            self.server.__exit__(None, None, None)
        self.server = None


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud()
    cloud.start()
    yield cloud
    cloud.kill()


@pytest.fixture(params=["redis", "local"])
def fallback(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def environment(tmp_path: Path, redis_server: RedisServer, cloud: Cloud, fallback: str) -> dict[str, str]:
    return {
        "TENXSOM_HOME": str(tmp_path), "CLOUD_TASKS_EMULATOR_HOST": f"127.0.0.1:{cloud.port}",
        "GOOGLE_CLOUD_PROJECT": "p-1", "CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:9", "CLOUDSDK_CONFIG": str(tmp_path),
        "CLOUD_TASKS_MAX_DISPATCHES": "500", "CLOUD_TASKS_MAX_CONCURRENT": "64", "TENXSOM_FALLBACK": fallback,
        "TENXSOM_SIMULATED": "latency=0.05 slots=200 create_latency=0.005", "REDIS_QUEUE_KEY": secrets.token_hex(6),
        **({"REDIS_URL": redis_server.url} if fallback == "redis" else {"REDIS_PORT": "1"}),
    }  # fmt: skip


@pytest.fixture
def open_queue(environment: dict[str, str]) -> Iterator[Callable[..., Engine]]:
    opened: list[Engine] = []

    def open_one(queue_type: str = "cloud_tasks", **changes: str) -> Engine:
        opened.append(open_engine(load(environment | changes), queue_type, overrides=QUICK))
        return opened[-1]

    yield open_one
    for engine in opened:
        engine.close()


def queues_of(engine: Engine, *names: str) -> set[str]:
    return {engine.store.require(name).queue for name in names}


def codes(engine: Engine) -> dict[str, str]:
    return {one.code: one.level for one in take_report(engine).verdicts}


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition: a channel that lost its server waits before it connects again."""
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_there_and_back(cloud: Cloud, open_queue: Callable[..., Engine], fallback: str) -> None:
    """Jobs that are added during an outage can be claimed at once; afterwards the waiting ones return."""
    engine = open_queue()
    engine.add(new("before"))
    cloud.kill()
    engine.add(new("a", "b", "c"))
    assert queues_of(engine, "before") == {"cloud_tasks"}
    assert queues_of(engine, "a", "b", "c") == {fallback}
    assert codes(engine)["fallback-in-use"] == "problem"
    engine.store.heartbeat(WorkerInfo("w", fallback, "host", 1, 1, engine.store.now(), engine.store.now(), 0))
    assert codes(engine)["fallback-in-use"] == "notice"
    assert take_back_jobs(engine, "w1") == 0
    puller = open_queue(fallback)
    assert isinstance(puller.queue, PullsJobs)
    (claimed,) = puller.queue.claim("w", 1, ROOMY).records
    cloud.start()
    # A worker of either queue takes them back; the one that is leased stays.
    waiting = {"a", "b", "c"} - {claimed.job_id}
    until(lambda: take_back_jobs(puller, "w2"))
    assert queues_of(engine, *waiting) == {"cloud_tasks"}
    assert queues_of(engine, claimed.job_id) == {fallback}
    assert not any(engine.store.require(name).undispatched for name in waiting)
    puller.queue.release_lease(claimed)
    until(lambda: take_back_jobs(engine, "w3"))
    assert "fallback-in-use" not in codes(engine)
    assert puller.queue.claim("w", 9, ROOMY).records == ()


def test_without_it_nothing_changes(cloud: Cloud, open_queue: Callable[..., Engine]) -> None:
    """Adding fails during an outage, and the same call completes it later."""
    engine = open_queue(TENXSOM_FALLBACK="")
    cloud.kill()
    with pytest.raises(QueueUnavailable):
        engine.add(new("a"))
    assert queues_of(engine, "a") == {"cloud_tasks"}
    assert take_back_jobs(engine, "w") == 0
    cloud.start()

    def added() -> bool:
        with suppress(QueueUnavailable):
            engine.add(new("a"))
        return not engine.store.require("a").undispatched

    until(added)


def test_a_task_that_was_created_after_all(cloud: Cloud, open_queue: Callable[..., Engine], fallback: str) -> None:
    """Guarantee 7: the delivery of a job that fell back although its task exists changes nothing, then and later."""
    engine = open_queue()
    assert cloud.server is not None
    cloud.server.faults.lose_answer("CreateTask")
    engine.add(new("a"))
    record = engine.store.require("a")
    assert record.queue == fallback
    # The task has the delivery before the move.
    late = encode(Delivery.of(record)).replace(b'"seq":2', b'"seq":1')
    worker = PushWorker(engine)
    assert not worker.deliver(late).worked
    assert take_back_jobs(engine, "w") == 1
    assert not worker.deliver(late).worked
    assert worker.deliver(encode(Delivery.of(engine.store.require("a")))).worked
    worker.close()


def test_two_stores(open_queue: Callable[..., Engine], fallback: str, redis_server: RedisServer) -> None:
    """A fallback whose jobs would be in another store is refused, with the variables to change."""
    other = "local" if fallback == "redis" else "redis"
    with pytest.raises(ConfigurationError, match="one store"):
        open_queue(TENXSOM_FALLBACK=other)
    with pytest.raises(ConfigurationError, match="redis or local"):
        open_queue(TENXSOM_FALLBACK="cloud_tasks")


def test_an_outage_loses_and_repeats_nothing(
    cloud: Cloud, environment: dict[str, str], tmp_path: Path, fallback: str
) -> None:
    """Guarantees 1, 2 and 7: with both kinds of workers, and outages in between, each job is made once."""
    workers: list[PushWorker] = []

    def answer(request: Received) -> Reply:
        try:
            workers[0].deliver(request.body)
        except FlowError:
            return Reply(500)
        return Reply()

    target = HttpTarget(answer)
    settings = load(environment | {"CLOUD_TASKS_WORKER_URL": target.address})
    names = [f"job-{number}" for number in range(24)]
    ended = threading.Event()
    cloud.kill()
    cloud.start(paused=False)
    with (
        closing(target),
        open_engine(settings, "cloud_tasks", overrides=QUICK) as engine,
        open_engine(settings, fallback, overrides=QUICK) as puller,
    ):
        workers.append(PushWorker(engine))
        pull = PullWorker(puller, concurrency=2)
        thread = threading.Thread(target=pull.run)
        thread.start()

        def chores() -> None:
            while not ended.wait(0.1):
                with suppress(FlowError):
                    take_back_jobs(engine, "chores")
                    engine.queue.recover_lost("chores")

        chore = threading.Thread(target=chores)
        chore.start()
        try:
            for number in range(0, len(names), 4):
                engine.add(new(*names[number : number + 4], service="simulated"))
                if number % 8 == 0:
                    cloud.kill()
                else:
                    cloud.start(paused=False)
            until(lambda: engine.store.status_counts().by_status[Status.SUCCEEDED] == len(names))
        finally:
            ended.set()
            chore.join()
            pull.stop()
            thread.join()
            workers[0].close()
    sold = [line.rsplit("/", 1)[1].split(".")[0] for line in (tmp_path / "simulated-ledger").read_text().splitlines()]
    assert Counter(sold) == dict.fromkeys(names, 1)
