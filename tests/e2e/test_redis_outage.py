"""A Redis server that stops answering while real workers run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing

import pytest

from tenxsom_flow_engine.jobs import JobRecord, Status, VideoJob
from tenxsom_flow_engine.store.values import NewJob
from tests.redis_server import RedisServer

from .conftest import Flow

#: Socket time-out in seconds, shorter than the default.
TIMEOUT = 1.0
LEASE = 0.9


@pytest.fixture
def server(flow: Flow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--appendfsync", "always")
    flow.environment |= {"TENXSOM_LEASE_SECONDS": str(LEASE), "REDIS_URL": server.url}
    yield server
    server.kill()


def under_way(record: JobRecord) -> bool:
    """Return whether a create is under way and its lease has been renewed since."""
    lease, submission = record.lease, record.submission
    return bool(submission.id and lease and lease.until > submission.intended_at + LEASE)


@pytest.mark.parametrize("dies", [False, True])
def test_purchases_during_an_outage_are_kept(flow: Flow, server: RedisServer, dies: bool) -> None:
    """If the server freezes during creates for longer than all time-outs, no ticket is lost or bought twice."""
    jobs = [f"job-{n}" for n in range(4)]
    with closing(flow.store()) as store:
        now = store.now()
        made = (VideoJob(job_id=name, topic=name, service="simulated", created_at=now) for name in jobs)
        store.add(flow.queue, map(NewJob, made))
        worker = flow.worker(
            "--log-level",
            "debug",  # each attempt is a line
            TENXSOM_SIMULATED="create_latency=3 latency=0.1",
            REDIS_URL=f"{server.url}?socket_timeout={TIMEOUT}&socket_connect_timeout={TIMEOUT}",
        )
        flow.until(lambda: all(under_way(store.require(name)) for name in jobs), "the creates")
        server.process.send_signal(signal.SIGSTOP)
        # By the second attempt all leases have expired, and the first write waits in the frozen server's socket.
        flow.until(lambda: flow.log().count("the ticket") >= 2 * len(jobs), "tickets that wait for the store")
        if dies:
            server.kill()
            server.start()
        else:
            server.process.send_signal(signal.SIGCONT)

        def done() -> bool:
            return store.status_counts().by_status[Status.SUCCEEDED] == len(jobs)

        flow.until(done, "all videos")
        assert worker.poll() is None
    assert sorted(ticket.rsplit("/", 1)[1].split(".")[0] for ticket in flow.sold()) == jobs
