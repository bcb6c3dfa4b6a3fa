"""The SQLite store passes the store suite, and handles its file safely."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine

from tenxsom_flow_engine.budgets import ALL, Span
from tenxsom_flow_engine.budgets.limits import period
from tenxsom_flow_engine.clock import LATEST_NOW, Clock, SystemClock
from tenxsom_flow_engine.errors import StoreBroken, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import AUTO, Status
from tenxsom_flow_engine.jobs.outcomes import Dead, Wait
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.rate_limits.sqlite import SQLiteLedger
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.sqlite.connections import APPLICATION_ID, SCHEMA_VERSION, Connections, isolated
from tenxsom_flow_engine.store.sqlite.lists import LIST_BOUNDS
from tenxsom_flow_engine.store.totals import EVER
from tenxsom_flow_engine.store.values import DispatchLimits, JobFilter, ListBounds, NewJob, Order, Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, QUEUE, TICKET, a_claim, a_job, new
from tenxsom_flow_engine.timings import Timings
from tests.contract.budget_machine import BudgetMachine
from tests.contract.store_machine import StoreMachine
from tests.contract.store_suite import OpenStore, StoreSuite
from tests.contract.store_suite.events import an_endpoint
from tests.contract.store_suite.shared import everything

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite3"


@pytest.fixture
def open_store(file: Path) -> Iterator[OpenStore]:
    opened: list[SQLiteStore] = []

    def open_one(clock: Clock, bounds: ListBounds | None = None) -> SQLiteStore:
        store = SQLiteStore(file, clock, bounds=bounds or LIST_BOUNDS)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


class TestSQLiteStore(StoreSuite):
    """The store suite."""


class NewFile(RuleBasedStateMachine):
    """Runs each example on a new file."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()

    def open_store(self, clock: Clock) -> SQLiteStore:
        return SQLiteStore(Path(self._folder.name) / "jobs.sqlite3", clock)

    def teardown(self) -> None:
        super().teardown()
        self._folder.cleanup()


class SQLiteMachine(NewFile, StoreMachine):
    """Random operations."""


TestSQLiteMachine = SQLiteMachine.TestCase
TestSQLiteMachine.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


class SQLiteBudgets(NewFile, BudgetMachine):
    """Random operations on budgets."""


TestSQLiteBudgets = SQLiteBudgets.TestCase
TestSQLiteBudgets.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_file_of_an_earlier_release_gets_memos(file: Path) -> None:
    """A file without the table of memos gets it when it is opened."""
    SQLiteStore(file, ManualClock()).close()
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.execute("DROP TABLE memos")
    with contextlib.closing(SQLiteStore(file, ManualClock())) as store:
        assert store.put_memo("k", "a", "text", 10.0, instead_of=None) == "text"


def test_a_file_of_an_earlier_release_gets_an_outbox(file: Path) -> None:
    """A file without the tables of events gets them when it is opened, and its jobs then cause events."""
    with contextlib.closing(SQLiteStore(file, ManualClock())) as store:
        store.add(QUEUE, new("a"))
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.executescript("DROP TABLE endpoints; DROP TABLE outbox")
    with contextlib.closing(SQLiteStore(file, ManualClock())) as store:
        assert store.swap_endpoint(None, an_endpoint())
        store.cancel("a")
        assert [one.message.type for one in store.deliveries("we_1", 10)] == ["job.cancelled"]


def test_a_foreign_value_in_the_outbox_is_named(file: Path) -> None:
    """An endpoint that the engine cannot have written is an error that names its table, and the job is unchanged."""
    with contextlib.closing(SQLiteStore(file, ManualClock())) as store:
        store.add(QUEUE, new("a"))
        with contextlib.closing(sqlite3.connect(file)) as db, db:
            db.execute("INSERT INTO endpoints (id, record) VALUES ('x', '[]')")
        with pytest.raises(StoreBroken, match="endpoints"):
            store.cancel("a")
        assert store.require("a").status is Status.QUEUED


def test_a_file_of_an_earlier_release_keeps_what_it_has_spent(file: Path) -> None:
    """A file without the tables of budgets gets them once, with the purchases that its totals show."""
    schema = (ROOT / "tenxsom_flow_engine" / "store" / "sqlite" / "schema.sql").read_text("utf-8")
    now = 1_800_014_400.0  # 2027-01-15 12:00 UTC
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; {schema}")
        db.execute("UPDATE clock SET last = ?", (now,))
        totals = [("day", "2027-01-02", 1.5), ("day", "2027-01-15", 0.75), ("hour", "2027-01-15T11", 0.5)]
        db.executemany("INSERT INTO sums VALUES (?, ?, 'alpha', 'usd', ?)", totals)
    for _ in range(2):
        with contextlib.closing(SQLiteStore(file, ManualClock(now))) as store:
            periods = [
                (scope, period(span, "UTC", now))
                for scope in (ALL, "service:alpha", "channel:sea")
                for span in (Span.DAY, Span.MONTH)
            ]
            assert [amounts.spent for amounts in store.amounts(periods)] == [750_000, 2_250_000] * 2 + [0, 0]


# The file: durability, and files that are refused.


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Return the driver's connections, as they are opened."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def recorded(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        opened.append(connection)
        return connection

    monkeypatch.setattr(sqlite3, "connect", recorded)
    return opened


def refuses(path: Path, *words: str) -> StoreError:
    """Check that a file is refused with an error that names the file, the reason and a next step; return the error."""
    with pytest.raises(StoreBroken) as refusal:
        SQLiteStore(path, ManualClock())
    for word in (str(path), *words):
        assert word in refusal.value.message
    assert refusal.value.next_step
    return refusal.value


def test_a_record_that_cannot_be_read_stops_nothing_else(file: Path, open_store: OpenStore) -> None:
    """A damaged record is reported and removed from the queue; other jobs are leased, listed and cancelled."""
    store = open_store(ManualClock())
    store.add(QUEUE, new("good", "bad", "fine"))
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("""UPDATE jobs SET record = CAST('{"v":1,"job":{}}' AS BLOB) WHERE job_id = 'bad'""")
        other.commit()
    assert [record.job_id for record in store.page(JobFilter(), limit=10).records] == ["fine", "good"]
    with pytest.raises(StoreBroken, match="the record of job bad cannot be read"):
        store.get("bad")
    assert [record.job_id for record in store.claim(a_claim()).records] == ["good", "fine"]
    assert store.claim(a_claim()).records == ()
    assert store.status_counts(QUEUE).by_status[Status.FAILED] == 1
    assert store.cancel_waiting(QUEUE, 10) == 0


def test_a_closed_gate_writes_nothing(open_store: OpenStore) -> None:
    """Claims while the rate or the concurrency is used up wake no worker and write nothing to disk."""
    clock = ManualClock()
    store, other = open_store(clock), open_store(clock)
    store.add(QUEUE, new(*(f"j{number}" for number in range(20))))
    for limits in (DispatchLimits(0.01, 100), DispatchLimits(500.0, 1)):
        assert len(store.claim(a_claim(limits=limits)).records) <= 1
        revision = other.revision()
        for _ in range(5):
            claim = store.claim(a_claim(limits=limits))
            assert claim.records == ()
            assert claim.again_at is not None
            assert claim.again_at > clock.now()
        assert other.revision() == revision


def test_commits_are_on_disk(driver: list[sqlite3.Connection], open_store: OpenStore) -> None:
    """Every connection of each thread uses write-ahead logging and syncs at each commit."""
    store = open_store(ManualClock())
    thread = threading.Thread(target=store.now)
    thread.start()
    thread.join()
    assert len(driver) == 2
    for connection in driver:
        with contextlib.suppress(sqlite3.ProgrammingError):  # closed when its thread ended
            assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
            assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert driver[0].execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_file_that_is_no_database(file: Path) -> None:
    """A file of another format is refused and left unchanged."""
    file.write_bytes(b"Dear diary, " * 1000)
    before = file.read_bytes()
    refuses(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("version", [0, 1])
def test_another_programs_database(file: Path, version: int) -> None:
    """Another program's database is refused and left unchanged, whatever its schema version."""
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE diary (day TEXT)")
        other.execute(f"PRAGMA user_version = {version}")
        other.commit()
    before = file.read_bytes()
    refuses(file)
    assert file.read_bytes() == before


def test_a_newer_schema(file: Path, open_store: OpenStore) -> None:
    """A store with a newer schema is refused, naming its version."""
    open_store(ManualClock()).close()
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA user_version = 99")
    refuses(file, "99")


@pytest.mark.parametrize(
    ("table", "damage"),
    [
        ("counts", "UPDATE counts SET status = '../../etc'"),
        ("sums", "INSERT INTO sums VALUES ('ever', 'no day', 'alpha', 'videos', 1.0)"),
        ("sums", "INSERT INTO sums VALUES ('ever', '', 'alpha', 'videos', 9e999)"),
        ("queues", "INSERT INTO queues (name, max_dispatches_per_second) VALUES ('local', 0.0)"),
        ("queues", "INSERT INTO queues (name, max_concurrent_dispatches) VALUES ('local', -1)"),
        ("gates", "INSERT INTO gates VALUES ('alpha', '{')"),
        ("gates", "INSERT INTO gates VALUES ('alpha', '{\"pace\": \"x\"}')"),
        ("tallies", "INSERT INTO tallies VALUES ('alpha', 'at_once', 9e999)"),
        ("last_errors", "INSERT INTO last_errors VALUES ('alpha', 1.0, 'a', x'', 'm')"),
    ],
)
def test_a_value_that_is_not_the_engines(file: Path, open_store: OpenStore, table: str, damage: str) -> None:
    """A value that the engine cannot have written is an error that names the file and the table."""
    first = open_store(ManualClock())
    assert isinstance(first, SQLiteStore)
    SQLiteLedger(first)
    first.add(QUEUE, new("a"))
    first.close()
    with damaging(file) as db:
        db.execute(damage)
    store = open_store(ManualClock())
    assert isinstance(store, SQLiteStore)
    uses: dict[str, Callable[[], object]] = {
        "counts": store.status_counts,
        "sums": lambda: store.totals(EVER),
        "queues": lambda: store.queue_state("local"),
        "gates": lambda: SQLiteLedger(store).snapshot(ALPHA),
        "tallies": lambda: SQLiteLedger(store).snapshot(ALPHA),
        "last_errors": store.last_errors,
    }
    with pytest.raises(StoreBroken, match=f"{re.escape(str(file))}.* in its table {table} ") as refusal:
        uses[table]()
    assert refusal.value.next_step


def test_a_record_that_is_missing_stops_nothing_else(file: Path, open_store: OpenStore) -> None:
    """A row without a record, which only damage leaves, is reported like a damaged record."""
    open_store(ManualClock()).add(QUEUE, new("a", "b"))
    with damaging(file) as db:
        db.execute("UPDATE jobs SET record = NULL WHERE job_id = 'a'")
    store = open_store(ManualClock())
    assert [record.job_id for record in store.page(JobFilter(), limit=9).records] == ["b"]
    assert [record.job_id for record in store.claim(a_claim()).records] == ["b"]
    with pytest.raises(StoreBroken, match="record of job a cannot be read"):
        store.get("a")


def test_a_clock_without_its_row(file: Path, open_store: OpenStore, clock: ManualClock) -> None:
    """A store whose stored time is lost takes the machine's time and stores it."""
    open_store(clock).add(QUEUE, new("a"))
    with damaging(file) as db:
        db.execute("DELETE FROM clock")
    assert open_store(clock).now() == clock.now()
    open_store(clock).add(QUEUE, new("b"))
    assert open_store(ManualClock(0.0)).now() >= clock.now()


@pytest.mark.parametrize("last", ["9e999", "1e300", "253370764800.0"])
def test_an_impossible_clock(file: Path, open_store: OpenStore, last: str) -> None:
    """A stored time that is impossible counts as the latest possible one, whose leases and deadlines are valid."""
    open_store(ManualClock()).add(QUEUE, new("a"))
    with damaging(file) as db:
        db.execute(f"UPDATE clock SET last = {last}")
    store = open_store(ManualClock())
    assert store.now() == LATEST_NOW
    (record,) = store.claim(a_claim()).records
    assert store.get("a") == record


def test_a_file_of_the_previous_release(file: Path, open_store: OpenStore, clock: ManualClock) -> None:
    """A file without the table of latest starts gets it when it is opened, and keeps its jobs."""
    store = open_store(clock)
    store.add(QUEUE, new("old"))
    store.close()
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("DROP TABLE starts")
    store = open_store(clock)
    store.add(QUEUE, new("new", start_by=clock.now() + 10))
    clock.advance(11)
    assert [record.job_id for record in store.expire_unstarted(9)] == ["new"]
    assert store.require("old").status is Status.QUEUED


@contextlib.contextmanager
def damaging(file: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection for which the columns of the tables have no types and can be empty."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        version = db.execute("PRAGMA schema_version").fetchone()[0]
        sql = "replace(replace(sql, ') STRICT', ') '), 'NOT NULL', '')"
        db.execute("PRAGMA writable_schema = ON")
        db.execute(f"UPDATE sqlite_master SET sql = replace({sql}, ' , WITHOUT', ' WITHOUT') WHERE type = 'table'")
        db.execute(f"PRAGMA schema_version = {version + 1}")
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        yield db


@pytest.mark.parametrize("damage", ["overwritten", "cut"])
def test_a_damaged_file(file: Path, open_store: OpenStore, damage: str) -> None:
    """Using a damaged store raises an error that says so; it never returns wrong data."""
    store = open_store(ManualClock())
    store.add(QUEUE, new(*(f"j{number}" for number in range(500))))
    store.close()
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + (b"\x5a" * (len(whole) - 4096) if damage == "overwritten" else b""))

    def use() -> None:
        damaged = open_store(ManualClock())
        damaged.claim(a_claim())
        everything(damaged)

    with pytest.raises(StoreBroken) as refusal:
        use()
    assert str(file) in refusal.value.message


def test_a_store_that_cannot_be_opened_leaves_no_connection(
    driver: list[sqlite3.Connection], file: Path, open_store: OpenStore
) -> None:
    """If a store cannot be opened, its connection is closed, so that it holds neither the file nor its locks."""
    open_store(ManualClock()).close()
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA user_version = 99")
    driver.clear()
    with pytest.raises(StoreBroken, match="schema version 99"):
        open_store(ManualClock())
    (connection,) = driver
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


@contextlib.contextmanager
def powerless() -> Iterator[None]:
    """Run without superuser rights, so that read-only has an effect."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """Return a folder in which no file can be created, but whose files can be read."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_new_store_in_a_read_only_folder(read_only_folder: Path) -> None:
    """If the file cannot be created, the error names the folder and a next step."""
    read_only_folder.chmod(0o555)
    for path in (read_only_folder / "jobs.sqlite3", read_only_folder / "deep" / "jobs.sqlite3"):
        with powerless(), pytest.raises(StoreError) as refusal:
            SQLiteStore(path, ManualClock())
        assert str(path.parent) in refusal.value.message
        assert refusal.value.next_step


def test_a_store_in_a_folder_that_became_read_only(read_only_folder: Path) -> None:
    """A store that has become read-only raises an error that says so."""
    path = read_only_folder / "jobs.sqlite3"
    store = SQLiteStore(path, ManualClock())
    store.add(QUEUE, new("a"))
    store.close()
    path.chmod(0o444)
    read_only_folder.chmod(0o555)

    def use() -> None:
        with contextlib.closing(SQLiteStore(path, ManualClock())) as store:
            store.add(QUEUE, new("b"))

    with powerless(), pytest.raises(StoreError) as refusal:
        use()
    assert str(path) in refusal.value.message
    assert refusal.value.next_step


def test_only_its_user_can_read_a_new_store(file: Path, open_store: OpenStore) -> None:
    """A new file, its log and a new folder are for their user alone; the permissions of an existing file stay."""
    store = SQLiteStore(file.parent / "home" / "jobs.sqlite3", SystemClock())
    store.add(QUEUE, new("a"))
    folder = file.parent / "home"
    assert {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {
        "home": 0o700, "jobs.sqlite3": 0o600, "jobs.sqlite3-wal": 0o600, "jobs.sqlite3-shm": 0o600,
    }  # fmt: skip
    (folder / "jobs.sqlite3").chmod(0o640)
    SQLiteStore(folder / "jobs.sqlite3", SystemClock()).close()
    store.close()
    assert (folder / "jobs.sqlite3").stat().st_mode & 0o777 == 0o640


def test_a_file_that_another_process_locks(file: Path) -> None:
    """A write that waits too long for another process fails and writes nothing; reads work; a later write succeeds."""
    store = SQLiteStore(file, ManualClock(), Timings(sqlite_lock=0.05))
    store.add(QUEUE, new("a"))
    script = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        for write in (lambda: store.add(QUEUE, new("b")), lambda: store.claim(a_claim()), lambda: store.cancel("a")):
            with pytest.raises(StoreUnavailable) as refusal:
                write()
            assert str(file) in refusal.value.message
        assert store.require("a").status is Status.QUEUED
        assert store.status_counts(QUEUE).by_status[Status.QUEUED] == 1
        holder.communicate()
    assert store.add(QUEUE, new("b")).new == ("b",)
    store.close()


def test_a_thread_that_writes_for_long(file: Path) -> None:
    """A write that waits too long for another thread fails and writes nothing; a later write succeeds."""
    store = SQLiteStore(file, ManualClock(), Timings(sqlite_lock=0.05))
    with ThreadPoolExecutor(1) as pool, store.writing_lazily(), pytest.raises(StoreUnavailable) as refusal:
        pool.submit(store.add, QUEUE, new("a")).result()
    assert "another thread" in refusal.value.message
    assert store.get("a") is None
    assert store.add(QUEUE, new("a")).new == ("a",)
    store.close()


def test_a_full_disk(driver: list[sqlite3.Connection], open_store: OpenStore) -> None:
    """On a full disk nothing of the call is written; once space is free again the store works."""
    store = open_store(ManualClock())
    store.add(QUEUE, new("a", "b"))
    (connection,) = driver
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    large = [NewJob(a_job(f"large{number}", prompt="x" * 9000)) for number in range(50)]
    with pytest.raises(StoreFull) as refusal:
        store.add(QUEUE, large)
    assert refusal.value.next_step
    assert {record.job_id for record in everything(store)} == {"a", "b"}
    assert store.status_counts().by_status[Status.QUEUED] == 2
    connection.execute("PRAGMA max_page_count = 1000000")
    assert len(store.add(QUEUE, large).new) == 50
    assert len(store.claim(a_claim()).records) == 52


def test_an_error_in_a_part_of_a_transaction_undoes_only_that_part(file: Path, clock: ManualClock) -> None:
    """The other parts are committed."""
    SQLiteStore(file, clock).close()
    connections = Connections(file, 1.0)

    def write(name: str) -> str:
        with connections.use() as db:
            db.execute("INSERT INTO holds VALUES (?, 'owner', 1.0)", (name,))
            if name == "bad":
                raise KeyError(name)
        return name

    with connections.transaction() as db:
        outcomes = [isolated(db, partial(write, name)) for name in ("a", "bad", "b")]
    assert [outcomes[0], type(outcomes[1]), outcomes[2]] == ["a", KeyError, "b"]
    with connections.use() as db:
        assert [row["name"] for row in db.execute("SELECT name FROM holds ORDER BY name")] == ["a", "b"]
    connections.close()


def test_use_after_a_fork(file: Path) -> None:
    """After a fork, parent and child use the store on separate connections, and the file stays intact."""
    script = """
import os, sys
from pathlib import Path
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import new

store = SQLiteStore(Path(sys.argv[1]), ManualClock())
store.add("q", new("before"))
children = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        for turn in range(25):
            store.add("q", new(f"child-{number}-{turn}"))
        store.close()
        os._exit(0)
    children.append(pid)
for turn in range(25):
    store.add("q", new(f"parent-{turn}"))
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
assert sum(store.status_counts("q").by_status.values()) == 126
store.add("q", new("after"))
store.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    with contextlib.closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert db.execute("SELECT count(*) FROM jobs").fetchone()[0] == 127


def is_open(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def test_closing_closes_all_connections(driver: list[sqlite3.Connection], open_store: OpenStore) -> None:
    """A closed store has no open connection, in any thread."""
    store = open_store(ManualClock())
    thread = threading.Thread(target=store.now)
    thread.start()
    thread.join()
    store.close()
    assert not any(map(is_open, driver))


def test_threads_that_ended_leave_nothing_open(driver: list[sqlite3.Connection], open_store: OpenStore) -> None:
    """A server with a thread for each request does not accumulate open files."""
    store = open_store(ManualClock())
    for _ in range(50):
        thread = threading.Thread(target=store.now)
        thread.start()
        thread.join()
    assert sum(map(is_open, driver)) <= 10


# Cost: every query uses an index.


def busy_store(store: JobStore, clock: ManualClock) -> None:
    """Fill a store with jobs of every kind, so that each statement of a claim finds rows."""
    store.add(QUEUE, new(*(f"a{number}" for number in range(20))))
    store.add(QUEUE, new("b1", "b2", service=BETA))
    store.add(QUEUE, new("open", service=AUTO))
    store.add(QUEUE, new("later", due=clock.now() + 1000))
    for record in store.claim(a_claim(count=4)).records:
        intent = Intent(submission_id=record.job_id, service=ALPHA, lifetime=100.0)
        store.intend(record.job_id, record.lease_token, intent)
        store.accept(record.job_id, Receipt(submission_id=record.job_id, ticket=TICKET, lifetime=500.0))
        if record.job_id != "a0":
            store.settle(record.job_id, record.lease_token, Wait(clock.now() + 31, "rendering"))
    store.settle("a4", store.claim(a_claim(only="a4")).records[0].lease_token, Dead(FAILURE))
    store.cancel("a5")


CALLS: dict[str, Callable[[JobStore], object]] = {
    "claim": lambda store: store.claim(a_claim(count=3)),
    "claim within limits": lambda store: store.claim(a_claim(limits=DispatchLimits(1.0, 1), slots={ALPHA: 1})),
    "claim of one": lambda store: store.claim(a_claim(only="a9")),
    "counts": lambda store: store.status_counts(QUEUE),
    "counts of all": lambda store: store.status_counts(),
    "in_flight": lambda store: store.in_flight(ALPHA),
    "get": lambda store: store.get("a1"),
    "cancel": lambda store: store.cancel("a9"),
    "renew": lambda store: store.renew({"a1": "t"}, 30.0),
    "cancel_waiting": lambda store: store.cancel_waiting(QUEUE, 5),
    "trim": lambda store: store.trim(Retention(age=0.0)),
    "add": lambda store: store.add(QUEUE, new("fresh")),
    "page of a status": lambda store: store.page(JobFilter(statuses=[Status.FAILED]), limit=5),
    "page of a channel": lambda store: store.page(JobFilter(channel="sea"), limit=5),
    "page of a service": lambda store: store.page(JobFilter(service=ALPHA), limit=5),
    "page of a time": lambda store: store.page(JobFilter(added_from=1.0, added_before=2e9), limit=5),
    "page of all": lambda store: store.page(JobFilter(text="sea"), limit=5),
    "jobs by due time": lambda store: store.ordered(Order.DUE, JobFilter(text="sea"), limit=5),
    "finished jobs": lambda store: store.ordered(Order.FINISHED, JobFilter(), limit=5),
    "count": lambda store: store.count_matching(JobFilter(channel="sea", statuses=[Status.FAILED, Status.HELD])),
}


@pytest.mark.parametrize("name", CALLS)
def test_no_call_reads_all_jobs(driver: list[sqlite3.Connection], open_store: OpenStore, name: str) -> None:
    """Every statement of a call finds its rows of the table of jobs through an index."""
    clock = ManualClock()
    store = open_store(clock)
    busy_store(store, clock)
    clock.advance(31)  # a lease has expired, tickets are due
    (connection,) = driver
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    CALLS[name](store)
    connection.set_trace_callback(None)
    questions = [text for text in statements if re.match(r"\s*(SELECT|UPDATE|DELETE|INSERT)\b", text)]
    assert questions
    for question in questions:
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {question}")]
        # A full scan of an index is as slow as a full scan of the table.
        assert not [detail for detail in plan if re.match(r"SCAN (TABLE )?jobs\b", detail)], (question, plan)


def steps(connection: sqlite3.Connection, act: Callable[[], object]) -> int:
    """Count the steps of SQLite's virtual machine in a call."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 1)
    act()
    connection.set_progress_handler(None, 1)
    return count


def test_a_claim_costs_the_same_however_many_jobs_wait(driver: list[sqlite3.Connection], open_store: OpenStore) -> None:
    """A claim takes as many steps with 20,000 waiting jobs as with 1,000, whether it finds a job or not."""
    clock = ManualClock()
    store = open_store(clock)
    (connection,) = driver
    costs: dict[str, list[int]] = {}

    def fill(first: int, last: int) -> None:
        store.add(QUEUE, (NewJob(a_job(f"j{n}", service=(ALPHA, BETA, AUTO)[n % 3]), clock.now() + 500 * (n % 2))
                          for n in range(first, last)))  # fmt: skip

    requests = {
        "some": a_claim(count=5, lease=1e6),
        "none free": a_claim(slots={}),
        "slots taken": a_claim(slots={ALPHA: 0, BETA: 0}),
        "one": a_claim(only="absent"),
    }
    for first, last in ((0, 1000), (1000, 20_000)):
        fill(first, last)
        for name, request in requests.items():
            costs.setdefault(name, []).append(steps(connection, partial(store.claim, request)))
    for name, (few, many) in costs.items():
        assert few > 0
        assert many < 1.5 * few, (name, few, many)


@pytest.mark.parametrize("name", CALLS)
def test_errors_are_of_our_tree(driver: list[sqlite3.Connection], open_store: OpenStore, name: str) -> None:
    """Every error of the driver is raised as a `StoreError`, with the cause kept."""
    store = open_store(ManualClock())
    driver[0].execute("ALTER TABLE jobs RENAME TO gone")
    driver[0].execute("DROP TABLE clock")
    with pytest.raises(StoreBroken) as error:
        CALLS[name](store)
    assert isinstance(error.value.__cause__, sqlite3.Error)


def test_a_file_from_before_an_index(file: Path, open_store: OpenStore) -> None:
    """A file of this schema version that lacks the indexes for lists gets them when it is opened."""
    open_store(ManualClock()).add(QUEUE, new("a"))
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DROP INDEX jobs_service")
        connection.execute("DROP INDEX jobs_added")
    store = open_store(ManualClock())
    assert len(store.page(JobFilter(service=ALPHA, added_from=1.0), limit=5).records) == 1
