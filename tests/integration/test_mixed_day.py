"""A day of a channel with three services, in simulated time."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.jobs import JobRecord, Status, VideoJob
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.services.heygen import fake as heygen
from tenxsom_flow_engine.services.http.fake_server import At, Cut, FakeServer, Reply, Request
from tenxsom_flow_engine.services.ltx_studio import fake as ltx
from tenxsom_flow_engine.services.pixverse import fake as useapi
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock

JOBS = 200
HOUR = 3600.0
#: The hours of the day in which PixVerse has no credits.
BROKE = (6.0, 12.0)
#: The request of every tenth job; `None` makes no special request.
WISHES: list[dict[str, Any] | None] = [
    None, None, None, {"service": "pixverse"}, None, {"service": "ltx_studio", "duration": 6}, None,
    {"service": "heygen", "duration": 4}, None,
    {"service": "heygen", "options": {"heygen": {"script": "Tides rise.", "avatar_id": heygen.AVATAR}}},
]  # fmt: skip


@dataclass
class Day:
    """Three vendors, one engine, and everything that happens from midnight on."""

    engine: Engine
    clock: ManualClock
    useapi: useapi.FakeUseApi
    ltx: ltx.FakeLtx
    heygen: heygen.FakeHeyGen
    draw: random.Random = field(default_factory=lambda: random.Random(5))
    #: Creates that PixVerse refused for lack of credits.
    refused: int = 0

    def __post_init__(self) -> None:
        self.midnight = self.clock.now()
        self.servers: tuple[FakeServer, ...] = (self.useapi, self.ltx, self.heygen)
        for server in self.servers:
            server.on_moment = partial(self._moment, server)

    @property
    def hour(self) -> float:
        return (self.clock.now() - self.midnight) / HOUR

    def add(self) -> None:
        """Plan a job every seven minutes; some of them will fail."""
        for number in range(JOBS):
            wishes = WISHES[number % len(WISHES)] or {}
            topic = f"Topic {number}" + (f", {ltx.FORBIDDEN}" if number == 15 else "")
            job = VideoJob(job_id=f"job-{number}", topic=topic, created_at=self.midnight, **wishes)
            self.engine.queue.enqueue([self.engine.prepare(job, self.midnight + number * 24 * HOUR / JOBS).new])

    def play(self) -> None:
        """Advance the time from event to event until nothing is left to do."""
        queue = self.engine.queue
        assert isinstance(queue, PullsJobs)
        while True:
            self.useapi.balance = 0.0 if BROKE[0] <= self.hour < BROKE[1] else 1e6
            closed = self.engine.gate.closed()
            claim = queue.claim("w", 8, self.engine.slots, auto_services=self.engine.auto_services, closed=closed)
            for record in claim.records:
                self.engine.step(record)
            if not claim.records:
                if claim.again_at is None:
                    return
                self.clock.set(max(self.clock.now() + 0.001, claim.again_at))

    def bills(self) -> Counter[str]:
        """Return how many videos were sold for each job."""
        return Counter(_job(sale.order) for server in (self.useapi, self.ltx, self.heygen) for sale in server.sold)

    def _moment(self, server: FakeServer, route: str, at: At, request: Request) -> None:
        if (server, route, at) == (self.useapi, "create", At.DONE):
            self.refused += self.useapi.balance == 0.0
        if at is not At.READ or not route.startswith("create"):
            return
        number = int(_job(request.json()).removeprefix("job-"))
        # Renders need one to three polls; once an agent asks a question, and once a render fails.
        polls = self.draw.randrange(3)
        self.useapi.life = (*["GENERATING"] * polls, "MODERATED" if number == 3 else "COMPLETED")
        self.ltx.life = (*["processing"] * polls, "failed:api_error" if number == 25 else "completed")
        self.heygen.agent_life = ("thinking", "waiting_for_input" if number == 7 else "completed")
        self.heygen.life = (*["processing"] * polls, "completed")


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    clock = ManualClock()
    with ExitStack() as parts:
        vendors = (useapi.FakeUseApi(most=5), ltx.FakeLtx(clock.now), heygen.FakeHeyGen(clock.now))
        for server in vendors:
            parts.enter_context(server)
        environment = {
            "TENXSOM_HOME": str(tmp_path), "TENXSOM_ALLOW_PRIVATE_DOWNLOADS": "true",
            "USEAPI_TOKEN": useapi.TOKEN, "USEAPI_BASE_URL": vendors[0].url,
            "LTX_API_KEY": ltx.KEY, "LTX_BASE_URL": vendors[1].url,
            "HEYGEN_API_KEY": heygen.KEY, "HEYGEN_BASE_URL": vendors[2].url,
            "CLOUD_TASKS_MAX_DISPATCHES": "500",
        }  # fmt: skip
        engine = parts.enter_context(open_engine(load(environment), "local", clock=clock))
        yield Day(engine, clock, *vendors)


def test_a_mixed_day(day: Day) -> None:
    """200 jobs, three services, one without credits for six hours: each is made, or has a reason and a next step."""
    day.ltx.faults["create"].extend([Reply(529), Cut(At.DONE)])  # the second one is held: LTX cannot look it up
    day.useapi.faults["create"].extend([Cut(At.DONE), Reply(429, {"error": "busy"}, {"Retry-After": "60"})])
    day.heygen.faults["create"].append(Cut(At.DONE))
    day.add()
    day.play()
    records = [day.engine.store.require(f"job-{number}") for number in range(JOBS)]
    bills = day.bills()

    ended = Counter(record.status for record in records)
    assert ended == {Status.SUCCEEDED: JOBS - 5, Status.FAILED: 4, Status.HELD: 1}
    for record in records:
        if record.status is Status.SUCCEEDED:
            assert record.result is not None
            assert bills[record.job_id] == 1
        else:
            assert record.error is not None
            assert record.error.message
            assert record.error.next_step or record.error.actions
            assert bills[record.job_id] <= 1
    reasons = {record.job_id: record.error.message for record in records if record.error}
    assert reasons.keys() >= {"job-3", "job-7", "job-15", "job-25"}
    assert "does not allow the prompt" in reasons["job-15"]
    assert "question" in reasons["job-7"]

    # `auto` jobs did not wait for the service without credits; jobs that name it did, at almost no cost.
    auto = [record for record in records if record.job.service == "auto"]
    broke = [record for record in auto if BROKE[0] + 0.1 < _hour(day, record) < BROKE[1]]
    assert len(broke) > 20
    assert "pixverse" not in {record.service for record in broke}
    assert max(_waited(record) for record in auto) < HOUR
    named = [record for record in records if record.job.service == "pixverse" and _due(record) < BROKE[1]]
    assert max(_waited(record) for record in named) > HOUR
    assert {record.status for record in named if record.job_id != "job-3"} == {Status.SUCCEEDED}
    assert 0 < day.refused < 6 * 12 + 2
    assert max(_hour(day, record) for record in records if record.service == "pixverse") > BROKE[1]
    # LTX does not report costs, so they are added up here.
    spent = sum(line.usd for line in day.engine.store.spent("1970-01-01") if line.service == "ltx_studio")
    held = {record.job_id for record in records if record.status is Status.HELD}
    assert spent == pytest.approx(sum(sale.usd for sale in day.ltx.sold if _job(sale.order) not in held))


def _job(order: dict[str, Any]) -> str:
    """Return the job of an order."""
    found = re.search(r"Topic (\d+)", str(order))
    assert found
    return f"job-{found[1]}"


def _due(record: JobRecord) -> float:
    """Return the hour for which a job was planned."""
    return int(record.job_id.removeprefix("job-")) * 24 / JOBS


def _hour(day: Day, record: JobRecord) -> float:
    """Return the hour in which a job was ordered."""
    return (record.submission.intended_at - day.midnight) / HOUR


def _waited(record: JobRecord) -> float:
    """Return the seconds between a job's first step and its order."""
    first = next((event.at for event in record.events if event.what != "added"), record.submission.intended_at)
    return record.submission.intended_at - first
