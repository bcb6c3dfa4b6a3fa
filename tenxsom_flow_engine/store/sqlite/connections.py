"""SQLite connections: one for each thread and process, with the driver's errors mapped to `errors.StoreError`."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from tenxsom_flow_engine.errors import ConfigurationError, StoreBroken, StoreError, StoreFull, StoreUnavailable
from tenxsom_flow_engine.files import make_private_folder
from tenxsom_flow_engine.store.moving import moved_error
from tenxsom_flow_engine.store.sqlite import budgets, turns
from tenxsom_flow_engine.store.sqlite.rows import ForeignValue

SCHEMA_VERSION = 2
#: The version of a file whose jobs have moved to another store: no release reads it.
MOVED_VERSION = 1_000_000
#: Marks the file as a job store of this engine: the application id in SQLite's header.
APPLICATION_ID = int.from_bytes(b"TFlo")

_AWAY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


@dataclass(eq=False, slots=True)
class _Owned:
    """A connection with the process and thread that use it; `lock` is held during each use."""

    pid: int
    thread: threading.Thread
    connection: sqlite3.Connection
    lock: threading.RLock = field(default_factory=threading.RLock)
    closed: bool = False


class Connections:
    """The connections of one process to one file. A call waits up to `lock_timeout` seconds for other transactions."""

    def __init__(self, path: Path, lock_timeout: float) -> None:
        if sqlite3.sqlite_version_info < (3, 37):
            raise ConfigurationError(
                f"SQLite {sqlite3.sqlite_version} is too old for the job store",
                next_step="use a Python whose sqlite3 module has SQLite 3.37 or newer",
            )
        self.path = path
        self._lock_timeout = lock_timeout
        self._local = threading.local()
        self._lock = threading.Lock()
        self._turns: dict[int, threading.Lock] = {}
        self._open: list[_Owned] = []
        self._closed = False
        with self.mapped():
            try:
                make_private_folder(path.parent)
            except OSError as error:
                raise StoreUnavailable(
                    f"the folder {path.parent} cannot be created: {error.strerror}",
                    next_step="set TENXSOM_HOME to a folder you can write to",
                ) from error
            try:
                with self.use() as connection:
                    self._prepare(connection)
                    if not (budgets.made(connection) and turns.made(connection)):
                        with self.transaction():
                            budgets.make(connection)
                            turns.make(connection)
            except BaseException:
                self.close()
                raise

    @contextlib.contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """Yield this thread's connection, which stays open during the block. Raises `StoreError`."""
        with self.mapped():
            owned = self._own()
            with owned.lock:
                if owned.closed:
                    raise StoreUnavailable(f"the job store {self.path} is closed")
                yield owned.connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one write transaction: committed to disk at its end, rolled back on any exception."""
        with self.use() as connection, self._turn():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Let the threads of this process write one after another.

        SQLite's own wait for a lock is a sleep of up to 0.1 s, so a thread would often miss that the file is free.
        """
        pid = os.getpid()  # after a fork, a thread of the parent can hold its lock
        lock = self._turns.get(pid) or self._turns.setdefault(pid, threading.Lock())
        if not lock.acquire(timeout=self._lock_timeout):
            raise _unavailable(self.path, "a transaction of another thread takes too long")
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def lazily(self) -> Iterator[None]:
        """Let this thread's transactions return before they are on disk; their order is kept.

        A crash of the process loses none of them; a crash of the machine can lose the latest.
        """
        with self.use() as connection:
            connection.execute("PRAGMA synchronous = NORMAL")
            try:
                yield
            finally:
                connection.execute("PRAGMA synchronous = FULL")

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Run a block of reads on one consistent snapshot."""
        with self.use() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                _roll_back(connection)

    @contextlib.contextmanager
    def mapped(self) -> Iterator[None]:
        """Turn the driver's errors into `StoreError`."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self.mapped_result(error) from error

    def mapped_result(self, result: Any) -> Any:
        """Return the result of a part of a transaction, which can be its error; a driver's error as `StoreError`."""
        if isinstance(result, sqlite3.Error):
            return store_error(self.path, result)
        if isinstance(result, UnicodeDecodeError):  # the driver's, for a text in a damaged file
            return _damaged(self.path, result)
        return result

    def _own(self) -> _Owned:
        """Return this thread's connection; the first call opens it, and so does the first call after a fork."""
        owned: _Owned | None = getattr(self._local, "owned", None)
        if owned is None or owned.pid != os.getpid():
            if self._closed:
                raise StoreUnavailable(f"the job store {self.path} is closed")
            owned = self._local.owned = _Owned(os.getpid(), threading.current_thread(), self._connect())
            with self._lock:
                self._close(lambda other: not other.thread.is_alive())
                self._open.append(owned)
        return owned

    def close(self) -> None:
        """Close the connections that this process opened, each after its running call has ended."""
        self._closed = True
        with self._lock:
            self._close(lambda owned: True)

    def _close(self, which: Callable[[_Owned], bool]) -> None:
        """Close the selected connections of this process. The caller must hold `_lock`."""
        # A parent's connections stay referenced: closing them here would drop the parent's file locks.
        ending = [owned for owned in self._open if owned.pid == os.getpid() and which(owned)]
        self._open = [owned for owned in self._open if owned not in ending]
        for owned in ending:
            with owned.lock:
                owned.closed = True
                owned.connection.close()

    def _connect(self) -> sqlite3.Connection:
        # SQLite would let other users read a new file; its -wal and -shm files get the mode of the file.
        with contextlib.suppress(OSError):  # it exists, or SQLite cannot create it either
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=self._lock_timeout, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.create_function("casefold", 1, str.casefold, deterministic=True)
        try:
            self._refuse_foreign(connection)
            self._switch_to_wal(connection)
        except BaseException:
            connection.close()
            raise
        # A commit is on disk when it returns: the guarantee that no job is lost depends on this.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        schema = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
        if self._number(connection, "user_version") == SCHEMA_VERSION:
            for statement in _statements(schema):
                if " IF NOT EXISTS " in statement:
                    connection.execute(statement)
            return
        with self.transaction():
            # Read again: another process might have created the schema.
            version = self._number(connection, "user_version")
            if version == SCHEMA_VERSION:
                return
            if version != 0:
                raise StoreBroken(
                    f"{self.path} has schema version {version}, but this program reads version {SCHEMA_VERSION}",
                    next_step="run the version of the program that wrote it, or configure another store",
                )
            for statement in _statements(schema):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _refuse_foreign(self, connection: sqlite3.Connection) -> None:
        """Raise `StoreBroken` for another program's database, before changing anything in it; `StoreMoved`."""
        connection.execute("BEGIN")  # another process can create the store between two reads
        stored = marker_in(connection)
        mine = self._number(connection, "application_id") == APPLICATION_ID
        used = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        connection.execute("ROLLBACK")
        if used and not mine:
            raise StoreBroken(f"{self.path} is another program's database", next_step="configure another store")
        if mine and stored:
            raise moved_error(f"sqlite://{self.path}", stored)

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        """Set the journal mode, which the file keeps. SQLite does not wait for locks here, so this method does."""
        ends = time.monotonic() + self._lock_timeout
        while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                    raise
                time.sleep(0.01)

    @staticmethod
    def _number(connection: sqlite3.Connection, pragma: str) -> int:
        number: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
        return number


def marker_in(connection: sqlite3.Connection) -> str:
    """Return the marker of a file whose jobs have moved to another store (see `store.moving`), or an empty text."""
    if connection.execute("PRAGMA user_version").fetchone()[0] != MOVED_VERSION:
        return ""
    return str(connection.execute("SELECT marker FROM moved").fetchone()[0])


def isolated(connection: sqlite3.Connection, write: Callable[[], Any]) -> Any:
    """Run a part of a transaction; return its result, or its error after undoing only its changes."""
    connection.execute("SAVEPOINT part")
    try:
        outcome = write()
    except Exception as error:
        if not connection.in_transaction:  # SQLite has undone the whole transaction, as it does on a full disk
            raise
        connection.execute("ROLLBACK TO part")
        outcome = error
    connection.execute("RELEASE part")
    return outcome


def store_error(path: Path, error: sqlite3.Error) -> StoreError:
    """Return the engine's error for an error of the driver."""
    if isinstance(error, ForeignValue):
        return _damaged(path, error)
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return StoreFull(f"the disk of the job store {path} is full", next_step="free some space")
    if primary == sqlite3.SQLITE_READONLY:
        return StoreBroken(f"the job store {path} is read-only", next_step="make the file and folder writable")
    if primary in _DAMAGED:
        return _damaged(path, error)
    if primary in _AWAY:
        return _unavailable(path, error)
    return StoreBroken(f"the job store {path} failed: {error}")


def _unavailable(path: Path, reason: object) -> StoreUnavailable:
    return StoreUnavailable(
        f"the job store {path} cannot be used now: {reason}",
        next_step="check which process locks the file, and that its folder is writable",
    )


def _damaged(path: Path, reason: object) -> StoreBroken:
    return StoreBroken(
        f"{path} is not a job store, or is damaged: {reason}",
        next_step="restore it from a backup, or configure another store",
    )


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite rolls back automatically after some errors, such as a full disk.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements: `executescript` would commit the current transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
