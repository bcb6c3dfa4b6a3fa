"""The schedules and their topics in the SQLite store."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from tenxsom_flow_engine.channels.schedules import (
    Schedule,
    Topic,
    decode_schedule,
    decode_topic,
    encode_schedule,
    encode_topic,
)

#: Topics read in one query, because SQLite limits the parameters of a query.
CHUNK_TOPICS = 500


def stored(db: sqlite3.Connection, name: str | None = None) -> list[Schedule]:
    """Return the schedules by name: all, or the one of a name."""
    rows = db.execute("SELECT record FROM schedules WHERE name = ifnull(?, name) ORDER BY name", (name,))
    return [decode_schedule(row["record"]) for row in rows]


def swap(db: sqlite3.Connection, before: Schedule | None, after: Schedule | None, topics: Sequence[Topic]) -> bool:
    """Replace a schedule if it is still `before`, and append topics; return whether it was."""
    if before is None and after is None:
        return True
    if before is None and after is not None:
        written = db.execute(
            "INSERT INTO schedules VALUES (?, ?) ON CONFLICT DO NOTHING", (after.name, encode_schedule(after))
        )
    elif before is not None and after is None:
        written = db.execute(
            "DELETE FROM schedules WHERE name = ? AND record = ?", (before.name, encode_schedule(before))
        )
    elif before is not None and after is not None:
        written = db.execute(
            "UPDATE schedules SET record = ? WHERE name = ? AND record = ?",
            (encode_schedule(after), before.name, encode_schedule(before)),
        )
    if not written.rowcount:
        return False
    if before is not None and (after is None or after.key != before.key):
        db.execute("DELETE FROM schedule_topics WHERE list = ?", (before.key,))
    if after is not None:
        first = (after.topics or 0) - len(topics)
        db.executemany(
            "INSERT INTO schedule_topics VALUES (?, ?, ?)",
            [(after.key, first + place, encode_topic(topic)) for place, topic in enumerate(topics)],
        )
    return True


def topics_at(db: sqlite3.Connection, schedule: Schedule, places: Collection[int]) -> dict[int, Topic]:
    """Return topics of a list by position."""
    wanted, found = list(places), {}
    for begin in range(0, len(wanted), CHUNK_TOPICS):
        chunk = wanted[begin : begin + CHUNK_TOPICS]
        rows = db.execute(
            f"SELECT place, topic FROM schedule_topics WHERE list = ? AND place IN ({', '.join('?' * len(chunk))})",
            (schedule.key, *chunk),
        )
        found.update({row["place"]: decode_topic(row["topic"]) for row in rows})
    return found
