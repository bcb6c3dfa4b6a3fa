"""Moves of the SQLite store to and from another type of store (see `store.moving`).

A move holds SQLite's exclusive lock on the file, as a restore does. The marker is in a table; a schema version that no
release has keeps earlier releases out.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import StoreBroken, StoreUnavailable
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.store.moving import (
    ARRIVED,
    LASTING_HOLDS,
    TABLES,
    Arrival,
    Contents,
    Departure,
    Marker,
    Row,
    decode_marker,
    encode_marker,
    refuse_in_flight,
)
from tenxsom_flow_engine.store.sqlite import backup, turns
from tenxsom_flow_engine.store.sqlite.connections import MOVED_VERSION, SCHEMA_VERSION, marker_in
from tenxsom_flow_engine.store.sqlite.rows import decoding, record_of
from tenxsom_flow_engine.store.sqlite.store import SQLiteStore, insert
from tenxsom_flow_engine.timings import Timings

#: Records read at a time.
CHUNK_JOBS = 1000


class SQLiteContents(Contents):
    """The contents of a file of which this process has the only copy."""

    store: SQLiteStore

    def __init__(self, store: SQLiteStore) -> None:
        self.store = store

    def records(self) -> Iterator[Sequence[JobRecord]]:
        after = 0
        while True:
            with self.store.reading() as (db, _):
                rows = db.execute(
                    "SELECT position, job_id, record FROM jobs WHERE position > ? ORDER BY position LIMIT ?",
                    (after, CHUNK_JOBS),
                ).fetchall()
            if not rows:
                return
            after = rows[-1]["position"]
            yield [record_of(row) for row in rows]

    def add_records(self, records: Sequence[JobRecord]) -> None:
        with self.store.writing_lazily() as (db, _):
            for record in records:
                insert(db, record)
            turns.enter(db, records)

    def rows(self, table: str) -> Iterable[Row]:
        with self.store.reading() as (db, _), decoding(table):
            found = [tuple(row) for row in db.execute(f"SELECT {', '.join(TABLES[table])} FROM {table}")]
            if table == "holds":
                return [row for row in found if str(row[0]).startswith(LASTING_HOLDS)]
            return found

    def add_rows(self, table: str, rows: Iterable[Row]) -> None:
        names, places = (", ".join(parts) for parts in (TABLES[table], "?" * len(TABLES[table])))
        with self.store.writing_lazily() as (db, _):
            db.executemany(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({places})", rows)

    def queues(self) -> Sequence[str]:
        with self.store.reading() as (db, _):
            return [row[0] for row in db.execute("SELECT name FROM queues ORDER BY name")]

    def advance_clock(self, instant: float) -> None:
        with self.store.writing_lazily() as (db, _):
            db.execute("UPDATE clock SET last = max(last, ?)", (instant,))


@contextlib.contextmanager
def leaving(path: Path, clock: Clock, timings: Timings) -> Iterator[Departure]:
    """Lock the store at `path` so that it can move. Raises `StoreUnavailable` while a process has it open."""
    if not path.is_file() or not path.stat().st_size:
        raise StoreUnavailable(f"there is no job store at {path}", next_step="check the path, and TENXSOM_HOME")
    copy = path.with_name(f"{path.name}.moving")
    with contextlib.ExitStack() as cleanup:
        db = cleanup.enter_context(backup.locked(path))
        cleanup.callback(backup.remove, copy)
        stored = marker_in(db)
        marker = decode_marker(stored) if stored else None

        def freeze(marker: Marker) -> Contents:
            contents = SQLiteContents(_copied(db, copy, clock, timings))
            cleanup.callback(contents.store.close)
            refuse_in_flight(contents)  # nothing can change before the lock ends
            mark(marker)
            return contents

        def mark(marker: Marker) -> None:
            with backup.mapped(path):
                db.execute("PRAGMA synchronous = FULL")
                db.execute("BEGIN IMMEDIATE")
                db.execute("CREATE TABLE IF NOT EXISTS moved (marker TEXT NOT NULL)")
                db.execute("DELETE FROM moved")
                db.execute("INSERT INTO moved VALUES (?)", (encode_marker(marker),))
                db.execute(f"PRAGMA user_version = {MOVED_VERSION}")
                db.execute("COMMIT")

        def thaw(_: Marker) -> None:
            with backup.mapped(path):
                db.execute("BEGIN IMMEDIATE")
                db.execute("DROP TABLE IF EXISTS moved")
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                db.execute("COMMIT")

        yield Departure(marker, _arrived(db), freeze, mark, thaw)


def _arrived(db: sqlite3.Connection) -> str:
    """Return the move that filled a file; a file of an earlier release has no memos."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'memos'").fetchone():
        return ""
    row = db.execute("SELECT text FROM memos WHERE kind = ? AND name = ?", ARRIVED).fetchone()
    return str(row[0]) if row else ""


def _copied(db: sqlite3.Connection, copy: Path, clock: Clock, timings: Timings) -> SQLiteStore:
    """Copy a locked file, and open the copy as a store that is not frozen."""
    backup.remove(copy)
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with backup.mapped(copy), contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as target:
        db.backup(target)
        target.execute("DROP TABLE IF EXISTS moved")
        target.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    return SQLiteStore(copy, clock, timings)


@contextlib.contextmanager
def arriving(path: Path, stamp: str, clock: Clock, timings: Timings) -> Iterator[Arrival]:
    """Lock the file at `path`, which need not exist, to fill it. Raises `StoreUnavailable` while it is open."""
    with backup.exchange(path, None, stamp, clock, timings) as exchange:
        unreadable = exchange.replaced is None and bool(exchange.kept)
        marker = _marker(Path(exchange.kept)) if unreadable else None
        if unreadable and marker is None:
            raise StoreBroken(f"the job store {path} is damaged", next_step="restore it, or name another file")

        def commit() -> str:
            exchange.commit()
            return exchange.kept

        assert isinstance(exchange.restored, SQLiteStore)
        yield Arrival(
            f"sqlite://{path}", exchange.replaced, marker, SQLiteContents(exchange.restored), lambda: None, commit
        )


def _marker(path: Path) -> Marker | None:
    with backup.mapped(path), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        stored = marker_in(db)
    return decode_marker(stored) if stored else None
