"""The blueprint of the API: authentication, CORS, and each route with its types."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from flask import Blueprint, Response, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from tenxsom_flow_engine.api import adding, channels, jobs, keys, openapi, operating, problems, schedules, webhooks
from tenxsom_flow_engine.api.access import Access, Caller
from tenxsom_flow_engine.api.polling import LongPolls
from tenxsom_flow_engine.api.requests import check_json, idempotency_key, read_query
from tenxsom_flow_engine.api.routes import Call, Process, Route, SendFile
from tenxsom_flow_engine.errors import FlowError

_log = logging.getLogger(__name__)

PREFIX = "/api/v1"
#: The route that a signed link leads to (see `events.links`).
VIDEO = "get_jobs_job_id_video"
JSON = "application/json"
#: All routes. Another group of routes is another module with `ROUTES`.
ROUTES: tuple[Route, ...] = (
    *adding.ROUTES,
    *jobs.ROUTES,
    *channels.ROUTES,
    *schedules.ROUTES,
    *operating.ROUTES,
    *webhooks.ROUTES,
)
#: Headers that scripts of other origins can send and read, and seconds for which a browser remembers that.
_SENT = "Authorization, Content-Type, Idempotency-Key"
_READ = "Location, Retry-After, Idempotency-Replayed"
_REMEMBER = "600"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that the web layer hands in."""

    process: Process
    send_file: SendFile
    access: Access
    #: The origins of pages whose scripts may use the API.
    origins: Collection[str] = ()


def api(parts: Parts) -> Blueprint:
    """Return the routes below `/api/v1`. They open nothing before the first request."""
    blueprint = Blueprint("api", __name__, url_prefix=PREFIX)
    polls = LongPolls(lambda: parts.process.draining)

    @blueprint.before_request
    def authenticate() -> Response | None:
        if request.method == "OPTIONS":  # a browser asks before it sends a key
            return Response(status=204)
        authorization, places = request.headers.get("Authorization"), request.view_args or {}
        # A platform in front of the server can have checked and kept another token.
        keyless = not (authorization or "").lower().startswith(f"bearer {keys.PREFIX}")
        if keyless and request.endpoint == f"api.{VIDEO}" and "signature" in request.args:
            g.caller = parts.access.by_link(lambda: parts.process.engine.store, places["job_id"], request.args)
        else:
            g.caller = parts.access(lambda: parts.process.engine.store, authorization)
        return None

    @blueprint.after_request
    def guard(answer: Response) -> Response:
        answer.headers.setdefault("Cache-Control", "no-store")
        if parts.origins:
            answer.headers.add("Vary", "Origin")
        if (origin := request.headers.get("Origin")) in parts.origins and origin:
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Expose-Headers"] = _READ
            if request.method == "OPTIONS":
                answer.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, DELETE"
                answer.headers["Access-Control-Allow-Headers"] = _SENT
                answer.headers["Access-Control-Max-Age"] = _REMEMBER
        return answer

    def handle(route: Route, **place: str) -> AnyResponse:
        caller: Caller = g.caller
        caller.require(route.scope)
        if route.method in ("POST", "PUT") and (request.content_length or request.get_data(cache=True)):
            check_json(request.mimetype)
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        query: Any = read_query(request.args, route.query)
        call = Call(parts.process, polls, parts.send_file, caller, request, place, query, key)
        answer = route.handle(call)
        if route.method != "GET":
            _log.info("api: %s %s", request.method, request.path, extra={"audit": route.name, "key": caller.key_id})
        return answer if isinstance(answer, AnyResponse) else Response(msgspec.json.encode(answer), mimetype=JSON)

    for route in ROUTES:
        rule = route.path.replace("{", "<").replace("}", ">")
        blueprint.add_url_rule(rule, route.name, partial(handle, route), methods=[route.method])

    blueprint.register_error_handler(FlowError, problems.of_error)
    blueprint.register_error_handler(HTTPException, problems.of_http_error)
    blueprint.register_error_handler(Exception, lambda error: problems.of_defect())
    return blueprint


def error_outside(error: HTTPException) -> Response | None:
    """Return the problem for an error of an address below the prefix that no route has; None for other addresses."""
    return problems.of_http_error(error) if request.path.startswith(f"{PREFIX}/") else None


def document() -> Blueprint:
    """Return the routes of the OpenAPI document and of the page about the API, which are public."""
    return openapi.pages(ROUTES, PREFIX)
