"""The OpenAPI document of the API, generated from its routes and types, and a page about them for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
from flask import Blueprint, Response, render_template

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.api.problems import MIMETYPE, Problem
from tenxsom_flow_engine.api.routes import Route

_REF = "#/components/schemas/{name}"
#: What each status of an error means.
_MEANINGS = {
    400: "The request is invalid; `field`, `line` and `errors` name the places.",
    401: "The key is missing, unknown, expired or revoked.",
    403: "The key does not have the scope, or is for another channel.",
    404: "There is no such job, plan or file, or the key may not see it.",
    409: "The state of the job does not allow it, the plan has changed, or the same request is under way.",
    413: "The body is too large.",
    415: "The body is not `application/json`.",
    416: "The file does not have the requested range.",
    422: "Another request was sent with this idempotency key.",
    429: "The key sends too many requests; wait for `Retry-After` seconds.",
    503: "The store, the queue or a free place is not available now; wait for `Retry-After` seconds.",
}
#: The page loads only its own style sheet.
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
#: The errors of all routes.
_ALWAYS = (400, 401, 403, 429, 503)
_TEXT = """\
Topics in, videos out. Send `Authorization: Bearer tf_…` with each request; the operator creates keys. Send
`Idempotency-Key` with each POST: the same key and request give the same answer for 24 hours, and do nothing twice.
Errors are `application/problem+json` (RFC 9457). Unknown fields and parameters are refused.
"""


def document(routes: Sequence[Route], prefix: str) -> dict[str, Any]:
    """Return the document as plain values."""
    types = list(_types(routes))
    described, components = msgspec.json.schema_components([*types, Problem], ref_template=_REF)
    schemas = dict(zip(map(repr, types), described[:-1], strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(prefix + route.path, {})[route.method.lower()] = _operation(route, schemas, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tenxsom Flow Engine", "version": __version__, "description": _TEXT},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def pages(routes: Sequence[Route], prefix: str) -> Blueprint:
    """Return the routes of the document and of the page for people; both say nothing about this installation."""
    blueprint = Blueprint(
        "openapi", __name__, template_folder="templates", static_folder="static", static_url_path="/api/static"
    )

    @cache
    def encoded() -> bytes:
        return msgspec.json.format(msgspec.json.encode(document(routes, prefix)), indent=1)

    @blueprint.get("/openapi.json")
    def machine() -> Response:
        return Response(encoded(), mimetype="application/json", headers={"Cache-Control": "max-age=300"})

    @blueprint.get("/api")
    def people() -> Response:
        page = render_template(
            "api.html", routes=routes, prefix=prefix, version=__version__, meanings=_MEANINGS,
            bodies={route.name: _example(route) for route in routes},
        )  # fmt: skip
        return Response(page, headers={"Content-Security-Policy": _POLICY})

    return blueprint


def _types(routes: Sequence[Route]) -> Iterator[Any]:
    for route in routes:
        yield from _bodies(route)
        if route.answer is not bytes:
            yield route.answer
        yield route.query


def _bodies(route: Route) -> tuple[Any, ...]:
    return () if route.body is None else route.body if isinstance(route.body, tuple) else (route.body,)


def _operation(route: Route, schemas: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"Needs the scope `{route.scope}`.",
        "parameters": [*_parameters(route, schemas, components)],
        "responses": {},
    }
    if bodies := _bodies(route):
        one_of = [schemas[repr(one)] for one in bodies]
        content: dict[str, Any] = {"schema": one_of[0] if len(one_of) == 1 else {"anyOf": one_of}}
        if route.example is not None:
            content["example"] = route.example
        required = route.created or route.method == "PUT"
        operation["requestBody"] = {"required": required, "content": {"application/json": content}}
    success = {"description": "Done.", "content": _content(route, schemas)}
    operation["responses"]["200"] = success
    if route.created:
        success["description"] = "The same answer as before, or nothing new."
        operation["responses"]["201"] = {**success, "description": "Done, and on disk."}
    if route.answer is bytes:
        operation["responses"] |= {
            "302": {"description": "The file is in a bucket, at this address for an hour, without a key."},
            "206": {**success, "description": "The requested range."},
            "304": {"description": "The file is as the client knows it."},
        }
    for status in sorted({*_ALWAYS, *route.errors}):
        operation["responses"][str(status)] = {
            "description": _MEANINGS[status],
            "content": {MIMETYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return operation


def _content(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    if route.answer is bytes:
        return {route.mimetype: {"schema": {"type": "string", "format": "binary"}}}
    return {route.mimetype: {"schema": schemas[repr(route.answer)]}}


def _parameters(route: Route, schemas: dict[str, Any], components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    query = schemas[repr(route.query)]
    query = components[query["$ref"].rpartition("/")[2]] if "$ref" in query else query
    for name, schema in query["properties"].items():
        parameter = {"name": name, "in": "query", "schema": schema}
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter
    if route.method == "POST":
        yield {
            "name": "Idempotency-Key", "in": "header",
            "description": "A new random value for each request; the same one to repeat it.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        }  # fmt: skip


def _example(route: Route) -> str:
    return "" if route.example is None else msgspec.json.format(msgspec.json.encode(route.example), indent=2).decode()
