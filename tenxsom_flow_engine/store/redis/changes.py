"""Wait for a change of the store: a blocking read, on a separate connection, of a stream that every change writes."""

from __future__ import annotations

import os
import select
import threading
import time
from typing import Any

from tenxsom_flow_engine.errors import StoreUnavailable
from tenxsom_flow_engine.store.redis.connection import Connection
from tenxsom_flow_engine.store.wakeup import WakeupEvent

#: Seconds that a blocking read lasts on the server; a read that outlasts one wait is reused by the next.
BLOCK_SECONDS = 10.0
#: Time between two checks of an event that has no file descriptor (any but `WakeupEvent`).
CHECK_INTERVAL_SECONDS = 0.2


class Changes:
    """The stream of changes. Thread-safe: each thread waits on a separate connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._key = connection.key("changes")
        self._local = threading.local()
        self._subscriptions: list[_Subscription] = []

    def latest(self) -> str:
        """Return the stream id of the latest change."""
        with self._connection.mapped():
            last = self._connection.client.xrevrange(self._key, count=1)
        return last[0][0] if last else "0"

    def wait(self, after: str, timeout: float, wake: threading.Event) -> None:
        """Block until there is a change after a stream id, `timeout` seconds have passed, or `wake` is set."""
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
        if subscription is None or subscription.owner != os.getpid():  # after a fork the socket belongs to the parent
            subscription = self._local.subscription = _Subscription(
                self._connection.client.connection_pool.make_connection(),
                self._key,
                self._connection.answer_timeout,
            )
            self._subscriptions.append(subscription)
        return subscription


class _Subscription:
    """A connection with at most one blocking read under way."""

    def __init__(self, connection: Any, key: str, answer_timeout: float) -> None:
        self.owner = os.getpid()
        self._answer_timeout = answer_timeout
        self._connection = connection
        self._key = key
        #: Deadline of the server's answer; None: no read is under way.
        self._due: float | None = None

    def listen(self, after: str, seconds: float, wake: threading.Event) -> str | None:
        """Return the stream id of a change, or None. A reused read can return a change older than `after`."""
        try:
            if self._due is None:
                self._connection.connect()  # with sentinels, only this asks for the primary
                block = int(BLOCK_SECONDS * 1000)
                self._connection.send_command("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", self._key, after)
                self._due = time.monotonic() + BLOCK_SECONDS + self._answer_timeout
            self._sleep(seconds, wake)
            if not self._connection.can_read(0):
                if time.monotonic() > self._due:
                    raise StoreUnavailable("the Redis server has stopped answering a blocking read")
                return None
            answer = self._connection.read_response()
            self._due = None
        except BaseException:
            self.close()
            raise
        if not answer:
            return None
        # Keyed by stream: a list of pairs in RESP2, a map in RESP3.
        entries = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
        stream_id: str = entries[0][0]
        return stream_id

    def _sleep(self, seconds: float, wake: threading.Event) -> None:
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
        """Close the connection; the next `listen` opens it again."""
        self._due = None
        self._connection.disconnect()


def _order(stream_id: str) -> tuple[int, ...]:
    return tuple(map(int, stream_id.split("-")))
