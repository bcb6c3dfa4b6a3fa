"""The endpoints and the outbox on Redis.

A client makes the rows of an event for the endpoints that it knows; the script that changes the record writes them, or
refuses the change if the endpoints are others by then. So a job costs nothing more where no endpoint exists, and no
event is lost when one is added.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources

import msgspec

from tenxsom_flow_engine.events import Delivery, DeliveryState, Endpoint, Event, Settled, deliveries_of
from tenxsom_flow_engine.events.changes import ends_job
from tenxsom_flow_engine.events.endpoints import parse_endpoint
from tenxsom_flow_engine.events.outbox import KEEP_SECONDS, Health, Message, parse_health
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.store.redis.connection import Connection

_log = logging.getLogger(__name__)

#: Returns the events of a change of a record.
JobEvents = Callable[[JobRecord, JobRecord], Sequence[Event]]
#: The answer of a script whose rows were made for other endpoints.
OTHER_ENDPOINTS = "endpoints"
#: Rows as scripts read them: the version of the endpoints, and for each its endpoint, event, time, due time, message.
Rows = tuple[str, list[tuple[str, str, str, str, str]]]


class Outbox:
    """The outbox of a store. Caches the endpoints, with the version that the scripts compare."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: tuple[str, tuple[Endpoint, ...]] = ("", ())

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Map the errors of the driver, and those of decoding the value of a key."""
        with self._connection.mapped(), self._connection.decoding(name):
            yield

    def job_rows(self, before: JobRecord, after: JobRecord, events: JobEvents) -> Rows | None:
        """Return the rows of a change of a record; None if it causes no event. Cheap without an endpoint."""
        if not ends_job(before, after):
            return None
        return self._rows(events(before, after)) if self._known[1] else (self._known[0], [])

    def _rows(self, events: Sequence[Event]) -> Rows:
        """Return the rows of events for the known endpoints."""
        version, endpoints = self._known
        return version, [
            (endpoint_id, one.event_id, repr(one.at), repr(row.next_at), _encode(one))
            for endpoint_id, row in deliveries_of(events, endpoints)
            for one in (row.message,)
        ]

    def encoded_rows(self, events: Sequence[Event]) -> bytes:
        """Return the rows of events in MessagePack; nothing without events."""
        return msgspec.msgpack.encode(self._rows(events)) if events else b""

    def refresh(self) -> None:
        """Read the endpoints again, because a script has found others."""
        key = self._connection.key
        with self._reading("endpoints"), self._connection.client.pipeline() as pipeline:
            pipeline.get(key("endpoints_version"))
            pipeline.hgetall(key("endpoints"))
            version, found = pipeline.execute()
            self._known = (version or "", tuple(map(parse_endpoint, found.values())))

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the endpoints by their creation."""
        with self._reading("endpoints"):
            found = map(parse_endpoint, self._connection.client.hvals(self._connection.key("endpoints")))
            return sorted(found, key=lambda one: (one.created_at, one.id))

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint, or None."""
        with self._reading("endpoints"):
            found = self._connection.client.hget(self._connection.key("endpoints"), endpoint_id)
            return parse_endpoint(found) if found else None

    def swap(self, before: Endpoint | None, after: Endpoint | None) -> bool:
        """Replace an endpoint if it is still `before`; return whether it was."""
        named = before or after
        if named is None:
            return True
        texts = ["" if one is None else one.text for one in (before, after)]
        return bool(self._connection.run("swap_endpoint", "", named.id, *texts, secrets.token_hex(8), on_disk=True))

    def next_at(self, endpoint_id: str) -> float | None:
        """Return when the next attempt is due, or None."""
        name = f"outbox_due:{endpoint_id}"
        with self._reading(name):
            first = self._connection.client.zrange(self._connection.key(name), 0, 0, withscores=True)
            return float(first[0][1]) if first else None

    def take(self, instant: str, endpoint_id: str, limit: int, seconds: float) -> Sequence[Delivery]:
        """Begin an attempt of up to `limit` due rows. `instant`: that of the clock of tests, or nothing."""
        *found, now = self._connection.run("take_rows", instant, endpoint_id, limit, seconds)
        taken = []
        for text, tries in zip(found[::2], found[1::2], strict=False):
            try:
                taken.append(Delivery(message=_decode(text), tries=int(tries), next_at=float(now) + seconds))
            except ValueError as error:  # one unreadable message must not block the rest
                _log.error("a message for %s cannot be read: %s", endpoint_id, error)
        return sorted(taken, key=lambda one: one.message.at)

    def settle(self, endpoint_id: str, settled: Sequence[Settled], health: Health | None) -> None:
        """Write the results of attempts, and the health of the endpoint."""
        results = [
            part
            for one in settled
            for part in (
                one.event_id,
                one.tries,
                f"{one.tries - (not one.sent)} {one.state.value}",
                "" if one.next_at is None else repr(one.next_at),
            )
        ]
        self._connection.run("settle_rows", "", endpoint_id, health.text if health else "", *results)

    def listed(self, endpoint_id: str, limit: int) -> Sequence[Delivery]:
        """Return the latest rows, newest first."""
        client, key = self._connection.client, self._connection.key
        with self._reading(f"outbox:{endpoint_id}"):
            events = client.zrevrange(key(f"outbox_at:{endpoint_id}"), 0, limit - 1)
            if not events:
                return []
            with client.pipeline() as pipeline:
                pipeline.hmget(key(f"outbox:{endpoint_id}"), events)
                pipeline.hmget(key(f"outbox_state:{endpoint_id}"), events)
                for event in events:
                    pipeline.zscore(key(f"outbox_due:{endpoint_id}"), event)
                messages, states, *due = pipeline.execute()
            return [
                _delivery(message, state, at)
                for message, state, at in zip(messages, states, due, strict=True)
                if message is not None
            ]

    def counts(self, endpoint_id: str) -> dict[DeliveryState, int]:
        """Return the number of rows by state."""
        client, key = self._connection.client, self._connection.key
        with self._reading(f"outbox_state:{endpoint_id}"), client.pipeline() as pipeline:
            pipeline.hlen(key(f"outbox:{endpoint_id}"))
            pipeline.hvals(key(f"outbox_state:{endpoint_id}"))
            rows, states = pipeline.execute()
            found = Counter(DeliveryState(state.partition(" ")[2]) for state in states)
            found[DeliveryState.PENDING] += max(0, rows - len(states))  # those without an attempt have no state
        return {state: number for state, number in found.items() if number}

    def replay(self, instant: str, endpoint_id: str, since: float) -> int:
        """Make the rows of events since an instant due now; return how many."""
        return int(self._connection.run("replay_rows", instant, endpoint_id, repr(since)))

    def health(self, endpoint_id: str) -> Health:
        """Return how an endpoint answers."""
        with self._reading("endpoint_health"):
            found = self._connection.client.hget(self._connection.key("endpoint_health"), endpoint_id)
            return parse_health(found or "")

    def trim(self, now: float) -> None:
        """Remove the rows of old events."""
        while self._connection.run("trim_rows", "", repr(now - KEEP_SECONDS)):
            pass


def outbox_functions() -> str:
    """Return the functions that scripts need to write rows; they use the prefix `P` of the keys."""
    return resources.files(__package__).joinpath("scripts/outbox.lua").read_text("utf-8")


def _encode(message: Message) -> str:
    return msgspec.json.encode(message).decode()


def _decode(text: str) -> Message:
    return msgspec.json.decode(text, type=Message)


def _delivery(message: str, state: str | None, due: float | None) -> Delivery:
    tries, _, name = (state or "0 pending").partition(" ")
    return Delivery(
        message=_decode(message),
        state=DeliveryState(name),
        tries=int(tries),
        next_at=None if due is None else float(due),
    )
