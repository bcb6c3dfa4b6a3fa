"""Real workers on one Redis server: late, with a wrong clock, and several together."""

from __future__ import annotations

import json
import signal
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

from tenxsom_flow_engine.jobs import Status, VideoJob
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import ClaimRequest, DispatchLimits, NewJob

from .conftest import Flow


def add(flow: Flow, store: JobStore, *job_ids: str, due: float | None = None) -> None:
    now = store.now()
    jobs = (VideoJob(job_id=job_id, topic=job_id, service="simulated", created_at=now) for job_id in job_ids)
    store.add(flow.queue, [NewJob(job, due) for job in jobs])


def test_a_late_workers_ticket_is_saved(on_redis: Flow) -> None:
    """A worker freezes in a paid create and loses its job: its ticket is saved, and the job is bought once."""
    on_redis.environment |= {"TENXSOM_LEASE_SECONDS": "0.5", "TENXSOM_SIMULATED": "create_latency=2 latency=0"}
    with closing(on_redis.store()) as store:
        add(on_redis, store, "late")
        frozen = on_redis.worker()
        on_redis.until(lambda: store.require("late").submission.id, "the create")
        frozen.send_signal(signal.SIGSTOP)
        on_redis.worker()

        def passed_on() -> bool:
            record = store.require("late")
            return record.lease is None and "lease ran out" in [event.what for event in record.events]

        on_redis.until(passed_on, "the take-over")
        frozen.send_signal(signal.SIGCONT)
        on_redis.until(lambda: store.require("late").status is Status.SUCCEEDED, "the video")
        on_redis.until(lambda: "lost the lease on job late: " in on_redis.log(), "the refusal")
        record = store.require("late")
    assert on_redis.sold() == [record.submission.ticket.id if record.submission.ticket else None]
    assert [event.what for event in record.events].count("published") == 1


@pytest.mark.parametrize("off", [3600.0, -3600.0])
def test_a_worker_whose_clock_is_an_hour_off(on_redis: Flow, off: float) -> None:
    """Jobs and leases follow the server's time, whatever the clock of a worker says."""
    on_redis.environment |= {"TENXSOM_LEASE_SECONDS": "1.2", "TENXSOM_SIMULATED": "create_latency=1.5 latency=0.1"}
    with closing(on_redis.store()) as store:
        add(on_redis, store, "live", "dead")
        limits = DispatchLimits(500.0, 64)
        leases = {}
        for job_id, seconds in (("live", 600.0), ("dead", 0.5)):
            request = ClaimRequest(on_redis.queue, "other", 1, seconds, limits, {"simulated": 9}, only=job_id)
            (leases[job_id],) = store.claim(request).records
        due = store.now() + 1.5
        add(on_redis, store, "later", due=due)
        on_redis.worker_with_clock_off(off)
        for job_id in ("dead", "later"):
            on_redis.until(lambda: store.require(job_id).status is Status.SUCCEEDED, job_id)  # noqa: B023
        live, dead, later = map(store.require, ("live", "dead", "later"))
    assert later.submission.intended_at >= due
    held = leases["dead"].lease
    assert held is not None
    assert next(event.at for event in dead.events if event.what == "lease ran out") >= held.until
    assert live.lease == leases["live"].lease
    # The steps took longer than the lease, which was renewed in time.
    assert dead.expiries + later.expiries == 0
    assert sorted(ticket.rsplit("/", 1)[1].split(".")[0] for ticket in on_redis.sold()) == ["dead", "later"]


def test_limits_hold_over_several_workers(on_redis: Flow) -> None:
    """Three workers on one queue run each step once and never exceed the queue's limits."""
    count, rate, concurrent, create = 16, 15.0, 4, 0.4
    on_redis.environment |= {
        "TENXSOM_LEASE_SECONDS": "20",
        "CLOUD_TASKS_MAX_DISPATCHES": str(rate),
        "CLOUD_TASKS_MAX_CONCURRENT": str(concurrent),
        "TENXSOM_SIMULATED": f"create_latency={create} latency=0",
    }
    burst = DispatchLimits(rate, concurrent).burst

    def steps_taken() -> Counter[tuple[str, str]]:
        lines = [json.loads(line) for line in on_redis.log().splitlines()]
        return Counter((line["job_id"], line["step"]) for line in lines if "took_ms" in line)

    with closing(on_redis.store()) as store:
        store.set_queue_state(on_redis.queue, lambda state: replace(state, paused=True))
        add(on_redis, store, *(f"job-{n}" for n in range(count)))
        for _ in range(3):
            on_redis.worker("--concurrency", "8")
        on_redis.until(lambda: len(store.workers(on_redis.queue, within=60)) == 3, "the workers")
        began = store.now()
        store.set_queue_state(on_redis.queue, lambda state: replace(state, paused=False))
        on_redis.until(lambda: store.status_counts().by_status[Status.SUCCEEDED] == count, "all videos")
        ended = store.now()
    # A step is logged after its outcome was applied.
    on_redis.until(lambda: steps_taken().total() >= 3 * count, "the log of all steps")
    steps = steps_taken()
    assert all(steps[f"job-{n}", step] == 1 for n in range(count) for step in ("submit", "poll", "fetch"))
    assert sum(steps.values()) <= burst + rate * (ended - began)
    sales = sorted(float(ticket.split("/")[0]) for ticket in on_redis.sold())
    for n, sale in enumerate(sales, start=1):
        assert n <= burst + rate * (sale - began)
    # Each create lies within its lease and takes `create` seconds, so at most `concurrent` of them overlap.
    creates = [(sale - create + 0.002, sale - 0.002) for sale in sales]
    assert max(sum(start <= at < end for start, end in creates) for at, _ in creates) == concurrent
