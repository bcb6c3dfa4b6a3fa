"""The page of webhooks and alerts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.events import Endpoint, EndpointKind
from tenxsom_flow_engine.events.outbox import Attempt, Health
from tenxsom_flow_engine.operations.endpoints import add_webhook
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.web.app import dashboard_app
from tenxsom_flow_engine.web.runtime import NullWorker, OpenRuntime, WorkerRuntime
from tests.dashboard_client import TOKEN, Visitor
from tests.http_target import ScriptedTarget


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    environment = {"TENXSOM_HOME": str(tmp_path), "TENXSOM_ALLOW_PRIVATE_WEBHOOKS": "1"}
    with open_engine(load(environment), "local", services={}) as engine:
        yield engine


@pytest.fixture
def visitor(engine: Engine) -> Visitor:
    parts = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    return Visitor.let_in(dashboard_app(parts, queue_type="local", admin=TOKEN).test_client())


def test_without_endpoints_the_page_says_how_to_add_one(visitor: Visitor) -> None:
    """The empty page names the commands."""
    assert "webhook add URL" in visitor.client.get("/endpoints").text


def test_the_page_shows_endpoints_and_their_answers(visitor: Visitor, engine: Engine) -> None:
    """Each endpoint is shown with its state and latest answers, and without its secrets."""
    made = add_webhook(engine, "https://example.org/PRIVATE", "job.*", "fun")
    attempt = Attempt(at=1e9, event_id="evt_1", type="job.failed", ok=False, answer="HTTP <503>", seconds=0.25)
    engine.store.settle_deliveries(made.id, [], Health(failures=1, failing_since=1e9, attempts=(attempt,)))
    alert = Endpoint(id="al_1", kind=EndpointKind.ALERT, url="slack://PRIVATE", after=600.0, disabled="it failed")
    engine.store.swap_endpoint(None, alert)
    engine.store.swap_endpoint(None, Endpoint(id="on-video", kind=EndpointKind.COMMAND))
    page = visitor.client.get("/endpoints").text
    for text in (
        made.id, "https://example.org/…", "job.*, of the channel fun", "failing", "HTTP &lt;503&gt;", "0.25 s",
        "slack://…", "problems that last 10 min", "It failed", "on-video",
    ):  # fmt: skip
        assert text in page, text
    assert "PRIVATE" not in page
    assert made.secret not in page


def test_a_webhook_is_tested_and_enabled_on_the_page(visitor: Visitor, engine: Engine) -> None:
    """The buttons send a test message and enable a disabled endpoint."""
    receiver = ScriptedTarget()
    try:
        made = add_webhook(engine, receiver.url)
        receiver.answer(204, 500)
        path = f"/endpoints/webhook/{made.id}"
        for text in ("was delivered: HTTP 204.", "was not delivered: HTTP 500."):
            assert visitor.post(f"{path}/test").status_code == 303
            assert text in visitor.client.get("/endpoints").text
    finally:
        receiver.close()
    engine.store.swap_endpoint(made, replace(made, disabled="gone"))
    assert f"Enable {made.id}" in visitor.client.get("/endpoints").text
    assert "is disabled, so nothing is sent" in visitor.client.get("/").text
    visitor.post(f"{path}/enable")
    assert engine.store.endpoint(made.id) == made
    assert visitor.post("/endpoints/alert/al_9/test").status_code == 400
