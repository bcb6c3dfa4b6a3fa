"""Moves of the Redis store to and from another type of store (see `store.moving`).

Freezing renames all keys in one script, so that processes which have the store open find no job any more, also those of
earlier releases. The scripts of this release then answer with the marker. Filling uses keys of another prefix, and one
script renames them.
"""

from __future__ import annotations

import contextlib
import math
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from tenxsom_flow_engine.errors import ActionRefused, FlowError, StoreUnavailable
from tenxsom_flow_engine.events import DeliveryState
from tenxsom_flow_engine.events.outbox import Message
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.store.base import unreadable
from tenxsom_flow_engine.store.moving import (
    ARRIVED,
    LASTING_HOLDS,
    Arrival,
    Contents,
    Departure,
    Marker,
    Row,
    decode_marker,
    encode_marker,
    in_flight_error,
    refuse_in_flight,
)
from tenxsom_flow_engine.store.redis.backup import delete_keys, refuse_workers
from tenxsom_flow_engine.store.redis.connection import Connection, escaped
from tenxsom_flow_engine.store.redis.position_bitmaps import day_of
from tenxsom_flow_engine.store.redis.rows import Stored, added_job, end_of_packed, index_position
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.totals import LastError
from tenxsom_flow_engine.text import plural
from tenxsom_flow_engine.timings import Timings

#: Records read, or rows written, in one call.
CHUNK = 500
#: Quarters of an hour in a block of charges, and the seconds for which it is kept (see charges.lua).
BLOCK_QUARTERS, KEEP_BLOCK_SECONDS = 3072, 9_000_000


class RedisContents(Contents):
    """The contents of keys that only this process uses."""

    store: RedisStore

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self._client, self._key = store.connection.client, store.connection.key

    def records(self) -> Iterator[Sequence[JobRecord]]:
        places: dict[str, int] = {}
        with self.store.connection.mapped():
            for job_id, value in self._client.hscan_iter(self._key("jobs"), count=1000):
                places[job_id] = _position(job_id, value)
        ids = sorted(places, key=places.__getitem__)
        for begin in range(0, len(ids), CHUNK):
            chunk = ids[begin : begin + CHUNK]
            with self.store.connection.mapped():
                values = self._client.hmget(self._key("jobs"), chunk)
            yield [Stored.parse(job_id, value, None).record for job_id, value in zip(chunk, values, strict=True)]

    def add_records(self, records: Sequence[JobRecord]) -> None:
        calls = []
        for record in records:
            place = index_position(record)
            job = msgspec.msgpack.encode([*added_job(record), place[6]])
            calls.append(["", record.queue, day_of(record.added_at), job, *place[4:6], ""])
        self.store.connection.run_each("adopt", calls)

    def rows(self, table: str) -> Iterable[Row]:
        connection = self.store.connection
        with connection.mapped(), connection.decoding(table):
            return list(getattr(self, f"_{table}")())

    def add_rows(self, table: str, rows: Iterable[Row]) -> None:
        add = getattr(self, f"_add_{table}")
        pending = list(rows)
        for begin in range(0, len(pending), CHUNK):
            with self._writing() as pipeline:
                for row in pending[begin : begin + CHUNK]:
                    add(pipeline, *row)

    def queues(self) -> Sequence[str]:
        begin = self._key("queue:")
        with self.store.connection.mapped():
            return sorted(name.removeprefix(begin) for name in self._scan("queue:"))

    def advance_clock(self, instant: float) -> None:
        with self.store.connection.mapped():
            later = max(instant, float(self._client.get(self._key("clock")) or 0))
            self._client.set(self._key("clock"), repr(later))

    # The tables: how each is stored here.

    def _finished_ids(self) -> Iterator[Row]:
        yield from self._client.zscan_iter(self._key("finished_ids"))

    def _add_finished_ids(self, pipeline: Any, job_id: str, until: float) -> None:
        pipeline.zadd(self._key("finished_ids"), {job_id: until})

    def _sums(self) -> Iterator[Row]:
        for name in self._scan("sums:"):
            kind = name.removeprefix(self._key("sums:"))
            for field, amount in self._client.hgetall(name).items():
                yield (kind, *field.split("|"), float(amount))

    def _add_sums(self, pipeline: Any, kind: str, period: str, service: str, name: str, amount: float) -> None:
        pipeline.hset(self._key(f"sums:{kind}"), f"{period}|{service}|{name}", repr(amount))

    def _last_errors(self) -> Iterator[Row]:
        for service, error in self.store.last_errors().items():
            yield (service, error.at, error.job_id, error.code, error.message)

    def _add_last_errors(self, pipeline: Any, service: str, *error: Any) -> None:
        pipeline.hset(self._key("last_errors"), service, msgspec.json.encode(LastError(*error)))

    def _charges(self) -> Iterator[Row]:
        for name in self._scan("charges:"):
            scope = name.removeprefix(self._key("charges:")).partition(":")[2]
            amounts: dict[int, dict[str, int]] = {}
            for field, amount in self._client.hgetall(name).items():
                amounts.setdefault(int(field[1:]), {})[field[0]] = int(amount)
            for quarter, of in amounts.items():
                yield (scope, quarter, of.get("r", 0), of.get("s", 0))

    def _add_charges(self, pipeline: Any, scope: str, quarter: int, reserved: int, spent: int) -> None:
        name = self._key(f"charges:{quarter // BLOCK_QUARTERS}:{scope}")
        pipeline.hset(name, mapping={f"r{quarter}": reserved, f"s{quarter}": spent})
        pipeline.expire(name, KEEP_BLOCK_SECONDS)

    def _memos(self) -> Iterator[Row]:
        for name in self._scan("memo_ends:"):
            kind = name.removeprefix(self._key("memo_ends:"))
            texts = self._client.hgetall(self._key(f"memos:{kind}"))
            for memo, until in self._client.zscan_iter(name):
                if memo in texts:
                    yield (kind, memo, texts[memo], until)

    def _add_memos(self, pipeline: Any, kind: str, name: str, text: str, until: float) -> None:
        pipeline.hset(self._key(f"memos:{kind}"), name, text)
        pipeline.zadd(self._key(f"memo_ends:{kind}"), {name: until})

    def _holds(self) -> Iterator[Row]:
        for name in self._scan("hold:"):
            owner, until = self._client.hmget(name, "owner", "until")
            hold = name.removeprefix(self._key("hold:"))
            if owner and until and hold.startswith(LASTING_HOLDS):
                yield (hold, owner, float(until))

    def _add_holds(self, pipeline: Any, name: str, owner: str, until: float) -> None:
        key = self._key(f"hold:{name}")
        pipeline.hset(key, mapping={"owner": owner, "until": repr(until)})
        pipeline.expire(key, max(1, math.ceil(until - self.store.now())) + 3600)

    def _endpoints(self) -> Iterator[Row]:
        health = self._client.hgetall(self._key("endpoint_health"))
        for endpoint_id, record in self._client.hgetall(self._key("endpoints")).items():
            yield (endpoint_id, record, health.get(endpoint_id, ""))

    def _add_endpoints(self, pipeline: Any, endpoint_id: str, record: str, health: str) -> None:
        pipeline.hset(self._key("endpoints"), endpoint_id, record)
        pipeline.set(self._key("endpoints_version"), secrets.token_hex(8))
        if health:
            pipeline.hset(self._key("endpoint_health"), endpoint_id, health)

    def _outbox(self) -> Iterator[Row]:
        for endpoint_id in self._client.hkeys(self._key("endpoints")):
            states = self._client.hgetall(self._key(f"outbox_state:{endpoint_id}"))
            due = dict(self._client.zscan_iter(self._key(f"outbox_due:{endpoint_id}")))
            for event, text in self._client.hgetall(self._key(f"outbox:{endpoint_id}")).items():
                one = msgspec.json.decode(text, type=Message)
                tries, _, state = states.get(event, f"0 {DeliveryState.PENDING}").partition(" ")
                yield (endpoint_id, event, one.type, one.subject, one.at, one.body, state, int(tries), due.get(event))

    def _add_outbox(
        self, pipeline: Any, endpoint_id: str, event: str, kind: str, subject: str, at: float, body: str, state: str,
        tries: int, next_at: float | None,
    ) -> None:  # fmt: skip
        message = Message(event_id=event, type=kind, subject=subject, at=at, body=body)
        pipeline.hset(self._key(f"outbox:{endpoint_id}"), event, msgspec.json.encode(message))
        pipeline.zadd(self._key(f"outbox_at:{endpoint_id}"), {event: at})
        if tries or state != DeliveryState.PENDING:
            pipeline.hset(self._key(f"outbox_state:{endpoint_id}"), event, f"{tries} {state}")
        if next_at is not None:
            pipeline.zadd(self._key(f"outbox_due:{endpoint_id}"), {event: next_at})

    def _scan(self, begin: str) -> list[str]:
        return sorted(self._client.scan_iter(match=escaped(self._key(begin)) + "*", count=1000))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Any]:
        connection = self.store.connection
        with connection.mapped(), self._client.pipeline(transaction=False) as pipeline:
            yield pipeline
            answers = pipeline.execute(raise_on_error=False)
        for answer in answers:
            connection.raise_error(answer)


@contextlib.contextmanager
def leaving(url: str, prefix: str, *, alive_within: float, timings: Timings) -> Iterator[Departure]:
    """Open the store so that it can move.

    Raises `StoreUnavailable` while a worker is alive, and `ActionRefused` if legacy producers' entries wait.
    """
    with contextlib.ExitStack() as cleanup:
        connection = Connection(url, prefix, timings)
        cleanup.callback(connection.close)
        marker, arrived = _marker(connection), ""
        if marker is None:
            with contextlib.closing(RedisStore(url, prefix, timings=timings)) as store:
                if not store.holds_jobs():
                    raise StoreUnavailable(f"there are no jobs at {store.place}", next_step="check REDIS_URL")
                refuse_workers(store, alive_within)
                arrived = store.memo(*ARRIVED) or ""
            _refuse_legacy(connection, prefix)

        def freeze(marker: Marker) -> Contents:
            if leased := connection.run("freeze", "", *_frozen(connection, marker), on_disk=True):
                raise in_flight_error(leased)
            try:
                store = RedisStore(url, prefix, timings=timings, suffix=f".moved-{marker.id}")
                cleanup.callback(store.close)
                contents = RedisContents(store)
                refuse_in_flight(contents)
            except FlowError:
                thaw(marker)
                raise
            return contents

        def finish(marker: Marker) -> None:
            connection.run("freeze", "", *_frozen(connection, marker), on_disk=True)

        def thaw(marker: Marker) -> None:
            connection.run("thaw", "", _frozen(connection, marker)[0], on_disk=True)

        yield Departure(marker, arrived, freeze, finish, thaw)


@contextlib.contextmanager
def arriving(url: str, prefix: str, stamp: str, *, alive_within: float, timings: Timings) -> Iterator[Arrival]:
    """Prepare to fill the store."""
    with contextlib.ExitStack() as cleanup:
        connection = Connection(url, prefix, timings)
        cleanup.callback(connection.close)
        connection.check_server()
        present, marker = None, _marker(connection)
        if marker is None:
            present = cleanup.enter_context(contextlib.closing(RedisStore(url, prefix, timings=timings)))
        filling, kept = f"{connection.prefix}.arriving", f"{connection.prefix}.before-move-{stamp}"
        delete_keys(connection, filling)  # of a move that was interrupted
        store = RedisStore(url, prefix, timings=timings, suffix=".arriving")
        cleanup.callback(store.close)
        with connection.mapped():
            connection.client.set(store.connection.key("charged"), "1")  # its charges come with it (see seed_charges)

        def check() -> None:
            if present is not None:
                refuse_workers(present, alive_within)

        def commit() -> str:
            check()
            connection.run("exchange", "", filling, kept, on_disk=True)
            return f"keys {kept}:* on the Redis server"

        yield Arrival(connection.place, present, marker, RedisContents(store), check, commit)


def _frozen(connection: Connection, marker: Marker) -> tuple[str, str]:
    """Return the prefix of the frozen keys, and the stored marker."""
    return f"{connection.prefix}.moved-{marker.id}", encode_marker(marker)


def _marker(connection: Connection) -> Marker | None:
    with connection.mapped(), connection.decoding("moved"):
        stored = connection.client.get(connection.key("moved"))
        return decode_marker(stored) if stored else None


def _refuse_legacy(connection: Connection, prefix: str) -> None:
    with connection.mapped():
        waiting = connection.client.llen(prefix) if connection.client.type(prefix) == "list" else 0
    if waiting:
        raise ActionRefused(
            f"{plural(waiting, 'entry', 'entries')} of the legacy list {prefix} are not imported yet",
            next_step="stop its producers, and let a worker import them",
        )


def _position(job_id: str, value: str) -> int:
    try:
        return int(value[1 : end_of_packed(value, 0)], 16)
    except (IndexError, ValueError) as error:
        raise unreadable(job_id, error) from error
