"""What all services over HTTP share: calls within limits, and errors by one table.

A service declares what its statuses mean (`ErrorRow`); this module sends, reads, and turns every other end into an
error of our tree. Of a paid call it knows whether anything can have been bought: a documented refusal, or a fault
before the first byte went out, is proof that nothing was; whatever else goes wrong is `Uncertain`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from urllib.parse import urlsplit

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
    import requests

_log = logging.getLogger(__name__)

#: Bytes of an answer that are read at most.
MAX_ANSWER = 4 << 20
#: Characters of a service's own words that are kept.
MAX_WORDS = 300


class Post(TypedDict):
    """An order over HTTP, as it is sent and as people read it: all but its headers, which hold the key."""

    method: Literal["POST"]
    path: str
    body: Mapping[str, Any]


def post(path: str, body: Mapping[str, Any]) -> Post:
    """Return an order that is posted to a path."""
    return Post(method="POST", path=path, body=body)


class HttpApi:
    """A service's HTTP client. `secrets` are redacted from every message. Thread-safe.

    `errors` is asked row by row, and the first that matches wins; a status without a row proves nothing.
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
        self._session = ProcessSession()

    def redact(self, text: str) -> str:
        """Return the service's own words without secrets, as one printable line of at most `MAX_WORDS` characters."""
        return one_line(self._redactor.text(text), MAX_WORDS)

    def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Answer:
        """GET: costs nothing. Raises `Transient`."""
        return self._send(self._session.get(), "GET", path, self._timings.read_call, params=query)

    def tell(self, path: str) -> Answer:
        """POST what costs nothing, and does no harm twice. Raises `Transient`."""
        return self._send(self._session.get(), "POST", path, self._timings.read_call, json={})

    def post_paid(self, order: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
        """Send what costs money. Raises `Transient` where nothing can have been bought, else `Uncertain`.

        On a connection of its own: one that was kept alive may turn out broken when the request is under way.
        """
        from tenxsom_flow_engine.services.http.connection import new_session

        with new_session() as session:
            path, body, timeouts = order["path"], order["body"], self._timings.paid_call
            return self._send(session, order["method"], path, timeouts, paid=True, json=body, headers=headers)

    def result(self, answer: Answer, *, paid: bool = False) -> Mapping[str, Any]:
        """Return the object that a good answer holds; raise what any other means."""
        if answer.good and isinstance(answer.body, Mapping):
            return answer.body
        raise self.error(answer, paid=paid)

    def error(self, answer: Answer, *, paid: bool = False) -> ServiceError:
        """Return the error that an answer means: by the table, else by whether anything can have been bought."""
        code = error_code(answer.body)
        row = next((row for row in self._errors if row.matches(answer.status, code, paid)), None)
        if row is None:
            unforeseen = "an answer that cannot be read" if answer.good else "an unforeseen answer"
            row = ErrorRow(answer.status, Transient, unforeseen)
        # What a read may repeat proves nothing about a purchase.
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
        session: requests.Session,
        method: str,
        path: str,
        timeouts: CallTimeouts,
        *,
        paid: bool = False,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> Answer:
        from tenxsom_flow_engine.services.http.connection import NETWORK_FAULTS, Exchange, in_words

        with Exchange(timeouts.total) as exchange:
            try:
                response = session.request(
                    method,
                    self._base + path,
                    headers=self._headers | dict(headers or {}),
                    timeout=(timeouts.connect, timeouts.read),
                    allow_redirects=False,
                    stream=True,
                    **content,
                )
            except NETWORK_FAULTS as error:
                lost = paid and exchange.sent
                reason = self.redact(in_words(error, exchange))
                what = "the create was sent and its answer did not come" if lost else "it cannot be asked"
                host = urlsplit(self._base).hostname
                raise (Uncertain if lost else Transient)(
                    self.service, f"{what}: {reason}", next_step=f"see that {host} can be reached from this machine"
                ) from None  # the library's own words hold addresses
            with response:
                answer = _read(response)
        _log.debug("%s %s %s: HTTP %d", self.service, method, path, answer.status)
        return answer


class ProcessSession:
    """A `requests.Session` that is made when it is first needed, anew after a fork: connections cannot be shared."""

    def __init__(self, *, public_only: bool = False) -> None:
        self._public_only = public_only
        self._lock = Lock()  # of what follows
        self._made: tuple[int, requests.Session] | None = None

    def get(self) -> requests.Session:
        """Return this process's session."""
        from tenxsom_flow_engine.services.http.connection import new_session

        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), new_session(public_only=self._public_only))
            return self._made[1]


def _read(response: requests.Response) -> Answer:
    body = _body(response)
    headers = response.headers
    request_id = headers.get("x-request-id", "")[:100]
    return Answer(response.status_code, body, read_retry_after(headers, body), request_id)


def _body(response: requests.Response) -> Any:
    """Return an answer's JSON, or None where it is none, is too long or breaks off."""
    from tenxsom_flow_engine.services.http.connection import NETWORK_FAULTS

    content = bytearray()
    try:
        for chunk in response.iter_content(1 << 16):
            content += chunk
            if len(content) > MAX_ANSWER:
                return None
        return json.loads(content)
    except (*NETWORK_FAULTS, ValueError, RecursionError):
        return None
