"""Which due jobs a worker gets, as reads and writes inside one SQLite transaction.

Every question is answered from an index, so a claim costs the same however many jobs wait.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator

from tenxsom_flow_engine import lifecycle
from tenxsom_flow_engine.jobs import AUTO, TICKET_LANE, JobRecord, Lease
from tenxsom_flow_engine.store.base import Claim, ClaimRequest, DispatchLimits, QueueState
from tenxsom_flow_engine.store.sqlite.rows import record_of, save

#: Leases that ran out and are taken back in one transaction.
REAP = 100


def queue_state(db: sqlite3.Connection, queue: str) -> QueueState:
    """Return what was set on a queue at run time."""
    row = db.execute(
        "SELECT paused, max_dispatches_per_second, max_concurrent_dispatches FROM queues WHERE name = ?", (queue,)
    ).fetchone()
    return QueueState(bool(row[0]), row[1], row[2]) if row else QueueState()


def in_flight(db: sqlite3.Connection, service: str, now: float, *, beside: str = "") -> int:
    """Return how many jobs, beside one, hold a slot of a service."""
    count: int = db.execute(
        "SELECT count(*) FROM jobs WHERE slot_service = ? AND slot_until > ? AND job_id <> ?", (service, now, beside)
    ).fetchone()[0]
    return count


def look(db: sqlite3.Connection, request: ClaimRequest, now: float) -> float | None:
    """Return when there may be something to claim: an instant that has come means now, None not before a change."""
    if queue_state(db, request.queue).paused:
        return None
    instants = [_first(db, "lease_until", request.queue)]
    for lane, free in _openings(db, request, now).items():
        if free > 0:
            instants.append(_first(db, "due", request.queue, lane))
        else:
            # The lane opens when a slot falls free: by a change, or when a generation is given up.
            until = "SELECT min(slot_until) FROM jobs WHERE slot_service = ? AND slot_until > ?"
            instants.append(db.execute(until, (lane, now)).fetchone()[0])
    return min((instant for instant in instants if instant is not None), default=None)


def claim_due(db: sqlite3.Connection, request: ClaimRequest, now: float) -> Claim:
    """Take back what has lost its worker, then lease what is due, within all limits."""
    _reap(db, request.queue, now)
    queue = queue_state(db, request.queue)
    if queue.paused:
        return Claim((), None)
    limits = queue.limits(request.limits)
    leased = db.execute(
        "SELECT count(*) FROM jobs WHERE queue = ? AND lease_until > ?", (request.queue, now)
    ).fetchone()[0]
    tokens = _tokens(db, request.queue, limits, now)
    room = min(request.count, limits.max_concurrent_dispatches - leased, int(tokens))
    if room <= 0:
        if tokens < 1:
            return Claim((), now + (1 - tokens) / limits.max_dispatches_per_second)
        return Claim((), _first(db, "lease_until", request.queue))
    taken = tuple(_lease(db, record, request, now) for record in _due(db, request, now, room))
    _keep_tokens(db, request.queue, tokens - len(taken), now)
    return Claim(taken, now if taken else look(db, request, now))


def _first(db: sqlite3.Connection, column: str, queue: str, lane: str | None = None) -> float | None:
    condition = "AND lane = ?" if lane is not None else ""
    values = (queue, lane) if lane is not None else (queue,)
    row = db.execute(
        f"SELECT {column} FROM jobs WHERE queue = ? {condition} AND {column} IS NOT NULL ORDER BY {column} LIMIT 1",
        values,
    ).fetchone()
    return row[0] if row else None


def _openings(db: sqlite3.Connection, request: ClaimRequest, now: float) -> dict[str, int]:
    """Return how many jobs of each lane may be taken: those without a ticket only where a slot will be free."""
    # A job in hand will want a slot too, unless it has one.
    wanting: dict[str, int] = dict(
        db.execute(
            "SELECT lane, count(*) FROM jobs"
            " WHERE queue = ? AND lease_until > ? AND slot_service IS NULL GROUP BY lane",
            (request.queue, now),
        ).fetchall()
    )
    openings = {TICKET_LANE: request.count}
    for service, limit in request.slots.items():
        openings[service] = max(0, limit - in_flight(db, service, now) - wanting.get(service, 0))
    free = sum(openings[service] for service in request.slots)
    openings[AUTO] = max(0, free - wanting.get(AUTO, 0))
    return openings


def _due(db: sqlite3.Connection, request: ClaimRequest, now: float, room: int) -> Iterator[JobRecord]:
    openings = _openings(db, request, now)
    if request.only is not None:
        row = db.execute(
            "SELECT lane, record FROM jobs WHERE job_id = ? AND queue = ? AND due <= ?",
            (request.only, request.queue, now),
        ).fetchone()
        if row and openings.get(row["lane"], 0) > 0:
            yield record_of(row)
        return
    due: list[sqlite3.Row] = []
    for lane, free in openings.items():
        due += db.execute(
            "SELECT lane, due, position, record FROM jobs"
            " WHERE queue = ? AND lane = ? AND due <= ? ORDER BY due, position LIMIT ?",
            (request.queue, lane, now, min(free, room)),
        ).fetchall()
    due.sort(key=lambda row: (row["lane"] != TICKET_LANE, row["due"], row["position"]))
    yield from map(record_of, due[:room])


def _lease(db: sqlite3.Connection, record: JobRecord, request: ClaimRequest, now: float) -> JobRecord:
    lease = Lease(token=secrets.token_hex(8), worker=request.worker, until=now + request.lease)
    record = lifecycle.take(record, lease, now)
    save(db, record)
    return record


def _reap(db: sqlite3.Connection, queue: str, now: float) -> None:
    rows = db.execute(
        "SELECT record FROM jobs WHERE queue = ? AND lease_until <= ? LIMIT ?", (queue, now, REAP)
    ).fetchall()
    for row in rows:
        save(db, lifecycle.expire(record_of(row), now))


def _tokens(db: sqlite3.Connection, queue: str, limits: DispatchLimits, now: float) -> float:
    """Return what is in the bucket of the dispatch rate."""
    row = db.execute("SELECT tokens, refilled_at FROM queues WHERE name = ?", (queue,)).fetchone()
    tokens, refilled_at = row or (0.0, 0.0)
    refill: float = tokens + max(0.0, now - refilled_at) * limits.max_dispatches_per_second
    return min(limits.burst, refill)


def _keep_tokens(db: sqlite3.Connection, queue: str, tokens: float, now: float) -> None:
    db.execute(
        "INSERT INTO queues (name, tokens, refilled_at) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET tokens = excluded.tokens, refilled_at = excluded.refilled_at",
        (queue, tokens, now),
    )
