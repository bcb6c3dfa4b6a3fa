"""One delivery over HTTP. Redirects are not followed, and the environment's proxies are not used."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

#: Set by the service, whatever the task says (documented); `x-cloudtasks-` besides, which it sets itself.
_REPLACED = ("host", "content-length", "user-agent")
_RESERVED = ("x-google-", "x-appengine-", "x-cloudtasks-")
#: More of an answer than this is not read.
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, or none and the reason. `retry_after` in seconds, if the target named it."""

    status: int | None
    reason: str = ""
    retry_after: float = 0.0

    @property
    def success(self) -> bool:
        """Whether the task is done."""
        return self.status is not None and 200 <= self.status < 300


#: What stands for an answer when the dispatch deadline has passed.
DEADLINE_PASSED = Answer(504, "the dispatch deadline has passed")


def allowed(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of a task's own headers that are sent."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in _REPLACED and not name.lower().startswith(_RESERVED)
    }


def send(request: Request, patience: float, connected: Callable[[Callable[[], None]], None]) -> Answer:
    """Send a request and wait for its answer, in real time at most `patience` seconds for each part of it.

    `connected` is called with a function that cuts the connection, from any thread.
    """
    parts = urlsplit(request.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc.rpartition("@")[2], timeout=patience)
    try:
        connection.connect()
        connected(_cut(connection.sock))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.putrequest(request.method, target, skip_accept_encoding=True)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        response.read(_MOST)
        return Answer(response.status, response.reason, _retry_after(response.getheader("Retry-After", "")))
    except OSError as error:
        return Answer(None, error.strerror or str(error) or type(error).__name__)
    except (http.client.HTTPException, ValueError) as error:
        return Answer(None, f"{type(error).__name__}: {error}")
    finally:
        connection.close()


def _cut(stream: socket.socket) -> Callable[[], None]:
    def cut() -> None:
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)

    return cut


def _retry_after(value: str) -> float:
    """Read the header: seconds, or a date; 0 for anything else."""
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
