"""A record as a row of the table `jobs`: `record` is complete, the other columns repeat fields for queries."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple
from typing import Any, TypeVar

import msgspec

from tenxsom_flow_engine.budgets.charges import charge_changes
from tenxsom_flow_engine.errors import StoreBroken
from tenxsom_flow_engine.events import Event
from tenxsom_flow_engine.events.changes import ends_job, job_events
from tenxsom_flow_engine.jobs import JobRecord
from tenxsom_flow_engine.jobs.codec import encode
from tenxsom_flow_engine.store.base import read_record, unreadable
from tenxsom_flow_engine.store.sqlite import budgets, outbox, turns
from tenxsom_flow_engine.store.totals import additions, new_error

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

COLUMNS = (
    "job_id", "queue", "lane", "status", "service", "channel", "priority", "topic", "due", "lease_until",
    "slot_service", "slot_until", "added_at", "finished_at", "record",
)  # fmt: skip

#: Columns that never change: rewriting them would rewrite their indexes.
_FIXED = ("job_id", "channel", "priority", "added_at")
_CHANGING = ", ".join(f"{name} = :{name}" for name in COLUMNS if name not in _FIXED)
_UPDATE = f"UPDATE jobs SET {_CHANGING} WHERE job_id = :job_id"

_ADD = "INSERT INTO sums VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount"


class ForeignValue(sqlite3.DatabaseError):
    """A table has a value that the engine cannot have written: the file is damaged. Mapped like the driver's errors."""


@contextlib.contextmanager
def decoding(table: str) -> Iterator[None]:
    """Raise `ForeignValue` naming a table if the block cannot decode a value of it."""
    try:
        yield
    except (ValueError, TypeError, LookupError, OverflowError) as error:  # msgspec's errors are ValueErrors
        raise ForeignValue(f"a value in its table {table} is not the engine's: {error}") from error


def rows_as(kind: type[_T], table: str, rows: Iterable[sqlite3.Row]) -> list[_T]:
    """Return the rows of a table as dataclasses. The types of the columns are checked: a damaged page can have any."""
    with decoding(table):
        return [msgspec.convert(dict(row), kind) for row in rows]


def row_of(record: JobRecord) -> dict[str, Any]:
    """Return the columns of a record."""
    return {
        "job_id": record.job_id,
        "queue": record.queue,
        "lane": record.lane,
        "status": record.status.value,
        "service": record.effective_service,
        "channel": record.job.channel,
        "priority": record.job.priority,
        "topic": record.job.topic,
        "due": record.due,
        "lease_until": record.lease.until if record.lease else None,
        "slot_service": record.service if record.holds_slot else None,
        "slot_until": record.submission.deadline if record.holds_slot else None,
        "added_at": record.added_at,
        "finished_at": record.finished_at,
        "record": encode(record),
    }


def record_of(row: sqlite3.Row) -> JobRecord:
    """Read the record of a row. Raises `StoreBroken` naming the job if it cannot be read."""
    if not isinstance(row["record"], bytes | str):
        raise unreadable(row["job_id"], ValueError("it is missing"))
    return read_record(row["job_id"], row["record"])


def readable(rows: Iterable[sqlite3.Row], db: sqlite3.Connection | None = None) -> Iterator[JobRecord]:
    """Yield the readable records and log the others: one unreadable record must not block the rest.

    With `db`, an unreadable job is also removed from the queue: its row counts as failed, its record is unchanged.
    """
    for row in rows:
        try:
            yield record_of(row)
        except StoreBroken as error:
            _log.error("%s", error)
            if db is not None:
                set_aside = "UPDATE jobs SET status = 'failed', due = NULL, lease_until = NULL WHERE job_id = ?"
                db.execute(set_aside, (row["job_id"],))


def save(db: sqlite3.Connection, record: JobRecord) -> None:
    """Replace the stored record of the same id in the caller's transaction."""
    db.execute(_UPDATE, row_of(record))


def keep_start(db: sqlite3.Connection, before: float | None, record: JobRecord) -> None:
    """Update the table of latest starts in the caller's transaction; `before`: what it has for the job."""
    if record.expires_at == before:
        return
    if record.expires_at is None:
        db.execute("DELETE FROM starts WHERE job_id = ?", (record.job_id,))
    else:
        db.execute("INSERT OR REPLACE INTO starts VALUES (?, ?)", (record.job_id, record.expires_at))


def keep(
    db: sqlite3.Connection,
    before: JobRecord,
    after: JobRecord,
    events: Callable[[JobRecord, JobRecord], Sequence[Event]] = job_events,
) -> None:
    """Replace a stored record, update totals and budgets, and write its events, in the caller's transaction."""
    save(db, after)
    if ends_job(before, after) and outbox.used(db):
        with decoding("endpoints"):
            outbox.write(db, events(before, after))
    turns.enter(db, [after])
    turns.give_back(db, before, after)
    keep_start(db, before.expires_at, after)
    budgets.charge(db, charge_changes(before, after))
    db.executemany(_ADD, map(astuple, additions(before, after)))
    if found := new_error(before, after):
        service, error = found
        db.execute("INSERT OR REPLACE INTO last_errors VALUES (?, ?, ?, ?, ?)", (service, *astuple(error)))
