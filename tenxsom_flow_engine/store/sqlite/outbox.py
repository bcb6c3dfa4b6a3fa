"""The endpoints and the outbox in the SQLite store, in the transaction of the change that causes an event."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from tenxsom_flow_engine.events import Delivery, DeliveryState, Endpoint, Event, Settled, deliveries_of
from tenxsom_flow_engine.events.endpoints import parse_endpoint
from tenxsom_flow_engine.events.outbox import KEEP_SECONDS, Message

#: Rows of an endpoint that one sweep removes, so that it does not block other writers.
TRIMMED = 5000
_COLUMNS = "event AS event_id, type, subject, at, body, state, tries, next_at"


def endpoints(db: sqlite3.Connection, endpoint_id: str | None = None) -> list[Endpoint]:
    """Return the endpoints by their creation: all, or the one of an id."""
    rows = db.execute("SELECT record FROM endpoints WHERE id = ifnull(?, id)", (endpoint_id,)).fetchall()
    return sorted((parse_endpoint(row["record"]) for row in rows), key=lambda one: (one.created_at, one.id))


def swap(db: sqlite3.Connection, before: Endpoint | None, after: Endpoint | None) -> bool:
    """Replace an endpoint if it is still `before`; return whether it was. The rows of one that ends are removed."""
    if before is None and after is None:
        return True
    if before is None and after is not None:
        new = "INSERT INTO endpoints (id, record) VALUES (?, ?) ON CONFLICT DO NOTHING"
        return db.execute(new, (after.id, after.text)).rowcount > 0
    assert before is not None
    if after is not None:
        values = (after.text, before.id, before.text)
        return db.execute("UPDATE endpoints SET record = ? WHERE id = ? AND record = ?", values).rowcount > 0
    ended = db.execute("DELETE FROM endpoints WHERE id = ? AND record = ?", (before.id, before.text)).rowcount > 0
    if ended:
        db.execute("DELETE FROM outbox WHERE endpoint = ?", (before.id,))
    return ended


def used(db: sqlite3.Connection) -> bool:
    """Return whether there is an endpoint."""
    return db.execute("SELECT 1 FROM endpoints LIMIT 1").fetchone() is not None


def write(db: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Write the rows that events cause."""
    if not events:
        return
    db.executemany(
        "INSERT INTO outbox (endpoint, event, type, subject, at, body, state, tries, next_at)"
        " VALUES (?, ?, ?, ?, ?, ?, 'pending', 0, ?) ON CONFLICT DO NOTHING",
        [
            (endpoint_id, one.event_id, one.type, one.subject, one.at, one.body, row.next_at)
            for endpoint_id, row in deliveries_of(events, endpoints(db))
            for one in (row.message,)
        ],
    )


def next_at(db: sqlite3.Connection, endpoint_id: str) -> float | None:
    """Return when the next attempt of an endpoint is due, or None."""
    at: float | None = db.execute(
        "SELECT min(next_at) FROM outbox WHERE endpoint = ? AND next_at IS NOT NULL", (endpoint_id,)
    ).fetchone()[0]
    return at


def take(db: sqlite3.Connection, endpoint_id: str, now: float, limit: int, seconds: float) -> list[Delivery]:
    """Begin an attempt of up to `limit` due rows, which are due again after `seconds` unless they are settled."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM outbox WHERE endpoint = ? AND next_at <= ? ORDER BY next_at, at LIMIT ?",
        (endpoint_id, now, limit),
    ).fetchall()
    db.executemany(
        "UPDATE outbox SET tries = tries + 1, next_at = ? WHERE endpoint = ? AND event = ?",
        [(now + seconds, endpoint_id, row["event_id"]) for row in rows],
    )
    taken = [_delivery(row) for row in rows]
    return [
        Delivery(message=one.message, tries=one.tries + 1, next_at=now + seconds)
        for one in sorted(taken, key=lambda one: one.message.at)
    ]


def settle(db: sqlite3.Connection, endpoint_id: str, settled: Iterable[Settled]) -> None:
    """Write the results of attempts that no later one has replaced."""
    db.executemany(
        "UPDATE outbox SET state = ?, next_at = ?, tries = ?"
        " WHERE endpoint = ? AND event = ? AND tries = ? AND state = 'pending'",
        [
            (one.state.value, one.next_at, one.tries - (not one.sent), endpoint_id, one.event_id, one.tries)
            for one in settled
        ],
    )


def listed(db: sqlite3.Connection, endpoint_id: str, limit: int) -> list[Delivery]:
    """Return the latest rows of an endpoint, newest first."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM outbox WHERE endpoint = ? ORDER BY at DESC, event LIMIT ?", (endpoint_id, limit)
    )
    return [_delivery(row) for row in rows]


def counts(db: sqlite3.Connection, endpoint_id: str) -> dict[DeliveryState, int]:
    """Return the number of rows of an endpoint by state."""
    rows = db.execute("SELECT state, count(*) FROM outbox WHERE endpoint = ? GROUP BY state", (endpoint_id,))
    return {DeliveryState(state): int(number) for state, number in rows}


def replay(db: sqlite3.Connection, endpoint_id: str, since: float, now: float) -> int:
    """Make the rows of events since an instant due now, with all attempts; return how many."""
    return db.execute(
        "UPDATE outbox SET state = 'pending', tries = 0, next_at = ? WHERE endpoint = ? AND at >= ? AND at <= ?",
        (now, endpoint_id, since, now),
    ).rowcount


def health(db: sqlite3.Connection, endpoint_id: str) -> str:
    """Return the stored health of an endpoint."""
    row = db.execute("SELECT health FROM endpoints WHERE id = ?", (endpoint_id,)).fetchone()
    return str(row[0]) if row else ""


def set_health(db: sqlite3.Connection, endpoint_id: str, text: str) -> None:
    """Store the health of an endpoint."""
    db.execute("UPDATE endpoints SET health = ? WHERE id = ?", (text, endpoint_id))


def trim(db: sqlite3.Connection, now: float) -> None:
    """Remove the rows of old events."""
    old = "SELECT rowid FROM outbox WHERE endpoint = ? AND at < ? LIMIT ?"
    for (endpoint_id,) in db.execute("SELECT id FROM endpoints").fetchall():
        values = (endpoint_id, now - KEEP_SECONDS, TRIMMED)
        db.execute(f"DELETE FROM outbox WHERE rowid IN ({old})", values)


def set_clock_back(db: sqlite3.Connection, instant: float) -> None:
    """Make attempts due that would be due later because the clock was ahead."""
    db.execute("UPDATE outbox SET next_at = ? WHERE next_at > ?", (instant, instant))


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        message=Message(
            event_id=str(row["event_id"]),
            type=str(row["type"]),
            subject=str(row["subject"]),
            at=float(row["at"]),
            body=str(row["body"]),
        ),
        state=DeliveryState(row["state"]),
        tries=int(row["tries"]),
        next_at=None if row["next_at"] is None else float(row["next_at"]),
    )
