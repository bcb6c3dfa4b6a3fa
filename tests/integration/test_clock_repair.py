"""A store whose clock was ahead: it is reported, nothing is planned, and a command sets it back."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Action, ActionRefused, ConfigurationError
from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.operations.clock_repair import repair_clock
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.rate_limits.base import Admission
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.services.base import Progress
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.redis.store import RedisStore
from tenxsom_flow_engine.store.values import NewJob, WorkerInfo
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, a_job
from tenxsom_flow_engine.testing.services import ScriptedService
from tests.redis_server import RedisServer

DAY = 86400.0


class Machine:
    """A machine with a clock that can be wrong, and a store that outlives its processes."""

    def __init__(self, folder: Path, queue: str, redis_url: str) -> None:
        self.clock = ManualClock()
        self.service = ScriptedService(self.clock)
        self._queue = queue
        self._settings = load(
            {
                "TENXSOM_HOME": str(folder), "REDIS_URL": redis_url, "REDIS_QUEUE_KEY": secrets.token_hex(6),
                "CLOUD_TASKS_MAX_DISPATCHES": "500", "TENXSOM_RATE_LIMITS": "",
            }
        )  # fmt: skip

    def process(self) -> Engine:
        """Open the engine of a new process; the Redis server's clock is the machine's."""
        redis = self._settings.redis
        store = RedisStore(str(redis.address), redis.key, self.clock) if self._queue == "redis" else None
        return open_engine(self._settings, self._queue, clock=self.clock, services={ALPHA: self.service}, store=store)


@pytest.fixture(params=["local", "redis"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> Machine:
    return Machine(tmp_path, request.param, redis_server.url)


def step(engine: Engine) -> Status:
    assert isinstance(engine.queue, PullsJobs)
    (record,) = engine.queue.claim("w", 1, engine.slots, auto_services=engine.auto_services).records
    return engine.step(record).status


def put_ahead(machine: Machine, seconds: float) -> None:
    """Let one process work while the clock is ahead: a job is bought and polled, another one waits."""
    machine.clock.advance(seconds)
    with machine.process() as engine:
        engine.store.add(engine.queue.name, [NewJob(a_job("bought", service=ALPHA), None)])
        machine.service.checks.append(Progress(0.5, poll_after=60))
        assert [step(engine), step(engine)] == [Status.RENDERING, Status.RENDERING]
        engine.store.add(engine.queue.name, [NewJob(a_job("waiting", service=ALPHA), None)])
        assert isinstance(engine.limiter.ask(ALPHA, "x"), Admission)
    machine.clock.advance(-seconds)


def test_a_clock_ahead_is_a_verdict_and_stops_planning(machine: Machine) -> None:
    """While the store's clock is ahead, a verdict reports it and no start time is accepted."""
    put_ahead(machine, DAY)
    with machine.process() as engine:
        verdict = take_report(engine).verdicts[0]
        assert (verdict.code, verdict.actions) == ("clock-skew", (Action.REPAIR_CLOCK,))
        with pytest.raises(ConfigurationError, match="1 day ahead of this machine's") as refused:
            engine.prepare(a_job("planned", service=ALPHA), machine.clock.now() + 60)
        assert refused.value.actions == (Action.REPAIR_CLOCK,)
        engine.prepare(a_job("at-once", service=ALPHA))


def test_a_repair_continues_where_the_clock_is_right(machine: Machine) -> None:
    """After the repair, rendering jobs are polled and waiting ones start; scheduled ones keep their times."""
    with machine.process() as engine:
        later = machine.clock.now() + 2 * DAY
        engine.store.add(engine.queue.name, [NewJob(a_job("later", service=ALPHA), later)])
    put_ahead(machine, DAY)
    with machine.process() as engine:
        done = repair_clock(engine)
    assert done.lead == pytest.approx(DAY, abs=1)
    assert done.jobs == 2
    machine.clock.advance(61)
    machine.service.video = tiny_video("9:16", 5)
    with machine.process() as engine:
        assert engine.clock_lead == 0
        while engine.store.status_counts().by_status[Status.SUCCEEDED] < 2:
            step(engine)
        assert engine.store.require("later").due == later
        assert engine.store.require("later").status is Status.SCHEDULED
        assert take_report(engine).verdicts[0].code != "clock-skew"
    assert len(machine.service.sold) == 2


def test_a_repair_waits_for_the_workers(machine: Machine) -> None:
    """While a worker is alive, the clock is not set back, because the worker would put it ahead again."""
    put_ahead(machine, DAY)
    with machine.process() as engine:
        engine.store.heartbeat(WorkerInfo("w", engine.queue.name, "host", 1, 4, engine.store.now()))
        with pytest.raises(ActionRefused, match="1 worker"):
            repair_clock(engine)


def test_a_clock_that_is_right_is_left_alone(machine: Machine) -> None:
    """Without a lead there is nothing to repair."""
    with machine.process() as engine, pytest.raises(ActionRefused, match="not ahead"):
        repair_clock(engine)
