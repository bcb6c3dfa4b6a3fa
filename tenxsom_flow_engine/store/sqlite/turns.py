"""The fair order of claims in the SQLite store: `store.fair_share` has the rules, these tables the virtual times."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from importlib import resources

from tenxsom_flow_engine.channels.settings import Channel, parse_channel
from tenxsom_flow_engine.jobs import TICKET_MARK, JobRecord
from tenxsom_flow_engine.jobs.model import MAX_PRIORITY
from tenxsom_flow_engine.store.fair_share import OVERALL, PAUSE_CHECK_SECONDS, Turn, ended_unbought, line_key

#: Channels that one claim wakes.
WAKE = 1000
#: Channels that one claim examines before it leaves the others to the next.
LOOKS = 1000
#: The channel of a lane that is next, its virtual time as the lane and as the queue have it, its weight and pause.
_FIRST = """
    SELECT turns.channel, turns.virtual_time, virtual_times.virtual_time, weight, paused FROM turns
    LEFT JOIN virtual_times ON virtual_times.queue = turns.queue AND virtual_times.channel = turns.channel
    LEFT JOIN channels ON name = turns.channel
    WHERE turns.queue = ? AND lane = ? AND sleeps_until IS NULL ORDER BY turns.virtual_time LIMIT 1
"""


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
    if not ended_unbought(before, after):
        return
    channel = after.job.channel
    row = db.execute("SELECT weight FROM channels WHERE name = ?", (channel,)).fetchone()
    step = 1 / row[0] if row else 1.0
    place = (step, before.queue, channel)
    db.execute("UPDATE virtual_times SET virtual_time = virtual_time - ? WHERE queue = ? AND channel = ?", place)
    db.execute("UPDATE turns SET virtual_time = virtual_time - ? WHERE queue = ? AND channel = ?", place)


def wake(db: sqlite3.Connection, queue: str, now: float) -> None:
    """Let the channels whose next job is due take turns, from the virtual time of the queue."""
    asleep = "SELECT lane, channel FROM turns WHERE queue = ? AND sleeps_until <= ? ORDER BY sleeps_until LIMIT ?"
    found = db.execute(asleep, (queue, now, WAKE)).fetchall()
    if not found:
        return
    start = virtual_time(db, queue, OVERALL)
    db.executemany(
        "UPDATE turns SET sleeps_until = NULL, virtual_time = max(?, ?) WHERE queue = ? AND lane = ? AND channel = ?",
        [(start, virtual_time(db, queue, name), queue, lane, name) for lane, name in found],
    )
    db.execute("DELETE FROM virtual_times WHERE queue = ? AND virtual_time < ?", (queue, start))


def next_at(db: sqlite3.Connection, queue: str, lane: str) -> float | None:
    """Return when a job of a lane might be claimed: an instant up to now means now; None: the lane is empty."""
    awake = "SELECT 0 FROM turns WHERE queue = ? AND lane = ? AND sleeps_until IS NULL LIMIT 1"
    asleep = "SELECT min(sleeps_until) FROM turns WHERE queue = ? AND lane = ? AND sleeps_until IS NOT NULL"
    row = db.execute(awake, (queue, lane)).fetchone() or db.execute(asleep, (queue, lane)).fetchone()
    return row[0] if row else None


def next_turn(db: sqlite3.Connection, queue: str, lane: str, now: float) -> Turn | None:
    """Return the job of a lane whose turn it is, or None; correct the turns that are out of date."""
    for _ in range(LOOKS):
        row = db.execute(_FIRST, (queue, lane)).fetchone()
        if row is None:
            return None
        channel, shown, own, weight, paused = row
        if own is not None and own > shown:
            _set_turn(db, queue, lane, channel, "virtual_time", own)
            continue
        if paused:
            _set_turn(db, queue, lane, channel, "sleeps_until", now + PAUSE_CHECK_SECONDS)
            continue
        heads = _heads(db, queue, lane, channel)
        if due := [head for head in heads if head["due"] <= now]:
            head = min(due, key=lambda head: (line_key(head["due"], head["priority"]), head["position"]))
            start = max(shown, virtual_time(db, queue, OVERALL))
            return Turn(lane, channel, start, weight or 1.0, head["due"], head["position"], head["job_id"])
        if heads:
            _set_turn(db, queue, lane, channel, "sleeps_until", min(head["due"] for head in heads))
        else:
            db.execute("DELETE FROM turns WHERE queue = ? AND lane = ? AND channel = ?", (queue, lane, channel))
    return None


def count(db: sqlite3.Connection, queue: str, turn: Turn) -> None:
    """Count a lease in the virtual time of the channel; that of the queue is the start of the latest turn."""
    after = turn.virtual_time + 1 / turn.weight
    times = {OVERALL: turn.virtual_time, turn.channel: after}
    db.executemany("INSERT OR REPLACE INTO virtual_times VALUES (?, ?, ?)", [(queue, *pair) for pair in times.items()])
    _set_turn(db, queue, turn.lane, turn.channel, "virtual_time", after)


def virtual_time(db: sqlite3.Connection, queue: str, channel: str) -> float:
    """Return the virtual time of a channel, or of the queue itself."""
    own = "SELECT virtual_time FROM virtual_times WHERE queue = ? AND channel = ?"
    row = db.execute(own, (queue, channel)).fetchone()
    return float(row[0]) if row else 0.0


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


def _heads(db: sqlite3.Connection, queue: str, lane: str, channel: str) -> Sequence[sqlite3.Row]:
    """Return the first job of each priority that a channel has in a lane."""
    first = (
        "SELECT job_id, due, position, priority FROM jobs WHERE queue = ? AND lane = ? AND channel = ?"
        " AND due IS NOT NULL AND priority > ? ORDER BY priority, due, position LIMIT 1"
    )
    heads: list[sqlite3.Row] = []
    priority = -1
    while head := db.execute(first, (queue, lane, channel, priority)).fetchone():
        heads.append(head)
        priority = head["priority"]
        if priority >= MAX_PRIORITY:
            break
    return heads
