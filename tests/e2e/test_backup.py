"""Backups and restores with real processes: nothing is lost, and nothing is bought twice without being reported."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import sqlite3
import stat
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tenxsom_flow_engine.clock import SystemClock
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.errors import FlowError
from tenxsom_flow_engine.jobs import Status, SubmissionState, VideoJob
from tenxsom_flow_engine.jobs.outcomes import Resubmit
from tenxsom_flow_engine.operations import restore as operations
from tenxsom_flow_engine.operations.backup import back_up
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.sqlite import SQLiteStore
from tenxsom_flow_engine.store.values import JobFilter, NewJob
from tenxsom_flow_engine.workers.pull import PullWorker
from tests.redis_server import RedisServer, newer_binary

from .conftest import Flow
from .test_paid_jobs import claim

PLAN = {"TENXSOM_SIMULATED": "latency=0.2 slots=200 create_latency=0.02"}


@pytest.fixture(autouse=True)
def simulated(flow: Flow) -> None:
    flow.environment |= PLAN


def add(flow: Flow, *names: str) -> None:
    with closing(flow.store()) as store:
        jobs = (VideoJob(job_id=name, topic=name, service="simulated", created_at=store.now()) for name in names)
        store.add(flow.queue, [NewJob(job) for job in jobs])


def statuses(flow: Flow) -> dict[str, Status]:
    """Return the status of each job."""
    with closing(flow.store()) as store:
        return {record.job_id: record.status for page in store.pages(JobFilter(), limit=500) for record in page.records}


def sales(flow: Flow) -> Counter[str]:
    """Return how often each job was sold."""
    if not (flow.home / "simulated-ledger").exists():
        return Counter()
    return Counter(line.rsplit("/", 1)[1].split(".")[0] for line in flow.sold())


def restore(flow: Flow, file: Path) -> Any:
    """Restore a backup and return the report."""
    done = flow.run("restore", str(file), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def finish(flow: Flow) -> None:
    """Resume the queue, and work until nothing is left to do."""
    with open_engine(load(flow.environment)) as engine:
        engine.queue.resume()
        PullWorker(engine, concurrency=4, burst=True).run()


def test_the_drill(either: Flow, tmp_path: Path) -> None:
    """After kill -9 and a restore no job is lost, and what was bought since the backup is not bought again."""
    file = tmp_path / "backup"
    before = [f"before-{number}" for number in range(30)]
    add(either, *before[:5])
    worker = either.worker("--concurrency", "2")
    either.until(lambda: len(sales(either)) == 5, "5 sales")
    assert either.run("queue", "pause").returncode == 0
    add(either, *before[5:])
    assert either.run("backup", str(file)).returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    add(either, "after-1", "after-2")
    assert either.run("queue", "resume").returncode == 0
    either.until(lambda: len(sales(either)) >= 10, "5 more sales")
    if either.queue == "local":
        refused = either.run("restore", str(file), "--yes")
        assert refused.returncode == 5
        assert "open" in refused.stderr
    # A create that the kill cuts off would have to be looked up, after a minute.
    assert either.run("queue", "pause").returncode == 0
    either.until(lambda: Status.RUNNING not in statuses(either).values(), "the end of the creates")
    either.kill(worker)
    with closing(either.store()) as store:
        either.until(lambda: not store.workers(within=1.0), "the end of the heartbeat")
    report = restore(either, file)
    assert report["compared"]
    assert report["held"] == []
    assert len(report["carried"]) >= 5
    assert {"after-1", "after-2"} == {"after-1", "after-2"} & {*report["carried"], *report["missing"]}
    assert either.json("queue", "show", "--json")["state"] == "PAUSED"
    finish(either)
    ended = statuses(either)
    assert set(before) <= set(ended)
    assert set(ended.values()) == {Status.SUCCEEDED}
    assert set(sales(either).values()) == {1}


def test_a_backup_while_the_store_is_written(flow: Flow, tmp_path: Path) -> None:
    """A backup ends although another process writes all the time, and it is one instant: a beginning of the writes."""
    file, over, added = tmp_path / "backup", threading.Event(), list[int]()

    def write() -> None:
        while not over.is_set():
            add(flow, f"job-{len(added)}")
            added.append(len(added))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        flow.until(lambda: len(added) >= 20, "20 jobs")
        assert flow.run("backup", str(file)).returncode == 0
        before = len(added)
        flow.until(lambda: len(added) > before, "another job")
    finally:
        over.set()
        writer.join()
    with closing(SQLiteStore(file, SystemClock())) as store:
        kept = {record.job_id for page in store.pages(JobFilter(), limit=500) for record in page.records}
        assert not store.find_damage(60.0)
    assert 20 <= len(kept) <= len(added)
    assert kept == {f"job-{number}" for number in range(len(kept))}


@pytest.mark.parametrize("loss", ["missing", "emptied", "garbage", "torn", "stale log"])
def test_what_a_lost_store_had_bought_is_held(flow: Flow, tmp_path: Path, loss: str) -> None:
    """If the replaced file does not show what was bought since the backup, due jobs are held until resolved."""
    file, store, settings = tmp_path / "backup", flow.home / "jobs.sqlite3", load(flow.environment)
    add(flow, "one", "two", "three")
    back_up(settings, None, file)
    finish(flow)
    match loss:
        case "missing":
            store.unlink()
        case "emptied":
            store.write_bytes(b"")
        case "garbage":
            store.write_bytes(b"no store" * 1000)
        case "torn":
            with store.open("r+b") as stream:
                stream.seek(4096)
                stream.write(os.urandom(store.stat().st_size - 4096))
        case "stale log":
            worker = flow.worker()
            flow.until(lambda: Path(f"{store}-wal").exists(), "a log")
            flow.kill(worker)
            shutil.copyfile(file, store)
    report = operations.restore(settings, None, file, hold=loss == "stale log")
    held = [record.job_id for record in report.held]
    assert sorted({*held, *(record.job_id for record in report.carried)}) == ["one", "three", "two"]
    assert not report.compared
    assert sqlite3.connect(store).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finish(flow)
    assert set(sales(flow).values()) == {1}
    with open_engine(settings) as engine:
        for name in held:
            assert engine.store.require(name).status is Status.HELD
            engine.resolve(name, Resubmit())
    finish(flow)
    assert set(statuses(flow).values()) == {Status.SUCCEEDED}


def test_an_interrupted_create_of_a_lost_store_is_held(either: Flow, tmp_path: Path) -> None:
    """A create without a known outcome in the backup can have been refused and repeated since, so its job is held."""
    file, settings = tmp_path / "backup", load(either.environment)
    add(either, "one")
    with closing(either.store()) as store:
        claim(either, store, "one")
    back_up(settings, None, file)
    report = operations.restore(settings, None, file, hold=True)
    (record,) = report.held
    assert (record.status, record.submission.state, record.submission.id) == (
        Status.HELD, SubmissionState.UNKNOWN, "s-one",
    )  # fmt: skip


def test_a_scheduled_job_of_a_lost_store_is_held(flow: Flow, tmp_path: Path) -> None:
    """A scheduled job can have been retried and bought before its time; submitted again, it keeps its time."""
    file, settings = tmp_path / "backup", load(flow.environment)
    with closing(flow.store()) as store:
        later = store.now() + 86400
        store.add(flow.queue, [NewJob(VideoJob(job_id="one", topic="one", service="simulated", created_at=1), later)])
    back_up(settings, None, file)
    with open_engine(settings) as engine:
        engine.cancel("one")
        engine.retry("one")
    finish(flow)
    assert sales(flow) == {"one": 1}
    for lost in flow.home.glob("jobs.sqlite3*"):
        lost.unlink()
    (held,) = operations.restore(settings, None, file).held
    assert (held.job_id, held.status, held.due) == ("one", Status.HELD, None)
    finish(flow)
    assert sales(flow) == {"one": 1}
    with open_engine(settings) as engine:
        again = engine.resolve("one", Resubmit())
    assert (again.status, again.due) == (Status.SCHEDULED, later)


def test_an_invalid_backup_changes_nothing(either: Flow, tmp_path: Path) -> None:
    """A file that is not a backup, or is cut off, is refused; the store and its folder are as before."""
    add(either, "one")
    file = tmp_path / "backup"
    settings = load(either.environment)
    back_up(settings, None, file)
    names = {path.name for path in either.home.iterdir()}
    for contents in (b"", b"nothing", file.read_bytes()[:-5000] if either.queue == "local" else file.read_bytes()[:-9]):
        file.write_bytes(contents)
        with pytest.raises(FlowError, match=re.escape(str(file))):
            operations.restore(settings, None, file)
        assert {path.name for path in either.home.iterdir()} - {"queue"} == names - {"queue"}
        assert statuses(either) == {"one": Status.QUEUED}


def test_a_backup_replaces_no_file(flow: Flow, tmp_path: Path) -> None:
    """An existing file is replaced only with --force, the store itself never, and nothing else is left behind."""
    add(flow, "one")
    file = tmp_path / "folder" / "backup"
    assert flow.run("backup", str(file)).returncode == 2
    file.parent.mkdir()
    file.write_text("mine")
    assert flow.run("backup", str(file)).returncode == 2
    assert file.read_text() == "mine"
    assert flow.run("backup", str(file), "--force").returncode == 0
    assert [path.name for path in file.parent.iterdir()] == ["backup"]
    assert flow.run("backup", str(flow.home / "jobs.sqlite3"), "--force").returncode == 2
    assert statuses(flow) == {"one": Status.QUEUED}


def test_there_must_be_a_store(flow: Flow, tmp_path: Path) -> None:
    """Without a store, a backup is an error and creates neither a store nor a file."""
    (tmp_path / "out").mkdir()
    assert flow.run("backup", str(tmp_path / "out" / "backup")).returncode == 5
    assert not (flow.home / "jobs.sqlite3").exists()
    assert not list((tmp_path / "out").iterdir())


def test_doctor_finds_damage(flow: Flow) -> None:
    """`doctor` reports damaged pages of the store, and what to do."""
    add(flow, *(f"job-{number}" for number in range(200)))
    store = flow.home / "jobs.sqlite3"
    with closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs_status'").fetchone()
    with store.open("r+b") as stream:
        stream.seek((page - 1) * 4096 + 8)
        stream.write(bytes(64))
    findings = json.loads(flow.run("doctor", "--json").stdout)["findings"]
    (found,) = [finding for finding in findings if finding["about"] == "store" and finding["state"] == "problem"]
    assert found["code"] == "store-damaged"
    assert "restore FILE" in found["fix"]


def test_another_server(flow: Flow, redis_server: RedisServer, tmp_path: Path) -> None:
    """A backup of a Redis store can be restored on a newer server that has no store yet; its jobs are then held."""
    flow.environment |= {"REDIS_URL": redis_server.url, "REDIS_QUEUE_KEY": f"a*b[{secrets.token_hex(6)}]"}
    add(flow, "one", "two")
    file = tmp_path / "backup"
    assert flow.run("backup", str(file)).returncode == 0
    (tmp_path / "other").mkdir()
    other = RedisServer(tmp_path / "other", program=newer_binary())
    try:
        flow.environment["REDIS_URL"] = other.url
        report = restore(flow, file)
        assert (sorted(report["held"]), report["kept"]) == (["one", "two"], "")
        with closing(flow.store()) as store:
            assert isinstance(store, RedisStore)
            client = store.connection.client
            assert not [key for key in client.scan_iter() if "restoring" in key]
    finally:
        other.kill()


def test_a_worker_on_redis_is_noticed(on_redis: Flow, tmp_path: Path) -> None:
    """A restore is refused while a worker is alive."""
    add(on_redis, "one")
    file = tmp_path / "backup"
    assert on_redis.run("backup", str(file)).returncode == 0
    worker = on_redis.worker()
    with closing(on_redis.store()) as store:
        on_redis.until(lambda: store.workers(within=1.0), "a heartbeat")
    refused = on_redis.run("restore", str(file), "--yes", TENXSOM_LEASE_SECONDS="60")
    assert refused.returncode == 5
    assert "worker" in refused.stderr
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert restore(on_redis, file)["compared"]
