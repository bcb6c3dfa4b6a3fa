"""The fair order of claims in the SQLite store: `store.fair_share` has the rules, these tables the virtual times."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from importlib import resources

from tenxsom_flow_engine.channels.settings import Channel, parse_channel
from tenxsom_flow_engine.jobs import TICKET_MARK, JobRecord
from tenxsom_flow_engine.store.fair_share import OVERALL, PAUSE_CHECK_SECONDS, Turn, line_key, returned_unbought

#: Channels that one claim wakes.
WAKE = 1000
#: Channels that one claim examines before it leaves the others to the next.
LOOKS = 1000


def made(db: sqlite3.Connection) -> bool:
    """Return whether the file has the tables of channels."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'virtual_times'").fetchone() is not None


def make(db: sqlite3.Connection) -> None:
    """Create the tables in the caller's transaction; the waiting jobs of an earlier release get their turns."""
    if made(db):
        return
    schema = resources.files(__package__).joinpath("turns.sql").read_text("utf-8")
    for statement in schema.split(";\n"):
        db.execute(statement)


def enter(db: sqlite3.Connection, records: Iterable[JobRecord]) -> None:
    """Let the channels of waiting jobs be claimed from when these are due."""
    first: dict[tuple[str, str, str], float] = {}
    for record in records:
        if record.due is not None and not record.lane.startswith(TICKET_MARK):
            place = (record.queue, record.lane, record.job.channel)
            first[place] = min(record.due, first.get(place, record.due))
    db.executemany(
        "INSERT INTO turns VALUES (?, ?, ?, 0, ?) ON CONFLICT DO UPDATE SET"
        " sleeps_until = min(sleeps_until, excluded.sleeps_until) WHERE sleeps_until > excluded.sleeps_until",
        [(*place, due) for place, due in first.items()],
    )


def give_back(db: sqlite3.Connection, before: JobRecord, after: JobRecord) -> None:
    """Take a lease that bought nothing off the virtual time of the channel."""
    if not returned_unbought(before, after):
        return
    channel = after.job.channel
    step = 1 / weight(db, channel)
    place = (step, before.queue, channel)
    db.execute("UPDATE virtual_times SET virtual_time = virtual_time - ? WHERE queue = ? AND channel = ?", place)
    db.execute("UPDATE turns SET virtual_time = virtual_time - ? WHERE queue = ? AND channel = ?", place)


def wake(db: sqlite3.Connection, queue: str, lane: str, now: float) -> None:
    """Let the channels whose next job is due take turns, from the virtual time of the queue."""
    asleep = (
        "SELECT channel FROM turns WHERE queue = ? AND lane = ? AND sleeps_until <= ? ORDER BY sleeps_until LIMIT ?"
    )
    names = [row[0] for row in db.execute(asleep, (queue, lane, now, WAKE))]
    start = virtual_time(db, queue, OVERALL) if names else 0.0
    db.executemany(
        "UPDATE turns SET sleeps_until = NULL, virtual_time = max(?, ?) WHERE queue = ? AND lane = ? AND channel = ?",
        [(start, virtual_time(db, queue, name), queue, lane, name) for name in names],
    )


def next_at(db: sqlite3.Connection, queue: str, lane: str) -> float | None:
    """Return when a job of a lane might be claimed: an instant up to now means now; None: the lane is empty."""
    awake = "SELECT 0 FROM turns WHERE queue = ? AND lane = ? AND sleeps_until IS NULL LIMIT 1"
    asleep = "SELECT sleeps_until FROM turns WHERE queue = ? AND lane = ? ORDER BY sleeps_until LIMIT 1"
    row = db.execute(awake, (queue, lane)).fetchone() or db.execute(asleep, (queue, lane)).fetchone()
    return row[0] if row else None


def next_turn(db: sqlite3.Connection, queue: str, lane: str, now: float) -> Turn | None:
    """Return the job of a lane whose turn it is, or None; correct the turns that are out of date."""
    overall = virtual_time(db, queue, OVERALL)
    first = (
        "SELECT channel, virtual_time FROM turns WHERE queue = ? AND lane = ? AND sleeps_until IS NULL"
        " ORDER BY virtual_time LIMIT 1"
    )
    for _ in range(LOOKS):
        row = db.execute(first, (queue, lane)).fetchone()
        if row is None:
            return None
        channel, shown = row
        own = virtual_time(db, queue, channel)
        if own > shown:
            _set_turn(db, queue, lane, channel, "virtual_time", own)
            continue
        if _is_paused(db, channel):
            _set_turn(db, queue, lane, channel, "sleeps_until", now + PAUSE_CHECK_SECONDS)
            continue
        heads = _heads(db, queue, lane, channel)
        if due := [head for head in heads if head["due"] <= now]:
            head = min(due, key=lambda head: (line_key(head["due"], head["priority"]), head["position"]))
            return Turn(lane, channel, max(shown, overall), head["due"], head["position"], head["job_id"])
        if heads:
            _set_turn(db, queue, lane, channel, "sleeps_until", min(head["due"] for head in heads))
        else:
            db.execute("DELETE FROM turns WHERE queue = ? AND lane = ? AND channel = ?", (queue, lane, channel))
    return None


def count(db: sqlite3.Connection, queue: str, turn: Turn) -> None:
    """Count a lease in the virtual time of the channel."""
    put = "INSERT OR REPLACE INTO virtual_times VALUES (?, ?, ?)"
    after = turn.virtual_time + 1 / weight(db, turn.channel)
    db.execute(put, (queue, turn.channel, after))
    _set_turn(db, queue, turn.lane, turn.channel, "virtual_time", after)
    if turn.virtual_time > virtual_time(db, queue, OVERALL):
        db.execute(put, (queue, OVERALL, turn.virtual_time))
        passed = "DELETE FROM virtual_times WHERE queue = ? AND virtual_time <= ? AND channel <> ?"
        db.execute(passed, (queue, turn.virtual_time, OVERALL))


def virtual_time(db: sqlite3.Connection, queue: str, channel: str) -> float:
    """Return the virtual time of a channel, or of the queue itself."""
    own = "SELECT virtual_time FROM virtual_times WHERE queue = ? AND channel = ?"
    row = db.execute(own, (queue, channel)).fetchone()
    return float(row[0]) if row else 0.0


def weight(db: sqlite3.Connection, channel: str) -> float:
    """Return the weight of a channel."""
    row = db.execute("SELECT weight FROM channels WHERE name = ?", (channel,)).fetchone()
    return float(row[0]) if row else 1.0


def settings(db: sqlite3.Connection, name: str | None = None) -> dict[str, Channel]:
    """Return the settings of all channels that have some, or of one."""
    rows = db.execute("SELECT name, settings FROM channels WHERE name = ifnull(?, name) ORDER BY name", (name,))
    return {row["name"]: parse_channel(row["settings"]) for row in rows}


def put(db: sqlite3.Connection, name: str, channel: Channel | None) -> None:
    """Set or remove the settings of a channel. The next claim examines its waiting jobs again."""
    if channel is None:
        db.execute("DELETE FROM channels WHERE name = ?", (name,))
    else:
        values = (name, channel.text, channel.weight, channel.paused)
        db.execute("INSERT OR REPLACE INTO channels VALUES (?, ?, ?, ?)", values)
    db.execute("UPDATE turns SET sleeps_until = 0 WHERE channel = ? AND sleeps_until IS NOT NULL", (name,))


def _set_turn(db: sqlite3.Connection, queue: str, lane: str, channel: str, column: str, value: float) -> None:
    change = f"UPDATE turns SET {column} = ? WHERE queue = ? AND lane = ? AND channel = ?"
    db.execute(change, (value, queue, lane, channel))


def _is_paused(db: sqlite3.Connection, channel: str) -> bool:
    return db.execute("SELECT 1 FROM channels WHERE name = ? AND paused", (channel,)).fetchone() is not None


def _heads(db: sqlite3.Connection, queue: str, lane: str, channel: str) -> Sequence[sqlite3.Row]:
    """Return the first job of each priority that a channel has in a lane."""
    line = "FROM jobs WHERE queue = ? AND lane = ? AND channel = ? AND due IS NOT NULL AND priority"
    heads: list[sqlite3.Row] = []
    priority = -1
    while True:
        row = db.execute(f"SELECT min(priority) {line} > ?", (queue, lane, channel, priority)).fetchone()
        if row[0] is None:
            return heads
        priority = row[0]
        head = f"SELECT job_id, due, position, priority {line} = ? ORDER BY due, position LIMIT 1"
        heads += db.execute(head, (queue, lane, channel, priority)).fetchall()
