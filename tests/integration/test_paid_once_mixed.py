"""Proof of paying once over all paid services and queue backends: whenever workers die, each video is bought once."""

from __future__ import annotations

import itertools
import json
import random
import secrets
import threading
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.jobs import JobRecord, Status, VideoJob
from tenxsom_flow_engine.services.http.fake_server import At, Cut, FakeServer, Fault, Reply, Request
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.values import NewJob
from tenxsom_flow_engine.testing.clock import ManualClock
from tests.fake_vendors import KINDS, Vendors
from tests.killable_worker import Lives, Order, SharedClock
from tests.push_chain import Chain, Death
from tests.redis_server import RedisServer

#: Points in the worker's own code.
INSIDE = [
    f"{when} {what}"
    for what in ("intend", "accept", "publish", "settle submit", "settle fetch")
    for when in ("before", "after")
]
#: Points while the service has the worker's request.
OUTSIDE: list[tuple[str, At]] = [
    ("create", At.READ), ("create", At.DONE), ("create", At.ANSWERING), ("video", At.DONE), ("file", At.ANSWERING)
]  # fmt: skip
Point = str | tuple[str, At]
#: Faults of some creates, in addition.
FAULTS: list[Fault] = [
    Cut(At.READ), Cut(At.DONE), Cut(At.ANSWERING), Reply(503), Reply(503, done=True), Reply(200, b"{", done=True),
    Reply(429, b"{}"),
]  # fmt: skip


def jobs(count: int, now: float) -> list[NewJob]:
    """Return a number of jobs, divided equally among the kinds."""
    kinds = itertools.cycle(KINDS.items())
    return [
        NewJob(VideoJob(job_id=f"job-{n}", topic=f"Topic {n}", channel=kind, created_at=now, **wishes))
        for n, (kind, wishes) in zip(range(count), kinds, strict=False)
    ]


def paid_once(record: JobRecord, bills: int) -> None:
    """Check that a job was made and bought once, or is held with at most one purchase."""
    if record.status is Status.HELD:
        assert bills <= 1
        # A purchase with an idempotency key never needs an operator.
        assert record.job.channel != "script", record.events
        return
    assert (record.status, bills) == (Status.SUCCEEDED, 1), (record.error, record.events)
    assert record.result is not None
    assert Path(record.result.path).stat().st_size == record.result.size


# Workers that are killed as processes.


class Proof:
    """One installation whose workers are forked, killed and overtaken; a plan gives the point at which each dies."""

    def __init__(self, folder: Path, clock: SharedClock, vendors: Vendors, lives: tuple[Lives, Lives],
                 redis: RedisServer | None) -> None:  # fmt: skip
        self.vendors = vendors
        self.clock = clock
        self.lives, self.others = lives
        self.draw = random.Random(11)
        self.plan: dict[str, Point] = {}
        self._killed: set[str] = set()
        self.overtaken = 0
        self._overtaking = threading.Lock()
        self.environment = vendors.environment | {
            "TENXSOM_HOME": str(folder / "home"),
            "CLOUD_TASKS_MAX_DISPATCHES": "500", "CLOUD_TASKS_MAX_CONCURRENT": "5000",
        }  # fmt: skip
        if redis is not None:
            self.environment |= {"REDIS_URL": redis.url, "REDIS_QUEUE_KEY": secrets.token_hex(6)}
        self.order = Order(
            "local" if redis is None else "redis", self.environment, str(folder / "clock"),
            deaths=str(folder / "deaths.json"), died=str(folder / "died"),
        )  # fmt: skip
        self.overtaker = Order(
            self.order.queue, self.environment, self.order.clock, deaths=str(folder / "none.json"),
            died=self.order.died, steps=2,
        )  # fmt: skip
        for server in vendors.servers:
            server.on_moment = partial(self._moment, server)

    def open_store(self) -> JobStore:
        """Open the store that the workers use."""
        if self.order.queue == "redis":
            return RedisStore(self.environment["REDIS_URL"], self.environment["REDIS_QUEUE_KEY"], self.clock)
        return open_engine(load(self.environment), "local", clock=self.clock).store

    def run(self, count: int) -> list[JobRecord]:
        """Run workers until one has nothing left to do; return the records of the jobs."""
        store = self.open_store()
        new = jobs(count, self.clock.now())
        store.add(self.order.queue, new)
        points: list[Point] = [*INSIDE, *OUTSIDE]
        # Each kind of job dies at each point in turn.
        self.plan = {job.job.job_id: points[n // len(KINDS) % len(points)] for n, job in enumerate(new)}
        inside = {job_id: point for job_id, point in self.plan.items() if isinstance(point, str)}
        Path(self.order.deaths).write_text(json.dumps(inside))
        Path(self.overtaker.deaths).write_text("{}")
        deaths = 0
        while status := self.lives.run(self.order):
            assert status == -9, self.lives.log.read_text()[-3000:]
            deaths += 1
            assert deaths <= count
        records = [store.require(job.job.job_id) for job in new]
        store.close()
        return records

    @property
    def gone(self) -> set[str]:
        """The jobs whose worker died."""
        return self._killed | set(Path(self.order.died).read_text().split())

    def _moment(self, server: FakeServer, route: str, at: At, request: Request) -> None:
        name = {"create_agent": "create", "agent": "video"}.get(route, route)
        job_id = self.vendors.job_of(server, request)
        if (name, at) == ("create", At.READ) and self.draw.random() < 0.15:
            server.faults[route].append(self.draw.choice(FAULTS))  # of the next one
        if not self._overtaking.acquire(blocking=False):
            return  # it is the other worker's request
        try:
            if self.plan.get(job_id) == (name, at) and job_id not in self._killed:
                self._killed.add(job_id)
                self.lives.kill()
            elif name == "create" and at is not At.ANSWERING and self.draw.random() < 0.1:
                # The worker stalls in its create: its lease expires, and another worker takes its job and continues.
                self.overtaken += 1
                self.clock.set(self.clock.now() + 31)
                assert self.others.run(self.overtaker) == 0
        finally:
            self._overtaking.release()


@pytest.mark.parametrize("kind", ["local", "redis"])
def test_each_video_is_bought_once_at_every_service(
    kind: str, tmp_path: Path, lives: tuple[Lives, Lives], request: pytest.FixtureRequest
) -> None:
    """Jobs of three services and four kinds with a kill each: exactly one purchase each, or at most one and held."""
    server: RedisServer | None = request.getfixturevalue("redis_server") if kind == "redis" else None
    clock = SharedClock(tmp_path / "clock")
    vendors = Vendors(clock.now)
    with ExitStack() as open_servers:
        for vendor in vendors.servers:
            open_servers.enter_context(vendor)
        proof = Proof(tmp_path, clock, vendors, lives, server)
        records = proof.run(len(KINDS) * len([*INSIDE, *OUTSIDE]))
    bills = vendors.bills()
    assert bills.keys() <= {record.job_id for record in records}
    for record in records:
        paid_once(record, bills[record.job_id])
    made = Counter(record.job.channel for record in records if record.status is Status.SUCCEEDED)
    assert made["script"] == len(records) / len(KINDS)
    assert made.keys() == KINDS.keys()
    died = Counter(proof.plan[job_id] for job_id in proof.gone)
    assert died.keys() == {*INSIDE, *OUTSIDE}
    assert proof.overtaken > 0


# Workers that Cloud Tasks delivers to.


@pytest.mark.parametrize("act", range(1, 80, 5))
def test_each_video_is_bought_once_on_cloud_tasks(tmp_path: Path, act: int) -> None:
    """Workers die before or after any action and creates fail too: nothing is lost or bought twice."""
    clock = ManualClock()
    vendors = Vendors(clock.now)
    draw = random.Random(act)
    with ExitStack() as parts:
        for vendor in vendors.servers:
            parts.enter_context(vendor)
        tasks = parts.enter_context(CloudTasksServer(clock))
        engine = parts.enter_context(open_engine(load({"TENXSOM_HOME": str(tmp_path)} | vendors.environment), "local"))
        services = [engine.services[name] for name in vendors.by_service]
        for kind in KINDS:
            if draw.random() < 0.5:
                server, route = vendors.create_route(kind)
                server.faults[route].append(draw.choice(FAULTS))
        chain = Chain(tmp_path / "chain", clock, tasks, *services, death=Death(act, after=act % 2 == 0))
        parts.callback(chain.close)
        new = jobs(len(KINDS), clock.now())
        chain.queue.enqueue(new)
        chain.play()
        bills = vendors.bills()
        for job in new:
            paid_once(chain.record(job.job.job_id), bills[job.job.job_id])
