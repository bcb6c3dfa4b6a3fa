"""The HTTP client of services: calls with limits on time and size, and errors from a table.

A service declares the meaning of its statuses (`ErrorRow`); this module sends requests, reads answers, and turns every
failure into an error of `errors`. For a paid call it distinguishes failures by what they prove: after a documented
refusal, or a fault before the first byte was sent, nothing can have been bought; any other failure is `Uncertain`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from urllib.parse import urlsplit

import msgspec

from tenxsom_flow_engine.errors import Busy, ServiceError, Transient, Uncertain
from tenxsom_flow_engine.logs import Redactor
from tenxsom_flow_engine.services.http.responses import (
    Answer,
    ErrorRow,
    error_code,
    error_words,
    read_retry_after,
)
from tenxsom_flow_engine.text import one_line
from tenxsom_flow_engine.timings import CallTimeouts, Timings

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_log = logging.getLogger(__name__)

#: The largest answer that is read, in bytes.
MAX_ANSWER = 4 << 20
#: The largest part of a service's error message that is kept, in characters.
MAX_WORDS = 300


class Post(TypedDict):
    """An order over HTTP, as it is sent and journaled. Without headers, because they contain the key."""

    method: Literal["POST"]
    path: str
    body: Mapping[str, Any]


def post(path: str, body: Mapping[str, Any]) -> Post:
    """Return an order to POST to a path."""
    return Post(method="POST", path=path, body=body)


class HttpApi:
    """A service's HTTP client. `secrets` are redacted from every message. Thread-safe.

    The first matching row of `errors` applies; a status without a row proves nothing.
    """

    def __init__(
        self,
        service: str,
        base_url: str,
        *,
        headers: Mapping[str, str],
        secrets: Sequence[str],
        errors: Sequence[ErrorRow],
        timings: Timings = Timings(),
    ) -> None:
        self.service = service
        self._redactor = Redactor(secrets, shortest=1)
        self._timings = timings
        self._base = base_url.rstrip("/")
        self._headers = dict(headers)
        self._errors = tuple(errors)
        self._kept = ProcessConnections(make_connections)

    def redact(self, text: str) -> str:
        """Return a service's text without secrets, as one printable line of at most `MAX_WORDS` characters."""
        return one_line(self._redactor.text(text), MAX_WORDS)

    def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Answer:
        """Send a GET request, which costs nothing. Raises `Transient`."""
        return self._send(self._kept.get(), "GET", path, self._timings.read_call, query=query)

    def tell(self, path: str) -> Answer:
        """POST an idempotent request that costs nothing. Raises `Transient`."""
        return self._send(self._kept.get(), "POST", path, self._timings.read_call, content={})

    def post_paid(self, order: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
        """Send a paid order. Raises `Transient` if nothing can have been bought, else `Uncertain`.

        It uses a new connection: a kept-alive one might turn out to be broken after the request has been sent.
        """
        with make_connections() as unused:
            path, body, timeouts = order["path"], order["body"], self._timings.paid_call
            return self._send(unused, order["method"], path, timeouts, paid=True, content=body, headers=headers)

    def result(self, answer: Answer, *, paid: bool = False) -> Mapping[str, Any]:
        """Return the JSON object of a 2xx answer; raise the error that any other answer means."""
        if answer.good and isinstance(answer.body, Mapping):
            return answer.body
        raise self.error(answer, paid=paid)

    def error(self, answer: Answer, *, paid: bool = False) -> ServiceError:
        """Return the error for an answer: from the table, else `Transient`, or `Uncertain` if `paid`."""
        code = error_code(answer.body)
        row = next((row for row in self._errors if row.matches(answer.status, code, paid)), None)
        if row is None:
            meaning = "unreadable answer" if answer.good else "unexpected answer"
            row = ErrorRow(answer.status, Transient, meaning)
        # A transient error does not prove that nothing was bought.
        kind = Uncertain if paid and issubclass(row.error, Transient) else row.error
        words = self.redact(error_words(answer.body))
        request = f", request {self.redact(answer.request_id)}" if answer.request_id else ""
        message = f"{row.meaning} (HTTP {answer.status}{request})" + (f": {words}" if words else "")
        retry_after = answer.retry_after
        if issubclass(kind, Busy):
            retry_after = max(self._timings.busy_floor, retry_after or 0.0)
        return kind(self.service, message, next_step=row.next_step, retry_after=retry_after)

    def _send(
        self,
        connections: PoolManager,
        method: str,
        path: str,
        timeouts: CallTimeouts,
        *,
        paid: bool = False,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str | int] | None = None,
        content: Mapping[str, Any] | None = None,
    ) -> Answer:
        from tenxsom_flow_engine.services.http.connection import NETWORK_FAULTS, Exchange, describe_failure, send

        own = self._headers | dict(headers or {})
        body = None
        if content is not None:
            own["Content-Type"] = "application/json"
            body = msgspec.json.encode(content)
        with Exchange(timeouts.total) as exchange:
            try:
                response = send(
                    connections, method, self._base + path, headers=own, timeouts=timeouts, query=query, body=body
                )
            except NETWORK_FAULTS as error:
                lost = paid and exchange.sent
                reason = self.redact(describe_failure(error, exchange))
                summary = "the create was sent, but no answer was received" if lost else "the request failed"
                host = urlsplit(self._base).hostname
                raise (Uncertain if lost else Transient)(
                    self.service, f"{summary}: {reason}", next_step=f"check that this machine can reach {host}"
                ) from None  # the library's message contains addresses
            with response:
                answer = _read(response)
        _log.debug("%s %s %s: HTTP %d", self.service, method, path, answer.status)
        return answer


def make_connections() -> PoolManager:
    """Return `connection.new_connections`; the HTTP libraries are imported by the first call."""
    from tenxsom_flow_engine.services.http.connection import new_connections

    return new_connections()


class ProcessConnections:
    """Lazily made connections, replaced after a fork: processes cannot share them."""

    def __init__(self, make: Callable[[], PoolManager]) -> None:
        self._make = make
        self._lock = Lock()  # guards `_made`
        self._made: tuple[int, PoolManager] | None = None

    def get(self) -> PoolManager:
        """Return this process's connections."""
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), self._make())
            return self._made[1]


def _read(response: BaseHTTPResponse) -> Answer:
    body = _body(response)
    headers = response.headers
    request_id = headers.get("x-request-id", "")[:100]
    return Answer(response.status, body, read_retry_after(headers, body), request_id)


def _body(response: BaseHTTPResponse) -> Any:
    """Return an answer's JSON, or None if it is invalid, too long or incomplete."""
    from tenxsom_flow_engine.services.http.connection import NETWORK_FAULTS

    content = bytearray()
    try:
        for chunk in response.stream(1 << 16, decode_content=False):
            content += chunk
            if len(content) > MAX_ANSWER:
                return None
        return msgspec.json.decode(content)
    except (*NETWORK_FAULTS, RecursionError):
        return None
