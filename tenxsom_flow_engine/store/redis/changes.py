"""Waiting for a change: a blocking read of the stream that every change writes to, on a connection of its own."""

from __future__ import annotations

import os
import select
import threading
import time
from typing import Any

from tenxsom_flow_engine.errors import StoreUnavailable
from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.wakeup import WakeupEvent

#: How long the server keeps a blocking read; one that outlives a wait serves the next.
BLOCK_SECONDS = 10.0
#: Time between two checks of an event that cannot be polled, as a `WakeupEvent` can.
CHECK_INTERVAL_SECONDS = 0.2


class Changes:
    """The stream of changes. Threads share it; each waits on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._key = connection.key("changes")
        self._local = threading.local()
        self._subscriptions: list[_Subscription] = []

    def latest(self) -> str:
        """Return the mark of the latest change."""
        with self._connection.mapped():
            last = self._connection.client.xrevrange(self._key, count=1)
        return last[0][0] if last else "0"

    def wait(self, after: str, timeout: float, wake: threading.Event) -> None:
        """Block until something has changed after a mark, `timeout` seconds have passed, or `wake` is set."""
        ends = time.monotonic() + timeout
        with self._connection.mapped():
            subscription = self._subscription()
            while not wake.is_set() and (left := ends - time.monotonic()) > 0:
                seen = subscription.listen(after, left, wake)
                if seen is not None and _order(seen) > _order(after):
                    return

    def close(self) -> None:
        """Close the connections."""
        for subscription in self._subscriptions:
            subscription.close()

    def _subscription(self) -> _Subscription:
        subscription: _Subscription | None = getattr(self._local, "subscription", None)
        if subscription is None or subscription.owner != os.getpid():  # a child's socket would be its parent's
            subscription = self._local.subscription = _Subscription(
                self._connection.client.connection_pool.make_connection(),
                self._key,
                self._connection.answer_timeout,
            )
            self._subscriptions.append(subscription)
        return subscription


class _Subscription:
    """One connection, and the blocking read that is under way on it."""

    def __init__(self, connection: Any, key: str, answer_timeout: float) -> None:
        self.owner = os.getpid()
        self._answer_timeout = answer_timeout
        self._connection = connection
        self._key = key
        #: When the server must have answered; None: nothing was asked.
        self._due: float | None = None

    def listen(self, after: str, seconds: float, wake: threading.Event) -> str | None:
        """Return the mark of a change, perhaps of an older one than was asked for; None if there is none."""
        try:
            if self._due is None:
                block = int(BLOCK_SECONDS * 1000)
                self._connection.send_command("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", self._key, after)
                self._due = time.monotonic() + BLOCK_SECONDS + self._answer_timeout
            self._rest(seconds, wake)
            if not self._connection.can_read(0):
                if time.monotonic() > self._due:
                    raise StoreUnavailable("the Redis server does not answer a blocking read any more")
                return None
            answer = self._connection.read_response()
            self._due = None
        except BaseException:
            self.close()
            raise
        if not answer:
            return None
        # By stream, as pairs (RESP2) or as a map (RESP3).
        entries = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
        mark: str = entries[0][0]
        return mark

    def _rest(self, seconds: float, wake: threading.Event) -> None:
        """Block until the server answers, the time has passed, or `wake` is set."""
        poll = select.poll()
        poll.register(self._connection._sock, select.POLLIN)
        if not isinstance(wake, WakeupEvent):
            poll.poll(min(seconds, CHECK_INTERVAL_SECONDS) * 1000)
            return
        poll.register(wake, select.POLLIN)
        poll.poll(seconds * 1000)
        wake.drain()

    def close(self) -> None:
        """Close the connection; listening again opens it."""
        self._due = None
        self._connection.disconnect()


def _order(mark: str) -> tuple[int, ...]:
    return tuple(map(int, mark.split("-")))
