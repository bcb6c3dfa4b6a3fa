"""Failovers of a Redis server while real workers make paid jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import redis

from chaos import workers
from chaos.fast_timings import FAST
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.errors import StoreUnavailable
from tenxsom_flow_engine.jobs import Status, VideoJob
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import NewJob
from tests import fork_server
from tests.redis_proxy import RedisProxy
from tests.redis_sentinel import NAME, RedisSentinel
from tests.redis_server import RedisServer, newer_binary
from tests.silent_proxy import SilentProxy

from .conftest import Flow

JOBS = [f"job-{n}" for n in range(4)]
LATE = "added-during-the-failover"


class Group:
    """A primary with replicas, of which each write needs one, as docs/operations.md advises."""

    def __init__(self, folder: Path, replicas: int, link: Callable[[RedisServer], int]) -> None:
        self.servers: list[RedisServer] = []
        for number in range(1 + replicas):
            own = folder / f"server-{number}"
            own.mkdir()
            of = ("--replicaof", f"127.0.0.1 {link(self.primary)}") if number else ()
            options = ("--min-replicas-to-write", "1", "--repl-diskless-sync-delay", "0", *of)
            self.servers.append(RedisServer(own, *options, program=newer_binary()))

    @property
    def primary(self) -> RedisServer:
        """The first primary."""
        return self.servers[0]

    def kill(self) -> None:
        """End all servers."""
        for server in self.servers:
            server.kill()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def direct(primary: RedisServer) -> int:
    return primary.port


def open_group(flow: Flow, stack: ExitStack, replicas: int, link: Callable[[RedisServer], int] = direct) -> Group:
    """Start a group; `link` returns the port at which replicas reach the primary."""
    group = Group(flow.home, replicas, link)
    stack.callback(group.kill)
    for server in group.servers[1:]:
        flow.until(lambda: replication(server)["master_link_status"] == "up", "the replicas")  # noqa: B023
    return group


def replication(server: RedisServer) -> dict[str, str]:
    with redis.Redis(port=server.port, decode_responses=True) as client:
        return dict(client.info("replication"))


def with_sentinel(flow: Flow, stack: ExitStack) -> Callable[[], Callable[[], bool]]:
    """Use a group behind a sentinel; return a function that kills the primary."""
    group = open_group(flow, stack, replicas=2)
    sentinel = RedisSentinel(flow.home, group.primary, replicas=2)
    stack.callback(sentinel.kill)
    # Of the two sentinels the first is away.
    flow.environment["REDIS_URL"] = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/{NAME}/0"

    def fail_over() -> Callable[[], bool]:
        group.primary.kill()
        return lambda: sentinel.primary_port() != group.primary.port

    return fail_over


def with_a_name(flow: Flow, stack: ExitStack) -> Callable[[], Callable[[], bool]]:
    """Use a pair behind a name; return a function that moves the name to the replica, and demotes the old primary.

    Connections to the old primary stay open, as with managed servers.
    """
    group = open_group(flow, stack, replicas=1)
    old, new = group.servers
    name = RedisProxy(old.port)
    stack.callback(name.close)
    flow.environment["REDIS_URL"] = name.url

    def fail_over() -> Callable[[], bool]:
        with redis.Redis(port=new.port) as client:
            client.replicaof("NO", "ONE")
        name.to_port = new.port
        with redis.Redis(port=old.port) as client:
            client.replicaof("127.0.0.1", str(new.port))
        return lambda: replication(new)["role"] == "master"

    return fail_over


@pytest.mark.parametrize("group", [with_sentinel, with_a_name])
def test_paid_jobs_survive_a_failover(
    flow: Flow, stack: ExitStack, group: Callable[[Flow, ExitStack], Callable[[], Callable[[], bool]]]
) -> None:
    """After a failover during paid creates, each job has its video and was bought once, and the worker still runs."""
    fail_over = group(flow, stack)
    with closing(flow.store()) as store:
        add(store, flow.queue, *JOBS)
        worker = flow.worker("--concurrency", "4", TENXSOM_SIMULATED="create_latency=2 latency=0.1")
        flow.until(lambda: all(store.require(name).submission.id for name in JOBS), "the creates")
        failed_over = fail_over()
        flow.until(lambda: succeeds(lambda: add(store, flow.queue, LATE)), "a job that is added during the failover")
        assert failed_over()
        flow.until(lambda: succeeded(store) == len(JOBS) + 1, "all videos")
        assert worker.poll() is None
        assert not any(store.require(name).purchases[1:] for name in (*JOBS, LATE))
    assert bought(flow) == Counter([*JOBS, LATE])


def test_nothing_is_bought_that_a_promoted_replica_would_not_know(flow: Flow, stack: ExitStack) -> None:
    """While the only replica lags, no job is confirmed and none is bought; after its promotion each is made once."""
    links: list[SilentProxy] = []

    def link(primary: RedisServer) -> int:
        links.append(SilentProxy(f"127.0.0.1:{primary.port}"))
        stack.callback(links[0].close)
        return links[0].port

    old, new = open_group(flow, stack, replicas=1, link=link).servers
    name = RedisProxy(old.port)
    stack.callback(name.close)
    environment = flow.environment | {"REDIS_URL": name.url, "TENXSOM_SIMULATED": "create_latency=0 latency=0.1"}
    engine = stack.enter_context(open_engine(load(environment), overrides=FAST))
    store, queue = engine.store, engine.queue.name
    log = flow.home / "worker-0.log"
    worker = fork_server.start(workers.pull, environment, 0.0, "fast", ["--concurrency", "4"], log=log)
    stack.callback(worker.kill)
    links[0].silence()
    with pytest.raises(StoreUnavailable, match="0 of 1 replica"):
        add(store, queue, *JOBS)
    flow.until(lambda: "0 of 1 replica" in log.read_text(), "an intent that no replica has")
    old.kill()
    assert not (flow.home / "simulated-ledger").exists()
    with redis.Redis(port=new.port) as client:
        client.replicaof("NO", "ONE")
    name.to_port = new.port
    old.start("--replicaof", f"127.0.0.1 {new.port}")
    flow.until(lambda: succeeds(lambda: add(store, queue, *JOBS)), "the jobs again")
    flow.until(lambda: succeeded(store) == len(JOBS), "all videos")
    assert worker.alive
    assert bought(flow) == Counter(JOBS)


def add(store: JobStore, queue: str, *names: str) -> None:
    now = store.now()
    store.add(queue, [NewJob(VideoJob(job_id=name, topic=name, service="simulated", created_at=now)) for name in names])


def succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except StoreUnavailable:
        return False
    return True


def succeeded(store: JobStore) -> int:
    try:
        return store.status_counts().by_status[Status.SUCCEEDED]
    except StoreUnavailable:
        return -1


def bought(flow: Flow) -> Counter[str]:
    return Counter(ticket.rsplit("/", 1)[1].split(".")[0] for ticket in flow.sold())
