"""Helpers for API messages: refusals, resource names, timestamps and durations.

The texts of refusals are those of the service where they are known (recorded answers are in the conformance tests of
github.com/aertje/cloud-tasks-emulator), because some callers read them.
"""

from __future__ import annotations

import re
from typing import Any

from grpc import StatusCode

_LOCATION = r"projects/([A-Za-z0-9.:-]+)/locations/([A-Za-z0-9-]+)"
_QUEUE = _LOCATION + r"/queues/([A-Za-z0-9-]{1,100})"
_TASK_ID = r"[A-Za-z0-9_-]{1,500}"


class Refused(Exception):
    """Ends a call with a gRPC error for the caller. Raised and caught only inside the server."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> Refused:
    """Return the refusal of an invalid request (INVALID_ARGUMENT)."""
    return Refused(StatusCode.INVALID_ARGUMENT, message)


def check_location(name: str) -> None:
    """Refuse a name that is not `projects/P/locations/L`."""
    _match(_LOCATION, name, "Location", "projects/<PROJECT_ID>/locations/<LOCATION_ID>")


def check_queue(name: str) -> None:
    """Refuse an invalid queue name; its id has 1 to 100 letters, digits and hyphens."""
    _match(_QUEUE, name, "Queue", "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>")


def check_task(name: str) -> None:
    """Refuse an invalid task name; its id has 1 to 500 letters, digits, hyphens and underscores."""
    form = "projects/<PROJECT_ID>/locations/<LOCATION_ID>/queues/<QUEUE_ID>/tasks/<TASK_ID>"
    _match(_QUEUE + "/tasks/[^/]*", name, "Task", form)
    if not re.fullmatch(_TASK_ID, short(name)):
        raise invalid(
            f'Task ID "{short(name)}" can contain only letters ([A-Za-z]), numbers ([0-9]), hyphens (-), or '
            "underscores (_). Task ID must between 1 and 500 characters."
        )


def _match(pattern: str, name: str, kind: str, form: str) -> None:
    if not re.fullmatch(pattern, name):
        raise invalid(f'{kind} name must be formatted: "{form}".')


def project(name: str) -> str:
    """Return the project of a resource."""
    return name.split("/")[1]


def parent(name: str) -> str:
    """Return the queue of a task, or the location of a queue."""
    return name.rsplit("/", 2)[0]


def short(name: str) -> str:
    """Return the last part of a name: the id."""
    return name.rsplit("/", 1)[-1]


def instant(timestamp: Any) -> float:
    """Return a timestamp as seconds since 1970."""
    return float(timestamp.seconds) + float(timestamp.nanos) / 1e9


def write(timestamp: Any, at: float) -> None:
    """Write seconds since 1970 into a timestamp, with microseconds, as the API does."""
    timestamp.FromMicroseconds(int(at * 1_000_000))


def seconds(duration: Any) -> float:
    """Return a duration in seconds."""
    return float(duration.seconds) + float(duration.nanos) / 1e9
