"""Events, endpoints, signatures and retry times: the pure parts."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.events import Endpoint, EndpointKind, EventType, retries, signing
from tenxsom_flow_engine.events.changes import job_events, queue_events, service_events
from tenxsom_flow_engine.events.endpoints import check_webhook_url, hidden_url, parse_events
from tenxsom_flow_engine.events.model import FAMILIES
from tenxsom_flow_engine.jobs import Failure, JobRecord, Status, lifecycle
from tenxsom_flow_engine.jobs.model import MAX_TOPIC
from tenxsom_flow_engine.testing.samples import a_job

NOW = 1_800_000_000.0


def exact(low: float, high: float) -> float:
    """Return the middle: no jitter."""
    return (low + high) / 2


def added(**changes: Any) -> JobRecord:
    return lifecycle.add(a_job(**changes), queue="local", nonce="n", now=NOW, due=NOW)


def test_the_signature_is_that_of_the_specification() -> None:
    """The signature is that of the library of Standard Webhooks for the same message."""
    secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    body = b'{"type":"job.completed","timestamp":"2026-11-29T12:00:00Z","data":{"job":"42"}}'
    signed = signing.signature(secret, "msg_42", 1795953600, body)
    assert signed == "v1,UwtbTJzKva+sR4VhEv0e86eQkVkH3IQryrN5VIfxjAQ="


def test_both_secrets_sign_during_a_rotation() -> None:
    """During the overlap a receiver with either secret accepts a message; after it only the new one does."""
    old, new = signing.new_secret(), signing.new_secret()
    endpoint = Endpoint(id="we_1", kind=EndpointKind.WEBHOOK, secret=new, old_secret=old, old_secret_until=NOW)
    assert endpoint.secrets(NOW - 1) == (new, old)
    assert endpoint.secrets(NOW) == (new,)
    assert len({old, new}) == 2
    Webhook(old)
    Webhook(new)


def test_a_change_without_an_end_is_no_event() -> None:
    """Only a new final or held status is an event."""
    record = added()
    assert job_events(record, record) == ()
    cancelled = lifecycle.cancel(record, NOW + 1)
    assert [event.type for event in job_events(record, cancelled)] == [EventType.JOB_CANCELLED]
    assert job_events(cancelled, lifecycle.retry(cancelled, NOW + 2)) == ()
    assert job_events(record, cancelled) == job_events(record, cancelled), "the same change, the same event"


def test_the_body_is_small() -> None:
    """The longest texts make a body of less than 20 kB."""
    record = added(topic="\N{MOUNTAIN}" * MAX_TOPIC, channel="c" * 64)
    words = "é\n" * 50_000
    failed = msgspec.structs.replace(
        record, status=Status.FAILED, error=Failure(code="x", message=words, next_step=words)
    )
    (event,) = job_events(record, failed)
    assert len(event.body.encode()) < 20_000
    body = json.loads(event.body)
    assert set(body) == {"type", "timestamp", "data"}
    assert body["timestamp"] == "2027-01-15T08:00:00.000Z"


def test_states_change_once() -> None:
    """A queue or a service that keeps its state causes no event."""
    assert queue_events("local", True, True, NOW) == ()
    assert service_events("alpha", "misconfigured", "by hand", "", NOW) == ()
    (event,) = service_events("alpha", "", "misconfigured", "wrong\nkey", NOW)
    assert event.data == {"service": "alpha", "code": "misconfigured", "reason": "wrong key"}


def test_types_are_parsed() -> None:
    """Types and families are checked; a star means all."""
    assert parse_events("job.*, budget.100,job.*") == ("job.*", "budget.100")
    assert parse_events("*") == parse_events("job.held,*") == parse_events("") == ()
    assert FAMILIES == ("job", "budget", "service", "queue", "verdict")
    with pytest.raises(InvalidInput, match="is no type of event"):
        parse_events("job.done")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.org/services/T0/SECRET?key=x", "https://hooks.example.org/…"),
        ("https://me:pw@example.org:8443/x", "https://example.org:8443/…"),
        ("https://example.org?SECRET", "https://example.org/…"),
        ("slack://TOKEN/TOKEN", "slack://…"),
        ("SECRET", "…"),
        ("", "…"),
    ],
)
def test_an_address_is_shown_without_secrets(url: str, shown: str) -> None:
    """Of a web address the host is shown, of others the scheme."""
    assert hidden_url(url) == shown


@pytest.mark.parametrize(
    "url",
    ["http://example.org/x", "ftp://example.org", "https://", "https://a b/", "https://u:p@example.org/", "https://[",
     "https://example.org:99999/", "https://example.org/" + "x" * 3000, "example.org/SECRET"],
)  # fmt: skip
def test_an_invalid_address_is_refused(url: str) -> None:
    """Only an encrypted address without a user name is accepted; the error does not repeat it."""
    with pytest.raises(InvalidInput) as caught:
        check_webhook_url(url, allow_private=False)
    assert "SECRET" not in str(caught.value)


def test_plain_http_is_for_private_receivers() -> None:
    """Plain HTTP needs the setting for private addresses."""
    assert check_webhook_url("http://127.0.0.1:9/x", allow_private=True)


def test_attempts_are_spread_over_three_days() -> None:
    """Ten attempts follow the example of the specification; after the last there is none."""
    now, times = NOW, []
    for tries in range(1, 11):
        following = retries.next_attempt(tries, NOW, now, None, exact)
        times.append(following)
        now = following or now
    assert times[-1] is None
    assert now - NOW == 75 * 3600 + 35 * 60 + 5
    assert retries.next_attempt(2, NOW, NOW, None, min) == pytest.approx(NOW + 240)
    assert retries.next_attempt(2, NOW, NOW, None, max) == pytest.approx(NOW + 360)


def test_a_receiver_can_ask_for_more_time() -> None:
    """A later `Retry-After` is obeyed, up to a day; an earlier one changes nothing."""
    assert retries.next_attempt(1, NOW, NOW, 100.0, exact) == NOW + 100
    assert retries.next_attempt(2, NOW, NOW, 100.0, exact) == NOW + 300
    assert retries.next_attempt(1, NOW, NOW, 10**9, exact) == NOW + 86400
    assert retries.next_attempt(1, NOW, NOW + retries.GIVE_UP + 1, None, exact) is None


def test_an_endpoint_that_fails_is_left_alone_longer() -> None:
    """The pauses double, up to five minutes."""
    assert [retries.pause(count, None, exact) for count in (1, 2, 3, 10**6)] == [2, 4, 8, 300]
    assert retries.pause(1, 60.0, exact) == 60
