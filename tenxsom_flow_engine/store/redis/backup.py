"""Backups of the Redis store, and restoring one on the same or another server.

A backup is a file with the DUMP of each of our keys, made by one script, so that all are of one instant. The legacy
list is not part of it. A restore loads the keys under another prefix, and one script renames them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tenxsom_flow_engine.errors import StoreBroken, StoreUnavailable
from tenxsom_flow_engine.files import sync
from tenxsom_flow_engine.store.backup import Exchange
from tenxsom_flow_engine.store.redis.connection import Connection, escaped
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.text import plural
from tenxsom_flow_engine.timings import Timings

#: Keys that are loaded, or deleted, in one call.
CHUNK_KEYS = 200


class _Dump(msgspec.Struct, frozen=True, tag_field="format", tag="tenxsom-flow-redis-1"):
    """The contents of a backup."""

    #: The store's time.
    at: float
    #: For each key: its name without our prefix, the milliseconds left to live (0: for ever), and its dump.
    keys: list[tuple[str, int, bytes]]


def back_up(url: str, prefix: str, target: Path, timings: Timings) -> None:
    """Write the store's keys into the file `target`, and sync it to disk. Raises `StoreError`."""
    with contextlib.closing(RedisStore(url, prefix, timings=timings)) as store:
        at = store.now()
        flat = store.connection.run_for_bytes("dump")
    names, lives, dumps = flat[::3], flat[1::3], flat[2::3]
    keys = [(name.decode(), life, dump) for name, life, dump in zip(names, lives, dumps, strict=True)]
    if not keys:
        raise StoreUnavailable(f"there is no job store at {store.place}", next_step="check REDIS_URL")
    target.write_bytes(msgspec.msgpack.encode(_Dump(at, keys)))
    sync(target)


@contextlib.contextmanager
def exchange(
    url: str, prefix: str, file: Path, stamp: str, *, alive_within: float, timings: Timings
) -> Iterator[Exchange]:
    """Load a backup next to the present keys and prepare to exchange them.

    A worker whose heartbeat is at most `alive_within` seconds old counts as alive. Raises `StoreUnavailable` while
    workers are alive, `StoreBroken` if the file is not a backup.
    """
    try:
        dump = msgspec.msgpack.decode(file.read_bytes(), type=_Dump)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreBroken(f"{file} is not a backup of a Redis store, or is damaged") from error
    with contextlib.ExitStack() as cleanup:
        present = cleanup.enter_context(contextlib.closing(RedisStore(url, prefix, timings=timings)))
        client, key = present.connection.client, present.connection.key
        with present.connection.mapped():
            used, latest = client.exists(key("position")), client.get(key("clock"))
        replaced_at = float(latest or 0) if used else 0.0
        refuse_workers(present, alive_within)
        loaded, kept = f"{{{prefix}}}.restoring-{stamp}", f"{{{prefix}}}.before-restore-{stamp}"
        cleanup.callback(delete_keys, present.connection, loaded)
        _load(present.connection, loaded, dump, file)
        restored = RedisStore(url, prefix, timings=timings, suffix=f".restoring-{stamp}")
        cleanup.callback(restored.close)

        def commit() -> None:
            refuse_workers(present, alive_within)
            present.connection.run("exchange", "", loaded, kept)

        shown = f"keys {kept}:* on the Redis server" if replaced_at else ""
        yield Exchange(restored, present if replaced_at else None, replaced_at >= dump.at, dump.at, shown, commit)


def refuse_workers(store: RedisStore, within: float) -> None:
    """Raise `StoreUnavailable` if a worker had a heartbeat within so many seconds."""
    if alive := [worker for worker in store.workers(within=within) if not worker.ended]:
        raise StoreUnavailable(
            f"{plural(len(alive), 'worker')} of the store {store.place} were alive {within:g} s ago",
            next_step="stop all workers, dashboards and other commands that use it, and wait for that time",
        )


def _load(connection: Connection, prefix: str, dump: _Dump, file: Path) -> None:
    for begin in range(0, len(dump.keys), CHUNK_KEYS):
        with connection.mapped(), connection.client.pipeline(transaction=False) as pipeline:
            for name, life, value in dump.keys[begin : begin + CHUNK_KEYS]:
                pipeline.restore(f"{prefix}:{name}", life, value)
            answers = pipeline.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception) and "payload version" in str(answer):
                raise StoreBroken(
                    f"{file} is damaged, or was made by a newer Redis server",
                    next_step="restore it on a server of at least that version",
                ) from answer
            connection.raise_error(answer)


def delete_keys(connection: Connection, prefix: str) -> None:
    """Remove all keys of a prefix."""
    with connection.mapped():
        names = list(connection.client.scan_iter(match=escaped(f"{prefix}:") + "*", count=1000))
        for begin in range(0, len(names), CHUNK_KEYS):
            connection.client.unlink(*names[begin : begin + CHUNK_KEYS])
