"""Workers as real processes: killed, stopped, and running to their end."""

from __future__ import annotations

import json
import random
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import redis

from tenxsom_flow_engine.jobs import JobRecord, Status, VideoJob
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import NewJob
from tests.redis_server import RedisServer

from .conftest import WAIT_SECONDS, Flow


@contextmanager
def store_of(flow: Flow) -> Iterator[JobStore]:
    store = flow.store()
    yield store
    store.close()


def add(flow: Flow, store: JobStore, count: int) -> None:
    now = store.now()
    jobs = (VideoJob(job_id=f"job-{n}", topic=f"topic {n}", service="simulated", created_at=now) for n in range(count))
    store.add(flow.queue, [NewJob(job) for job in jobs])


def sold(flow: Flow) -> list[str]:
    """Return the job id of each sale of the simulated service."""
    ledger = flow.home / "simulated-ledger"
    return [line.rsplit("/", 1)[1].split(".")[0] for line in ledger.read_text().splitlines()]


def test_killed_workers_lose_no_job_and_buy_nothing_twice(either: Flow) -> None:
    """With 500 jobs and four workers that are killed at random, each job is made and bought once."""
    count = 500
    plan = {"TENXSOM_SIMULATED": "latency=0.3 slots=200 create_latency=0.02 idempotent=1"}
    draw = random.Random(7)
    with store_of(either) as store:
        add(either, store, count)
        workers = [either.worker("--concurrency", "6", **plan) for _ in range(4)]
        kills = 0
        done = 0
        while done < count:
            goal = min(count, done + draw.randint(10, 40))

            def reached(goal: int = goal) -> bool:
                return store.status_counts(either.queue).by_status[Status.SUCCEEDED] >= goal

            either.until(reached, f"{goal} jobs")
            done = store.status_counts(either.queue).by_status[Status.SUCCEEDED]
            if done < count:
                victim = draw.randrange(len(workers))
                workers[victim].kill()
                workers[victim].wait()
                workers[victim] = either.worker("--concurrency", "6", **plan)
                kills += 1
        assert kills >= 8
        records = [store.require(f"job-{n}") for n in range(count)]
    assert {record.status for record in records} == {Status.SUCCEEDED}
    assert sorted(sold(either)) == sorted(f"job-{n}" for n in range(count))
    for record in records:
        assert is_complete(record)
    # No incomplete folder has a final name.
    assert {path.name for path in (either.home / "videos").iterdir() if not path.name.startswith(".")} == {
        record.job_id for record in records
    }


def is_complete(record: JobRecord) -> bool:
    assert record.result is not None
    video = Path(record.result.path)
    size: int = json.loads((video.parent / "metadata.json").read_text())["size"]
    return video.stat().st_size == size == record.result.size


def test_a_job_that_kills_its_worker_each_time_ends_dead(either: Flow) -> None:
    """A job whose step kills the process fails after ten expired leases."""
    with store_of(either) as store:
        add(either, store, 1)
        deadly = {"TENXSOM_SIMULATED": "latency=0 crash=1 idempotent=1", "TENXSOM_LEASE_SECONDS": "0.5"}

        def one_more_worker() -> JobRecord | None:
            either.worker("--burst", **deadly).wait()
            record = store.require("job-0")
            return record if record.status is Status.FAILED else None

        record = either.until(one_more_worker, "the job's end")
        assert record.error is not None
        assert record.error.code == "worker_lost"
        assert record.expiries == 10
        assert sold(either) == ["job-0"]


def test_a_killed_workers_job_is_claimed_after_its_lease(either: Flow) -> None:
    """Another worker claims the job of a killed worker when its lease has expired."""
    with store_of(either) as store:
        add(either, store, 1)
        worker = either.worker(TENXSOM_SIMULATED="create_latency=600")
        either.until(lambda: store.require("job-0").submission.id, "the create")
        worker.kill()
        worker.wait()
        second = either.worker("--burst", TENXSOM_SIMULATED="latency=0", TENXSOM_LEASE_SECONDS="1")
        either.until(
            lambda: "lease ran out" in [event.what for event in store.require("job-0").events], "the take-over"
        )
        # The first create might still be under way, so the job waits instead of buying.
        unsure = "another worker might still be sending the paid create"
        either.until(lambda: store.require("job-0").events[-1].detail == unsure, "the lookup")
        record = store.require("job-0")
        assert (record.status, record.lease) == (Status.QUEUED, None)
        second.kill()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_worker_finishes_its_steps(either: Flow, stop: signal.Signals) -> None:
    """After a signal during a paid create, the create completes, its ticket is saved, and no new step starts."""
    with store_of(either) as store:
        add(either, store, 2)
        worker = either.worker("--concurrency", "1", TENXSOM_SIMULATED="create_latency=1 latency=600")
        either.until(lambda: any(store.require(f"job-{n}").submission.id for n in range(2)), "a create")
        worker.send_signal(stop)
        if stop is signal.SIGHUP:  # a shell sends it again when its terminal closes
            either.until(lambda: "stopping" in either.log(), "the first signal's arrival")
            worker.send_signal(stop)
        assert worker.wait() == 0
        states = sorted(str(store.require(f"job-{n}").status) for n in range(2))
        assert states == ["queued", "rendering"]
        assert len(sold(either)) == 1
        assert [worker for worker in store.workers(either.queue, within=60) if not worker.ended] == []


def test_a_second_signal_releases_the_jobs(either: Flow) -> None:
    """A second signal ends the worker immediately; the job is queued again and keeps the intent of its create."""
    with store_of(either) as store:
        add(either, store, 1)
        worker = either.worker(TENXSOM_SIMULATED="create_latency=600", TENXSOM_LEASE_SECONDS="600")
        either.until(lambda: store.require("job-0").submission.id, "the create")
        worker.send_signal(signal.SIGTERM)
        either.until(lambda: "stopping" in either.log(), "the first signal's arrival")
        worker.send_signal(signal.SIGINT)
        assert worker.wait() == 130
        record = store.require("job-0")
        assert (record.status, record.lease, record.submission.state) == (Status.QUEUED, None, "intent")
        assert record.due is not None


def has_intent(store: JobStore, job_id: str) -> bool:
    return bool(store.require(job_id).submission.id)


def test_signals_in_quick_succession_end_the_worker(flow: Flow) -> None:
    """Signals that interrupt each other's handlers count as several signals: the worker ends and releases its job."""
    with store_of(flow) as store:
        for number in range(8):
            job_id = f"burst-{number}"
            job = VideoJob(job_id=job_id, topic="tides", service="simulated", created_at=store.now())
            store.add(flow.queue, [NewJob(job)])
            worker = flow.worker(TENXSOM_SIMULATED="create_latency=600", TENXSOM_LEASE_SECONDS="600")
            flow.until(partial(has_intent, store, job_id), "the create")
            for _ in range(25):
                worker.send_signal(signal.SIGTERM)
                worker.send_signal(signal.SIGINT)
            assert worker.wait(WAIT_SECONDS) == 130, flow.log()
            assert store.require(job_id).lease is None
            store.cancel(job_id)


def test_a_burst_ends_when_nothing_is_due(either: Flow) -> None:
    """`--burst` makes all due jobs, waits for renders, and leaves scheduled jobs."""
    with store_of(either) as store:
        add(either, store, 5)
        later = VideoJob(job_id="later", topic="later", service="simulated", created_at=store.now())
        store.add(either.queue, [NewJob(later, due=store.now() + 3600)])
        assert either.worker("--burst", TENXSOM_SIMULATED="latency=0.5").wait() == 0
        counts = store.status_counts(either.queue).by_status
    assert (counts[Status.SUCCEEDED], counts[Status.SCHEDULED]) == (5, 1)


def test_faults_of_all_kinds_end_well(either: Flow) -> None:
    """With faults of every kind, each job is made or fails with a reason, and nothing is bought twice."""
    faults = "latency=0.1 transient=0.1 uncertain=0.1 check_fault=0.1 failed=0.05 rejected=0.02"
    with store_of(either) as store:
        add(either, store, 60)
        either.worker("--concurrency", "6", TENXSOM_SIMULATED=faults)

        def settled() -> bool:
            counts = store.status_counts(either.queue).by_status
            waiting = [store.require(f"job-{n}") for n in range(60)]
            return counts[Status.SUCCEEDED] + counts[Status.FAILED] + sum(
                # The outcome of its create cannot be known before the create's time-out and a minute have passed.
                record.submission.state == "unknown" for record in waiting
            ) == 60  # fmt: skip

        either.until(settled, "all outcomes")
        records = [store.require(f"job-{n}") for n in range(60)]
    assert all(record.error for record in records if record.status is Status.FAILED)
    assert len(sold(either)) == len(set(sold(either)))


def test_a_worker_outlives_its_redis_server(flow: Flow, tmp_path_factory: pytest.TempPathFactory) -> None:
    """When the server is killed and restarted under load, the worker reconnects and no job is lost."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--appendfsync", "always")
    flow.environment["REDIS_URL"] = server.url
    try:
        with store_of(flow) as store:
            add(flow, store, 100)
        worker = flow.worker(TENXSOM_SIMULATED="latency=0.3 idempotent=1")
        flow.until(lambda: '"step":"fetch"' in flow.log(), "the first video")
        server.kill()
        # Logged by the claim loop, or by the running steps if all threads are busy.
        flow.until(lambda: "the Redis server cannot be used now" in flow.log(), "the outage")
        server.start()
        with store_of(flow) as store:
            flow.until(lambda: store.status_counts("redis").by_status[Status.SUCCEEDED] == 100, "all videos")
        assert worker.poll() is None
        assert sorted(sold(flow)) == sorted(f"job-{n}" for n in range(100))
    finally:
        server.kill()


def test_entries_of_legacy_producers_become_jobs(flow: Flow, redis_server: RedisServer) -> None:
    """Entries of the legacy list become jobs once and in order; invalid entries are set aside and counted."""
    name = secrets.token_hex(6)
    flow.environment |= {"REDIS_URL": redis_server.url, "REDIS_QUEUE_KEY": name}
    entries = [
        '{"topic": "plain", "duration": 8, "service": "simulated"}',
        '{"id": 7, "params": {"topic": "inner", "duration": 5.0, "service": "simulated"}}',
        '{"duration": 5}',
        "no JSON",
        b'{"topic":"caf\xe9"}',
        b"\x80\x04pickled.",
        '{"topic": "too long", "service": "draft", "duration": 900}',
    ]
    with redis.Redis(port=redis_server.port) as client:
        client.lpush(name, *entries)
        assert flow.worker("--burst", TENXSOM_SIMULATED="latency=0").wait() == 0
        assert client.lrange(name, 0, -1) == []
        rejected = [entry.encode() if isinstance(entry, str) else entry for entry in entries[:1:-1]]
        assert client.lrange(f"{{{name}}}:rejected", 0, -1) == rejected
    jobs = flow.json("jobs", "--json")["jobs"]
    assert [(job["topic"], job["duration"], job["status"]) for job in jobs] == [
        ("inner", 5, "succeeded"),
        ("plain", 8, "succeeded"),
    ]
    assert flow.json("status")["entries_set_aside"] == 5
    assert ": topic: is missing" in flow.log()
    assert "entry: is not JSON: Invalid UTF-8" in flow.log()
