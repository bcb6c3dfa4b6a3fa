"""The job store in one SQLite file: for any number of processes on one machine, without a server.

The file must be on a local disk: SQLite's locks do not work on network file systems.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event as Signal
from threading import Timer
from typing import Any

from tenxsom_flow_engine.budgets import Amounts, Budget, Period
from tenxsom_flow_engine.budgets.charges import BudgetCheck, charge_changes
from tenxsom_flow_engine.channels.schedules import Schedule, Topic
from tenxsom_flow_engine.channels.settings import Channel
from tenxsom_flow_engine.clock import LATEST_NOW, Clock, SteadyClock
from tenxsom_flow_engine.errors import JobNotFound, LeaseLost, SlotsBusy
from tenxsom_flow_engine.events import Delivery, DeliveryState, Endpoint, Event, Settled
from tenxsom_flow_engine.events.changes import queue_events
from tenxsom_flow_engine.events.outbox import Health, parse_health
from tenxsom_flow_engine.jobs import TICKET_MARK, JobRecord, lifecycle
from tenxsom_flow_engine.store.base import Change, JobStore, new_record
from tenxsom_flow_engine.store.combining import Combiner
from tenxsom_flow_engine.store.sqlite import budgets as budget_tables
from tenxsom_flow_engine.store.sqlite import lists, outbox, turns
from tenxsom_flow_engine.store.sqlite import memos as memo_tables
from tenxsom_flow_engine.store.sqlite import schedules as schedule_tables
from tenxsom_flow_engine.store.sqlite.claim import (
    channel_in_flight,
    claim_due,
    in_flight,
    next_claim_at,
    queue_state,
    slot_holders,
)
from tenxsom_flow_engine.store.sqlite.connections import Connections, isolated
from tenxsom_flow_engine.store.sqlite.rows import (
    COLUMNS,
    decoding,
    keep,
    keep_start,
    readable,
    record_of,
    row_of,
    rows_as,
    save,
)
from tenxsom_flow_engine.store.totals import HOUR, KEEP_HOURS, LastError, Total, expired_kind, hour, read_total
from tenxsom_flow_engine.store.values import (
    FORGET_WORKERS_AFTER_SECONDS,
    Added,
    Claim,
    ClaimRequest,
    Counts,
    JobFilter,
    ListBounds,
    MatchCount,
    NewJob,
    Order,
    OrderedJobs,
    Page,
    QueueState,
    Retention,
    Slots,
    WorkerInfo,
)
from tenxsom_flow_engine.timings import Timings

#: A part of a transaction: gets the connection and the store's time.
_Write = Callable[[sqlite3.Connection, float], Any]

#: Jobs added, or records trimmed, in one transaction: large enough to be fast, small enough not to block other writers.
CHUNK_JOBS = 1000
#: Time between two reads of the file's version by an idle worker; a read takes about 10 µs.
WATCH_INTERVAL_SECONDS = 0.05

_INSERT = f"""
    INSERT INTO jobs ({", ".join(COLUMNS)}) SELECT {", ".join(":" + name for name in COLUMNS)}
    WHERE NOT EXISTS (SELECT 1 FROM finished_ids WHERE job_id = :job_id) ON CONFLICT (job_id) DO NOTHING
"""


class SQLiteStore(JobStore):
    """See `store.base.JobStore`. `path` is created if it does not exist; `bounds` limit the cost of a list."""

    scheme = "sqlite"

    def __init__(
        self, path: Path, clock: Clock, timings: Timings = Timings(), bounds: ListBounds = lists.LIST_BOUNDS
    ) -> None:
        # Needs no lock: in a race, each thread still sees its time move forward.
        self._time = SteadyClock(clock)
        self._connections = Connections(path, timings.sqlite_lock)
        self._group: Combiner[_Write] = Combiner(self._write_each)
        self._bounds = bounds
        self.place = f"sqlite://{path}"
        self._folder = path.parent

    def free_space(self) -> int | None:
        try:
            return shutil.disk_usage(self._folder).free
        except OSError:
            return None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[sqlite3.Connection, float]]:
        """Run a write transaction at the store's time."""
        with self._connections.transaction() as db:
            now = self._learn(db)
            if not db.execute("UPDATE clock SET last = ?", (now,)).rowcount:  # a damaged file can lack the row
                db.execute("INSERT INTO clock VALUES (?)", (now,))
            yield db, now

    def _write(self, write: _Write) -> Any:
        """Run a write at the store's time, in one transaction with those of other threads; return its result.

        It is on disk when this returns. An error of one undoes only its own changes.
        """
        with self._connections.mapped():
            return self._group(write)

    def _write_each(self, writes: Sequence[_Write]) -> Sequence[Any]:
        with self._writing() as (db, now):
            if len(writes) == 1:
                return [writes[0](db, now)]
            return [isolated(db, partial(write, db, now)) for write in writes]

    @contextlib.contextmanager
    def _reading(self) -> Iterator[tuple[sqlite3.Connection, float]]:
        """Run reads of one snapshot, at the store's time."""
        with self._connections.snapshot() as db:
            yield db, self._learn(db)

    def _learn(self, db: sqlite3.Connection) -> float:
        """Return the store's time: this clock's, or the later one that another process has stored."""
        last = db.execute("SELECT max(last) FROM clock").fetchone()[0]
        with decoding("clock"):
            return self._time.learn(min(float(last or 0.0), LATEST_NOW))

    @contextlib.contextmanager
    def writing_lazily(self) -> Iterator[tuple[sqlite3.Connection, float]]:
        """Run a write transaction of other data in this file that does not have to be on disk at once.

        Yields the connection and the store's time. Later writes never reach the disk before this one.
        """
        with self._connections.lazily(), self._writing() as (db, now):
            yield db, now

    def reading(self) -> contextlib.AbstractContextManager[tuple[sqlite3.Connection, float]]:
        """Run reads of other data in this file, on one snapshot; yields the connection and the store's time."""
        return self._reading()

    def now(self) -> float:
        with self._reading() as (_, now):
            return now

    def set_clock_back(self, instant: float) -> None:
        with self._connections.transaction() as db:
            db.execute("UPDATE clock SET last = ?", (instant,))
            db.execute("DELETE FROM workers WHERE seen_at > ?", (instant,))
            # The locks of ended sessions stay: without them, a cookie would be valid again.
            db.execute("DELETE FROM holds WHERE until > ? AND name NOT LIKE 'ended-session:%'", (instant,))
            db.execute("UPDATE queues SET tokens = 0, refilled_at = ? WHERE refilled_at > ?", (instant, instant))
            budget_tables.set_clock_back(db, instant)
            outbox.set_clock_back(db, instant)

    def add(self, queue: str, jobs: Iterable[NewJob]) -> Added:
        new: list[str] = []
        known: list[str] = []
        remaining = iter(jobs)
        while chunk := list(islice(remaining, CHUNK_JOBS)):
            for item, is_new in zip(chunk, self._write(partial(_insert_new, queue, chunk)), strict=True):
                (new if is_new else known).append(item.job.job_id)
        return Added(tuple(new), tuple(known))

    def adopt(self, record: JobRecord) -> bool:
        with self._writing() as (db, _):
            added = insert(db, record)
            if added:
                turns.enter(db, [record])
                budget_tables.charge(db, charge_changes(None, record))
            return added

    def knows_id(self, job_id: str) -> bool:
        with self._reading() as (db, now):
            known = db.execute("SELECT 1 FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
            gone = db.execute("SELECT 1 FROM finished_ids WHERE job_id = ? AND until > ?", (job_id, now)).fetchone()
            return known is not None or gone is not None

    def get(self, job_id: str) -> JobRecord | None:
        with self._connections.use() as db:
            row = db.execute("SELECT job_id, record FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        return record_of(row) if row else None

    def page(self, jobs: JobFilter, *, limit: int, cursor: str | None = None) -> Page:
        with self._reading() as (db, now):
            return lists.page(db, jobs, now, self._bounds, limit=limit, cursor=cursor)

    def count_matching(self, jobs: JobFilter) -> MatchCount:
        with self._reading() as (db, now):
            return lists.count_matching(db, jobs, now, self._bounds)

    def status_counts(self, queue: str | None = None) -> Counts:
        with self._reading() as (db, now):
            return lists.status_counts(db, queue, now)

    def ordered(self, order: Order, jobs: JobFilter, *, limit: int) -> OrderedJobs:
        with self._reading() as (db, now):
            return lists.ordered(db, order, jobs, now, self._bounds, limit=limit)

    def next_scheduled(self, limit: int) -> Sequence[JobRecord]:
        with self._reading() as (db, now):
            return lists.next_scheduled(db, limit, now)

    def scheduled_before(self, instant: float) -> int:
        with self._reading() as (db, now):
            return lists.scheduled_before(db, instant, now)

    def totals(self, kind: str, since: str = "") -> Sequence[Total]:
        with self._connections.use() as db:
            rows = db.execute(
                "SELECT * FROM sums WHERE kind = ? AND period >= ? ORDER BY period, service, name", (kind, since)
            ).fetchall()
            with decoding("sums"):
                return [read_total(**row) for row in rows]

    def last_errors(self) -> Mapping[str, LastError]:
        with self._connections.use() as db:
            rows = db.execute("SELECT service, at, job_id, code, message FROM last_errors").fetchall()
            return {
                row["service"]: error for row, error in zip(rows, rows_as(LastError, "last_errors", rows), strict=True)
            }

    def in_flight(self, service: str) -> int:
        with self._reading() as (db, now):
            return in_flight(db, service, now)

    def channel_in_flight(self, channel: str) -> int:
        with self._reading() as (db, now):
            return channel_in_flight(db, channel, now)

    def slot_holders(self, service: str, limit: int) -> Sequence[JobRecord]:
        with self._reading() as (db, now):
            return slot_holders(db, service, now, limit)

    def claim(self, request: ClaimRequest) -> Claim:
        revision = self.revision()
        # An idle worker claims often: finding nothing due must take no write lock and no disk access.
        with self._reading() as (db, now):
            again_at = next_claim_at(db, request, now)
        if again_at is None or again_at > now:
            return Claim((), again_at, revision)
        claim: Claim = self._write(lambda db, now: claim_due(db, request, now))
        return replace(claim, revision=revision)

    def renew(self, leases: Mapping[str, str], duration: float) -> Collection[str]:
        lost: set[str] = set()
        with self._writing() as (db, now):
            for job_id, token in leases.items():
                try:
                    save(db, lifecycle.renew(_find(db, job_id), token, now + duration))
                except (LeaseLost, JobNotFound):
                    lost.add(job_id)
        return lost

    def update(
        self,
        job_id: str,
        change: Change,
        *,
        slots: Slots | None = None,
        budgets: BudgetCheck | None = None,
        on_disk: bool = False,  # every transaction is on disk
    ) -> JobRecord:
        record: JobRecord = self._write(partial(self._update, job_id, change, slots, budgets))
        return record

    def update_each(self, changes: Sequence[tuple[str, Change]]) -> Sequence[JobRecord | Exception]:
        def write(db: sqlite3.Connection, now: float) -> list[Any]:
            return [isolated(db, partial(self._update, *one, None, None, db, now)) for one in changes]

        return [self._connections.mapped_result(result) for result in self._write(write)]

    def _update(
        self,
        job_id: str,
        change: Change,
        slots: Slots | None,
        budgets: BudgetCheck | None,
        db: sqlite3.Connection,
        now: float,
    ) -> JobRecord:
        before = _find(db, job_id)
        record = change(before, now)
        if slots is not None:
            if in_flight(db, slots.service, now, other_than=job_id) >= slots.limit:
                raise SlotsBusy(slots.service, slots.limit)
            name, of_channel = record.job.channel, slots.of_channel
            if of_channel is not None and channel_in_flight(db, name, now, other_than=job_id) >= of_channel:
                raise SlotsBusy(f"channel {name}", of_channel)
        if budgets is not None:
            with decoding("budgets"):
                budget_tables.require_room(db, record, charge_changes(before, record), budgets, now)
        keep(db, before, record, self.job_events)
        return record

    def budgets(self) -> Mapping[str, Budget]:
        with self._reading() as (db, _), decoding("budgets"):
            return budget_tables.stored(db)

    def set_budget(self, scope: str, budget: Budget | None) -> None:
        with self._writing() as (db, _):
            budget_tables.put(db, scope, budget)

    def amounts(self, periods: Sequence[tuple[str, Period]]) -> Sequence[Amounts]:
        with self._reading() as (db, _):
            return budget_tables.amounts(db, periods)

    def channels(self) -> Mapping[str, Channel]:
        with self._reading() as (db, _), decoding("channels"):
            return turns.settings(db)

    def channel(self, name: str) -> Channel:
        with self._reading() as (db, _), decoding("channels"):
            return turns.settings(db, name).get(name, Channel())

    def set_channel(self, name: str, change: Callable[[Channel], Channel | None]) -> None:
        with self._writing() as (db, _):
            with decoding("channels"):
                present = turns.settings(db, name).get(name, Channel())
            turns.put(db, name, change(present))

    def schedules(self) -> Sequence[Schedule]:
        with self._reading() as (db, _), decoding("schedules"):
            return schedule_tables.stored(db)

    def schedule(self, name: str) -> Schedule | None:
        with self._reading() as (db, _), decoding("schedules"):
            return next(iter(schedule_tables.stored(db, name)), None)

    def swap_schedule(self, before: Schedule | None, after: Schedule | None, topics: Sequence[Topic] = ()) -> bool:
        with self._writing() as (db, _):
            return schedule_tables.swap(db, before, after, topics)

    def schedule_topics(self, schedule: Schedule, places: Collection[int]) -> Mapping[int, Topic]:
        with self._reading() as (db, _), decoding("schedule_topics"):
            return schedule_tables.topics_at(db, schedule, places)

    def cancel_waiting(self, queue: str, limit: int) -> int:
        with self._writing() as (db, now):
            rows = db.execute(
                "SELECT job_id, record FROM jobs"
                " WHERE queue = ? AND substr(lane, 1, 1) <> ? AND due IS NOT NULL LIMIT ?",
                (queue, TICKET_MARK, limit),
            ).fetchall()
            for record in readable(rows, db):
                keep(db, record, lifecycle.cancel(record, now), self.job_events)
        return len(rows)

    def overdue(self, queue: str, before: float, limit: int) -> Sequence[JobRecord]:
        found: list[sqlite3.Row] = []
        with self._reading() as (db, _):
            for column in ("due", "lease_until"):
                found += db.execute(
                    f"SELECT job_id, record FROM jobs WHERE queue = ? AND {column} < ? ORDER BY {column} LIMIT ?",
                    (queue, before, limit - len(found)),
                ).fetchall()
        return list(readable(found))

    def late_to_start(self, limit: int) -> Sequence[JobRecord]:
        with self._reading() as (db, now):
            rows = db.execute(
                "SELECT starts.job_id, record FROM starts JOIN jobs USING (job_id)"
                " WHERE start_by < ? AND due IS NOT NULL ORDER BY start_by LIMIT ?",
                (now, limit),
            ).fetchall()
        return list(readable(rows))

    def acquire_lock(self, name: str, owner: str, seconds: float) -> bool:
        with self._writing() as (db, now):
            held = db.execute(
                "INSERT INTO holds VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET owner = excluded.owner,"
                " until = excluded.until WHERE until <= ? OR owner = excluded.owner",
                (name, owner, now + seconds, now),
            )
            db.execute("DELETE FROM holds WHERE until <= ?", (now,))
            return held.rowcount > 0

    def lock_owner(self, name: str) -> str | None:
        with self._reading() as (db, now):
            row = db.execute("SELECT owner FROM holds WHERE name = ? AND until > ?", (name, now)).fetchone()
        return str(row[0]) if row else None

    def memo(self, kind: str, name: str) -> str | None:
        with self._reading() as (db, now):
            return memo_tables.read(db, kind, name, now)

    def memos(self, kind: str) -> Mapping[str, str]:
        with self._reading() as (db, now):
            return memo_tables.read_all(db, kind, now)

    def put_memo(
        self,
        kind: str,
        name: str,
        text: str | None,
        seconds: float,
        *,
        instead_of: str | None,
        events: Sequence[Event] = (),
    ) -> str | None:
        def write(db: sqlite3.Connection, now: float) -> str | None:
            stored, replaced = memo_tables.put(db, kind, name, text, now, seconds, instead_of=instead_of)
            if replaced:
                self._write_events(db, events)
            return stored

        stored: str | None = self._write(write)
        return stored

    def _write_events(self, db: sqlite3.Connection, events: Sequence[Event]) -> None:
        with decoding("endpoints"):
            outbox.write(db, events)

    def endpoints(self) -> Sequence[Endpoint]:
        with self._reading() as (db, _), decoding("endpoints"):
            return outbox.endpoints(db)

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        with self._reading() as (db, _), decoding("endpoints"):
            return next(iter(outbox.endpoints(db, endpoint_id)), None)

    def swap_endpoint(self, before: Endpoint | None, after: Endpoint | None) -> bool:
        with self._writing() as (db, _):
            return outbox.swap(db, before, after)

    def health(self, endpoint_id: str) -> Health:
        with self._reading() as (db, _), decoding("endpoints"):
            return parse_health(outbox.health(db, endpoint_id))

    def next_delivery(self, endpoint_id: str) -> float | None:
        with self._reading() as (db, _):
            return outbox.next_at(db, endpoint_id)

    def take_deliveries(self, endpoint_id: str, limit: int, seconds: float) -> Sequence[Delivery]:
        def take(db: sqlite3.Connection, now: float) -> Sequence[Delivery]:
            with decoding("outbox"):
                return outbox.take(db, endpoint_id, now, limit, seconds)

        taken: Sequence[Delivery] = self._write(take)
        return taken

    def settle_deliveries(self, endpoint_id: str, settled: Sequence[Settled], health: Health | None = None) -> None:
        def write(db: sqlite3.Connection, now: float) -> None:
            outbox.settle(db, endpoint_id, settled)
            if health is not None:
                outbox.set_health(db, endpoint_id, health.text)

        self._write(write)

    def deliveries(self, endpoint_id: str, limit: int) -> Sequence[Delivery]:
        with self._reading() as (db, _), decoding("outbox"):
            return outbox.listed(db, endpoint_id, limit)

    def delivery_counts(self, endpoint_id: str) -> Mapping[DeliveryState, int]:
        with self._reading() as (db, _), decoding("outbox"):
            return outbox.counts(db, endpoint_id)

    def replay(self, endpoint_id: str, since: float) -> int:
        with self._writing() as (db, now):
            return outbox.replay(db, endpoint_id, since, now)

    def mark_dispatched(self, deliveries: Mapping[str, int]) -> None:
        with self._writing() as (db, _):  # one transaction for all of them
            for job_id, seq in deliveries.items():
                with contextlib.suppress(JobNotFound):
                    save(db, lifecycle.dispatched(_find(db, job_id), seq))

    def queue_state(self, queue: str) -> QueueState:
        with self._connections.use() as db:
            return queue_state(db, queue)

    def set_queue_state(self, queue: str, change: Callable[[QueueState], QueueState]) -> QueueState:
        with self._writing() as (db, now):
            before = queue_state(db, queue)
            state = change(before)
            db.execute(
                "INSERT INTO queues (name, paused, max_dispatches_per_second, max_concurrent_dispatches)"
                " VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET paused = excluded.paused,"
                " max_dispatches_per_second = excluded.max_dispatches_per_second,"
                " max_concurrent_dispatches = excluded.max_concurrent_dispatches",
                (queue, state.paused, state.max_dispatches_per_second, state.max_concurrent_dispatches),
            )
            self._write_events(db, queue_events(queue, before.paused, state.paused, now))
        return state

    def heartbeat(self, worker: WorkerInfo) -> None:
        with self._writing() as (db, now):
            db.execute(
                "INSERT OR REPLACE INTO workers (id, queue, host, pid, concurrency, started_at, seen_at, steps)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    worker.id,
                    worker.queue,
                    worker.host,
                    worker.pid,
                    worker.concurrency,
                    worker.started_at,
                    now,
                    worker.steps,
                ),
            )

    def forget_worker(self, worker_id: str) -> None:
        with self._writing() as (db, _):
            db.execute("DELETE FROM workers WHERE id = ?", (worker_id,))

    def workers(self, queue: str | None = None, *, within: float) -> Sequence[WorkerInfo]:
        with self._reading() as (db, now):
            alive = (
                "SELECT id, queue, host, pid, concurrency, started_at, seen_at AS last_heartbeat_at, steps FROM workers"
                " WHERE queue = ifnull(?, queue) AND seen_at >= ?"
            )
            return rows_as(WorkerInfo, "workers", db.execute(alive, (queue, now - within)).fetchall())

    def trim(self, retention: Retention) -> int:
        removed = 0
        while True:
            with self._writing() as (db, now):
                chunk = _trim_chunk(db, retention, now)
            removed += chunk
            if chunk < CHUNK_JOBS:
                return removed

    def revision(self) -> object:
        with self._connections.use() as db:
            return db.execute("PRAGMA data_version").fetchone()[0]

    def wait(self, revision: object, *, timeout: float, wake: Signal) -> None:
        # Processes notice each other's writes only by the file's version; reading it needs no lock and no disk access.
        ends = time.monotonic() + timeout
        while (left := ends - time.monotonic()) > 0 and self.revision() == revision:
            if wake.wait(min(WATCH_INTERVAL_SECONDS, left)):
                return

    def find_damage(self, seconds: float) -> str:
        with self._connections.use() as db:
            limit = Timer(seconds, db.interrupt)
            limit.start()
            try:
                found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
            except sqlite3.DatabaseError as error:
                found = "ok" if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT else str(error)
            finally:
                limit.cancel()
                limit.join()
        return "" if found == "ok" else found

    def close(self) -> None:
        self._connections.close()


def insert(db: sqlite3.Connection, record: JobRecord) -> bool:
    """Add a record unless its id is known, without its turn and charges; return whether it is new."""
    if not db.execute(_INSERT, row_of(record)).rowcount:
        return False
    keep_start(db, None, record)
    return True


def _insert_new(queue: str, items: Sequence[NewJob], db: sqlite3.Connection, now: float) -> list[bool]:
    """Add jobs; return for each whether it is new."""
    records = [new_record(queue, item, now) for item in items]
    added = [insert(db, record) for record in records]
    turns.enter(db, (record for record, is_new in zip(records, added, strict=True) if is_new))
    return added


def _find(db: sqlite3.Connection, job_id: str) -> JobRecord:
    row = db.execute("SELECT job_id, record FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    if row is None:
        raise JobNotFound(job_id)
    return record_of(row)


def _trim_chunk(db: sqlite3.Connection, retention: Retention, now: float) -> int:
    db.execute("DELETE FROM finished_ids WHERE until <= ?", (now,))
    db.execute("DELETE FROM workers WHERE seen_at < ?", (now - FORGET_WORKERS_AFTER_SECONDS,))
    db.execute("DELETE FROM sums WHERE kind = ? AND period < ?", (HOUR, hour(now - KEEP_HOURS)))
    db.execute("DELETE FROM sums WHERE kind = ?", (expired_kind(now),))
    budget_tables.trim(db, now)
    memo_tables.trim(db, now)
    outbox.trim(db, now)
    # A cancelled job can still be in flight: its ticket and cost must be kept.
    trimmable = f"status IN ('succeeded', 'cancelled') AND ifnull(slot_until, 0) <= {now!r}"
    finished = "SELECT ifnull(sum(jobs), 0) FROM counts WHERE status IN ('succeeded', 'cancelled')"
    kept = db.execute(finished).fetchone()[0]
    rows = db.execute(
        f"SELECT position, job_id FROM jobs WHERE {trimmable} AND finished_at < ?"
        f" ORDER BY finished_at LIMIT {CHUNK_JOBS}",
        (now - retention.age,),
    ).fetchall()
    excess = min(CHUNK_JOBS, kept - retention.count)
    if len(rows) < excess:
        oldest = f"SELECT position, job_id FROM jobs WHERE {trimmable} ORDER BY finished_at LIMIT ?"
        rows = db.execute(oldest, (excess,)).fetchall()
    db.executemany(
        "INSERT OR REPLACE INTO finished_ids VALUES (?, ?)", [(row["job_id"], now + retention.ids) for row in rows]
    )
    db.executemany("DELETE FROM jobs WHERE position = ?", [(row["position"],) for row in rows])
    return len(rows)
