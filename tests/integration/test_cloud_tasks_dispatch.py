"""The Cloud Tasks server delivers as the service does, seen through Google's client and at a real HTTP target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.cloud import tasks_v2

from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.cloud_tasks.server import CloudTasksServer
from tests.http_target import HttpTarget

LOCATION = "projects/project-1/locations/us-central1"
QUEUE = f"{LOCATION}/queues/videos"


class Setting:
    """A server whose time is moved by hand, Google's client, and a target."""

    def __init__(self, server: CloudTasksServer, clock: ManualClock, target: HttpTarget) -> None:
        self.server, self.clock, self.target = server, clock, target
        self.client = server.client()

    def queue(self, **settings: Any) -> None:
        """Create the queue."""
        self.client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=QUEUE, **settings))

    def task(self, task_id: str = "", *, request: dict[str, Any] | None = None, **fields: Any) -> tasks_v2.Task:
        """Create a task for the target."""
        name = f"{QUEUE}/tasks/{task_id}" if task_id else ""
        http_request = {"url": self.target.url, "body": b"{}"} | (request or {})
        return self.client.create_task(parent=QUEUE, task=tasks_v2.Task(name=name, http_request=http_request, **fields))

    def play(self) -> None:
        """Move the clock from event to event until nothing is left to do."""
        self.server.wait_idle()
        while (at := self.server.next_at()) is not None:
            self.clock.set(at)
            self.server.wait_idle()

    def headers(self, name: str) -> list[str | None]:
        """Return a header of all requests that the target got."""
        return [request.headers.get(name.lower()) for request in self.target.received]


@pytest.fixture
def target() -> Iterator[HttpTarget]:
    target = HttpTarget()
    yield target
    target.close()


@pytest.fixture
def setting(target: HttpTarget) -> Iterator[Setting]:
    clock = ManualClock()
    with CloudTasksServer(clock) as server:
        yield Setting(server, clock, target)


def test_a_task_is_posted_to_its_url_with_the_headers_of_the_service(setting: Setting) -> None:
    """A delivery carries the task's method, address, body and headers, and who it is from."""
    setting.queue()
    setting.task("t-1", request={"url": f"{setting.target.url}?a=b c", "headers": {"Content-Type": "application/json"}})
    setting.server.wait_idle()
    [received] = setting.target.received
    assert (received.method, received.path, received.body) == ("POST", "/process?a=b%20c", b"{}")
    assert received.headers == {
        "host": setting.target.address.removeprefix("http://"),
        "user-agent": "Google-Cloud-Tasks",
        "content-type": "application/json",
        "content-length": "2",
        "x-cloudtasks-queuename": "videos",
        "x-cloudtasks-taskname": "t-1",
        "x-cloudtasks-taskretrycount": "0",
        "x-cloudtasks-taskexecutioncount": "0",
        "x-cloudtasks-tasketa": "1800000000.000000",
    }


def test_retries_are_counted_as_recorded_of_the_service(setting: Setting) -> None:
    """Every attempt counts as a retry; answers of 5xx do not count as executions; the previous answer is told."""
    setting.queue()
    setting.target.answer(503, 404, 429, 500, 302, 200)
    setting.task("t-1")
    setting.play()
    assert setting.headers("X-CloudTasks-TaskRetryCount") == ["0", "1", "2", "3", "4", "5"]
    assert setting.headers("X-CloudTasks-TaskExecutionCount") == ["0", "0", "1", "2", "2", "3"]
    assert setting.headers("X-CloudTasks-TaskPreviousResponse") == [None, "503", "404", "429", "500", "302"]
    assert setting.headers("X-CloudTasks-TaskRetryReason") == [None, "", "", "", "", ""]
    assert [delivery.then for delivery in setting.server.deliveries] == ["retried"] * 5 + ["done"]
