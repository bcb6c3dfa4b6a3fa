"""Damaged SQLite stores, with which every command and a worker run."""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fuzz.commands import run_commands
from fuzz.json_values import NUMBERS, TEXTS, damage, mutate
from fuzz.sample_store import Sample, bought, environment, fill
from fuzz.subject import Subject
from tenxsom_flow_engine.clock import MAX_INSTANT
from tenxsom_flow_engine.jobs.codec import encode
from tenxsom_flow_engine.settings import load

STORE = "jobs.sqlite3"
WAL, INDEX = STORE + "-wal", STORE + "-shm"


@dataclass(frozen=True)
class Damage:
    """How to damage a store, and the random numbers for it."""

    name: str
    act: Callable[[Path, random.Random], None]
    draw: random.Random


class Databases(Subject):
    """Homes with a damaged store: no command hangs or prints a traceback, and no readable job is bought twice."""

    name = "databases"
    count, few = 325, 5

    def __enter__(self) -> Self:
        self._root = Path(tempfile.mkdtemp(prefix="fuzz-databases-"))
        self._sample = _make_samples(self._root)
        return self

    def __exit__(self, *exception: object) -> None:
        shutil.rmtree(self._root)

    def make(self, draw: random.Random) -> Damage:
        act = draw.choice(DAMAGES)
        return Damage(act.__name__.strip("_"), act, draw)

    def accepts(self, made: Any) -> bool:
        home = self._root / "home"
        shutil.copytree(self._root / made.draw.choice(("closed", "open")), home)
        try:
            made.act(home, made.draw)
            intact = _intact(home, self._sample)
            variables = environment(home)
            ran = run_commands(self._root, variables)
            sales = bought(load(variables))
            twice = {job for job in intact if sales.get(job, 0) > max(1, self._sample.bought.get(job, 0))}
            assert not twice, f"bought twice after {made.name}: {', '.join(sorted(twice))}"
            return all(one.code == 0 for one in ran if one.command != "doctor")  # it reports what it finds
        except Exception as error:
            error.add_note(f"damage: {made.name}")
            raise
        finally:
            for left in (home, self._root / "results", self._root / "child.log"):
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _make_samples(root: Path) -> Sample:
    """Make homes with a closed store, and with one whose latest writes are in its write-ahead log."""
    closed, opened = root / "closed", root / "open"
    sample = fill(environment(closed))
    shutil.copytree(closed, root / "live")
    with closing(sqlite3.connect(root / "live" / STORE, isolation_level=None)) as db:
        db.execute("UPDATE jobs SET channel = channel")
        db.execute("UPDATE jobs SET topic = topic")
        shutil.copytree(root / "live", opened)
    return sample


def _intact(home: Path, sample: Sample) -> frozenset[str]:
    """Return the ids of the jobs whose record is that of the sample."""
    try:
        with closing(sqlite3.connect(f"file:{home / STORE}?mode=ro", uri=True)) as db:
            rows = db.execute("SELECT job_id, record FROM jobs").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return frozenset()
    original = {job_id: encode(record) for job_id, record in sample.records.items()}
    return frozenset(job_id for job_id, record in rows if original.get(job_id) == record)


def _change_bits(home: Path, draw: random.Random) -> None:
    with _bytes_of(home, draw) as content:
        for _ in range(draw.randint(1, 32)):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def _change_header(home: Path, draw: random.Random) -> None:
    """Change the fields of the file's header, such as the size of a page."""
    with _bytes_of(home, draw) as content:
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(min(100, len(content)))] = draw.choice((0, 1, 2, 0x7F, 0x80, 0xFF))


def _cut(home: Path, draw: random.Random) -> None:
    with _bytes_of(home, draw) as content:
        del content[draw.choice((0, 1, 99, 100, 512, 4096, draw.randrange(len(content)))) :]


def _overwrite_page(home: Path, draw: random.Random) -> None:
    """Overwrite pages with zeros, random bytes, or other pages."""
    with _bytes_of(home, draw) as content:
        pages = max(1, len(content) // 4096)
        for _ in range(draw.randint(1, 3)):
            at, other = (draw.randrange(pages) * 4096 for _ in range(2))
            page = draw.choice((bytes(4096), draw.randbytes(4096), bytes(content[other : other + 4096])))
            content[at : at + 4096] = page


def _change_text(home: Path, draw: random.Random) -> None:
    """Overwrite a part of a text with bytes that are not UTF-8, or with other letters."""
    with _bytes_of(home, draw) as content:
        word = draw.choice(
            (b"Topic of", b"simulated", b"waiting-", b"rendering", b"local", b'"state"', b'"submission"')
        )
        places = [at for at in range(len(content)) if content.startswith(word, at)]
        for at in draw.sample(places, min(len(places), draw.randint(1, 3))):
            content[at : at + 3] = draw.choice((b"\xff\xfe\xfd", b"\0\0\0", b"xyz", b"\xe2\x82\xac"))


def _swap_files(home: Path, draw: random.Random) -> None:
    """Mix up the store with its write-ahead log and that log's index."""
    files = [home / STORE, home / WAL, home / INDEX]
    contents = [path.read_bytes() if path.exists() else draw.randbytes(draw.choice((0, 32, 4096))) for path in files]
    draw.shuffle(contents)
    for path, content in zip(files, contents, strict=True):
        path.write_bytes(content)


def _damage_log(home: Path, draw: random.Random) -> None:
    """Damage or remove the write-ahead log or its index."""
    path = home / draw.choice((WAL, INDEX))
    content = bytearray(path.read_bytes() if path.exists() else draw.randbytes(4096))
    match draw.randrange(4):
        case 0:
            path.unlink(missing_ok=True)
            return
        case 1:
            del content[draw.randrange(len(content)) :]
        case 2:
            for _ in range(draw.randint(1, 32)):
                content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        case _:
            content = bytearray(draw.randbytes(len(content)))
    path.write_bytes(content)


def _replace_file(home: Path, draw: random.Random) -> None:
    """Put another file, or none, in the place of the store."""
    path = home / STORE
    for left in (path, home / WAL, home / INDEX):
        left.unlink(missing_ok=True)
    match draw.randrange(4):
        case 0:
            path.mkdir()
        case 1:
            path.write_bytes(draw.choice((b"", b"\0", b"not a database\n" * 500, draw.randbytes(8192))))
        case 2:
            path.symlink_to(draw.choice((home / "nowhere" / STORE, path, Path("/dev/null"))))
        case _:
            with closing(sqlite3.connect(path)) as db:
                db.execute("CREATE TABLE jobs (a TEXT)")
                db.execute(f"PRAGMA application_id = {draw.choice((0, 1, int.from_bytes(b'TFlo')))}")
                db.execute(f"PRAGMA user_version = {draw.choice((0, 1, 2))}")


def _change_version(home: Path, draw: random.Random) -> None:
    with _database(home) as db:
        db.execute(f"PRAGMA user_version = {draw.choice((0, 1, 3, 99, -1, 2**31 - 1))}")
        if draw.random() < 0.3:
            db.execute(f"PRAGMA application_id = {draw.choice((0, 1, -1))}")


def _remove_rows(home: Path, draw: random.Random) -> None:
    with _database(home) as db:
        table = draw.choice(_tables(db))
        db.execute(f"DELETE FROM {table}" + (" WHERE rowid % 2" if table in ("jobs", "queues") else ""))


def _drop(home: Path, draw: random.Random) -> None:
    """Remove a table, an index, a trigger, or a column."""
    with _database(home) as db:
        rows = db.execute(
            "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
        kind, name = draw.choice(rows)
        db.execute(f"DROP {kind} {name}")


def _repeat_clock(home: Path, draw: random.Random) -> None:
    with _database(home) as db:
        db.execute("INSERT INTO clock VALUES (?)", (draw.choice((0.0, 1e10)),))


def _change_clock(home: Path, draw: random.Random) -> None:
    with _database(home) as db:
        instants = (-1e300, -1.0, 4e9, MAX_INSTANT, MAX_INSTANT + 1, 1e300, float("inf"))
        db.execute("UPDATE clock SET last = ?", (draw.choice(instants),))


def _change_record(home: Path, draw: random.Random) -> None:
    """Put impossible values into the JSON of records."""
    with _database(home) as db:
        for job_id, record in _some_jobs(db, draw):
            text = draw.choice((mutate, mutate, mutate, damage))(bytes(record), draw)
            db.execute("UPDATE jobs SET record = ? WHERE job_id = ?", (text, job_id))


def _change_column(home: Path, draw: random.Random) -> None:
    """Put impossible values into a column of any table."""
    with _database(home) as db:
        table = draw.choice(_tables(db))
        columns = [(row[1], row[2]) for row in db.execute(f"PRAGMA table_info({table})")]
        column, kind = draw.choice([one for one in columns if one[0] != "position"])
        values: dict[str, tuple[Any, ...]] = {
            "REAL": (*map(float, NUMBERS), float("inf"), float("-inf")),
            "INTEGER": tuple(int(one) for one in NUMBERS if abs(one) < 2**63),
            "BLOB": (b"", b"\xff", b"{}", b"null", b"[" * 3000),
        }
        texts = [*(text.encode("utf-8", "replace") for text in TEXTS), b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80"]
        value, place = draw.choice(values.get(kind, (None,))), "?"
        if kind == "TEXT":
            value, place = draw.choice(texts), "CAST(? AS TEXT)"
        condition = f"WHERE position = {draw.randint(1, 16)}" if table == "jobs" else ""
        try:
            db.execute(f"UPDATE OR REPLACE {table} SET {column} = {place} {condition}", (value,))
        except sqlite3.IntegrityError:  # a CHECK or NOT NULL
            db.execute(f"DELETE FROM {table}")


DAMAGES = (
    _change_bits, _change_bits, _change_header, _cut, _overwrite_page, _overwrite_page, _change_text, _change_text,
    _swap_files, _damage_log, _replace_file, _change_version, _remove_rows, _drop, _repeat_clock, _change_clock,
    _change_record, _change_record, _change_record, _change_column, _change_column, _change_column,
)  # fmt: skip


@contextmanager
def _bytes_of(home: Path, draw: random.Random) -> Iterator[bytearray]:
    """Change the bytes of the store, or sometimes of its write-ahead log."""
    path = home / WAL if (home / WAL).exists() and draw.random() < 0.4 else home / STORE
    content = bytearray(path.read_bytes())
    yield content
    path.write_bytes(content)


@contextmanager
def _database(home: Path) -> Iterator[sqlite3.Connection]:
    """Change the store with SQL."""
    with closing(sqlite3.connect(home / STORE, isolation_level=None)) as db:
        yield db


def _tables(db: sqlite3.Connection) -> list[str]:
    found = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    return [row[0] for row in db.execute(found)]


def _some_jobs(db: sqlite3.Connection, draw: random.Random) -> list[tuple[str, bytes]]:
    rows = db.execute("SELECT job_id, record FROM jobs ORDER BY job_id").fetchall()
    return draw.sample(rows, draw.randint(1, 4))
