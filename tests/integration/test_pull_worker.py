"""The pull worker in one process: what its threads and its keeper do with leases."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tenxsom_flow_engine.engine import Engine, QueueChoice, open_ledger
from tenxsom_flow_engine.jobs import AUTO, Status, Step, SubmissionState, Ticket, VideoJob
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.rate_limits.windows import parse_limits
from tenxsom_flow_engine.services.base import Cancels, Progress
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.base import Claim, NewJob
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, QUEUE, a_job
from tenxsom_flow_engine.testing.services import ScriptedService
from tenxsom_flow_engine.workers.pull import PullWorker

STUCK = 60.0


class Stoppable(ScriptedService, Cancels):
    """A service that can stop a generation, and remembers which it stopped."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.stopped: list[Ticket] = []

    def cancel(self, ticket: Ticket) -> None:
        self.stopped.append(ticket)


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock) -> Iterator[Engine]:
    settings = replace(load({"TENXSOM_HOME": str(tmp_path)}), max_dispatches_per_second=500.0)
    with Engine(settings, QueueChoice("local", "for a test"), clock) as engine:
        engine.services = {ALPHA: Stoppable(clock)}
        yield engine


def claim(engine: Engine, slots: Mapping[str, int], automatic: Collection[str] | None = None) -> Claim:
    assert isinstance(engine.queue, PullsJobs)
    return engine.queue.claim("w", 1, slots, automatic=automatic)


def until(condition: threading.Event) -> None:
    assert condition.wait(STUCK)


def test_cancelling_stops_the_generation_and_frees_its_slot(engine: Engine) -> None:
    """A service that can stop is told to; the job holds no slot any more, and a retry orders anew."""
    engine.store.add(QUEUE, [NewJob(a_job())])
    (claimed,) = claim(engine, engine.slots).records
    assert engine.step(claimed).submission.state is SubmissionState.ACCEPTED
    assert engine.store.in_flight(ALPHA) == 1
    record = engine.cancel("job-1")
    service = engine.services[ALPHA]
    assert isinstance(service, Stoppable)
    assert service.stopped == [record.submission.ticket]
    assert (record.status, engine.store.in_flight(ALPHA)) == (Status.CANCELLED, 0)
    assert engine.retry("job-1").submission.state is SubmissionState.NONE


def test_a_shut_gate_costs_nothing(engine: Engine, clock: ManualClock) -> None:
    """Of 200 jobs under a limit of one an hour two are taken in hand: one is bought, one finds the gate shut."""
    engine.gate = RateLimiter(open_ledger(engine.store), parse_limits("alpha=1/h"), monotonic=clock.now)
    service = engine.services[ALPHA]
    assert isinstance(service, ScriptedService)
    service.checks.extend([Progress(None, 1e6)] * 9)
    engine.store.add(QUEUE, [NewJob(a_job(f"job-{number}")) for number in range(200)])
    assert isinstance(engine.queue, PullsJobs)
    steps = []
    for _ in range(10):
        for record in engine.queue.claim("w", 1, engine.slots, closed=engine.gate.closed()).records:
            steps.append(record.step)
            engine.step(record)
        clock.advance(2)
    assert sorted(steps) == [Step.POLL, Step.SUBMIT, Step.SUBMIT]
    assert len(service.sold) == 1


@pytest.mark.parametrize("asked", [ALPHA, AUTO])
def test_a_refused_job_keeps_its_place(engine: Engine, clock: ManualClock, asked: str) -> None:
    """Jobs are bought in the order in which they were due, also where many are refused, many times, at their turn."""
    engine.services |= {BETA: ScriptedService(clock, name=BETA)}
    limits = "alpha=1/m" if asked == ALPHA else "alpha=1/m; beta=2/m"
    engine.gate = RateLimiter(open_ledger(engine.store), parse_limits(limits), monotonic=clock.now)
    names = [f"job-{number}" for number in range(12)]
    engine.store.add(QUEUE, [NewJob(a_job(name, service=asked)) for name in names])
    assert isinstance(engine.queue, PullsJobs)
    bought: list[str] = []
    refused = 0
    while len(bought) < len(names):
        found = engine.queue.claim("w", 4, engine.slots, automatic=engine.automatic, closed=engine.gate.closed())
        orders = [record for record in found.records if record.step is Step.SUBMIT]
        for record in orders:
            sold = engine.step(record).submission.state is SubmissionState.ACCEPTED
            bought += [record.job_id] * sold
            refused += not sold
        if not orders:
            clock.advance(1)
    assert bought == names
    assert 0 < refused < 3 * len(names)  # the three beside the one that is let in


def test_a_later_lease_is_kept_when_an_earlier_step_ends(engine: Engine, clock: ManualClock) -> None:
    """A step whose lease was lost and taken anew by the same worker does not end the renewal of the later one."""
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)
    step = engine.step

    def stalled(record: object) -> object:
        begun.release()
        assert go_on.acquire(timeout=STUCK)
        return step(record)  # type: ignore[arg-type]

    engine.step = stalled  # type: ignore[assignment]
    engine.store.add(QUEUE, [NewJob(a_job())])
    worker = PullWorker(engine, concurrency=2)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    assert begun.acquire(timeout=STUCK)
    clock.advance(engine.queue.lease + 1)
    assert begun.acquire(timeout=STUCK)
    later = engine.store.require("job-1").lease
    assert later is not None
    go_on.release()  # the first step ends; its lease is lost
    while len(worker._maintenance.active_steps) > 1:
        threading.Event().wait(0.01)
    clock.advance(10)
    worker._maintenance.renew()
    renewed = engine.store.require("job-1").lease
    assert renewed is not None
    assert (renewed.token, renewed.until) == (later.token, clock.now() + engine.queue.lease)
    go_on.release()
    worker.stop()
    thread.join(STUCK)
    assert not thread.is_alive()


def test_a_job_that_no_service_can_make_any_more_ends_with_its_reason(engine: Engine, clock: ManualClock) -> None:
    """A job that named no service, and that none of those configured now can make, is dead and says why."""
    job = VideoJob(job_id="open", topic="x", created_at=1.0)
    engine.store.add(QUEUE, [NewJob(job)])
    engine.services = {ALPHA: Stoppable(clock)}
    engine.services[ALPHA].automatic = False
    (claimed,) = claim(engine, {ALPHA: 1}, automatic=(ALPHA,)).records
    record = engine.step(claimed)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.code == "invalid_input"
