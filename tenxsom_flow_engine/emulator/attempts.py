"""One attempt to deliver a task: its state while it runs, the headers it sends, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenxsom_flow_engine.emulator.protobuf import short, write
from tenxsom_flow_engine.emulator.queue import Queue, StoredTask

#: HTTP statuses as google.rpc codes, for a task's last attempt; others are UNKNOWN (2).
_RPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4}


@dataclass(frozen=True, slots=True)
class HttpAttempt:
    """The result of one delivery. Instants are in seconds since 1970, `took` in seconds."""

    at: float
    took: float
    queue: str
    task: str
    url: str
    retry_count: int
    #: None without an answer.
    status: int | None
    reason: str
    #: The next action of the server: "done", "retried", "given up", or "ignored" if the task had already ended.
    then: str
    #: When the task is delivered again.
    next_at: float | None = None


@dataclass(eq=False, slots=True)
class Attempt:
    """One delivery of a task, from its start to its answer. Instants are in seconds since 1970."""

    queue: Queue
    task: StoredTask
    started: float
    deadline: float
    retry_count: int
    #: Started by RunTask, regardless of the queue's rate limits.
    forced: bool
    #: A second delivery at the same moment; its answer is ignored.
    twin: bool
    #: The attempt is settled; a later answer is ignored.
    ended: bool = False
    #: Closes the connection; does nothing before there is one.
    hang_up: Callable[[], None] = lambda: None


def headers(queue: Queue, task: StoredTask) -> dict[str, str]:
    """Return the headers that Cloud Tasks adds, as recorded from the service."""
    retry_count = task.message.dispatch_count - 1
    added = {
        "User-Agent": "Google-Cloud-Tasks",
        "X-CloudTasks-QueueName": queue.id,
        "X-CloudTasks-TaskName": short(task.name),
        "X-CloudTasks-TaskRetryCount": str(retry_count),
        "X-CloudTasks-TaskExecutionCount": str(task.executions),
        "X-CloudTasks-TaskETA": f"{task.due:.6f}",
    }
    if retry_count:
        added["X-CloudTasks-TaskRetryReason"] = ""
        if task.previous is not None:  # the value after an attempt without an answer was not recorded
            added["X-CloudTasks-TaskPreviousResponse"] = str(task.previous)
    return added


def write_status(attempt: Any, status: int | None, reason: str, now: float) -> None:
    """Write the end of an attempt into the API's `Attempt` message; a status of None means no answer."""
    write(attempt.response_time, now)
    attempt.response_status.code = 14 if status is None else _RPC_CODES.get(status, 2)
    attempt.response_status.message = reason if status is None else f"HTTP status code {status}"
