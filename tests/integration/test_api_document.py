"""The OpenAPI document and the API agree, and the page about the API shows all of it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import GenericAlias
from typing import Any

import msgspec
import pytest
from schemathesis.core.failures import FailureGroup

from fuzz import api as generated
from tenxsom_flow_engine.api.blueprint import PREFIX, ROUTES
from tenxsom_flow_engine.api.openapi import document
from tenxsom_flow_engine.api.problems import _STATUSES
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tests.api_client import app_of
from tests.scripted_parts import Script, open_scripted


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock) -> Iterator[Engine]:
    with open_scripted(load({"TENXSOM_HOME": str(tmp_path)}), clock, Script()) as engine:
        yield engine


def test_generated_requests_are_answered_as_documented(engine: Engine) -> None:
    """Every answer to a generated request has a documented status, type and content; invalid ones are refused."""
    assert generated.run(generated.application(engine), 300, 7) > 200


def test_a_wrong_document_is_noticed(engine: Engine) -> None:
    """The check fails if an answer is not as documented."""
    app = generated.application(engine)
    found = document(ROUTES, PREFIX)
    del found["components"]["schemas"]["Budgets"]["properties"]["budgets"]
    found["components"]["schemas"]["Budgets"]["required"] = ["limits"]
    app.view_functions["openapi.machine"] = lambda: found
    with pytest.raises((FailureGroup, BaseExceptionGroup, AssertionError)):
        generated.run(app, 300, 7)


def test_every_reference_leads_somewhere(engine: Engine) -> None:
    """The document is served as it is generated, each of its references exists, and each route is in it."""
    client = app_of(engine).test_client()
    answer = client.get("/openapi.json")
    found: dict[str, Any] = answer.get_json()
    assert (answer.mimetype, found["openapi"]) == ("application/json", "3.1.0")
    schemas = found["components"]["schemas"]
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(found)))
    assert references <= schemas.keys()
    assert "Problem" in references
    operations = {(method.upper(), path) for path, methods in found["paths"].items() for method in methods}
    assert operations == {(route.method, PREFIX + route.path) for route in ROUTES}
    assert len(operations) == len(ROUTES)


def test_each_example_is_valid() -> None:
    """The example of a body can be decoded as one of its types."""
    examples = [route for route in ROUTES if route.example is not None]
    assert len(examples) > 4
    for route in examples:
        bodies = route.body if isinstance(route.body, tuple) else (route.body,)
        wanted: Any = GenericAlias(list, bodies[0]) if isinstance(route.example, list) else bodies[0]
        assert msgspec.json.decode(msgspec.json.encode(route.example), type=wanted)


def test_each_status_of_an_error_is_explained() -> None:
    """Every status that an error can have is in the document, and all but 500 in the page of the API."""
    found = json.dumps(document(ROUTES, PREFIX)["paths"])
    table = (Path(__file__).parents[2] / "docs/api.md").read_text("utf-8")
    for status in {status for _, status in _STATUSES} - {500}:
        assert f'"{status}"' in found
        assert re.search(rf"^\| (\d+, )?{status}\b", table, re.MULTILINE), status


def test_the_page_lists_every_route_without_foreign_resources(engine: Engine) -> None:
    """The page for people names each address and scope, and loads nothing but its style sheet from this server."""
    client = app_of(engine).test_client()
    answer = client.get("/api")
    text = html.unescape(re.sub(r"<[^>]*>", " ", answer.text))
    assert all(f"{route.method} {PREFIX}{route.path}" in text for route in ROUTES)
    loaded = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    assert loaded == ["/api/static/api.css", "/openapi.json"]
    for path in loaded:
        with client.get(path) as resource:
            assert resource.status_code == 200
    assert "style-src 'self'" in answer.headers["Content-Security-Policy"]


def test_the_document_of_types_has_descriptions() -> None:
    """Each type of the document says what it is."""
    schemas = document(ROUTES, PREFIX)["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not schema.get("description") and "enum" not in schema] == []
