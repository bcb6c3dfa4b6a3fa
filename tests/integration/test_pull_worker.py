"""The pull worker in one process: how its threads and its maintenance treat leases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tenxsom_flow_engine.composition import Overrides, open_engine, open_store
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Misconfigured, StoreFull, StoreUnavailable
from tenxsom_flow_engine.jobs import AUTO, JobRecord, Status, Step, SubmissionState, Ticket, VideoJob
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.queues.pull import PullQueue
from tenxsom_flow_engine.queues.stores import open_ledger
from tenxsom_flow_engine.rate_limits.limiter import RateLimiter
from tenxsom_flow_engine.rate_limits.windows import parse_limits
from tenxsom_flow_engine.services.base import Cancels, Fit, Progress, VideoService
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import Claim, DispatchLimits, NewJob
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, QUEUE, a_job
from tenxsom_flow_engine.testing.services import ScriptedService
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.workers.maintenance import WorkerMaintenance
from tenxsom_flow_engine.workers.pull import PullWorker
from tests.scripted_parts import Script, open_scripted

STUCK = 60.0


class Stoppable(ScriptedService, Cancels):
    """A service that can stop a generation, and records which it stopped."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.stopped: list[Ticket] = []

    def cancel(self, ticket: Ticket) -> None:
        self.stopped.append(ticket)


@contextmanager
def opened(folder: Path, clock: ManualClock, *services: VideoService, limits: str = "") -> Iterator[Engine]:
    """Open an engine with these services and limits."""
    settings = replace(load({"TENXSOM_HOME": str(folder)}), max_dispatches_per_second=500.0)
    with closing(open_store(settings, "local", clock)) as store:
        gate = RateLimiter(open_ledger(store), parse_limits(limits), monotonic=clock.now)
        known = {service.name: service for service in services}
        with open_engine(settings, "local", clock=clock, services=known, store=store, gate=gate) as engine:
            yield engine


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock) -> Iterator[Engine]:
    with opened(tmp_path, clock, Stoppable(clock)) as engine:
        yield engine


def claim(engine: Engine, slots: Mapping[str, int], auto_services: Collection[str] | None = None) -> Claim:
    assert isinstance(engine.queue, PullsJobs)
    return engine.queue.claim("w", 1, slots, auto_services=auto_services)


def until(condition: threading.Event) -> None:
    assert condition.wait(STUCK)


def test_cancelling_stops_the_generation_and_frees_its_slot(engine: Engine) -> None:
    """Cancelling a job stops its generation if the service can; then the job holds no slot, and a retry buys again."""
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


def test_a_shut_gate_costs_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """Of 200 jobs under a limit of one per hour, two are claimed: one is bought, one finds the gate closed."""
    service = ScriptedService(clock)
    with opened(tmp_path, clock, service, limits="alpha=1/h") as engine:
        check_a_shut_gate(engine, clock, service)


def check_a_shut_gate(engine: Engine, clock: ManualClock, service: ScriptedService) -> None:
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


@pytest.mark.parametrize("service_name", [ALPHA, AUTO])
def test_a_refused_job_keeps_its_place(tmp_path: Path, clock: ManualClock, service_name: str) -> None:
    """Jobs are bought in the order of their due times, even if many are refused many times."""
    services = [ScriptedService(clock), ScriptedService(clock, name=BETA)]
    limits = "alpha=1/m" if service_name == ALPHA else "alpha=1/m; beta=2/m"
    with opened(tmp_path, clock, *services, limits=limits) as engine:
        check_the_places(engine, clock, service_name)


def check_the_places(engine: Engine, clock: ManualClock, service_name: str) -> None:
    names = [f"job-{number}" for number in range(12)]
    engine.store.add(QUEUE, [NewJob(a_job(name, service=service_name)) for name in names])
    assert isinstance(engine.queue, PullsJobs)
    bought: list[str] = []
    refused = 0
    while len(bought) < len(names):
        found = engine.queue.claim(
            "w", 4, engine.slots, auto_services=engine.auto_services, closed=engine.gate.closed()
        )
        orders = [record for record in found.records if record.step is Step.SUBMIT]
        for record in orders:
            sold = engine.step(record).submission.state is SubmissionState.ACCEPTED
            bought += [record.job_id] * sold
            refused += not sold
        if not orders:
            clock.advance(1)
    assert bought == names
    assert 0 < refused < 3 * len(names)  # the three others, next to the one that is admitted


class Stalling(ScriptedService):
    """A service whose steps wait, before they have bought anything, until a test releases them."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.begun, self.resume = threading.Semaphore(0), threading.Semaphore(0)

    def fit(self, job: VideoJob) -> Fit:
        self.begun.release()
        assert self.resume.acquire(timeout=STUCK)
        return super().fit(job)


def test_a_later_lease_is_kept_when_an_earlier_step_ends(tmp_path: Path, clock: ManualClock) -> None:
    """A step that ends after its lease was lost does not stop the renewal of the worker's later lease on the job."""
    service = Stalling(clock)
    with opened(tmp_path, clock, service) as engine:
        check_the_later_lease(engine, clock, service.begun, service.resume)


def check_the_later_lease(
    engine: Engine, clock: ManualClock, begun: threading.Semaphore, resume: threading.Semaphore
) -> None:
    engine.store.add(QUEUE, [NewJob(a_job())])
    worker = PullWorker(engine, concurrency=2)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    assert begun.acquire(timeout=STUCK)
    clock.advance(engine.queue.lease + 1)
    assert begun.acquire(timeout=STUCK)
    later = engine.store.require("job-1").lease
    assert later is not None
    resume.release()  # the first step ends; its lease was lost
    while len(worker._maintenance.active_steps) > 1:
        threading.Event().wait(0.01)
    clock.advance(10)
    worker._maintenance.renew()
    renewed = engine.store.require("job-1").lease
    assert renewed is not None
    assert (renewed.token, renewed.until) == (later.token, clock.now() + engine.queue.lease)
    resume.release()
    worker.stop()
    thread.join(STUCK)
    assert not thread.is_alive()


def test_threads_are_started_for_the_running_steps_only(tmp_path: Path, clock: ManualClock) -> None:
    """A worker has as many threads as it had concurrent steps, whatever its limit."""
    service, earlier = Stalling(clock), set(threading.enumerate())
    with opened(tmp_path, clock, service) as engine:
        engine.store.add(QUEUE, [NewJob(a_job(f"job-{number}")) for number in range(3)])
        worker = PullWorker(engine, concurrency=64)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        for _ in range(3):
            assert service.begun.acquire(timeout=STUCK)
        started = [one for one in set(threading.enumerate()) - earlier if one.name.startswith("step-")]
        worker.stop()
        service.resume.release(3)
        thread.join(STUCK)
    assert not thread.is_alive()
    assert len(started) == 3


def test_a_job_that_no_service_can_make_any_more_ends_with_its_reason(tmp_path: Path, clock: ManualClock) -> None:
    """An `auto` job that no configured service can make any more fails with the reason."""
    job = VideoJob(job_id="open", topic="x", created_at=1.0)
    with opened(tmp_path, clock, ScriptedService(clock, auto_selectable=False)) as engine:
        engine.store.add(QUEUE, [NewJob(job)])
        (claimed,) = claim(engine, {ALPHA: 1}, auto_services=(ALPHA,)).records
        record = engine.step(claimed)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error.code == "invalid_input"


def test_only_a_running_steps_lost_lease_is_reported(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A lease that a running step lost is named once in the log, and one that ended with its step is not.

    After a job is settled, its worker can be busy with it for several renewals, for example with its next task.
    """
    with opened(tmp_path, clock, ScriptedService(clock)) as engine:
        assert isinstance(engine.queue, PullsJobs)
        engine.store.add(QUEUE, [NewJob(a_job("settled")), NewJob(a_job("lost"))])
        maintenance = WorkerMaintenance(engine, concurrency=2)
        records = engine.queue.claim("w", 2, engine.slots, auto_services=engine.auto_services).records
        for record in records:
            maintenance.track(record)
        after = engine.step(records[0], maintenance.settling)
        assert after.lease is None
        engine.store.cancel("lost")
        for _ in range(3):
            maintenance.renew()
        maintenance.untrack(records[0])
    assert [line.getMessage() for line in caplog.records] == ["lost the lease on job lost"]


def test_a_stopped_service_is_an_error_in_the_log(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused key is logged as an error with the service, once a minute, however many jobs are refused."""
    service = ScriptedService(clock)
    with opened(tmp_path, clock, service, limits="alpha=100/s") as engine:
        for _ in range(2):
            for _ in range(3):
                engine.gate.refused(ALPHA, Misconfigured(ALPHA, "the key is wrong"))
            clock.advance(60)
    assert [(line.levelname, line.__dict__["service"], line.__dict__["error"]) for line in caplog.records] == [
        ("ERROR", ALPHA, "misconfigured")
    ] * 2


def test_a_full_store_is_one_warning(tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """If intents cannot be written, the job is tried again and again with one warning, and nothing is bought."""
    service = ScriptedService(clock)
    service.video = tiny_video("9:16", 5)
    refusals = 20

    def full(real: Callable[..., JobRecord], *arguments: Any) -> JobRecord:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise StoreFull("no space is left")
        return real(*arguments)

    script = Script()
    script.instead["intend"] = full
    overrides = Overrides(timings=Timings(store_retry=0.001))
    settings = replace(load({"TENXSOM_HOME": str(tmp_path)}), max_dispatches_per_second=500.0)
    with open_scripted(settings, clock, script, services={ALPHA: service}, overrides=overrides) as engine:
        engine.store.add(QUEUE, [NewJob(a_job())])
        worker = PullWorker(engine, concurrency=1)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        while not service.sold:  # each claim takes a token of the dispatch rate
            clock.advance(0.1)
            threading.Event().wait(0.01)
        worker.stop()
        thread.join(STUCK)
    assert len(service.sold) == 1
    warned = [line.getMessage() for line in caplog.records if line.levelname == "WARNING"]
    assert warned == ["cannot run the submit step of job-1: no space is left"]
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


class AwayQueue(PullQueue):
    """An embedded queue whose store is unavailable for a number of claims."""

    away = 5

    def claim(self, *arguments: Any, **options: Any) -> Claim:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("the store is locked")
        return super().claim(*arguments, **options)


def test_a_worker_warns_once_while_its_store_is_away(
    tmp_path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """While the store is unavailable a worker warns once a minute, not at each try, and says when it works again."""
    caplog.set_level("INFO")
    settings = load({"TENXSOM_HOME": str(tmp_path)})
    with closing(open_store(settings, "local", clock)) as store:
        queue = AwayQueue(QUEUE, store, DispatchLimits(500.0, 8), lease=30.0)
        timings = Timings(store_retry=0.001)
        service = ScriptedService(clock)
        services = {ALPHA: service}
        with Engine(settings, store=store, queue=queue, services=services, timings=timings, clock=clock) as engine:
            PullWorker(engine, concurrency=1, burst=True).run()
    said = [(line.levelname, line.getMessage()) for line in caplog.records if "the store" in line.getMessage()]
    assert [(level, message.partition(" after ")[0]) for level, message in said] == [
        ("WARNING", "waiting for the store: the store is locked"),
        ("INFO", "the store is available again"),
    ]
