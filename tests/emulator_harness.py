"""A Cloud Tasks server with a manual clock, Google's client, and a real HTTP target."""

from __future__ import annotations

from typing import Any

from google.cloud import tasks_v2

from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.testing.clock import ManualClock
from tests.http_target import ScriptedTarget

LOCATION = "projects/project-1/locations/us-central1"
QUEUE = f"{LOCATION}/queues/videos"


class Setting:
    """The server, its clock, a client and a target, with one queue to be created."""

    def __init__(self, server: CloudTasksServer, clock: ManualClock, target: ScriptedTarget) -> None:
        self.server, self.clock, self.target = server, clock, target
        self.client = server.client()

    def queue(self, **settings: Any) -> tasks_v2.Queue:
        """Create the queue."""
        return self.client.create_queue(parent=LOCATION, queue=tasks_v2.Queue(name=QUEUE, **settings))

    def task(self, task_id: str = "", *, request: dict[str, Any] | None = None, **fields: Any) -> tasks_v2.Task:
        """Create a task for the target."""
        name = f"{QUEUE}/tasks/{task_id}" if task_id else ""
        http_request = {"url": self.target.url, "body": b"{}"} | (request or {})
        return self.client.create_task(parent=QUEUE, task=tasks_v2.Task(name=name, http_request=http_request, **fields))

    def play(self) -> None:
        """Advance the clock from event to event until none is left."""
        self.server.wait_idle()
        while (at := self.server.next_at()) is not None:
            self.clock.set(at)
            self.server.wait_idle()

    def headers(self, name: str) -> list[str | None]:
        """Return a header of all requests that the target received."""
        return [request.headers.get(name.lower()) for request in self.target.received]

    def delivered(self) -> list[str | None]:
        """Return the ids of the tasks that the target received."""
        return self.headers("X-CloudTasks-TaskName")
