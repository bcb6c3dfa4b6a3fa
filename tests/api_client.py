"""A client of the HTTP API with a key, and the application that it talks to."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tenxsom_flow_engine.api import keys
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.web.app import dashboard_app
from tenxsom_flow_engine.web.runtime import NullWorker, OpenRuntime, WorkerRuntime
from tests.dashboard_client import TOKEN


def app_of(engine: Engine, origins: Collection[str] = ()) -> Flask:
    """Return the application of a dashboard process with this engine."""
    parts = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    return dashboard_app(parts, queue_type="local", admin=TOKEN, origins=origins)


class Program:
    """A client with a key."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self.client = client
        self.token = token

    def send(self, method: str, path: str, *, key: str = "", **options: Any) -> TestResponse:
        """Send a request; `key` is its idempotency key."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        if key:
            headers["Idempotency-Key"] = key
        options.setdefault("buffered", True)  # reads and closes the response
        return self.client.open(f"/api/v1{path}", method=method, headers=headers, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.send("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        return self.send("POST", path, **({"json": body} if body is not None else {}), **options)


def program(engine: Engine, *scopes: Scope, channel: str = "", budget: str = "") -> Program:
    """Return a client with a new key, by default of all scopes."""
    text, _ = keys.create(engine.store, scopes or tuple(Scope), channel=channel, budget=budget)
    return Program(app_of(engine).test_client(), text)


def problem_of(answer: TestResponse, status: int) -> dict[str, Any]:
    """Return the problem of an answer, which must have this status."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    found: dict[str, Any] = answer.get_json()
    assert (found["status"], found["code"] != "", found["detail"] != "") == (status, True, True)
    return found
