"""The routes of the API for programs in the same process: the same functions, without a server and a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from wsgiref.types import WSGIEnvironment

import msgspec
from flask import Request
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from tenxsom_flow_engine.api import problems
from tenxsom_flow_engine.api.access import Caller
from tenxsom_flow_engine.api.polling import LongPolls
from tenxsom_flow_engine.api.requests import read_query
from tenxsom_flow_engine.api.routes import Call, Process, Route
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.report.model import Report
from tenxsom_flow_engine.report.query import queue_figures, take_report

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a route: its status and its content, which for an error is a problem."""

    status: int
    content: Any

    @property
    def failed(self) -> bool:
        """Whether it is an error."""
        return self.status >= 400


@dataclass(frozen=True, slots=True)
class EngineProcess:
    """A process with an open engine."""

    engine: Engine
    draining: bool = False

    def report(self) -> Report:
        """Query the report."""
        return take_report(self.engine, queue_figures(self.engine))


class LocalApi:
    """Calls routes as a caller, who is asked for at each call: a key can end."""

    def __init__(self, process: Process, caller: Callable[[], Caller]) -> None:
        self._process = process
        self._caller = caller
        self._polls = LongPolls(lambda: process.draining)

    def call(
        self, route: Route, *, place: Mapping[str, str] = {}, query: Mapping[str, Any] = {}, body: Any = None
    ) -> Answer:
        """Call a route; an error of the engine is an answer."""
        request = Request(_environment(route, place, query, body))
        try:
            caller = self._caller()
            caller.require(route.scope)
            parameters: Any = read_query(request.args, route.query)
            found = route.handle(Call(self._process, self._polls, _no_file, caller, request, place, parameters))
        except FlowError as error:
            found = problems.of_error(error)
        except HTTPException as error:
            found = problems.of_http_error(error)
        if isinstance(found, Response):
            return Answer(found.status_code, msgspec.json.decode(found.get_data()))
        return Answer(200, msgspec.to_builtins(found))


def _environment(route: Route, place: Mapping[str, str], query: Mapping[str, Any], body: Any) -> WSGIEnvironment:
    builder = EnvironBuilder(
        path=PREFIX + route.path.format(**place),
        method=route.method,
        query_string={name: _text(value) for name, value in query.items()},
        data=b"" if body is None else msgspec.json.encode(body),
        content_type="application/json",
    )
    try:
        return builder.get_environ()
    finally:
        builder.close()


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _no_file(record: JobRecord, kind: str, *, download: bool) -> Response:
    raise NotFound("files are not sent this way")
