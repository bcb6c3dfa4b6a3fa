"""The calls of the Cloud Tasks queue to Google, and its handling of the answers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import pytest
from google.cloud import tasks_v2

from cloud_tasks_queue import CloudTasksQueue
from queue_manager import QueueManager
from tenxsom_flow_engine.emulator.cloud import Cloud
from tenxsom_flow_engine.emulator.faults import Faults
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.emulator.service import V2, handlers
from tenxsom_flow_engine.errors import (
    Action,
    ConfigurationError,
    InvalidInput,
    QueueError,
    QueueForbidden,
    QueueMissing,
    QueueUnavailable,
)
from tenxsom_flow_engine.jobs import Status, VideoJob
from tenxsom_flow_engine.jobs.codec import decode_delivery
from tenxsom_flow_engine.jobs.delivery import Delivery, task_id
from tenxsom_flow_engine.queues.cloud_tasks.api import AT_ONCE, Api
from tenxsom_flow_engine.queues.cloud_tasks.calls import GET_QUEUE, Calls
from tenxsom_flow_engine.queues.cloud_tasks.connection import Connection, opener
from tenxsom_flow_engine.queues.cloud_tasks.messages import NameRequest
from tenxsom_flow_engine.settings import CloudTasksSettings, load
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import DispatchLimits, NewJob
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import a_job, new
from tenxsom_flow_engine.timings import Timings

DAY = 86400.0
LIMITS = DispatchLimits(10.0, 5)
QUEUE = "projects/p-1/locations/europe-west1/queues/videos"


class Setting:
    """A server, a store, and handles on the queue."""

    def __init__(self, tmp_path: Path) -> None:
        self._open = ExitStack()
        self.clock = ManualClock()
        self.server = self._open.enter_context(CloudTasksServer(self.clock))
        self.client = self.server.client()
        self.store = self._open.enter_context(closing(SQLiteStore(tmp_path / "jobs.sqlite3", self.clock)))
        self.variables = {
            "CLOUD_TASKS_EMULATOR_HOST": self.server.target, "GOOGLE_CLOUD_PROJECT": "p-1",
            "CLOUD_TASKS_LOCATION": "europe-west1", "CLOUD_TASKS_QUEUE": "videos", "CLOUDSDK_CONFIG": str(tmp_path),
            "CLOUD_TASKS_WORKER_URL": "http://127.0.0.1:9/base", "CLOUD_TASKS_SERVICE_ACCOUNT": "caller@p-1.test",
        }  # fmt: skip
        self.queue = self.open()

    def open(
        self,
        variables: Mapping[str, str] = MappingProxyType({}),
        *,
        timings: Timings = Timings(),
        make_api: Callable[[CloudTasksSettings], Api] | None = None,
        emulated: bool = True,
    ) -> CloudTasksQueue:
        """Return a queue as a process would open it; if it is not `emulated`, one that calls Google."""
        settings = load(self.variables | dict(variables)).cloud_tasks
        if not emulated:
            settings = replace(settings, emulator_host="")
        api = make_api(settings) if make_api else None
        queue = CloudTasksQueue(self.store, settings, LIMITS, timings=timings, api=api)
        return self._open.enter_context(closing(queue))

    def task(self, job_id: str) -> tasks_v2.Task:
        """Return the task of a job's next delivery."""
        name = f"{QUEUE}/tasks/{task_id(self.store.require(job_id))}"
        return self.client.get_task(request={"name": name, "response_view": "FULL"})

    def close(self) -> None:
        """Close everything."""
        self._open.close()


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    with closing(Setting(tmp_path)) as setting:
        yield setting


@pytest.fixture
def made(setting: Setting) -> Setting:
    """Return the setting with a paused queue, so that tasks can be read."""
    setting.queue.create()
    setting.queue.pause()
    return setting


def test_the_content_of_a_task(made: Setting) -> None:
    """A task posts the delivery to the worker, with the account, the audience and a deadline."""
    made.queue.enqueue(new("a", topic="Sea"))
    task = made.task("a")
    asked = task.http_request
    assert (asked.url, asked.http_method) == ("http://127.0.0.1:9/base/process", tasks_v2.HttpMethod.POST)
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.oidc_token.service_account_email == "caller@p-1.test"
    assert asked.oidc_token.audience == "http://127.0.0.1:9/base"
    assert task.dispatch_deadline.total_seconds() == 600
    assert decode_delivery(asked.body) == Delivery.of(made.store.require("a"))
    assert b"caller" not in asked.body


def test_the_audience_can_be_another(made: Setting) -> None:
    """A configured audience is used in the token; an emulator without an account gets no token."""
    made.open({"CLOUD_TASKS_AUDIENCE": "flow"}).enqueue(new("a"))
    assert made.task("a").http_request.oidc_token.audience == "flow"
    made.open({"CLOUD_TASKS_SERVICE_ACCOUNT": ""}).enqueue(new("b"))
    assert made.task("b").http_request.oidc_token.service_account_email == ""


def test_schedule(made: Setting) -> None:
    """A job is scheduled up to 30 days ahead, to the instant; beyond that it is refused before anything is added."""
    now = made.clock.now()
    made.queue.enqueue(new("last", due=now + 30 * DAY))
    assert made.task("last").schedule_time.timestamp() == now + 30 * DAY
    with pytest.raises(InvalidInput, match="30 days"):
        made.queue.enqueue([*new("a"), *new("far", due=now + 30 * DAY + 1)])
    assert made.store.get("a") is None


def test_size(made: Setting) -> None:
    """A job too large for a task is refused before it is added; the largest accepted job fits into a task."""
    large = {"alpha": {"note": "x" * 999_000}}
    made.queue.enqueue([NewJob(a_job("large", options=large))])
    assert len(made.task("large").http_request.body) > 999_000
    with pytest.raises(InvalidInput, match="too-large has"):
        made.queue.enqueue([NewJob(a_job("too-large", options={"alpha": {"note": "x" * 1_000_000}}))])
    assert made.store.get("too-large") is None


def test_creating_the_queue(setting: Setting) -> None:
    """A queue is created with the limits in force and endless retries: the engine decides when a job has failed."""
    setting.queue.set_limits(None, None)
    setting.queue.create()
    queue = setting.client.get_queue(name=QUEUE)
    assert queue.rate_limits.max_dispatches_per_second == 10
    assert queue.rate_limits.max_concurrent_dispatches == 5
    assert (queue.retry_config.max_attempts, queue.retry_config.max_backoff.total_seconds()) == (-1, 60)
    with pytest.raises(QueueError, match="already exists") as refusal:
        setting.queue.create()
    assert refusal.value.actions == (Action.UPDATE_QUEUE,)


def test_updating_the_queue(setting: Setting) -> None:
    """An update applies the limits in force, including run-time limits, and never creates a queue."""
    for act in (setting.queue.update, lambda: setting.queue.set_limits(3.0, None)):
        with pytest.raises(QueueMissing) as refusal:
            act()
        assert refusal.value.actions == (Action.CREATE_QUEUE,)
    assert setting.queue.status().set_at_run_time == ()
    setting.queue.create()
    setting.queue.set_limits(3.0, None)
    setting.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, retry_config={"max_attempts": 7}))
    setting.queue.update()
    queue = setting.client.get_queue(name=QUEUE)
    assert (queue.rate_limits.max_dispatches_per_second, queue.retry_config.max_attempts) == (3, -1)


def test_a_queue_is_never_created_implicitly(setting: Setting) -> None:
    """If the queue does not exist, an enqueue fails, says how to create it, and keeps the job for a repeated call."""
    with pytest.raises(QueueMissing) as refusal:
        setting.queue.enqueue(new("a"))
    assert refusal.value.actions == (Action.CREATE_QUEUE,)
    assert list(setting.client.list_queues(parent="projects/p-1/locations/europe-west1")) == []
    assert setting.store.require("a").undispatched
    setting.queue.create()
    setting.queue.pause()
    assert setting.queue.enqueue(new("a")).known == ("a",)
    assert setting.task("a").name


def test_limits_changed_at_google(made: Setting) -> None:
    """A limit changed at Google is in force, and the status marks it as Google's."""
    status = made.queue.status()
    assert (status.set_at_run_time, status.set_at_backend) == ((), ())
    made.queue.set_limits(3.0, 4)
    assert made.queue.status().set_at_run_time == ("max_dispatches_per_second", "max_concurrent_dispatches")
    made.client.update_queue(queue=tasks_v2.Queue(name=QUEUE, rate_limits={"max_concurrent_dispatches": 9}),
                             update_mask={"paths": ["rate_limits.max_concurrent_dispatches"]})  # fmt: skip
    status = made.queue.status()
    assert status.limits == DispatchLimits(3.0, 9)
    assert status.set_at_run_time == ("max_dispatches_per_second",)
    assert status.set_at_backend == ("max_concurrent_dispatches",)
    made.queue.update()
    assert made.queue.status().set_at_backend == ()


def test_googles_defaults_are_not_marked_as_changed(setting: Setting) -> None:
    """A queue created without limits reports Google's defaults, not marked as changed."""
    setting.client.create_queue(parent=QUEUE.partition("/queues")[0], queue=tasks_v2.Queue(name=QUEUE))
    status = setting.queue.status()
    assert (status.limits, status.set_at_run_time) == (DispatchLimits(500.0, 1000), ())
    assert set(status.set_at_backend) == {"max_dispatches_per_second", "max_concurrent_dispatches"}


def test_a_pause_at_google_is_seen(made: Setting) -> None:
    """The state is read from Google: a queue paused or resumed in the console is reported so."""
    made.client.resume_queue(name=QUEUE)
    assert not made.queue.status().paused
    made.client.pause_queue(name=QUEUE)
    assert made.queue.status().paused


def test_the_number_of_tasks(made: Setting) -> None:
    """The status reports Google's number of tasks."""
    made.queue.enqueue(new("a", "b", "c"))
    assert made.queue.status().task_count == 3


@pytest.fixture
def other_server() -> Iterator[str]:
    """Return the address of a server with the API v2 only, as other emulators have it."""
    with ThreadPoolExecutor() as threads:
        server = grpc.server(threads)
        services = handlers(Cloud(ManualClock()), Faults(), lambda queue, task: None)
        server.add_generic_rpc_handlers([service for service in services if service.service_name() == V2])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


def test_a_server_without_v2beta3(setting: Setting, other_server: str) -> None:
    """Only the number of tasks needs v2beta3: state, limits, changes, purges and the sweep work with v2."""
    queue = setting.open({"CLOUD_TASKS_EMULATOR_HOST": other_server})
    queue.create()
    queue.enqueue(new("a", "b"))
    queue.set_limits(3.0, None)
    queue.update()
    status = queue.status()
    assert (status.limits, status.paused, status.task_count, status.unknown) == (
        DispatchLimits(3.0, 5),
        False,
        None,
        None,
    )
    queue.pause()
    assert queue.status().paused
    queue.resume()
    queue._api.purge()
    setting.clock.advance(3600.0)
    assert queue.recover_lost("sweeper") == 2
    assert queue.purge() == 2


def test_a_call_that_the_server_lacks(made: Setting) -> None:
    """A call that the server does not support is neither retried nor reported as an outage."""
    made.server.faults.refuse("CreateTask", grpc.StatusCode.UNIMPLEMENTED, times=9)
    with pytest.raises(QueueError, match="does not support the call") as refusal:
        made.queue.enqueue(new("a"))
    assert not isinstance(refusal.value, QueueUnavailable)
    assert "CLOUD_TASKS_EMULATOR_HOST" in refusal.value.next_step
    assert made.server.faults.used["API calls refused"] == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED])
def test_failed_creates_of_a_batch_are_repeated(made: Setting, code: grpc.StatusCode) -> None:
    """Creates that fail for a while, or whose answers are lost, are tried again; each job has one task."""
    made.server.faults.refuse("CreateTask", code, times=AT_ONCE + 7)
    made.server.faults.lose_answer("CreateTask", code, times=9)
    names = [f"job-{n}" for n in range(3 * AT_ONCE)]
    assert made.queue.enqueue(new(*names)).new == tuple(names)
    assert made.server.faults.used == {"API calls refused": AT_ONCE + 7, "API responses lost": 9}
    assert len(list(made.client.list_tasks(parent=QUEUE))) == len(names)
    assert not any(made.store.require(name).undispatched for name in names)


def test_an_error_ends_a_batch(made: Setting) -> None:
    """After an error that is not repeated, the created tasks are marked, and a repeated call creates the others."""
    made.server.faults.refuse("CreateTask", grpc.StatusCode.UNAVAILABLE, times=3)
    made.server.faults.refuse("CreateTask", grpc.StatusCode.PERMISSION_DENIED)
    names = [f"job-{n}" for n in range(3 * AT_ONCE)]
    with pytest.raises(QueueForbidden):
        made.queue.enqueue(new(*names))
    tasks = {task.name.rpartition("/")[2] for task in made.client.list_tasks(parent=QUEUE)}
    records = [made.store.require(name) for name in names]
    assert {task_id(record) for record in records if not record.undispatched} == tasks
    assert tasks
    assert made.queue.enqueue(new(*names)).known == tuple(names)
    assert len(list(made.client.list_tasks(parent=QUEUE))) == len(names)
    assert not any(made.store.require(name).undispatched for name in names)


def test_a_batch_that_cloud_tasks_never_accepts(made: Setting) -> None:
    """A batch ends when its repetitions have lasted long enough."""
    made.server.faults.refuse("CreateTask", times=10_000)
    with pytest.raises(QueueUnavailable, match="adding a task"):
        made.open(timings=Timings(task_create_retry=0.5)).enqueue(new("a", "b", "c"))
    assert all(made.store.require(name).undispatched for name in "abc")
    assert made.server.faults.used["API calls refused"] > 3


def test_a_missing_role(made: Setting) -> None:
    """An account that may not read the queue gets the rest of the status and the missing role; it can add jobs."""
    made.server.faults.refuse("GetQueue", grpc.StatusCode.PERMISSION_DENIED, times=2)
    made.queue.enqueue(new("a"))
    status = made.queue.status()
    assert "roles/cloudtasks.queueAdmin" in str(status.unknown)
    assert (status.task_count, status.limits, status.paused) == (None, LIMITS, True)
    assert status.counts.by_status[Status.QUEUED] == 1
    with pytest.raises(QueueForbidden):
        made.queue.update()


def test_google_unreachable(made: Setting) -> None:
    """While Google is unreachable, each call fails within its timeout, and a recorded job is kept."""
    away = made.open({"CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:1"}, timings=Timings(task_create_retry=0))
    status = away.status()
    assert status.unknown is not None
    assert status.unknown.code == "queue_unavailable"
    for act in (away.pause, away.update, lambda: away.enqueue(new("a"))):
        with pytest.raises(QueueUnavailable):
            act()
    assert made.store.require("a").undispatched
    assert made.queue.enqueue(new("a")).known == ("a",)
    assert not made.store.require("a").undispatched


@pytest.mark.parametrize(
    ("variable", "calls"),
    [("CLOUD_TASKS_WORKER_URL", "update"), ("GOOGLE_CLOUD_PROJECT", ""), ("CLOUD_TASKS_SERVICE_ACCOUNT", "")],
)
def test_a_missing_setting_is_named(made: Setting, variable: str, calls: str) -> None:
    """A missing variable that a call needs is named before anything is added; other calls still work."""

    def lent(settings: CloudTasksSettings) -> Api:
        """Return an API that calls through the connection of another queue."""
        return Api(settings, connection=made.queue._api._connection)

    # Without an emulator the worker must be called with an account.
    emulated = variable != "CLOUD_TASKS_SERVICE_ACCOUNT"
    queue = made.open({variable: ""}, make_api=None if emulated else lent, emulated=emulated)
    with pytest.raises(ConfigurationError) as refusal:
        queue.enqueue(new("a"))
    assert variable in str(refusal.value)
    assert made.store.get("a") is None
    if calls:
        getattr(queue, calls)()


def test_a_child_process_opens_a_connection(made: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork the child opens a separate connection and does not touch its parent's."""
    opened: list[Calls] = []

    def open_calls() -> Calls:
        opened.append(opener(load(made.variables).cloud_tasks, Timings())())
        return opened[-1]

    with closing(Connection(open_calls, timeout=60.0)) as connection:
        here = os.getpid()
        for _ in range(2):
            connection.call(GET_QUEUE, NameRequest(name=QUEUE))
        monkeypatch.setattr(os, "getpid", lambda: here + 1)
        for _ in range(2):
            connection.call(GET_QUEUE, NameRequest(name=QUEUE))
        parent, child = opened
        assert child.channel is not parent.channel
        parent.call(GET_QUEUE, NameRequest(name=QUEUE), 60.0)
        parent.channel.close()


def test_no_client_before_the_first_call(setting: Setting) -> None:
    """Opening the queue and reading its records creates no client."""
    fresh = setting.open()
    assert fresh.min_requeue_delay() == 0
    assert "_api" not in vars(fresh)


def test_the_manager(setting: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`QueueManager("cloud_tasks", config)` opens without calling Google; each call checks its settings."""
    for name, value in setting.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TENXSOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REDIS_PORT", "1")
    monkeypatch.delenv("CLOUD_TASKS_WORKER_URL")
    config = {"cloud_tasks": {"project_id": "p-1", "location": "europe-west1", "queue_name": "videos",
                              "max_dispatches_per_second": 4, "max_concurrent_dispatches": 2}}  # fmt: skip
    setting.queue.create()

    async def act() -> dict[str, Any]:
        qm = QueueManager("cloud_tasks", config=config)
        await qm.initialize()
        try:
            # Changing limits needs no worker URL; adding does.
            limits = await qm.update_rate_limits(max_dispatches_per_second=20)
            assert limits["max_dispatches_per_second"] == 20
            with pytest.raises(ConfigurationError, match="CLOUD_TASKS_WORKER_URL"):
                await qm.enqueue(VideoJob(job_id="a", topic="Sea", created_at=1.0))
            await qm.pause()
            return await qm.status()
        finally:
            await qm.close()

    status = asyncio.run(act())
    assert json.loads(json.dumps(status)) == status
    assert (status["queue_type"], status["state"], status["approximate_task_count"]) == ("cloud_tasks", "PAUSED", 0)
    assert status["rate_limits"]["max_concurrent_dispatches"] == 2
    assert "max_dispatches_per_second" in status["rate_limits"]["set_at_run_time"]


def test_choosing_imports_no_google_library() -> None:
    """`auto` decides without importing Google's libraries."""
    program = """
import sys
from tenxsom_flow_engine.queues.selection import choose_queue
from tenxsom_flow_engine.settings import load
found = load({"CLOUD_TASKS_WORKER_URL": "https://w", "GOOGLE_CLOUD_PROJECT": "p", "K_SERVICE": "x"})
assert choose_queue(found, None).queue_type == "cloud_tasks"
assert not any(name.startswith(("google", "grpc")) for name in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
