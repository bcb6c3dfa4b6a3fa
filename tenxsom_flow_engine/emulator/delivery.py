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

#: Headers that the service sets, ignoring those of the task (documented); `x-cloudtasks-` because it adds these itself.
_REPLACED = ("host", "content-length", "user-agent")
_RESERVED = ("x-google-", "x-appengine-", "x-cloudtasks-")
#: Maximum number of bytes read of an answer.
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request to send."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The HTTP status, or None and the reason. `retry_after` is in seconds, 0 without the header."""

    status: int | None
    reason: str = ""
    retry_after: float = 0.0

    @property
    def success(self) -> bool:
        """Whether the task is done."""
        return self.status is not None and 200 <= self.status < 300


#: The answer recorded when the dispatch deadline has passed.
DEADLINE_PASSED = Answer(504, "the dispatch deadline has passed")


def allowed(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a task that are sent."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in _REPLACED and not name.lower().startswith(_RESERVED)
    }


def send(request: Request, timeout: float, connected: Callable[[Callable[[], None]], None]) -> Answer:
    """Send a request and return its answer. `timeout` bounds each socket operation, in seconds of real time.

    `connected` is called with a function that closes the connection; any thread can call that function.
    """
    parts = urlsplit(request.url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc.rpartition("@")[2], timeout=timeout)
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
    """Parse the header: seconds or a date; 0 for anything else."""
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
