"""The calls to Cloud Tasks, with explicit timeouts, and retries where those are safe.

Facts are from the client library google-cloud-tasks 2.26 and docs.cloud.google.com/tasks: `create_task` has no retry by
default, a task's name makes a retry safe, statistics are in v2beta3 only, and `update_queue` creates missing queues.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from google.api_core.exceptions import AlreadyExists, NotFound
from google.api_core.retry import Retry, if_exception_type
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.protobuf.field_mask_pb2 import FieldMask

from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput
from tenxsom_flow_engine.queues.cloud_tasks.access import credentials_and_project
from tenxsom_flow_engine.queues.cloud_tasks.errors import AWAY, ENQUEUER, QUEUE_ADMIN, VIEWER, mapped
from tenxsom_flow_engine.settings import CloudTasksSettings
from tenxsom_flow_engine.store.values import DispatchLimits
from tenxsom_flow_engine.timings import Timings

#: Timeout of one call, in seconds.
TIMEOUT = 5.0
#: Maximum size of a stored task in bytes, with its name, URL, headers and token settings.
MAX_TASK = 1_048_569
#: Time for a step before the task is delivered again; Cloud Tasks allows 15 s to 30 min.
DISPATCH_DEADLINE = timedelta(minutes=10)
#: Cloud Tasks retries without limit, and only after a worker's error: this engine decides when a job has failed.
RETRIES = {
    "max_attempts": -1,
    "min_backoff": timedelta(seconds=1),
    "max_backoff": timedelta(seconds=60),
    "max_doublings": 6,
}


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """The queue as Cloud Tasks reports it."""

    paused: bool
    limits: DispatchLimits
    #: Estimated number of tasks that wait, are in flight or will be retried.
    tasks: int


@dataclass(frozen=True, slots=True)
class _Clients:
    """Google's clients of one process."""

    pid: int
    channel: grpc.Channel
    project: str
    v2: tasks_v2.CloudTasksClient


class Api:
    """The queue in the settings. Its clients are created at the first call, and again after a fork.

    Creating a task is retried for `create_retry` seconds while Cloud Tasks cannot be reached; 0: not at all.
    """

    def __init__(self, settings: CloudTasksSettings, *, create_retry: float = Timings().task_create_retry) -> None:
        self._settings = settings
        self._create_retry = (
            Retry(predicate=if_exception_type(*AWAY), initial=0.1, maximum=3.0, multiplier=2.0, timeout=create_retry)
            if create_retry
            else None
        )
        self._lock = threading.Lock()
        self._opened: _Clients | None = None

    def check(self) -> None:
        """Raise `ConfigurationError` if a setting for creating tasks is missing."""
        self._clients()
        _named(self._settings.worker_url, "CLOUD_TASKS_WORKER_URL")
        if not self._settings.emulator_host:
            _named(self._settings.service_account, "CLOUD_TASKS_SERVICE_ACCOUNT")

    def create_task(self, task_id: str, body: bytes, schedule_at: float | None) -> None:
        """Create a task that posts `body` to the worker at `schedule_at` or later; does nothing if the task exists."""
        self.check()
        settings, clients = self._settings, self._clients()
        request: dict[str, Any] = {
            "url": f"{settings.worker_url}/process",
            "http_method": tasks_v2.HttpMethod.POST,
            "headers": {"Content-Type": "application/json"},
            "body": body,
        }
        if settings.service_account:
            request["oidc_token"] = {
                "service_account_email": settings.service_account, "audience": settings.audience
            }  # fmt: skip
        task = tasks_v2.Task(
            name=f"{self._path(clients)}/tasks/{task_id}",
            http_request=tasks_v2.HttpRequest(request),
            schedule_time=datetime.fromtimestamp(schedule_at, UTC) if schedule_at is not None else None,
            dispatch_deadline=DISPATCH_DEADLINE,
        )
        size = tasks_v2.Task.pb(task).ByteSize()
        if size > MAX_TASK:
            raise InvalidInput("job", f"makes a task of {size:,} bytes, but Cloud Tasks accepts at most {MAX_TASK:,}")
        with mapped("adding a task", self._settings.queue, ENQUEUER):
            try:
                clients.v2.create_task(parent=self._path(clients), task=task, retry=self._create_retry, timeout=TIMEOUT)
            except AlreadyExists:
                return

    def has_task(self, task_id: str) -> bool:
        """Return whether a task waits or is in flight. Raises `QueueForbidden` for accounts that may only add tasks."""
        clients = self._clients()
        with mapped("reading a task", self._settings.queue, VIEWER):
            try:
                clients.v2.get_task(name=f"{self._path(clients)}/tasks/{task_id}", retry=None, timeout=TIMEOUT)
            except NotFound:
                return False
        return True

    def facts(self) -> QueueFacts:
        """Return the queue's state, limits and statistics."""
        # Loaded here because it is slow to import and few calls need it.
        from google.cloud import tasks_v2beta3
        from google.cloud.tasks_v2beta3.services.cloud_tasks.transports import CloudTasksGrpcTransport

        clients = self._clients()
        beta = tasks_v2beta3.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=clients.channel))
        with mapped("reading the queue", self._settings.queue, QUEUE_ADMIN):
            request = {"name": self._path(clients), "read_mask": FieldMask(paths=["state", "rate_limits", "stats"])}
            queue = beta.get_queue(request=request, retry=None, timeout=TIMEOUT)
        return QueueFacts(
            paused=queue.state != tasks_v2beta3.Queue.State.RUNNING,
            limits=DispatchLimits(
                queue.rate_limits.max_dispatches_per_second, queue.rate_limits.max_concurrent_dispatches
            ),
            tasks=queue.stats.tasks_count,
        )

    def create_queue(self, limits: DispatchLimits) -> None:
        """Create the queue."""
        clients = self._clients()
        parent = f"projects/{clients.project}/locations/{self._settings.location}"
        with mapped("creating the queue", self._settings.queue, QUEUE_ADMIN):
            clients.v2.create_queue(parent=parent, queue=self._queue(clients, limits), timeout=TIMEOUT)

    def update_queue(self, limits: DispatchLimits) -> None:
        """Update the queue's limits and retry settings. Raises `QueueMissing`."""
        self.facts()  # raises QueueMissing; the call below would create a missing queue
        clients = self._clients()
        changed = FieldMask(
            paths=[
                "rate_limits.max_dispatches_per_second",
                "rate_limits.max_concurrent_dispatches",
                *(f"retry_config.{name}" for name in RETRIES),
            ]
        )
        with mapped("changing the queue", self._settings.queue, QUEUE_ADMIN):
            clients.v2.update_queue(queue=self._queue(clients, limits), update_mask=changed, timeout=TIMEOUT)

    def pause(self) -> None:
        """Stop deliveries."""
        clients = self._clients()
        with mapped("pausing the queue", self._settings.queue, QUEUE_ADMIN):
            clients.v2.pause_queue(name=self._path(clients), timeout=TIMEOUT)

    def resume(self) -> None:
        """Resume deliveries."""
        clients = self._clients()
        with mapped("resuming the queue", self._settings.queue, QUEUE_ADMIN):
            clients.v2.resume_queue(name=self._path(clients), timeout=TIMEOUT)

    def purge(self) -> None:
        """Delete all tasks created before this call; some can still be delivered."""
        clients = self._clients()
        with mapped("purging the queue", self._settings.queue, QUEUE_ADMIN):
            clients.v2.purge_queue(name=self._path(clients), timeout=TIMEOUT)

    def close(self) -> None:
        """Close the connection. Can be called again."""
        opened, self._opened = self._opened, None
        if opened is not None and opened.pid == os.getpid():
            opened.channel.close()

    def _queue(self, clients: _Clients, limits: DispatchLimits) -> tasks_v2.Queue:
        return tasks_v2.Queue(
            name=self._path(clients),
            rate_limits=tasks_v2.RateLimits(
                max_dispatches_per_second=limits.max_dispatches_per_second,
                max_concurrent_dispatches=limits.max_concurrent_dispatches,
            ),
            retry_config=tasks_v2.RetryConfig(RETRIES),
        )

    def _path(self, clients: _Clients) -> str:
        return tasks_v2.CloudTasksClient.queue_path(clients.project, self._settings.location, self._settings.queue)

    def _clients(self) -> _Clients:
        with self._lock:
            if self._opened is None or self._opened.pid != os.getpid():
                self._opened = self._open()
            return self._opened

    def _open(self) -> _Clients:
        settings = self._settings
        if settings.emulator_host:
            # The library does not support an emulator: it would use TLS for any address.
            channel = grpc.insecure_channel(settings.emulator_host)
            project = settings.project
        else:
            credentials, project = credentials_and_project(settings)
            channel = CloudTasksGrpcTransport.create_channel(credentials=credentials)
        return _Clients(
            os.getpid(),
            channel,
            _named(project, "GOOGLE_CLOUD_PROJECT"),
            tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel)),
        )


def _named(value: str, variable: str) -> str:
    if not value:
        raise ConfigurationError(f"the Cloud Tasks queue needs {variable}", next_step=f"set {variable}")
    return value
