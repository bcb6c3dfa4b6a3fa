"""The calls to Cloud Tasks, with explicit timeouts, and retries where those are safe.

Facts are from the client library google-cloud-tasks 2.26 and docs.cloud.google.com/tasks: `create_task` has no retry by
default, a task's name makes a retry safe, statistics are in v2beta3 only (which other servers of the API lack), and
`update_queue` creates missing queues.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import StatusCode

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.queues.cloud_tasks import calls
from tenxsom_flow_engine.queues.cloud_tasks.calls import Method
from tenxsom_flow_engine.queues.cloud_tasks.connection import Connection, opener, required
from tenxsom_flow_engine.queues.cloud_tasks.errors import ENQUEUER, QUEUE_ADMIN, VIEWER, is_away, mapped
from tenxsom_flow_engine.queues.cloud_tasks.messages import (
    DISABLED,
    PAUSED,
    POST,
    BetaQueueRequest,
    CreateQueueRequest,
    CreateTaskRequest,
    NameRequest,
    Queue,
    UpdateQueueRequest,
)
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.settings import CloudTasksSettings
from tenxsom_flow_engine.store.values import DispatchLimits
from tenxsom_flow_engine.timings import Timings

#: Maximum size of a stored task in bytes, with its name, URL, headers and token settings.
MAX_TASK = 1_048_569
#: Seconds for a step before the task is delivered again; Cloud Tasks allows 15 s to 30 min.
DISPATCH_DEADLINE = 600
#: Cloud Tasks retries without limit, and only after a worker's error: this engine decides when a job has failed.
RETRIES: dict[str, Any] = {
    "max_attempts": -1,
    "min_backoff": {"seconds": 1},
    "max_backoff": {"seconds": 60},
    "max_doublings": 6,
}
#: Calls in flight: with more, calls to Google start to time out.
AT_ONCE = 32
#: Delays between the tries of a create.
_CREATE_RETRY = RetryPolicy(base=0.1, factor=2.0, cap=3.0, jitter=1.0)


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be created: its id in the queue, the body to post, and the time (None: now)."""

    id: str
    body: bytes
    at: float | None = None


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
        self._create_retry = timings.task_create_retry
        self._connection = connection or Connection(opener(settings, timings), timings.task_call)

    def check(self) -> None:
        """Raise `ConfigurationError` if a setting for creating tasks is missing."""
        self._connection.project()
        required(self._settings.worker_url, "CLOUD_TASKS_WORKER_URL")
        if not self._settings.emulator_host:
            required(self._settings.service_account, "CLOUD_TASKS_SERVICE_ACCOUNT")

    def create_tasks(self, tasks: Sequence[NewTask]) -> Iterator[str]:
        """Create tasks that post to the worker; yield the id of each that exists now, also if it did before.

        While Cloud Tasks is unreachable, failed creates are tried again: their names make that safe. After another
        failure no more creates start, and it is raised once those that run have ended.
        """
        self.check()
        queue = self._queue_name()
        failure: grpc.RpcError | None = None
        give_up = math.inf
        tries = 0

        def until_failure(tasks: Sequence[NewTask]) -> Iterator[NewTask]:
            for task in tasks:
                if failure is not None:
                    return
                yield task

        with mapped("adding a task", self._settings.queue, ENQUEUER):
            while tasks:
                failed = []
                created = self._connection.call_each(
                    calls.CREATE_TASK,
                    until_failure(tasks),
                    lambda task: self._creation(queue, task),
                    min(AT_ONCE, len(tasks)),
                )
                with closing(created):
                    for task, error in created:
                        if error is None or error.code() is StatusCode.ALREADY_EXISTS:
                            yield task.id
                            continue
                        now = time.monotonic()
                        give_up = min(give_up, now + self._create_retry)
                        if is_away(error) and now < give_up:
                            failed.append(task)
                        else:
                            failure = failure or error
                if failure is not None:
                    raise failure
                tasks = failed
                if tasks:
                    tries += 1
                    time.sleep(_CREATE_RETRY.delay(tries, draw=random.random(), endless=True) or 0.0)

    def existing_tasks(self, ids: Sequence[str]) -> Collection[str]:
        """Return those of the tasks that wait or are in flight.

        Raises `QueueForbidden` for accounts that may only add tasks.
        """
        queue, existing = self._queue_name(), set()
        with mapped("reading a task", self._settings.queue, VIEWER):
            answers = self._connection.call_each(
                calls.GET_TASK,
                ids,
                lambda task_id: NameRequest(name=f"{queue}/tasks/{task_id}"),
                min(AT_ONCE, len(ids)),
            )
            with closing(answers):
                for task_id, error in answers:
                    if error is None:
                        existing.add(task_id)
                    elif error.code() is not StatusCode.NOT_FOUND:
                        raise error
        return existing

    def facts(self) -> QueueFacts:
        """Return the queue's state and limits."""
        queue = self._call("reading the queue", calls.GET_QUEUE, NameRequest(name=self._queue_name()))
        limits = queue.rate_limits
        return QueueFacts(
            paused=queue.state in (PAUSED, DISABLED),
            limits=DispatchLimits(limits.max_dispatches_per_second, limits.max_concurrent_dispatches),
        )

    def task_count(self) -> int | None:
        """Return the estimated number of tasks, of all states; None if the server has no statistics."""
        request = BetaQueueRequest(name=self._queue_name(), read_mask={"paths": ["stats"]})
        with mapped("reading the queue's statistics", self._settings.queue, QUEUE_ADMIN):
            try:
                return int(self._connection.call(calls.GET_BETA_QUEUE, request).stats.tasks_count)
            except grpc.RpcError as error:
                if error.code() is StatusCode.UNIMPLEMENTED:
                    return None
                raise

    def create_queue(self, limits: DispatchLimits) -> None:
        """Create the queue."""
        queue = self._queue(limits)
        parent = queue.name.partition("/queues/")[0]
        self._call("creating the queue", calls.CREATE_QUEUE, CreateQueueRequest(parent=parent, queue=queue))

    def update_queue(self, limits: DispatchLimits) -> None:
        """Update the queue's limits and retry settings. Raises `QueueMissing`."""
        self.facts()  # raises QueueMissing; the call below would create a missing queue
        changed = [
            "rate_limits.max_dispatches_per_second",
            "rate_limits.max_concurrent_dispatches",
            *(f"retry_config.{name}" for name in RETRIES),
        ]
        request = UpdateQueueRequest(queue=self._queue(limits), update_mask={"paths": changed})
        self._call("changing the queue", calls.UPDATE_QUEUE, request)

    def pause(self) -> None:
        """Stop deliveries."""
        self._call("pausing the queue", calls.PAUSE_QUEUE, NameRequest(name=self._queue_name()))

    def resume(self) -> None:
        """Resume deliveries."""
        self._call("resuming the queue", calls.RESUME_QUEUE, NameRequest(name=self._queue_name()))

    def purge(self) -> None:
        """Delete all tasks created before this call; some can still be delivered."""
        self._call("purging the queue", calls.PURGE_QUEUE, NameRequest(name=self._queue_name()))

    def close(self) -> None:
        """Close the connection. Can be called again."""
        self._connection.close()

    def _call(self, what: str, method: Method, request: Any) -> Any:
        """Make one call about the queue; `what` names it in errors."""
        with mapped(what, self._settings.queue, QUEUE_ADMIN):
            return self._connection.call(method, request)

    def _queue_name(self) -> str:
        project = self._connection.project()
        return f"projects/{project}/locations/{self._settings.location}/queues/{self._settings.queue}"

    def _queue(self, limits: DispatchLimits) -> Any:
        return Queue(
            name=self._queue_name(),
            rate_limits={
                "max_dispatches_per_second": limits.max_dispatches_per_second,
                "max_concurrent_dispatches": limits.max_concurrent_dispatches,
            },
            retry_config=RETRIES,
        )

    def _creation(self, queue: str, new: NewTask) -> Any:
        """Return the request that creates a task. Raises `InvalidInput` if the task is too large."""
        settings = self._settings
        request = CreateTaskRequest(parent=queue)
        task = request.task
        task.name = f"{queue}/tasks/{new.id}"
        task.dispatch_deadline.seconds = DISPATCH_DEADLINE
        if new.at is not None:
            task.schedule_time.seconds, microseconds = divmod(round(new.at * 1_000_000), 1_000_000)
            task.schedule_time.nanos = microseconds * 1000
        post = task.http_request
        post.url = f"{settings.worker_url}/process"
        post.http_method = POST
        post.headers.add(key="Content-Type", value="application/json")
        post.body = new.body
        if settings.service_account:
            post.oidc_token.service_account_email = settings.service_account
            post.oidc_token.audience = settings.audience
        if (size := task.ByteSize()) > MAX_TASK:
            raise InvalidInput("job", f"makes a task of {size:,} bytes, but Cloud Tasks accepts at most {MAX_TASK:,}")
        return request
