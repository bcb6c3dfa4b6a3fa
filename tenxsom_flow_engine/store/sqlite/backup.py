"""Backups of the SQLite store, and restoring one in place.

A backup is made by `VACUUM INTO`, which reads one snapshot while other processes write. A restore holds SQLite's
exclusive lock and replaces the contents in one transaction, so that no log of the replaced contents can be applied to
the restored ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tenxsom_flow_engine.clock import Clock
from tenxsom_flow_engine.errors import StoreBroken, StoreError, StoreUnavailable
from tenxsom_flow_engine.files import make_private_folder, sync
from tenxsom_flow_engine.store.backup import Exchange, Progress
from tenxsom_flow_engine.store.moving import moved_error
from tenxsom_flow_engine.store.sqlite.connections import APPLICATION_ID, SCHEMA_VERSION, marker_in, store_error
from tenxsom_flow_engine.store.sqlite.store import SQLiteStore
from tenxsom_flow_engine.timings import Timings

#: Steps of SQLite's virtual machine between two reports of the progress.
PROGRESS_STEPS = 100_000
#: Seconds to wait for the exclusive lock; a process that has the store open keeps it until it ends.
LOCK_SECONDS = 1.0
#: Files that SQLite keeps next to a database.
SIDE_FILES = ("-wal", "-shm", "-journal")
#: The bytes that every user of a database locks: https://sqlite.org/fileformat2.html#the_lock_byte_page and
#: SHARED_FIRST and SHARED_SIZE in SQLite's os.h.
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510


def back_up(path: Path, target: Path, progress: Progress) -> None:
    """Write the store at `path` into the empty file `target`, check it, and sync it to disk. Raises `StoreError`."""
    if not path.is_file():
        raise StoreUnavailable(f"there is no job store at {path}", next_step="check TENXSOM_HOME and TENXSOM_STORE")
    size = max(1, path.stat().st_size)

    def report() -> None:
        progress(min(1.0, target.stat().st_size / size))

    with mapped(path), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as source:
        if _number(source, "application_id") != APPLICATION_ID:
            raise StoreBroken(f"{path} is not a job store")
        source.set_progress_handler(report, PROGRESS_STEPS)
        try:
            source.execute("VACUUM INTO ?", (str(target),))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:  # the only cause is Ctrl-C in `report`
                raise KeyboardInterrupt from error
            raise
    _check(target, target)
    sync(target)


@contextlib.contextmanager
def exchange(path: Path, file: Path | None, stamp: str, clock: Clock, timings: Timings) -> Iterator[Exchange]:
    """Lock the store at `path` and prepare to replace its contents by those of the backup `file`; None: by none.

    Raises `StoreUnavailable` while a process has the store open, `StoreBroken` if the file is not a sound backup,
    `StoreMoved` for a backup if the jobs have moved to another store.
    """
    work, kept = (path.with_name(f"{path.name}.{name}") for name in ("restoring", f"before-restore-{stamp}"))
    with contextlib.ExitStack() as cleanup:
        lock = cleanup.enter_context(_exclusive(path, kept))
        cleanup.callback(remove, work)
        if file is None:
            remove(work)
        elif lock.readable and (stored := marker_in(lock.connection)):
            raise moved_error(f"sqlite://{path}", stored)
        else:
            _copy(file, work)
        replaced, damaged = None, False
        if lock.readable:
            cleanup.callback(lambda: None if lock.done else remove(kept))
            replaced, damaged = _keep(lock.connection, path, kept, clock, timings)
        if replaced is not None:
            cleanup.callback(replaced.close)
        backup_at = _latest(work) if file else 0.0
        complete = replaced is not None and not damaged and _latest(kept) >= backup_at
        restored = SQLiteStore(work, clock, timings)
        cleanup.callback(restored.close)

        def commit() -> None:
            restored.close()
            if replaced is not None:
                replaced.close()
            with mapped(path), contextlib.closing(sqlite3.connect(work)) as source:
                source.backup(lock.connection)
            lock.done = True

        yield Exchange(restored, replaced, complete, backup_at, str(kept) if kept.exists() else "", commit)


class _Lock:
    """An exclusive lock on the store's file; `readable` if the file has contents that SQLite can read."""

    def __init__(self, connection: sqlite3.Connection, *, readable: bool) -> None:
        self.connection = connection
        self.readable = readable
        self.done = False


@contextlib.contextmanager
def _exclusive(path: Path, kept: Path) -> Iterator[_Lock]:
    """Lock the file against every other process. What SQLite cannot read is moved to `kept` with its side files.

    If the restore fails, the files are as before.
    """
    moved: list[tuple[Path, Path]] = []
    readable = path.is_file() and path.stat().st_size > 0
    with mapped(path):
        try:
            connection = _locked(path) if readable else None
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise
            _refuse_if_open(path)
            connection = None
        if connection is None:
            for suffix in ("", *SIDE_FILES):
                source, target = Path(f"{path}{suffix}"), Path(f"{kept}{suffix}")
                if source.exists():
                    source.rename(target)
                    moved.append((target, source))
            make_private_folder(path.parent)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            connection = _locked(path)
            readable = False
    lock = _Lock(connection, readable=readable)
    try:
        yield lock
    finally:
        connection.close()
        if not readable and not lock.done:
            remove(path)
            for target, source in moved:
                target.rename(source)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Lock the file at `path` against every other process. Raises `StoreUnavailable` while one has it open."""
    with mapped(path):
        connection = _locked(path)
    with contextlib.closing(connection):
        yield connection


def _locked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")  # the lock stays
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise _in_use(path) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_if_open(path: Path) -> None:
    """Raise `StoreUnavailable` if a process has a file open that SQLite cannot read any more."""
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
        except OSError as error:
            raise _in_use(path) from error


def _in_use(path: Path) -> StoreUnavailable:
    return StoreUnavailable(
        f"a process has the job store {path} open",
        next_step=f"stop all workers, dashboards and other commands that use it; `fuser -v {path}` lists them",
    )


def _keep(
    connection: sqlite3.Connection, path: Path, kept: Path, clock: Clock, timings: Timings
) -> tuple[SQLiteStore | None, bool]:
    """Copy the locked contents, damaged or not; return the open copy, if it opens, and whether it is damaged."""
    os.close(os.open(kept, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with mapped(path), contextlib.closing(sqlite3.connect(kept)) as copy:
        connection.backup(copy)
    damaged = False
    try:
        _check(kept, kept)
    except StoreError:
        damaged = True
    try:
        return SQLiteStore(kept, clock, timings), damaged
    except StoreError:
        return None, True


def _latest(path: Path) -> float:
    """Return the latest instant that a store's file has recorded."""
    with mapped(path), contextlib.closing(sqlite3.connect(path)) as db:
        instant: float = db.execute("SELECT last FROM clock").fetchone()[0]
        return instant


def _copy(file: Path, work: Path) -> None:
    """Copy a backup, with the log that a plain copy of a store can have next to it, and check the copy."""
    remove(work)
    os.close(os.open(work, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    shutil.copyfile(file, work)
    if (log := Path(f"{file}-wal")).is_file():
        shutil.copyfile(log, f"{work}-wal")
    _check(work, file)


def _check(path: Path, file: Path) -> None:
    """Raise `StoreBroken` unless the file at `path` is a whole job store of this version; errors name `file`."""
    with mapped(file), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        if _number(db, "application_id") != APPLICATION_ID:
            raise StoreBroken(f"{file} is not a backup of a job store")
        if (version := _number(db, "user_version")) != SCHEMA_VERSION:
            raise StoreBroken(
                f"{file} has schema version {version}, but this program reads version {SCHEMA_VERSION}",
                next_step="use the version of the program that wrote it",
            )
        if (found := db.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise StoreBroken(f"{file} is damaged: {found}", next_step="use another backup")


def remove(path: Path) -> None:
    """Remove a database with its side files."""
    for suffix in ("", *SIDE_FILES):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _number(db: sqlite3.Connection, pragma: str) -> int:
    number: int = db.execute(f"PRAGMA {pragma}").fetchone()[0]
    return number


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Turn the driver's errors into `StoreError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise store_error(path, error) from error
