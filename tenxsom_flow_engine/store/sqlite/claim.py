"""Claim due jobs with reads and writes of one SQLite transaction; `store.claiming` and `store.fair_share` decide which.

Every query uses an index, so the cost of a claim does not grow with the number of waiting jobs.
"""

from __future__ import annotations

import secrets
import sqlite3

from tenxsom_flow_engine.jobs import TICKET_MARK, JobRecord, Lease, lifecycle
from tenxsom_flow_engine.store.claiming import Candidate, Capacity, Load, capacity, expire, refilled, select
from tenxsom_flow_engine.store.fair_share import COUNTED, Turn, take_turns
from tenxsom_flow_engine.store.sqlite import turns
from tenxsom_flow_engine.store.sqlite.rows import decoding, keep, readable, save
from tenxsom_flow_engine.store.values import Claim, ClaimRequest, DispatchLimits, QueueState

#: Maximum number of expired leases that one transaction ends.
EXPIRED_LEASES = 100


def queue_state(db: sqlite3.Connection, queue: str) -> QueueState:
    """Return a queue's run-time settings."""
    row = db.execute(
        "SELECT paused, max_dispatches_per_second, max_concurrent_dispatches FROM queues WHERE name = ?", (queue,)
    ).fetchone()
    with decoding("queues"):
        return QueueState(bool(row[0]), row[1], row[2]) if row else QueueState()


def in_flight(db: sqlite3.Connection, service: str, now: float, *, other_than: str = "") -> int:
    """Count the jobs that have an in-flight slot of a service, except `other_than`."""
    count: int = db.execute(
        "SELECT count(*) FROM jobs WHERE slot_service = ? AND slot_until > ? AND job_id <> ?",
        (service, now, other_than),
    ).fetchone()[0]
    return count


def channel_in_flight(db: sqlite3.Connection, channel: str, now: float, *, other_than: str = "") -> int:
    """Count the jobs of a channel that have an in-flight slot of any service, except `other_than`."""
    count: int = db.execute(
        "SELECT count(*) FROM jobs WHERE slot_service IS NOT NULL AND channel = ? AND slot_until > ? AND job_id <> ?",
        (channel, now, other_than),
    ).fetchone()[0]
    return count


def slot_holders(db: sqlite3.Connection, service: str, now: float, limit: int) -> list[JobRecord]:
    """Return up to `limit` jobs that have an in-flight slot of a service, soonest deadline first."""
    rows = db.execute(
        "SELECT job_id, record FROM jobs WHERE slot_service = ? AND slot_until > ? ORDER BY slot_until LIMIT ?",
        (service, now, limit),
    ).fetchall()
    return list(readable(rows))


def next_claim_at(db: sqlite3.Connection, request: ClaimRequest, now: float) -> float | None:
    """Return when a claim could succeed: an instant up to `now` means now, None means not before a change."""
    queue = queue_state(db, request.queue)
    if queue.paused:
        return None
    allowed = _capacity(db, request, queue.limits(request.limits), now)
    if request.only is not None:
        due = _due_of(db, request.only, request.queue, allowed)
    else:
        due = _earliest(*(_next_at(db, request.queue, lane, free, now) for lane, free in allowed.openings.items()))
    if due is not None:
        # Until the limits of the queue allow a dispatch, a claim returns nothing.
        due = None if allowed.opens_at is None else max(due, allowed.opens_at)
    return _earliest(_first(db, "lease_until", request.queue), due)


def claim_due(db: sqlite3.Connection, request: ClaimRequest, now: float) -> Claim:
    """End expired leases, then lease due jobs within all limits."""
    _expire_leases(db, request.queue, now)
    queue = queue_state(db, request.queue)
    if queue.paused:
        return Claim((), None)
    limits = queue.limits(request.limits)
    allowed = _capacity(db, request, limits, now)
    taken = [_lease(db, record, request, now) for record in _due(db, request, allowed, now)]
    if request.only is None:

        def take(turn: Turn) -> bool:
            row = db.execute("SELECT job_id, record FROM jobs WHERE job_id = ?", (turn.job_id,)).fetchone()
            for record in readable([row], db):
                taken.append(_lease(db, record, request, now, counted=True))
                turns.count(db, request.queue, turn)
                return True
            return False

        turns.wake(db, request.queue, now)
        with decoding("turns"):
            take_turns(allowed, len(taken), lambda lane: turns.next_turn(db, request.queue, lane, now), take)
    if taken:
        _keep_tokens(db, request.queue, _tokens(db, request.queue, limits, now) - len(taken), now)
    return Claim(tuple(taken), now if taken else next_claim_at(db, request, now))


def _capacity(db: sqlite3.Connection, request: ClaimRequest, limits: DispatchLimits, now: float) -> Capacity:
    leased = "FROM jobs WHERE queue = ? AND lease_until > ?"
    values = (request.queue, now)
    wanting = db.execute(f"SELECT lane, count(*) {leased} AND slot_service IS NULL GROUP BY lane", values)
    load = Load(
        leased=db.execute(f"SELECT count(*) {leased}", values).fetchone()[0],
        in_flight={service: in_flight(db, service, now) for service in request.slots},
        wanting=dict(wanting.fetchall()),
        tokens=_tokens(db, request.queue, limits, now),
    )
    return capacity(request, limits, load, now)


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


def _due_of(db: sqlite3.Connection, job_id: str, queue: str, allowed: Capacity) -> float | None:
    """Return the due time of one job if its lane has an opening."""
    row = db.execute("SELECT lane, due FROM jobs WHERE job_id = ? AND queue = ?", (job_id, queue)).fetchone()
    return row["due"] if row and allowed.openings.get(row["lane"], 0) > 0 else None


def _first_slot(db: sqlite3.Connection, service: str, now: float) -> float | None:
    """Return when the next slot of a service becomes free because a generation reaches its deadline."""
    until = "SELECT min(slot_until) FROM jobs WHERE slot_service = ? AND slot_until > ?"
    instant: float | None = db.execute(until, (service, now)).fetchone()[0]
    return instant


def _next_at(db: sqlite3.Connection, queue: str, lane: str, free: int, now: float) -> float | None:
    """Return when a job of a lane could be claimed (see `next_claim_at`)."""
    if free <= 0:
        return _first_slot(db, lane, now)
    due = _first(db, "due", queue, lane)
    if due is None or lane.startswith(TICKET_MARK):
        return due
    at = turns.next_at(db, queue, lane)
    return None if at is None else max(at, due) if at else at  # a channel can sleep until the due time of an ended job


def _due(db: sqlite3.Connection, request: ClaimRequest, allowed: Capacity, now: float) -> list[JobRecord]:
    """Return the due jobs with a ticket to lease, within `allowed`, or the only job."""
    columns = "SELECT lane, due, position, job_id, record FROM jobs WHERE queue = ? AND due <= ?"
    if request.only is not None:
        rows = db.execute(f"{columns} AND job_id = ?", (request.queue, now, request.only)).fetchall()
    else:
        rows = [
            row
            for lane, free in allowed.openings.items()
            if lane.startswith(TICKET_MARK) and min(free, allowed.total) > 0
            for row in db.execute(
                f"{columns} AND lane = ? ORDER BY due, position LIMIT ?",
                (request.queue, now, lane, min(free, allowed.total)),
            )
        ]
    by_id = {row["job_id"]: row for row in rows}
    candidates = [Candidate(row["job_id"], row["lane"], row["due"], row["position"]) for row in rows]
    return list(readable([by_id[job.job_id] for job in select(candidates, allowed)], db))


def _lease(
    db: sqlite3.Connection, record: JobRecord, request: ClaimRequest, now: float, *, counted: bool = False
) -> JobRecord:
    lease = Lease(
        token=secrets.token_hex(8) + (COUNTED if counted else ""), worker=request.worker, until=now + request.lease
    )
    record = lifecycle.take(record, lease, now)
    save(db, record)
    return record


def _expire_leases(db: sqlite3.Connection, queue: str, now: float) -> None:
    rows = db.execute(
        "SELECT job_id, record FROM jobs WHERE queue = ? AND lease_until <= ? LIMIT ?", (queue, now, EXPIRED_LEASES)
    ).fetchall()
    for record in readable(rows, db):
        keep(db, record, expire(record, now))


def _tokens(db: sqlite3.Connection, queue: str, limits: DispatchLimits, now: float) -> float:
    row = db.execute("SELECT tokens, refilled_at FROM queues WHERE name = ?", (queue,)).fetchone()
    tokens, refilled_at = row or (0.0, 0.0)
    return refilled(tokens, refilled_at, limits, now)


def _keep_tokens(db: sqlite3.Connection, queue: str, tokens: float, now: float) -> None:
    db.execute(
        "INSERT INTO queues (name, tokens, refilled_at) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET tokens = excluded.tokens, refilled_at = excluded.refilled_at",
        (queue, tokens, now),
    )
