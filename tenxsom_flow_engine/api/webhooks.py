"""The webhooks: who gets messages about events, and how they answer. A key of one channel uses those of its channel."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response
from werkzeug.exceptions import NotFound

from tenxsom_flow_engine.api import types
from tenxsom_flow_engine.api.acting_once import act_once
from tenxsom_flow_engine.api.keys import Scope
from tenxsom_flow_engine.api.requests import decode
from tenxsom_flow_engine.api.routes import Call, Route
from tenxsom_flow_engine.clock import utc_datetime
from tenxsom_flow_engine.events import Endpoint, EndpointKind
from tenxsom_flow_engine.operations import endpoints
from tenxsom_flow_engine.operations.endpoints import EndpointState

_KIND = EndpointKind.WEBHOOK


def list_webhooks(call: Call) -> types.Webhooks:
    """Return the webhooks."""
    found = endpoints.states(call.engine.store, _KIND)
    return types.Webhooks(webhooks=tuple(_describe(one) for one in found if call.caller.covers(one.endpoint.channel)))


def add(call: Call) -> Response:
    """Add a webhook, and return its secret. Its messages have what the scope `read` shows."""
    call.caller.require(Scope.READ)
    body = decode(call.data, types.NewWebhook)
    channel = call.caller.own_channel(body.channel or None) or ""

    def act() -> types.NewSecret:
        made = endpoints.add_webhook(call.engine, body.url, ",".join(body.events), channel)
        return types.NewSecret(id=made.id, secret=made.secret)

    return act_once(call, act, next_step="list the webhooks")


def show(call: Call) -> types.Webhook:
    """Return a webhook."""
    return _describe(endpoints.state(call.engine.store, _find(call)))


def remove(call: Call) -> types.Webhook:
    """Remove a webhook with its messages."""
    shown = show(call)
    endpoints.remove(call.engine.store, shown.id, _KIND)
    return shown


def rotate(call: Call) -> types.NewSecret:
    """Give a webhook another secret; the old one stays valid for a day."""
    made = endpoints.rotate(call.engine.store, _find(call).id)
    return types.NewSecret(id=made.id, secret=made.secret)


def enable(call: Call) -> types.Webhook:
    """Let a disabled webhook get messages again."""
    endpoints.enable(call.engine.store, _find(call).id, _KIND)
    return show(call)


def test(call: Call) -> types.TestAnswer:
    """Send a test message, and return the answer."""
    answer = endpoints.send_test(call.engine, _find(call).id, _KIND)
    return types.TestAnswer(delivered=answer.ok, answer=answer.text)


def replay(call: Call) -> types.Replayed:
    """Send the messages since an instant again."""
    since = decode(call.data, types.Replay).since
    return types.Replayed(messages=endpoints.replay(call.engine.store, _find(call).id, since.timestamp()))


def _find(call: Call) -> Endpoint:
    """Return the webhook of a request. Raises `NotFound`."""
    found = call.engine.store.endpoint(call.place["webhook"])
    if found is None or found.kind is not _KIND or not call.caller.covers(found.channel):
        raise NotFound(f"no webhook has the id {call.place['webhook'][:60]!r}")
    return found


def _describe(one: EndpointState) -> types.Webhook:
    endpoint, health = one.endpoint, one.health
    return types.Webhook(
        id=endpoint.id, url=endpoint.shown_url, state=one.state, events=endpoint.events or ("*",),
        channel=endpoint.channel or None, disabled=endpoint.disabled or None,
        created_at=utc_datetime(endpoint.created_at), last_success_at=_instant(health.last_success_at),
        failing_since=_instant(health.failing_since),
        messages={state.value: number for state, number in sorted(one.counts.items())},
        answers=tuple(
            types.WebhookAnswer(at=utc_datetime(each.at), type=each.type, id=each.event_id, ok=each.ok,
                                answer=each.answer)
            for each in health.attempts
        ),
    )  # fmt: skip


def _instant(at: float) -> datetime | None:
    return utc_datetime(at).astimezone(UTC) if at else None


_CHANGED = (413, 415)
_ONE = "/webhooks/{webhook}"
ROUTES = (
    Route("GET", "/webhooks", Scope.OPERATE, list_webhooks, "List webhooks", types.Webhooks),
    Route(
        "POST", "/webhooks", Scope.OPERATE, add, "Add a webhook; its secret is shown only now", types.NewSecret,
        body=types.NewWebhook, errors=(409, 422, *_CHANGED),
        example={"url": "https://example.org/hooks/flow", "events": ["job.*", "budget.100"]},
    ),
    Route("GET", _ONE, Scope.OPERATE, show, "Show a webhook and its latest answers", types.Webhook, errors=(404,)),
    Route("DELETE", _ONE, Scope.OPERATE, remove, "Remove a webhook", types.Webhook, errors=(404,)),
    Route(
        "POST", f"{_ONE}/rotate", Scope.OPERATE, rotate, "Replace the secret; the old one is valid for a day",
        types.NewSecret, errors=(404,),
    ),
    Route("POST", f"{_ONE}/enable", Scope.OPERATE, enable, "Enable a webhook", types.Webhook, errors=(404,)),
    Route("POST", f"{_ONE}/test", Scope.OPERATE, test, "Send a test message now", types.TestAnswer, errors=(404,)),
    Route(
        "POST", f"{_ONE}/replay", Scope.OPERATE, replay, "Send the messages since an instant again", types.Replayed,
        body=types.Replay, errors=(404, *_CHANGED), example={"since": "2026-12-24T18:00:00Z"},
    ),
)  # fmt: skip
