"""The commands `webhook` and `alert`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.events import EndpointKind
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.notifiers.delivery import deliver
from tenxsom_flow_engine.operations import endpoints
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.samples import new
from tests.command_runner import Run, runner
from tests.contract.store_suite.shared import finished
from tests.http_target import ScriptedTarget

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"TENXSOM_HOME": str(tmp_path), "TENXSOM_QUEUE_TYPE": "local", "TENXSOM_ALLOW_PRIVATE_WEBHOOKS": "1"}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    return runner(environment)


@pytest.fixture
def engine(environment: dict[str, str]) -> Iterator[Engine]:
    with open_engine(load(environment), services={}) as engine:
        yield engine


@pytest.fixture
def receiver() -> Iterator[ScriptedTarget]:
    target = ScriptedTarget()
    yield target
    target.close()


def send_due(engine: Engine, webhook_id: str) -> None:
    endpoint = endpoints.require(engine.store, webhook_id, EndpointKind.WEBHOOK)
    while deliver(engine.store, endpoint, engine.notifiers[EndpointKind.WEBHOOK]) is not None:
        pass


def test_a_webhook_from_its_begin_to_its_end(run: Run, engine: Engine, receiver: ScriptedTarget) -> None:
    """A webhook is added with a secret that is shown once, tested, listed, rotated, replayed and removed."""
    url = f"{receiver.address}/PRIVATE"
    made = json.loads(run("webhook", "add", url, "--events", "job.*", "--channel", "fun", "--json").stdout)
    name, secret = made["id"], made["secret"]
    assert run("webhook", "test", name).return_value == 0
    receiver.answer(500)
    failed = run("webhook", "test", name)
    assert (failed.return_value, failed.stderr) == (1, "not delivered: HTTP 500\n")
    receiver.received.clear()

    finished(engine.store, "a", Status.CANCELLED)  # of no channel
    engine.store.add("local", new("b", channel="fun"))
    engine.store.cancel("b")
    send_due(engine, name)
    (request,) = receiver.received
    assert Webhook(secret).verify(request.body, dict(request.headers))["data"]["channel"] == "fun"

    (listed,) = json.loads(run("webhook", "list", "--json").stdout)["webhooks"]
    assert (listed["state"], listed["events"], listed["channel"]) == ("ok", ["job.*"], "fun")
    assert (listed["messages"], listed["last_answer"]) == ({"delivered": 1}, "HTTP 200")
    texts = "".join(run("webhook", *words).stdout for words in (("list",), ("show", name), ("show", name, "--json")))
    assert secret not in texts
    assert "PRIVATE" not in texts + json.dumps(listed)
    assert "job.cancelled" in run("webhook", "show", name).stdout

    new_secret = run("webhook", "rotate", name).stdout.strip()
    assert new_secret != secret
    assert run("webhook", "replay", name, "--since", "1h").stderr == "1 message will be sent again by a worker\n"
    send_due(engine, name)
    first, again = receiver.received
    assert (first.headers["webhook-id"], first.body) == (again.headers["webhook-id"], again.body)
    for key in (secret, new_secret):
        Webhook(key).verify(again.body, dict(again.headers))

    assert run("webhook", "remove", name).return_value is None
    assert "no webhooks" in run("webhook", "list").stderr
    assert "no webhook has the id" in str(run("webhook", "remove", name).exception)


def test_a_disabled_webhook_is_enabled(run: Run, engine: Engine, receiver: ScriptedTarget) -> None:
    """A webhook that answered 410 shows why it gets nothing, and gets events again after `enable`."""
    name = json.loads(run("webhook", "add", receiver.url, "--json").stdout)["id"]
    finished(engine.store, "a", Status.CANCELLED)
    receiver.answer(410)
    send_due(engine, name)
    (listed,) = json.loads(run("webhook", "list", "--json").stdout)["webhooks"]
    assert listed["state"] == "disabled"
    assert "410" in listed["disabled"]
    assert "is disabled" in str(run("webhook", "replay", name, "--since", "1h").exception)
    run("webhook", "enable", name)
    run("webhook", "replay", name, "--since", "1h")
    send_due(engine, name)
    assert len(receiver.received) == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("webhook", "add", "ftp://example.org/SECRET"), "must begin with https://"),
        (("webhook", "add", "https://example.org", "--events", "job.done"), "no type of event"),
        (("webhook", "add", "https://example.org", "--channel", "a b"), "channel"),
        (("webhook", "show", "we_0"), "no webhook has the id"),
        (("alert", "add", "nonsense://SECRET"), "no address that Apprise knows"),
        (("alert", "add", "json://localhost/SECRET", "--after", "2d"), "at most a day"),
        (("alert", "test", "al_0"), "no alert has the id"),
    ],
)
def test_wrong_values_are_refused(run: Run, words: tuple[str, ...], reason: str) -> None:
    """An invalid value is refused with the reason, without repeating an address."""
    error = run(*words).exception
    assert isinstance(error, FlowError)
    assert reason in str(error)
    assert "SECRET" not in str(error) + error.next_step


def test_an_alert_from_its_begin_to_its_end(run: Run, receiver: ScriptedTarget) -> None:
    """An alert is added, tested, listed without its address, and removed."""
    name = run("alert", "add", receiver.address.replace("http", "json") + "/PRIVATE", "--after", "15m").stdout.strip()
    assert run("alert", "test", name).return_value == 0
    assert json.loads(receiver.received[0].body)["title"] == "Tenxsom Flow: test"
    listed = run("alert", "list").stdout
    assert "json://…" in listed
    assert "15 min" in listed
    (row,) = json.loads(run("alert", "list", "--json").stdout)["alerts"]
    assert (row["after_seconds"], row["notices"]) == (900.0, False)
    assert "PRIVATE" not in listed + json.dumps(row)
    run("alert", "remove", name)
    assert "no alerts" in run("alert", "list").stderr
