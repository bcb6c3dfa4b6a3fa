"""Messages are delivered to real receivers over HTTP: signed, repeated, in order, and by one worker at a time."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tenxsom_flow_engine.events import DeliveryState, Endpoint, EndpointKind, retries, signing
from tenxsom_flow_engine.events.outbox import Health, Message
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.logs import handler
from tenxsom_flow_engine.notifiers.base import Answer
from tenxsom_flow_engine.notifiers.delivery import deliver
from tenxsom_flow_engine.notifiers.webhook import WebhookNotifier
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import QUEUE, new
from tenxsom_flow_engine.timings import CallTimeouts, Timings
from tests.contract.store_suite.shared import finished
from tests.http_target import Reply, ScriptedTarget
from tests.ports import free_port

SHORT = Timings(webhook_call=CallTimeouts(connect=5.0, read=0.5, total=1.0))


def exact(low: float, high: float) -> float:
    return (low + high) / 2


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[SQLiteStore]:
    with closing(SQLiteStore(tmp_path / "jobs.sqlite3", clock)) as store:
        yield store


@pytest.fixture
def receiver() -> Iterator[ScriptedTarget]:
    target = ScriptedTarget()
    yield target
    target.close()


def add_webhook(store: JobStore, url: str, endpoint_id: str = "we_1") -> Endpoint:
    endpoint = Endpoint(id=endpoint_id, kind=EndpointKind.WEBHOOK, url=url, secret=signing.new_secret())
    assert store.swap_endpoint(None, endpoint)
    return endpoint


def cancel_jobs(store: JobStore, clock: ManualClock, *names: str) -> None:
    for name in names:
        store.add(QUEUE, new(name))
        store.cancel(name)
        clock.advance(0.5)


def send(store: JobStore, endpoint: Endpoint, timings: Timings = Timings()) -> Health | None:
    """Deliver once, without jitter. The receiver compares the time of an attempt with this machine's."""
    current = store.endpoint(endpoint.id) or endpoint
    return deliver(store, current, WebhookNotifier(allow_private=True, timings=timings), uniform=exact)


def test_a_message_is_signed(store: SQLiteStore, clock: ManualClock, receiver: ScriptedTarget) -> None:
    """The receiver verifies a message with the library of Standard Webhooks, and finds the facts of the job."""
    endpoint = add_webhook(store, receiver.url)
    finished(store, "a", Status.SUCCEEDED)
    assert send(store, endpoint) is not None
    (request,) = receiver.received
    facts = Webhook(endpoint.secret).verify(request.body, dict(request.headers))
    assert (facts["type"], facts["data"]["job_id"]) == ("job.succeeded", "a")
    assert facts["data"]["video"]["href"].startswith("/api/v1/jobs/a/video?endpoint=we_1&until=")
    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
    assert request.headers["user-agent"].startswith("tenxsom-flow-engine/")
    (delivery,) = store.deliveries("we_1", 10)
    assert request.headers["webhook-id"] == delivery.message.event_id
    assert delivery.state is DeliveryState.DELIVERED
    health = store.health("we_1")
    assert (health.failures, health.attempts[0].answer) == (0, "HTTP 200")
    assert send(store, endpoint) is None, "nothing is sent twice"
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(request.body, dict(request.headers))


def test_both_secrets_are_valid_during_a_rotation(
    store: SQLiteStore, clock: ManualClock, receiver: ScriptedTarget
) -> None:
    """A receiver accepts a message with the old secret as well as with the new one, until the overlap ends."""
    first = add_webhook(store, receiver.url)
    rotated = replace(first, secret=signing.new_secret(), old_secret=first.secret, old_secret_until=4e9)
    assert store.swap_endpoint(first, rotated)
    cancel_jobs(store, clock, "a")
    send(store, rotated)
    over = replace(rotated, old_secret_until=1.0)
    assert store.swap_endpoint(rotated, over)
    cancel_jobs(store, clock, "b")
    send(store, over)
    during, after = receiver.received
    for secret in (first.secret, rotated.secret):
        Webhook(secret).verify(during.body, dict(during.headers))
    Webhook(rotated.secret).verify(after.body, dict(after.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(first.secret).verify(after.body, dict(after.headers))


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
def test_any_other_answer_is_a_failure(
    store: SQLiteStore, clock: ManualClock, receiver: ScriptedTarget, status: int
) -> None:
    """After an answer other than 2xx the same bytes are sent again with the same id; a redirect is not followed."""
    endpoint = add_webhook(store, receiver.url)
    cancel_jobs(store, clock, "a")
    receiver.answer(Reply(status, {"Location": f"{receiver.address}/elsewhere"}))
    failed_at = clock.now()
    send(store, endpoint)
    (delivery,) = store.deliveries("we_1", 10)
    assert (delivery.state, delivery.next_at) == (DeliveryState.PENDING, failed_at + 5)
    assert store.health("we_1").attempts[0].answer.startswith(f"HTTP {status}")
    assert send(store, endpoint) in (None, store.health("we_1")), "not before it is due"
    clock.advance(5)
    send(store, endpoint)
    first, second = receiver.received
    assert (first.body, first.path) == (second.body, second.path)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert store.deliveries("we_1", 10)[0].state is DeliveryState.DELIVERED
    assert store.health("we_1").failures == 0


def test_a_receiver_can_ask_to_wait(store: SQLiteStore, clock: ManualClock, receiver: ScriptedTarget) -> None:
    """After 429 with `Retry-After` neither this message nor another is sent before."""
    endpoint = add_webhook(store, receiver.url)
    cancel_jobs(store, clock, "a")
    receiver.answer(Reply(429, {"Retry-After": "120"}))
    send(store, endpoint)
    cancel_jobs(store, clock, "b")
    clock.advance(119)
    send(store, endpoint)
    assert len(receiver.received) == 1
    clock.advance(2)
    while send(store, endpoint) is not None:
        pass
    assert sorted(json.loads(one.body)["data"]["job_id"] for one in receiver.received) == ["a", "a", "b"]


def test_gone_disables(store: SQLiteStore, clock: ManualClock, receiver: ScriptedTarget) -> None:
    """After 410 the endpoint gets nothing any more, and the reason is kept."""
    endpoint = add_webhook(store, receiver.url)
    cancel_jobs(store, clock, "a")
    receiver.answer(410)
    send(store, endpoint)
    disabled = store.endpoint("we_1")
    assert disabled is not None
    assert "410" in disabled.disabled
    cancel_jobs(store, clock, "b")
    assert [one.message.subject for one in store.deliveries("we_1", 10)] == ["a"]


def test_days_of_failures_disable(store: SQLiteStore, clock: ManualClock, receiver: ScriptedTarget) -> None:
    """Messages are given up after three days; an endpoint without a success for five days is disabled."""
    endpoint = add_webhook(store, receiver.url)
    receiver.answer(*[500] * 100)
    began = clock.now()
    cancel_jobs(store, clock, "a")
    given_up_at = 0.0
    while not (store.endpoint("we_1") or endpoint).disabled:
        due = store.next_delivery("we_1")
        if due is None:
            given_up_at = given_up_at or clock.now()
            clock.advance(6 * 3600)
            cancel_jobs(store, clock, f"job-{clock.now():.0f}")
            continue
        clock.set(max(clock.now(), due, store.health("we_1").paused_until))
        send(store, endpoint)
    assert 3 * 86400 < given_up_at - began < 4 * 86400
    assert retries.DISABLE_AFTER <= clock.now() - began < retries.DISABLE_AFTER + 2 * 86400
    oldest = store.deliveries("we_1", 100)[-1]
    assert (oldest.message.subject, oldest.state, oldest.tries) == ("a", DeliveryState.FAILED, 10)
    assert store.replay("we_1", began) > 0, "they can be sent again by hand"


def test_failures_of_two_days_are_no_outage(store: SQLiteStore, clock: ManualClock, receiver: ScriptedTarget) -> None:
    """A failure weeks after another one, without a message in between, does not disable an endpoint."""
    endpoint = add_webhook(store, receiver.url)
    for _ in range(2):
        receiver.answer(400)
        cancel_jobs(store, clock, f"job-{clock.now():.0f}")
        health = send(store, endpoint)
        assert health is not None
        assert health.failing_since == health.attempts[0].at
        clock.advance(6 * 86400.0)
    present = store.endpoint("we_1")
    assert present is not None
    assert not present.disabled


def test_an_endpoint_that_does_not_answer_gets_one_message_at_a_time(
    store: SQLiteStore, clock: ManualClock, receiver: ScriptedTarget
) -> None:
    """While a receiver is away, its backlog is not sent in vain; after its return all of it is, in order."""
    endpoint = add_webhook(store, receiver.url)
    names = [f"job-{number:02}" for number in range(40)]
    cancel_jobs(store, clock, *names)
    receiver.answer(*[503] * 10)
    for _ in range(3):
        send(store, endpoint)
        clock.set(max(clock.now(), store.health("we_1").paused_until))
    assert len(receiver.received) == 10, "eight at once, then one for each pause"
    receiver.received.clear()
    while store.delivery_counts("we_1").get(DeliveryState.PENDING):
        if send(store, endpoint) is None:
            clock.set(store.next_delivery("we_1") or clock.now())
    delivered = [json.loads(one.body)["data"]["job_id"] for one in receiver.received]
    assert sorted(delivered) == names


def test_events_of_a_job_are_in_order(store: SQLiteStore, clock: ManualClock, receiver: ScriptedTarget) -> None:
    """Messages about one job are sent one after another, and a later one waits for the retry of an earlier one."""
    endpoint = add_webhook(store, receiver.url)
    cancel_jobs(store, clock, "a")
    for _ in range(2):
        store.retry("a")
        store.cancel("a")
        clock.advance(1)
    receiver.answer(500)
    send(store, endpoint)
    assert len(receiver.received) == 1
    clock.advance(6)
    while send(store, endpoint) is not None:
        pass
    sent = [one.headers["webhook-id"] for one in receiver.received]
    assert sent == [sent[0], *(one.message.event_id for one in reversed(store.deliveries("we_1", 10)))]


def test_a_message_whose_worker_died_is_sent_again(
    store: SQLiteStore, clock: ManualClock, receiver: ScriptedTarget
) -> None:
    """A message that was taken, and whose result was never stored, is sent again with the same id and bytes."""
    endpoint = add_webhook(store, receiver.url)
    cancel_jobs(store, clock, "a")
    (taken,) = store.take_deliveries("we_1", 1, 60.0)
    WebhookNotifier(allow_private=True).send(endpoint, taken.message)
    assert send(store, endpoint) is None
    clock.advance(60)
    send(store, endpoint)
    first, second = receiver.received
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


def test_private_addresses_are_refused(receiver: ScriptedTarget, clock: ManualClock) -> None:
    """A webhook connects to public addresses only, whatever its name leads to, and the answer does not repeat it."""
    message = Message(event_id="evt_1", type="job.failed", subject="a", at=clock.now(), body="{}")
    for url, expected in (
        (receiver.url, "its address must begin with https://"),
        (receiver.url.replace("http://", "https://"), "not a public one"),
        ("https://localhost/SECRET", "not a public one"),
        ("https://[::1]/SECRET", "not a public one"),
        ("https://169.254.169.254/SECRET", "not a public one"),
    ):
        endpoint = Endpoint(id="we_1", kind=EndpointKind.WEBHOOK, url=url, secret=signing.new_secret())
        answer = WebhookNotifier().send(endpoint, message)
        assert (answer.ok, answer.down) == (False, True)
        assert expected in answer.text
        assert "SECRET" not in answer.text
    assert receiver.received == []


def test_network_faults_are_failures(receiver: ScriptedTarget, clock: ManualClock) -> None:
    """A refused connection and an answer that does not arrive in time are failures of the endpoint."""
    message = Message(event_id="evt_1", type="job.failed", subject="a", at=clock.now(), body="{}")
    notifier = WebhookNotifier(allow_private=True, timings=SHORT)

    def sent(url: str) -> Answer:
        return notifier.send(Endpoint(id="we_1", kind=EndpointKind.WEBHOOK, url=url, secret="whsec_AAAA"), message)

    refused = sent(f"http://127.0.0.1:{free_port()}/SECRET")
    assert (refused.ok, refused.down) == (False, True)
    forever = threading.Event()
    receiver.answer(Reply(200, held=forever))
    silent = sent(receiver.url)
    forever.set()
    assert (silent.ok, silent.down) == (False, True)
    assert "within" in silent.text
    assert "SECRET" not in refused.text + silent.text


def test_a_failed_attempt_is_a_line_of_the_log(
    store: SQLiteStore, clock: ManualClock, receiver: ScriptedTarget
) -> None:
    """The line says which endpoint answered what, without its address; fields name the event and the attempt."""
    endpoint = add_webhook(store, f"{receiver.address}/SECRET")
    cancel_jobs(store, clock, "a")
    receiver.answer(500)
    stream, logger = io.StringIO(), logging.getLogger("tenxsom_flow_engine.notifiers")
    written, level = handler(stream), logger.level
    logger.addHandler(written)
    logger.setLevel(logging.INFO)
    send(store, endpoint)
    logger.removeHandler(written)
    logger.setLevel(level)
    line = json.loads(stream.getvalue())
    assert line["message"] == "job.cancelled to the webhook we_1: HTTP 500"
    assert (line["subject"], line["attempt"], line["event_id"][:4]) == ("a", 1, "evt_")
    assert "SECRET" not in stream.getvalue()
