"""Webhooks by the rules of Standard Webhooks (spec 1.0.0): signed POST requests to public addresses.

A redirect is a failure: it could lead to an address that was not checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tenxsom_flow_engine.clock import Clock, SystemClock
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.events import Endpoint, signing
from tenxsom_flow_engine.events.endpoints import check_webhook_url
from tenxsom_flow_engine.events.outbox import Message
from tenxsom_flow_engine.notifiers.base import Answer
from tenxsom_flow_engine.services.http.addresses import NotPublic
from tenxsom_flow_engine.services.http.client import ProcessConnections, make_connections
from tenxsom_flow_engine.services.http.responses import read_retry_after
from tenxsom_flow_engine.timings import Timings

if TYPE_CHECKING:
    from urllib3 import PoolManager

#: Statuses with which a receiver asks for fewer messages, or says that it does not work.
_SLOW_DOWN = frozenset({429, 408})
_GONE = 410


class WebhookNotifier:
    """Sends webhooks. `allow_private` permits private addresses and plain HTTP.

    `clock` is that of this machine: receivers compare the time of an attempt with theirs.
    """

    at_once = 8

    def __init__(
        self,
        *,
        allow_private: bool = False,
        timings: Timings = Timings(),
        clock: Clock | None = None,
        public_connections: Callable[[], PoolManager] | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._timeouts = timings.webhook_call
        self._clock = clock or SystemClock()
        self._connections = ProcessConnections(
            make_connections if allow_private else public_connections or _public_connections
        )

    @property
    def seconds(self) -> float:
        """The most seconds that an attempt takes."""
        return self._timeouts.total

    def send(self, endpoint: Endpoint, message: Message) -> Answer:
        """Make one attempt."""
        from tenxsom_flow_engine.services.http.connection import NETWORK_FAULTS, Exchange, describe_failure, send

        now, body = self._clock.now(), message.body.encode()
        try:
            check_webhook_url(endpoint.url, allow_private=self._allow_private)
            signed = signing.headers(endpoint.secrets(now), message.event_id, int(now), body)
        except InvalidInput as error:
            return Answer(False, f"not sent: its address {error.reason}", down=True)
        with Exchange(self._timeouts.total) as exchange:
            try:
                response = send(
                    self._connections.get(),
                    "POST",
                    endpoint.url,
                    headers={"Content-Type": "application/json", **signed},
                    timeouts=self._timeouts,
                    body=body,
                )
            except NotPublic:
                return Answer(False, "not sent: its address is not a public one", down=True)
            except NETWORK_FAULTS as error:
                return Answer(False, describe_failure(error, exchange), down=True)
            with response:
                return _answer(response.status, read_retry_after(response.headers, None, now))


def _answer(status: int, retry_after: float | None) -> Answer:
    text = f"HTTP {status}"
    if 200 <= status < 300:
        return Answer(True, text)
    if 300 <= status < 400:
        return Answer(False, f"{text}: redirects are not followed")
    down = status >= 500 or status in _SLOW_DOWN
    return Answer(False, text, down=down, gone=status == _GONE, retry_after=retry_after)


def _public_connections() -> PoolManager:
    from tenxsom_flow_engine.services.http.connection import new_public_connections

    return new_public_connections()
