"""A route of the API as a value: its address, what it needs, what it takes and returns, and the function behind it.

The application and the OpenAPI document are both made from these values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flask import Request
from werkzeug.wrappers import Response

from tenxsom_flow_engine.api.access import Caller
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.api.polling import LongPolls
from tenxsom_flow_engine.api.types import Body, NoQuery
from tenxsom_flow_engine.budgets.limits import KEY
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Forbidden
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.report.model import Report


class SendFile(Protocol):
    """Sends a job's file, in part if the request has a range."""

    def __call__(self, record: JobRecord, kind: str, *, download: bool) -> Response:
        """Return the response for a file: `video`, `thumbnail`, `captions` or `metadata`. Raises `NotFound`."""


class Process(Protocol):
    """A process: its engine and its report, opened at the first use."""

    @property
    def engine(self) -> Engine:
        """The engine."""

    @property
    def draining(self) -> bool:
        """Whether the process is about to stop, so that no request should wait."""

    def report(self) -> Report:
        """Query the report."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a route."""

    process: Process
    polls: LongPolls
    send_file: SendFile
    caller: Caller
    request: Request
    #: The parts of the address that vary.
    place: Mapping[str, str]
    #: The parameters, as the route's type.
    query: Any
    #: The value of the header `Idempotency-Key`; empty if there is none.
    key: str = ""

    @property
    def engine(self) -> Engine:
        """The engine. Raises `ConfigurationError`, `StoreError`, `OutputError`."""
        return self.process.engine

    @property
    def data(self) -> bytes:
        """The body."""
        return self.request.get_data(cache=True)

    @property
    def has_budget(self) -> bool:
        """Whether the caller's key has a budget. Raises `StoreError`."""
        payer = self.caller.payer
        return bool(payer) and KEY + payer in self.engine.budgets.budgets()

    def require_no_budget(self, act: str) -> None:
        """Raise `Forbidden` if the caller's key has a budget; `act` says what it then cannot do."""
        if self.has_budget:
            raise Forbidden(f"a key with a budget cannot {act}", next_step="use a key without a budget")

    def require_payer(self, key_id: str) -> None:
        """Raise `Forbidden` if the caller's key has a budget, and a job of the key `key_id` is not charged to it."""
        if key_id != self.caller.payer and self.has_budget:
            raise Forbidden(
                "this key has a budget, so it can buy videos only for jobs and schedules that it has added",
                next_step="use a key without a budget",
            )


@dataclass(frozen=True, slots=True)
class Route:
    """An address and a method."""

    method: str
    #: Below `/api/v1`, with variable parts in braces.
    path: str
    scope: Scope
    #: Returns a value that is encoded as JSON, or a response.
    handle: Callable[[Call], object]
    summary: str
    answer: Any
    query: type[Body] = NoQuery
    #: The type of the body; of several, one.
    body: Any = None
    #: Statuses other than 200 of a success, and of errors other than 400, 401, 403, 429 and 503.
    created: bool = False
    errors: tuple[int, ...] = ()
    #: For bytes: the content type of the answer.
    mimetype: str = "application/json"
    example: Any = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """A name that no other route has, for programs: `post_jobs_retry`."""
        words = [word.strip("{}") for word in self.path.replace("-", "_").split("/") if word]
        return "_".join([self.method.lower(), *words])
