"""Fairness between channels with real workers: the backlog of one does not delay the job of another."""

from __future__ import annotations

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord, VideoJob
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter, NewJob

from .conftest import Flow
from .test_cloud_tasks_worker import Cloud

SIMULATED = {"TENXSOM_SIMULATED": "latency=0", "TENXSOM_LIMITS": "simulated=1/s,1000/h"}
BACKLOG = 60


def add(engine: Engine, channel: str, jobs: int) -> None:
    now = engine.store.now()
    items = (
        VideoJob(job_id=f"{channel}-{number}", topic="x", service="simulated", channel=channel, created_at=now)
        for number in range(jobs)
    )
    engine.queue.enqueue([NewJob(item) for item in items])


def bought(engine: Engine) -> list[JobRecord]:
    """Return the jobs that were bought, in the order of their purchases."""
    records = engine.store.page(JobFilter(), limit=100).records
    return sorted((one for one in records if one.purchases), key=lambda one: one.purchases[0].at)


def check_one_job_behind_a_backlog(flow: Flow, engine: Engine) -> None:
    """Add a backlog of one channel, and one job of another after three purchases; check its place."""
    add(engine, "long", BACKLOG)
    flow.until(lambda: len(bought(engine)) >= 3, "the first purchases")
    add(engine, "short", 1)
    flow.until(lambda: engine.store.require("short-0").purchases, "the purchase of the single job")
    added_at = engine.store.require("short-0").added_at
    order = [one.job.channel for one in bought(engine) if one.purchases[0].at > added_at]
    assert order.index("short") <= 1, order


def test_a_backlog_delays_no_other_channel(either: Flow) -> None:
    """A single job is bought after at most one of another channel with 60 waiting jobs, on each pull queue."""
    either.environment |= SIMULATED
    with open_engine(load(either.environment)) as engine:
        either.worker("--concurrency", "4")
        check_one_job_behind_a_backlog(either, engine)


def test_a_backlog_delays_no_other_channel_on_cloud_tasks(flow: Flow) -> None:
    """The same on Cloud Tasks, which chooses the order of deliveries."""
    flow.environment |= SIMULATED
    with CloudTasksServer() as server:
        cloud = Cloud(flow, server)
        cloud.gunicorn("-w", "1")
        check_one_job_behind_a_backlog(flow, cloud.engine)
