"""The ledger in the job store's SQLite file: for the processes of one machine."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources

import msgspec

from tenxsom_flow_engine.rate_limits import pace
from tenxsom_flow_engine.rate_limits.base import Admission, Closed, MovedUp, Share
from tenxsom_flow_engine.rate_limits.ledger import (
    FORGET_WAITERS,
    OVERALL,
    RIVALS,
    TRIM,
    TURN_SECONDS,
    Ledger,
    LedgerEntry,
    LedgerSnapshot,
    Line,
    Rival,
    Scope,
    channel_log,
    decide,
    fair_line,
    in_force,
    kept,
    read_tally,
)
from tenxsom_flow_engine.rate_limits.pace import Gate
from tenxsom_flow_engine.rate_limits.windows import GLOBAL, Limits, Windows
from tenxsom_flow_engine.store.histogram import bucket
from tenxsom_flow_engine.store.sqlite import SQLiteStore, outbox
from tenxsom_flow_engine.store.sqlite.rows import decoding
from tenxsom_flow_engine.timings import Timings


class SQLiteLedger(Ledger):
    """See `ledger.Ledger`. Uses the file, connections, transactions and time of a store.

    An admission need not be on disk at once: the write of the intent that follows it puts both on disk.
    """

    def __init__(self, store: SQLiteStore, timings: Timings = Timings()) -> None:
        self._store = store
        self.timings = timings
        with store.reading() as (db, _):
            made = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'admitted'").fetchone()
        if not made:
            schema = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
            with store.writing_lazily() as (db, _):
                for statement in schema.split(";\n"):
                    db.execute(statement)

    def ask(self, service: str, waiter_id: str, limits: Limits, share: Share = Share()) -> Admission | Closed:
        # No write lock if nothing is written: for a service without limits, and for a waiter with an unchanged hint.
        with self._store.reading() as (db, now):
            transaction = _LedgerTransaction.open(db, service, limits, self.timings, share)
            if not transaction.metered and transaction.gate.reopens(now) is None:
                return Admission(service, now)
            waiter = transaction.waiter(waiter_id)
            closed = transaction.decide(now, waiter)
            if closed is not None and waiter is not None and waiter["hint"] >= max(closed.opens_at, now):
                # A waiter that returns before its hint gets the same hint again.
                return replace(closed, ask_again_at=waiter["hint"])
        with self._store.writing_lazily() as (db, now):
            transaction = _LedgerTransaction.open(db, service, limits, self.timings, share)
            waiter = transaction.waiter(waiter_id)
            closed = transaction.decide(now, waiter)
            if closed is not None:
                transaction.remember(waiter_id, waiter["first_asked"] if waiter else now, closed)
                return closed
            transaction.admit(now)
            waited = now - waiter["first_asked"] if waiter else None
            if waited is None:
                counts = {"at_once": 1.0}
            else:
                transaction.forget(waiter_id)
                counts = {"delayed": 1.0, "waited": waited, f"w{bucket(waited)}": 1.0}
            if transaction.metered:
                _add(db, service, **counts)
            if transaction.gate.stopped:
                _save(db, service, replace(transaction.gate, probe_at=now + self.timings.probe_interval))
            return Admission(service, now, share, probe=bool(transaction.gate.stopped))

    def peek(self, service: str, limits: Limits) -> Closed | None:
        with self._store.reading() as (db, now):
            return _LedgerTransaction.open(db, service, limits, self.timings).decide(now, first=True)

    def give_back(self, admission: Admission) -> None:
        with self._store.writing_lazily() as (db, _):
            # An admission that is not in the service's log was never counted in the global log either.
            if _remove(db, admission.service, admission.at):
                _remove(db, GLOBAL, admission.at)
                _add(db, admission.service, given_back=1)
            if admission.share.windows:
                _remove(db, channel_log(admission.share), admission.at)
            earlier = "UPDATE admitted SET virtual_time = virtual_time - ? WHERE service = ? AND channel = ?"
            db.execute(earlier, (1 / admission.share.weight, admission.service, admission.share.channel))

    def forget(self, service: str, waiter_id: str) -> MovedUp | None:
        with self._store.writing_lazily() as (db, now):
            freed = db.execute(
                "DELETE FROM waiters WHERE service = ? AND asker = ? RETURNING told", (service, waiter_id)
            ).fetchall()
            latest = "SELECT asker, told FROM waiters WHERE service = ? ORDER BY told DESC, asker DESC LIMIT 1"
            last = db.execute(latest, (service,)).fetchone()
            db.execute("DELETE FROM waiter_channels WHERE service = ? AND waiter = ?", (service, waiter_id))
            if not freed or last is None or not now < freed[0]["told"] < last["told"]:
                return None
            moved = MovedUp(last["asker"], freed[0]["told"])
            hint = "UPDATE waiters SET told = ? WHERE service = ? AND asker = ?"
            db.execute(hint, (moved.ask_again_at, service, moved.waiter_id))
            return moved

    def answered(self, service: str, seconds: float) -> None:
        with self._store.writing_lazily() as (db, now):
            tally = _tally(db, service)
            count, usual = tally.get("answered", 0.0), tally.get("usual", 0.0)
            gate = _gate(db, service)
            known = usual if count >= pace.KNOWN_AFTER else None
            if (taught := pace.answered(gate, seconds, known)) != gate:
                self._replace(db, service, gate, taught, now)
            learned = (seconds - usual) / min(count + 1, pace.MEMORY)
            _add(db, service, answered=1, answering=seconds, usual=learned, **{f"r{bucket(seconds)}": 1})

    def change(self, service: str, rule: Callable[[Gate, float], Gate], *, count: str = "") -> Gate:
        with self._store.writing_lazily() as (db, now):
            before = _gate(db, service)
            gate = rule(before, now)
            self._replace(db, service, before, gate, now)
            if count:
                _add(db, service, **{count: 1})
        return gate

    def _replace(self, db: sqlite3.Connection, service: str, before: Gate, after: Gate, now: float) -> None:
        """Save a gate, and write the event if the service is stopped or resumed."""
        _save(db, service, after)
        with decoding("endpoints"):
            outbox.write(db, pace.events(service, before, after, now))

    def set_clock_back(self, service: str, now: float, lead: float) -> None:
        with self._store.writing_lazily() as (db, _):
            db.execute("UPDATE admissions SET at = ? WHERE service = ? AND at > ?", (now, service, now))
            db.execute("DELETE FROM waiters WHERE service = ?", (service,))
            db.execute("DELETE FROM waiter_channels WHERE service = ?", (service,))
            _save(db, service, pace.set_back(_gate(db, service), now, lead))

    def snapshot(self, service: str) -> LedgerSnapshot:
        with self._store.reading() as (db, now):
            latest = "SELECT at FROM admissions WHERE service = ? ORDER BY number DESC"
            recent = [row["at"] for row in db.execute(latest, (service,))]
            coming = "SELECT count(*) FROM waiters WHERE service = ? AND told > ?"
            waiting = db.execute(coming, (service, now - FORGET_WAITERS)).fetchone()[0]
            return LedgerSnapshot(now, _gate(db, service), recent, waiting, _tally(db, service))

    def entries(self) -> Iterator[LedgerEntry]:
        with self._store.reading() as (db, _):
            names = "SELECT service FROM gates UNION SELECT service FROM admissions UNION SELECT service FROM tallies"
            for (name,) in db.execute(names).fetchall():
                log = "SELECT number, at FROM admissions WHERE service = ? ORDER BY number"
                rows = db.execute(log, (name,)).fetchall()
                trimmed = bool(rows) and rows[0]["number"] > 1
                yield LedgerEntry(name, _gate(db, name), [row["at"] for row in rows], trimmed, _tally(db, name))

    def put(self, entry: LedgerEntry) -> None:
        with self._store.writing_lazily() as (db, _):
            first = 2 if entry.trimmed else 1  # a number that is missing has been deleted
            rows = [(entry.name, number, at) for number, at in enumerate(entry.admissions, first)]
            db.executemany("INSERT INTO admissions VALUES (?, ?, ?)", rows)
            if entry.gate != Gate():
                _save(db, entry.name, entry.gate)
            _add(db, entry.name, **entry.tally)


@dataclass(frozen=True, slots=True)
class _LedgerTransaction:
    """A service's gate and the logs that count its admissions, in one transaction."""

    db: sqlite3.Connection
    service: str
    gate: Gate
    #: The windows by log; empty if the service is not metered.
    logs: Mapping[str, Windows]
    timings: Timings

    #: The channel that asks.
    share: Share

    @classmethod
    def open(
        cls, db: sqlite3.Connection, service: str, limits: Limits, timings: Timings, share: Share = Share()
    ) -> _LedgerTransaction:
        gate, overall = _gate(db, service), _gate(db, GLOBAL)
        own = in_force(gate, limits.get(service))
        logs = {} if own is None else {service: own, GLOBAL: in_force(overall, limits.get(GLOBAL)) or ()}
        if share.windows:
            logs[channel_log(share)] = share.windows
        return cls(db, service, gate, logs, timings, share)

    @property
    def metered(self) -> bool:
        return bool(self.logs)

    def decide(self, now: float, waiter: sqlite3.Row | None = None, *, first: bool = False) -> Closed | None:
        line = Line() if first else self.line(waiter, now)
        waited = now - waiter["first_asked"] if waiter else 0.0
        return decide(self.service, self.gate, self._scopes(), now=now, timings=self.timings, line=line, waited=waited)

    def waiter(self, waiter_id: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.db.execute(
            "SELECT asked AS first_asked, told AS hint FROM waiters WHERE service = ? AND asker = ?",
            (self.service, waiter_id),
        ).fetchone()
        return row

    def line(self, waiter: sqlite3.Row | None, now: float) -> Line:
        """Return where a waiter stands. Those whose hint has passed do not count, except for their turn."""
        coming = "SELECT count(*) FROM waiters WHERE service = ? AND told > ?"
        place: int = self.db.execute(coming, (self.service, now)).fetchone()[0]
        if waiter is not None:
            earlier = "SELECT count(*) FROM waiters WHERE service = ? AND asked < ?"
            values = (self.service, waiter["first_asked"])
            place = min(place, int(self.db.execute(earlier, values).fetchone()[0]))
        rivals = list(self._rivals(now))
        if not rivals:
            return Line(place, place)
        own = "SELECT count(*) FROM waiter_channels WHERE service = ? AND channel = ? AND hint > ?"
        ahead_of_own: int = self.db.execute(own, (self.service, self.share.channel, now)).fetchone()[0]
        if waiter is not None:
            before = "SELECT count(*) FROM waiter_channels WHERE service = ? AND channel = ? AND first_asked < ?"
            own_values = (self.service, self.share.channel, waiter["first_asked"])
            ahead_of_own = min(ahead_of_own, int(self.db.execute(before, own_values).fetchone()[0]))
        if len(rivals) > RIVALS:
            return Line(ahead_of_own, place)
        start = max(self._virtual_time(self.share.channel), self._virtual_time(OVERALL))
        return fair_line(ahead_of_own, self.share, start, rivals)

    def _rivals(self, now: float) -> Iterator[Rival]:
        """Yield the other channels that wait, at most one more than are considered."""
        others = (
            "SELECT channel, max(weight) AS weight, count(*) AS waiting, sum(hint <= ?) AS present"
            " FROM waiter_channels WHERE service = ? AND hint > ? AND channel <> ? GROUP BY channel LIMIT ?"
        )
        values = (now, self.service, now - TURN_SECONDS, self.share.channel, RIVALS + 1)
        rows = self.db.execute(others, values).fetchall()
        overall = self._virtual_time(OVERALL) if rows else 0.0
        for row in rows:
            start = max(overall, self._virtual_time(row["channel"]))
            yield Rival(row["waiting"], row["present"], row["weight"], start)

    def _virtual_time(self, channel: str) -> float:
        own = "SELECT virtual_time FROM admitted WHERE service = ? AND channel = ?"
        row = self.db.execute(own, (self.service, channel)).fetchone()
        return float(row[0]) if row else 0.0

    def remember(self, waiter_id: str, first_asked: float, closed: Closed) -> None:
        hint = closed.ask_again_at
        self.db.execute(
            "INSERT OR REPLACE INTO waiters VALUES (?, ?, ?, ?)", (self.service, waiter_id, first_asked, hint)
        )
        self.db.execute(
            "INSERT OR REPLACE INTO waiter_channels VALUES (?, ?, ?, ?, ?, ?)",
            (self.service, waiter_id, self.share.channel, self.share.weight, first_asked, hint),
        )
        gone = (self.service, closed.at - FORGET_WAITERS)
        self.db.execute("DELETE FROM waiters WHERE service = ? AND told < ?", gone)
        self.db.execute("DELETE FROM waiter_channels WHERE service = ? AND hint < ?", gone)

    def forget(self, waiter_id: str) -> None:
        self.db.execute("DELETE FROM waiters WHERE service = ? AND asker = ?", (self.service, waiter_id))
        self.db.execute("DELETE FROM waiter_channels WHERE service = ? AND waiter = ?", (self.service, waiter_id))

    def admit(self, now: float) -> None:
        for log, windows in self.logs.items():
            number = _head(self.db, log) + 1
            self.db.execute("INSERT INTO admissions VALUES (?, ?, ?)", (log, number, now))
            if number % TRIM == 0:
                oldest = "DELETE FROM admissions WHERE service = ? AND number <= ?"
                self.db.execute(oldest, (log, number - kept(windows)))
        if self.logs:
            self._count()

    def _count(self) -> None:
        """Count an admission in the virtual time of the channel.

        It counts also while no other channel waits: the one that comes next is then before this one.
        """
        own = self._virtual_time(self.share.channel)
        start = max(own, self._virtual_time(OVERALL))
        counted = {OVERALL: start, self.share.channel: start + 1 / self.share.weight}
        put = "INSERT OR REPLACE INTO admitted VALUES (?, ?, ?)"
        self.db.executemany(put, [(self.service, channel, instant) for channel, instant in counted.items()])
        if not own:
            passed = "DELETE FROM admitted WHERE service = ? AND virtual_time < ?"
            self.db.execute(passed, (self.service, start))

    def _scopes(self) -> Iterator[Scope]:
        for log, windows in self.logs.items():
            pace_ = self.gate.effective_pace if log == self.service else 1.0
            head = _head(self.db, log)
            yield Scope(
                log,
                windows,
                lambda nth, log=log, head=head: _recent(self.db, log, head, nth),  # type: ignore[misc]
                pace_,
                of_channel=log not in (self.service, GLOBAL),
            )


def _head(db: sqlite3.Connection, log: str) -> int:
    number: int = db.execute("SELECT ifnull(max(number), 0) FROM admissions WHERE service = ?", (log,)).fetchone()[0]
    return number


def _recent(db: sqlite3.Connection, log: str, head: int, nth: int) -> float:
    """Return the n-th most recent admission; for a deleted one, the oldest that is left."""
    if head < nth:
        return -math.inf
    at = "SELECT at FROM admissions WHERE service = ? AND number >= ? ORDER BY number LIMIT 1"
    instant: float = db.execute(at, (log, head - nth + 1)).fetchone()[0]
    return instant


def _remove(db: sqlite3.Connection, log: str, instant: float) -> bool:
    """Remove the latest admission of an instant from a log; return whether there was one."""
    latest = "SELECT number FROM admissions WHERE service = ? AND at = ? ORDER BY number DESC LIMIT 1"
    found = db.execute(latest, (log, instant)).fetchone()
    if found is None:
        return False
    number: int = found[0]
    later = "SELECT at, service, number - 1 FROM admissions WHERE service = ? AND number > ?"
    following = db.execute(later, (log, number)).fetchall()
    db.executemany("UPDATE admissions SET at = ? WHERE service = ? AND number = ?", [tuple(row) for row in following])
    db.execute("DELETE FROM admissions WHERE service = ? AND number = ?", (log, number + len(following)))
    return True


def _gate(db: sqlite3.Connection, service: str) -> Gate:
    row = db.execute("SELECT gate FROM gates WHERE service = ?", (service,)).fetchone()
    with decoding("gates"):
        return pace.from_stored(msgspec.json.decode(row[0])) if row else Gate()


def _save(db: sqlite3.Connection, service: str, gate: Gate) -> None:
    text = msgspec.json.encode(pace.to_stored(gate)).decode()
    db.execute("INSERT OR REPLACE INTO gates VALUES (?, ?)", (service, text))


def _tally(db: sqlite3.Connection, service: str) -> dict[str, float]:
    with decoding("tallies"):
        return read_tally(db.execute("SELECT name, value FROM tallies WHERE service = ?", (service,)).fetchall())


def _add(db: sqlite3.Connection, service: str, **counts: float) -> None:
    db.executemany(
        "INSERT INTO tallies VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value",
        [(service, name, value) for name, value in counts.items()],
    )
