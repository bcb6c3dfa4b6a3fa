"""One attempt to deliver a task: what is known of it while it runs, what it tells the target, what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenxsom_flow_engine.emulator.protobuf import short, write
from tenxsom_flow_engine.emulator.queue import Queue, StoredTask

#: How statuses are shown in a task's last attempt, as codes of google.rpc; others are UNKNOWN (2).
_RPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4}


@dataclass(frozen=True, slots=True)
class HttpAttempt:
    """What became of one delivery. Instants in seconds since 1970, `took` in seconds."""

    at: float
    took: float
    queue: str
    task: str
    url: str
    retry_count: int
    #: None if nothing answered.
    status: int | None
    reason: str
    #: What the server does now: "done", "retried", "given up", or "ignored" where the task had ended before.
    then: str
    #: When it is delivered again.
    next_at: float | None = None


@dataclass(eq=False, slots=True)
class Attempt:
    """One delivery of a task, from its start to its answer. Instants in seconds since 1970."""

    queue: Queue
    task: StoredTask
    started: float
    deadline: float
    retry_count: int
    #: Asked for by RunTask, so not by the queue's own pace.
    forced: bool
    #: A second delivery at the same moment; its answer counts for nothing.
    twin: bool
    #: Nobody listens any more.
    ended: bool = False
    #: Cuts the connection; there is none at first.
    hang_up: Callable[[], None] = lambda: None


def headers(queue: Queue, task: StoredTask) -> dict[str, str]:
    """Return the headers that the service adds, by what was recorded of it."""
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
        if task.previous is not None:  # what is sent where nothing answered was not recorded
            added["X-CloudTasks-TaskPreviousResponse"] = str(task.previous)
    return added


def write_status(attempt: Any, status: int | None, reason: str, now: float) -> None:
    """Write how an attempt ended into what the API shows of it (`Attempt`); None is for no answer."""
    write(attempt.response_time, now)
    attempt.response_status.code = 14 if status is None else _RPC_CODES.get(status, 2)
    attempt.response_status.message = reason if status is None else f"HTTP status code {status}"
