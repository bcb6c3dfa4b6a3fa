"""Webhooks through the HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.events import EndpointKind
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.operations import endpoints
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tests.api_client import Program, problem_of, program
from tests.contract.store_suite.shared import finished
from tests.http_target import ScriptedTarget
from tests.scripted_parts import Script, open_scripted


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock) -> Iterator[Engine]:
    settings = load({"TENXSOM_HOME": str(tmp_path), "TENXSOM_ALLOW_PRIVATE_WEBHOOKS": "1"})
    with open_scripted(settings, clock, Script()) as engine:
        yield engine


@pytest.fixture
def api(engine: Engine) -> Program:
    return program(engine)


def test_a_webhook_from_its_begin_to_its_end(api: Program, engine: Engine, clock: ManualClock) -> None:
    """A webhook is added with its secret, shown without it, tested, rotated, replayed and removed."""
    receiver = ScriptedTarget()
    made = api.post("/webhooks", {"url": f"{receiver.address}/PRIVATE", "events": ["job.*"]}).get_json()
    place = f"/webhooks/{made['id']}"
    tested = api.post(f"{place}/test").get_json()
    receiver.close()
    assert tested == {"delivered": True, "answer": "HTTP 200"}
    (request,) = receiver.received
    assert Webhook(made["secret"]).verify(request.body, dict(request.headers))["type"] == "test.sent"
    finished(engine.store, "a", Status.CANCELLED)
    shown = api.get(place)
    assert "PRIVATE" not in shown.text
    assert made["secret"] not in shown.text + api.get("/webhooks").text
    assert shown.get_json()["messages"] == {"pending": 1}
    assert api.get("/webhooks").get_json() == {"webhooks": [shown.get_json()]}
    assert api.post(f"{place}/rotate").get_json()["secret"] != made["secret"]
    assert api.post(f"{place}/replay", {"since": "2027-01-15T00:00:00Z"}).get_json() == {"messages": 1}
    assert api.post(f"{place}/enable").get_json()["state"] == "new"
    assert api.send("DELETE", place).status_code == 200
    assert problem_of(api.get(place), 404)
    assert api.get("/webhooks").get_json() == {"webhooks": []}


def test_a_repeated_request_adds_one(api: Program, engine: Engine) -> None:
    """With an idempotency key the same request adds one webhook, and gets the same secret."""
    body = {"url": "https://example.org/"}
    first, second = (api.post("/webhooks", body, key="k").get_json() for _ in range(2))
    assert first == second
    assert len(engine.store.endpoints()) == 1
    assert problem_of(api.post("/webhooks", {"url": "https://example.com/"}, key="k"), 422)


def test_wrong_values_are_refused(api: Program) -> None:
    """A wrong address, type or channel is refused by name, without repeating the address."""
    for body, field in (
        ({"url": "ftp://example.org/SECRET"}, "url"),
        ({"url": "https://example.org", "events": ["job.done"]}, "events"),
        ({"url": "https://example.org", "channel": "a b"}, "channel"),
    ):
        answer = api.post("/webhooks", body)
        assert problem_of(answer, 400)
        assert field in answer.text
        assert "SECRET" not in answer.text


def test_a_key_of_a_channel_uses_its_own(engine: Engine) -> None:
    """Its webhooks get the events of its channel only; those of others do not exist for it."""
    own = program(engine, channel="fun")
    foreign = endpoints.add_webhook(engine, "https://example.org/", channel="other")
    every = endpoints.add_webhook(engine, "https://example.org/")
    made = own.post("/webhooks", {"url": "https://example.org/"}).get_json()["id"]
    assert endpoints.require(engine.store, made, EndpointKind.WEBHOOK).channel == "fun"
    assert [one["id"] for one in own.get("/webhooks").get_json()["webhooks"]] == [made]
    for one in (foreign, every):
        assert problem_of(own.post(f"/webhooks/{one.id}/rotate"), 404)
        assert problem_of(own.send("DELETE", f"/webhooks/{one.id}"), 404)
    assert problem_of(own.post("/webhooks", {"url": "https://example.org/", "channel": "other"}), 403)


def test_a_key_needs_the_right_to_read(engine: Engine) -> None:
    """A key that may not see jobs cannot let messages about them be sent."""
    blind = program(engine, Scope.OPERATE)
    assert problem_of(blind.post("/webhooks", {"url": "https://example.org/"}), 403)
    assert not engine.store.endpoints()
