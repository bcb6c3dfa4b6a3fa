"""The memos of the SQLite store: short texts by kind and name, each until an instant."""

from __future__ import annotations

import sqlite3


def read(db: sqlite3.Connection, kind: str, name: str, now: float) -> str | None:
    """Return the text of a memo, or None."""
    row = db.execute("SELECT text FROM memos WHERE kind = ? AND name = ? AND until > ?", (kind, name, now)).fetchone()
    return str(row[0]) if row else None


def read_all(db: sqlite3.Connection, kind: str, now: float) -> dict[str, str]:
    """Return the texts of a kind by name."""
    rows = db.execute("SELECT name, text FROM memos WHERE kind = ? AND until > ? ORDER BY name", (kind, now))
    return {str(row["name"]): str(row["text"]) for row in rows}


def put(
    db: sqlite3.Connection,
    kind: str,
    name: str,
    text: str | None,
    now: float,
    seconds: float,
    *,
    instead_of: str | None,
) -> tuple[str | None, bool]:
    """Replace a memo if its text is `instead_of`; return the text after that, and whether it was replaced."""
    trim(db, now)
    stored = read(db, kind, name, now)
    if stored != instead_of:
        return stored, False
    if text is None:
        db.execute("DELETE FROM memos WHERE kind = ? AND name = ?", (kind, name))
    else:
        db.execute("INSERT OR REPLACE INTO memos VALUES (?, ?, ?, ?)", (kind, name, text, now + seconds))
    return text, True


def trim(db: sqlite3.Connection, now: float) -> None:
    """Remove the memos whose time has ended."""
    db.execute("DELETE FROM memos WHERE until <= ?", (now,))
