"""Add, change and remove endpoints: webhooks and alerts."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from tenxsom_flow_engine.channels.settings import check_name
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ConfigurationError, InvalidInput, StoreUnavailable
from tenxsom_flow_engine.events import DeliveryState, Endpoint, EndpointKind, signing
from tenxsom_flow_engine.events.endpoints import MAX_ENDPOINTS, check_webhook_url, parse_events
from tenxsom_flow_engine.events.model import TEST, body
from tenxsom_flow_engine.events.outbox import Health, Message
from tenxsom_flow_engine.notifiers.base import Answer
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.text import plural

#: Seconds for which the replaced secret of a webhook still signs its messages.
OVERLAP = 86400.0
#: Seconds that a verdict can have to last before an alert.
MAX_AFTER = 86400.0
#: Attempts to change an endpoint that other processes change at the same time.
_ATTEMPTS = 10
_PREFIXES = {EndpointKind.WEBHOOK: "we", EndpointKind.ALERT: "al"}


@dataclass(frozen=True, slots=True)
class EndpointState:
    """An endpoint, how it answers, and its stored messages by state."""

    endpoint: Endpoint
    health: Health
    counts: dict[DeliveryState, int]

    @property
    def state(self) -> str:
        """`ok`, `new` (nothing was sent yet), `failing` or `disabled`."""
        if self.endpoint.disabled:
            return "disabled"
        if self.health.failures:
            return "failing"
        return "ok" if self.health.last_success_at else "new"


def add_webhook(engine: Engine, url: str, events: str = "", channel: str = "") -> Endpoint:
    """Add a webhook with a new secret. Raises `InvalidInput`, `StoreError`."""
    check_webhook_url(url, allow_private=engine.settings.allow_private_webhooks)
    wanted = parse_events(events)
    return _add(
        engine.store, EndpointKind.WEBHOOK, url=url, events=wanted, channel=check_name(channel) if channel else "",
        secret=signing.new_secret(),
    )  # fmt: skip


def add_alert(engine: Engine, url: str, after: float = 0.0, *, notices: bool = False) -> Endpoint:
    """Add an alert. Raises `InvalidInput`, `ConfigurationError` without the library, `StoreError`."""
    from tenxsom_flow_engine.notifiers.alert import check_url

    if not 0 <= after <= MAX_AFTER:
        raise InvalidInput("after", "must be at most a day")
    return _add(engine.store, EndpointKind.ALERT, url=check_url(url), after=after, notices=notices)


def states(store: JobStore, kind: EndpointKind) -> Sequence[EndpointState]:
    """Return the endpoints of a kind by their creation."""
    return [state(store, one) for one in store.endpoints() if one.kind is kind]


def state(store: JobStore, endpoint: Endpoint) -> EndpointState:
    """Return the state of an endpoint."""
    return EndpointState(endpoint, store.health(endpoint.id), dict(store.delivery_counts(endpoint.id)))


def require(store: JobStore, endpoint_id: str, kind: EndpointKind) -> Endpoint:
    """Return the endpoint of an id. Raises `InvalidInput` if there is none of this kind."""
    found = store.endpoint(endpoint_id)
    if found is None or found.kind is not kind:
        known = ", ".join(one.id for one in store.endpoints() if one.kind is kind) or "none"
        reason = f"no {kind.value} has the id {endpoint_id[:60]!r}"
        raise InvalidInput("id", reason, next_step=f"{kind.value}s: {known}")
    return found


def remove(store: JobStore, endpoint_id: str, kind: EndpointKind) -> Endpoint:
    """Remove an endpoint with its messages; return it. Raises `InvalidInput`."""
    return _change(store, endpoint_id, kind, lambda one: None)


def rotate(store: JobStore, endpoint_id: str, overlap: float = OVERLAP) -> Endpoint:
    """Give a webhook a new secret; the old one also signs its messages for some time. Raises `InvalidInput`."""
    until = store.now() + overlap
    secret = signing.new_secret()
    return _change(
        store, endpoint_id, EndpointKind.WEBHOOK,
        lambda one: replace(one, secret=secret, old_secret=one.secret, old_secret_until=until),
    )  # fmt: skip


def enable(store: JobStore, endpoint_id: str, kind: EndpointKind) -> Endpoint:
    """Let a disabled endpoint get messages again. Raises `InvalidInput`."""
    found = _change(store, endpoint_id, kind, lambda one: replace(one, disabled=""))
    store.settle_deliveries(endpoint_id, [], Health(attempts=store.health(endpoint_id).attempts))
    return found


def replay(store: JobStore, endpoint_id: str, since: float) -> int:
    """Send the stored messages about events since an instant again; return how many. Raises `InvalidInput`."""
    if require(store, endpoint_id, EndpointKind.WEBHOOK).disabled:
        raise InvalidInput("id", f"the webhook {endpoint_id} is disabled", next_step="enable it first")
    return store.replay(endpoint_id, since)


def send_test(engine: Engine, endpoint_id: str, kind: EndpointKind) -> Answer:
    """Send a test message now, and return the answer. Raises `InvalidInput`, `ConfigurationError`."""
    endpoint = require(engine.store, endpoint_id, kind)
    notifier = engine.notifiers.get(kind)
    if notifier is None:
        raise ConfigurationError(f"this process cannot send a {kind.value}")
    now = engine.store.now()
    message = Message(
        event_id=f"test_{secrets.token_hex(12)}", type=TEST, subject="", at=now,
        body=body(TEST, now, {"endpoint": endpoint.id}),
    )  # fmt: skip
    return notifier.send(endpoint, message)


def _add(store: JobStore, kind: EndpointKind, **fields: object) -> Endpoint:
    if len(store.endpoints()) >= MAX_ENDPOINTS:
        raise InvalidInput("url", f"there are {plural(MAX_ENDPOINTS, 'endpoint')} already", next_step="remove one")
    made = Endpoint(id=f"{_PREFIXES[kind]}_{secrets.token_hex(5)}", kind=kind, created_at=store.now(), **fields)  # type: ignore[arg-type]
    store.swap_endpoint(None, made)
    return made


def _change(
    store: JobStore, endpoint_id: str, kind: EndpointKind, change: Callable[[Endpoint], Endpoint | None]
) -> Endpoint:
    """Replace an endpoint, or remove it; return the new one, or the removed one."""
    for _ in range(_ATTEMPTS):
        before = require(store, endpoint_id, kind)
        after = change(before)
        if store.swap_endpoint(before, after):
            return after or before
    raise StoreUnavailable(f"the {kind.value} {endpoint_id} is changed by others all the time", next_step="try again")
