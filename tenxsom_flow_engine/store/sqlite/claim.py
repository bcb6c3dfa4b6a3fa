"""Which due jobs a worker gets, as reads and writes inside one SQLite transaction.

Every question is answered from an index, so a claim costs the same however many jobs wait.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator

from tenxsom_flow_engine.jobs import AUTO, TICKET_MARK, JobRecord, Lease, lifecycle
from tenxsom_flow_engine.store.sqlite.rows import keep, readable, save
from tenxsom_flow_engine.store.values import Claim, ClaimRequest, DispatchLimits, QueueState

#: Seconds by which an instant of today, kept as a float, may be off.
ROUNDING = 1e-6
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
    queue = queue_state(db, request.queue)
    if queue.paused:
        return None
    openings = _openings(db, request, now)
    expiry = _first(db, "lease_until", request.queue)
    if request.only is not None:
        due = _due_of(db, request.only, request.queue, openings)
    else:
        lanes = (
            _first(db, "due", request.queue, lane) if free > 0 else _first_slot(db, lane, now)
            for lane, free in openings.items()
        )
        due = _earliest(*lanes)
    if due is not None:
        # A closed gate costs nothing: nobody asks again before it may be open.
        _, opens_at = _room(db, request, queue.limits(request.limits), now)
        due = None if opens_at is None else max(due, opens_at)
    return _earliest(expiry, due)


def claim_due(db: sqlite3.Connection, request: ClaimRequest, now: float) -> Claim:
    """Take back what has lost its worker, then lease what is due, within all limits."""
    _reap(db, request.queue, now)
    queue = queue_state(db, request.queue)
    if queue.paused:
        return Claim((), None)
    limits = queue.limits(request.limits)
    room, _ = _room(db, request, limits, now)
    taken = tuple(_lease(db, record, request, now) for record in _due(db, request, now, room)) if room > 0 else ()
    if taken:
        tokens = _tokens(db, request.queue, limits, now)
        _keep_tokens(db, request.queue, tokens - len(taken), now)
    return Claim(taken, now if taken else look(db, request, now))


def _room(
    db: sqlite3.Connection, request: ClaimRequest, limits: DispatchLimits, now: float
) -> tuple[int, float | None]:
    """Return how many steps may go out now, and when one may: None means not before a step ends."""
    leased = db.execute(
        "SELECT count(*) FROM jobs WHERE queue = ? AND lease_until > ?", (request.queue, now)
    ).fetchone()[0]
    if leased >= limits.max_concurrent_dispatches:
        return 0, None
    tokens = _tokens(db, request.queue, limits, now)
    if tokens < 1:
        return 0, now + (1 - tokens) / limits.max_dispatches_per_second + ROUNDING
    return min(request.count, limits.max_concurrent_dispatches - leased, int(tokens)), now


def _earliest(*instants: float | None) -> float | None:
    return min((instant for instant in instants if instant is not None), default=None)


def _first(db: sqlite3.Connection, column: str, queue: str, lane: str | None = None) -> float | None:
    condition = "AND lane = ?" if lane is not None else ""
    values = (queue, lane) if lane is not None else (queue,)
    row = db.execute(
        f"SELECT {column} FROM jobs WHERE queue = ? {condition} AND {column} IS NOT NULL ORDER BY {column} LIMIT 1",
        values,
    ).fetchone()
    return row[0] if row else None


def _due_of(db: sqlite3.Connection, job_id: str, queue: str, openings: dict[str, int]) -> float | None:
    """Return when one job is due, if its lane is open."""
    row = db.execute("SELECT lane, due FROM jobs WHERE job_id = ? AND queue = ?", (job_id, queue)).fetchone()
    return row["due"] if row and openings.get(row["lane"], 0) > 0 else None


def _first_slot(db: sqlite3.Connection, service: str, now: float) -> float | None:
    """Return when a slot of a service falls free by itself, because a generation is given up."""
    until = "SELECT min(slot_until) FROM jobs WHERE slot_service = ? AND slot_until > ?"
    instant: float | None = db.execute(until, (service, now)).fetchone()[0]
    return instant


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
    free = {
        service: max(0, limit - in_flight(db, service, now) - wanting.get(service, 0))
        for service, limit in request.slots.items()
    }
    choice = request.open_to_all
    shared = max(0, sum(free[service] for service in choice) - wanting.get(AUTO, 0))
    # Jobs that name no service share the slots with those that name one, so neither may overbook the other.
    openings = {service: min(count, shared) if service in choice else count for service, count in free.items()}
    return {TICKET_MARK + service: request.count for service in request.slots} | openings | {AUTO: shared}


def _due(db: sqlite3.Connection, request: ClaimRequest, now: float, room: int) -> Iterator[JobRecord]:
    """Give the jobs that may be leased, tickets first, at most `room`."""
    openings, choice = _openings(db, request, now), request.open_to_all
    if request.only is not None:
        rows = db.execute(
            "SELECT lane, due, position, job_id, record FROM jobs WHERE job_id = ? AND queue = ? AND due <= ?",
            (request.only, request.queue, now),
        ).fetchall()
    else:
        rows = [
            row
            for lane, free in openings.items()
            for row in _due_in_lane(db, request.queue, lane, now, min(free, room))
        ]
        rows.sort(key=lambda row: (not row["lane"].startswith(TICKET_MARK), row["due"], row["position"]))
    for row in rows:
        lane = row["lane"]
        if room == 0:
            return
        if openings.get(lane, 0) <= 0 or (lane in choice and openings[AUTO] <= 0):
            continue
        openings[lane] -= 1
        if lane in choice:
            openings[AUTO] -= 1
        room -= 1
        yield from readable([row], db)


def _due_in_lane(db: sqlite3.Connection, queue: str, lane: str, now: float, count: int) -> list[sqlite3.Row]:
    return db.execute(
        "SELECT lane, due, position, job_id, record FROM jobs"
        " WHERE queue = ? AND lane = ? AND due <= ? ORDER BY due, position LIMIT ?",
        (queue, lane, now, count),
    ).fetchall()


def _lease(db: sqlite3.Connection, record: JobRecord, request: ClaimRequest, now: float) -> JobRecord:
    lease = Lease(token=secrets.token_hex(8), worker=request.worker, until=now + request.lease)
    record = lifecycle.take(record, lease, now)
    save(db, record)
    return record


def _reap(db: sqlite3.Connection, queue: str, now: float) -> None:
    rows = db.execute(
        "SELECT job_id, record FROM jobs WHERE queue = ? AND lease_until <= ? LIMIT ?", (queue, now, REAP)
    ).fetchall()
    for record in readable(rows, db):
        keep(db, record, lifecycle.expire(record, now))


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
