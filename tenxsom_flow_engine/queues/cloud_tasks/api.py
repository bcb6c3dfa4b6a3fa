"""The calls to Cloud Tasks, with explicit timeouts, and retries where those are safe.

Facts are from the client library google-cloud-tasks 2.26 and docs.cloud.google.com/tasks: `create_task` has no retry by
default, a task's name makes a retry safe, statistics are in v2beta3 only (which other servers of the API lack), and
`update_queue` creates missing queues.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api_core.exceptions import AlreadyExists, MethodNotImplemented, NotFound
from google.api_core.retry import Retry
from google.cloud import tasks_v2
from google.protobuf.field_mask_pb2 import FieldMask

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.queues.cloud_tasks.connection import Clients, Connection, opener, required
from tenxsom_flow_engine.queues.cloud_tasks.errors import ENQUEUER, QUEUE_ADMIN, VIEWER, is_away, mapped
from tenxsom_flow_engine.settings import CloudTasksSettings
from tenxsom_flow_engine.store.values import DispatchLimits
from tenxsom_flow_engine.timings import Timings

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


class Api:
    """The queue in the settings. `connection`: by default opened at the first call, and again after a fork."""

    def __init__(
        self,
        settings: CloudTasksSettings,
        timings: Timings = Timings(),
        *,
        connection: Connection | None = None,
    ) -> None:
        self._settings = settings
        self._timeout = timings.task_call
        self._create_retry = (
            Retry(predicate=is_away, initial=0.1, maximum=3.0, multiplier=2.0, timeout=timings.task_create_retry)
            if timings.task_create_retry
            else None
        )
        self._connection = connection or Connection(opener(settings, timings))

    def check(self) -> None:
        """Raise `ConfigurationError` if a setting for creating tasks is missing."""
        self._connection.clients()
        required(self._settings.worker_url, "CLOUD_TASKS_WORKER_URL")
        if not self._settings.emulator_host:
            required(self._settings.service_account, "CLOUD_TASKS_SERVICE_ACCOUNT")

    def create_task(self, task_id: str, body: bytes, schedule_at: float | None) -> None:
        """Create a task that posts `body` to the worker at `schedule_at` or later; does nothing if the task exists."""
        self.check()
        settings, queue = self._settings, self._path(self._connection.clients())
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
            name=f"{queue}/tasks/{task_id}",
            http_request=tasks_v2.HttpRequest(request),
            schedule_time=datetime.fromtimestamp(schedule_at, UTC) if schedule_at is not None else None,
            dispatch_deadline=DISPATCH_DEADLINE,
        )
        size = tasks_v2.Task.pb(task).ByteSize()
        if size > MAX_TASK:
            raise InvalidInput("job", f"makes a task of {size:,} bytes, but Cloud Tasks accepts at most {MAX_TASK:,}")

        def create() -> None:
            # Each try takes the connection of its moment.
            with contextlib.suppress(AlreadyExists), self._connection.call() as clients:
                clients.v2.create_task(parent=queue, task=task, retry=None, timeout=self._timeout)

        with mapped("adding a task", settings.queue, ENQUEUER):
            (self._create_retry(create) if self._create_retry else create)()

    def has_task(self, task_id: str) -> bool:
        """Return whether a task waits or is in flight. Raises `QueueForbidden` for accounts that may only add tasks."""
        with self._call("reading a task", VIEWER) as (clients, queue):
            try:
                clients.v2.get_task(name=f"{queue}/tasks/{task_id}", retry=None, timeout=self._timeout)
            except NotFound:
                return False
        return True

    def facts(self) -> QueueFacts:
        """Return the queue's state and limits."""
        with self._call("reading the queue", QUEUE_ADMIN) as (clients, name):
            queue = clients.v2.get_queue(name=name, retry=None, timeout=self._timeout)
        limits = queue.rate_limits
        return QueueFacts(
            paused=queue.state in (tasks_v2.Queue.State.PAUSED, tasks_v2.Queue.State.DISABLED),
            limits=DispatchLimits(limits.max_dispatches_per_second, limits.max_concurrent_dispatches),
        )

    def task_count(self) -> int | None:
        """Return the estimated number of tasks, of all states; None if the server has no statistics."""
        # Loaded here because it is slow to import and few calls need it.
        from google.cloud import tasks_v2beta3
        from google.cloud.tasks_v2beta3.services.cloud_tasks.transports import CloudTasksGrpcTransport

        with self._call("reading the queue's statistics", QUEUE_ADMIN) as (clients, name):
            beta = tasks_v2beta3.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=clients.channel))
            request = {"name": name, "read_mask": FieldMask(paths=["stats"])}
            try:
                return beta.get_queue(request=request, retry=None, timeout=self._timeout).stats.tasks_count
            except MethodNotImplemented:
                return None

    def create_queue(self, limits: DispatchLimits) -> None:
        """Create the queue."""
        with self._call("creating the queue", QUEUE_ADMIN) as (clients, name):
            parent = name.partition("/queues/")[0]
            clients.v2.create_queue(parent=parent, queue=_queue(name, limits), timeout=self._timeout)

    def update_queue(self, limits: DispatchLimits) -> None:
        """Update the queue's limits and retry settings. Raises `QueueMissing`."""
        self.facts()  # raises QueueMissing; the call below would create a missing queue
        changed = FieldMask(
            paths=[
                "rate_limits.max_dispatches_per_second",
                "rate_limits.max_concurrent_dispatches",
                *(f"retry_config.{name}" for name in RETRIES),
            ]
        )
        with self._call("changing the queue", QUEUE_ADMIN) as (clients, name):
            clients.v2.update_queue(queue=_queue(name, limits), update_mask=changed, timeout=self._timeout)

    def pause(self) -> None:
        """Stop deliveries."""
        with self._call("pausing the queue", QUEUE_ADMIN) as (clients, name):
            clients.v2.pause_queue(name=name, timeout=self._timeout)

    def resume(self) -> None:
        """Resume deliveries."""
        with self._call("resuming the queue", QUEUE_ADMIN) as (clients, name):
            clients.v2.resume_queue(name=name, timeout=self._timeout)

    def purge(self) -> None:
        """Delete all tasks created before this call; some can still be delivered."""
        with self._call("purging the queue", QUEUE_ADMIN) as (clients, name):
            clients.v2.purge_queue(name=name, timeout=self._timeout)

    def close(self) -> None:
        """Close the connection. Can be called again."""
        self._connection.close()

    @contextlib.contextmanager
    def _call(self, what: str, role: str) -> Iterator[tuple[Clients, str]]:
        """Yield the clients and the queue's name for one call, whose errors it maps."""
        with mapped(what, self._settings.queue, role), self._connection.call() as clients:
            yield clients, self._path(clients)

    def _path(self, clients: Clients) -> str:
        return tasks_v2.CloudTasksClient.queue_path(clients.project, self._settings.location, self._settings.queue)


def _queue(name: str, limits: DispatchLimits) -> tasks_v2.Queue:
    return tasks_v2.Queue(
        name=name,
        rate_limits=tasks_v2.RateLimits(
            max_dispatches_per_second=limits.max_dispatches_per_second,
            max_concurrent_dispatches=limits.max_concurrent_dispatches,
        ),
        retry_config=tasks_v2.RetryConfig(RETRIES),
    )
