"""The outbox: one row for each event and endpoint, written in the transaction that causes the event.

The bytes of a message are made once, so that every attempt sends the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from tenxsom_flow_engine.events.endpoints import Endpoint
from tenxsom_flow_engine.events.model import Event

#: Seconds for which rows are kept after their event, delivered or not, so that they can be sent again.
KEEP_SECONDS = 7 * 86400.0
#: The latest attempts of an endpoint that are kept for operators.
KEPT_ATTEMPTS = 10


class DeliveryState(StrEnum):
    """How far a message got."""

    PENDING = "pending"  # it is sent when it is due
    DELIVERED = "delivered"  # the receiver has confirmed it
    FAILED = "failed"  # given up: no attempt succeeded in time, or its endpoint was disabled
    WITHDRAWN = "withdrawn"  # there was nothing to report any more when it became due


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The unchanging part of a row."""

    event_id: str
    type: str
    subject: str
    at: float
    body: str


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the outbox of one endpoint."""

    message: Message
    state: DeliveryState = DeliveryState.PENDING
    #: The number of attempts that were begun.
    tries: int = 0
    #: When the next attempt is due; None unless it is pending.
    next_at: float | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of an attempt. `tries`: its number, so that a late result changes nothing."""

    event_id: str
    tries: int
    state: DeliveryState
    #: When the next attempt is due, if it is pending.
    next_at: float | None = None
    #: Whether anything was sent; otherwise this attempt does not count.
    sent: bool = True


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attempt as operators see it. `answer` is a status such as `HTTP 204`, or why there was none."""

    at: float
    event_id: str
    type: str
    ok: bool
    answer: str
    #: How long it took.
    seconds: float = 0.0


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an endpoint answers. Instants in seconds since 1970; 0: never."""

    #: Failures since the latest success, and the first of them.
    failures: int = 0
    failing_since: float = 0.0
    #: Until when it gets no message, because it does not answer.
    paused_until: float = 0.0
    last_success_at: float = 0.0
    #: The latest first.
    attempts: tuple[Attempt, ...] = ()

    @property
    def text(self) -> str:
        """The health as JSON, for a store."""
        return msgspec.json.encode(self).decode()


def parse_health(text: str | bytes) -> Health:
    """Read the health of an endpoint from JSON; nothing means that no message was sent. Raises `ValueError`."""
    return msgspec.json.decode(text, type=Health) if text else Health()


def deliveries_of(events: Iterable[Event], endpoints: Sequence[Endpoint]) -> list[tuple[str, Delivery]]:
    """Return the rows that events cause: for each the id of its endpoint."""
    return [
        (endpoint.id, Delivery(message=_message(event, endpoint), next_at=endpoint.due(event)))
        for event in events
        for endpoint in endpoints
        if endpoint.wants(event)
    ]


def _message(event: Event, endpoint: Endpoint) -> Message:
    return Message(
        event_id=event.id, type=event.type.value, subject=event.subject, at=event.at, body=endpoint.body(event)
    )
