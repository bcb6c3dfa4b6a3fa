"""`auto` on an open engine: the service that is chosen, and later changes of the choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Busy, InvalidInput, Uncertain
from tenxsom_flow_engine.jobs import AUTO, Cost, JobRecord
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.services.base import Progress, VideoService
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, a_claim, a_job
from tenxsom_flow_engine.testing.services import CreateAnswer, FindingService, ScriptedService, Sold
from tests.gates import ScriptedGates, priced_services

NOW = 1_800_000_000.0
JOB = a_job(service=AUTO)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@contextmanager
def two_services(
    tmp_path: Path, clock: ManualClock, others: Mapping[str, VideoService] | None = None
) -> Iterator[Engine]:
    """Open an engine with two scripted services, of which beta is more expensive, and an `auto` job."""
    settings = replace(load({"TENXSOM_HOME": str(tmp_path)}), max_dispatches_per_second=500.0)
    known = priced_services(clock, alpha=0.1, beta=0.9) | dict(others or {})
    with open_engine(settings, "local", clock=clock, services=known, gate=ScriptedGates(clock)) as engine:
        engine.queue.enqueue([engine.prepare(JOB).new])
        yield engine


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock) -> Iterator[Engine]:
    """An engine with two scripted services, of which beta is more expensive."""
    with two_services(tmp_path, clock) as engine:
        yield engine


def step(engine: Engine, clock: ManualClock, job_id: str = "job-1") -> JobRecord:
    """Run the job's next step when it is due."""
    record = engine.store.require(job_id)
    assert record.due is not None
    clock.set(max(clock.now(), record.due))
    (claimed,) = engine.store.claim(a_claim(count=1, slots=engine.slots, auto_services=engine.auto_services)).records
    return engine.step(claimed)


def script(engine: Engine, name: str, answer: CreateAnswer) -> None:
    service = engine.services[name]
    assert isinstance(service, ScriptedService)
    service.creates.append(answer)


def test_a_job_goes_elsewhere_while_nothing_is_bought(engine: Engine, clock: ManualClock) -> None:
    """A refusal closes a service's gate, and the next attempt, immediately, uses the other service."""
    script(engine, ALPHA, Busy(ALPHA, "too many", retry_after=600.0))
    refused = step(engine, clock)
    assert (refused.service, refused.due, refused.attempts) == ("", clock.now(), 0)
    bought = step(engine, clock)
    assert (bought.service, [service.sold for service in sold(engine)]) == (BETA, [[], [bought.submission.ticket]])
    assert bought.submission.prompt


def test_a_job_stays_where_something_may_be_bought(engine: Engine, clock: ManualClock) -> None:
    """After a create of unknown outcome, no other service is used, although its gate is open."""
    script(engine, ALPHA, Uncertain(ALPHA, "the connection broke"))
    record = step(engine, clock)
    assert (record.service, record.submission.state) == (ALPHA, "unknown")
    for _ in range(5):
        if record.due is not None:
            record = step(engine, clock)
    assert (record.status, record.service) == ("held", ALPHA)
    assert sold(engine)[1].sent == {}


@pytest.mark.parametrize("who", ["the service's own list", "a person"])
def test_a_purchase_found_later_costs_its_services_price(tmp_path: Path, clock: ManualClock, who: str) -> None:
    """A purchase whose response was lost is counted at its service's price, not at that of a cheaper one."""
    beta = FindingService(clock, complete=False, name=BETA, price=Cost(usd=0.9))
    with two_services(tmp_path, clock, {BETA: beta}) as engine:
        check_the_price_of_what_is_found(engine, clock, beta, who)


def check_the_price_of_what_is_found(engine: Engine, clock: ManualClock, beta: FindingService, who: str) -> None:
    script(engine, ALPHA, Busy(ALPHA, "too many", retry_after=60000.0))
    script(engine, BETA, Sold(then=Uncertain(BETA, "the connection broke")))
    if who == "a person":
        beta.finds += [None] * 9
    step(engine, clock)
    record = step(engine, clock)
    while record.due is not None and record.submission.ticket is None:
        record = step(engine, clock)
    if who == "a person":
        assert record.status == "held"
        record = engine.resolve("job-1", sold(engine)[1].sold[0])
    assert record.cost == Cost(usd=0.9)
    assert [(line.service, line.usd) for line in engine.store.spent("")] == [(BETA, 0.9)]


def sold(engine: Engine) -> list[ScriptedService]:
    return [service for service in engine.services.values() if isinstance(service, ScriptedService)]


def test_where_all_refuse_the_job_waits_for_the_first(engine: Engine, clock: ManualClock) -> None:
    """If every gate is closed, the job waits for the first to open, without an attempt or a request."""
    script(engine, ALPHA, Busy(ALPHA, "too many", retry_after=600.0))
    script(engine, BETA, Busy(BETA, "too many", retry_after=60.0))
    step(engine, clock)
    waiting = step(engine, clock)
    assert (waiting.due, waiting.attempts) == (clock.now() + 60.0, 0)
    assert step(engine, clock).service == BETA


def test_jobs_without_an_open_service_take_no_steps(tmp_path: Path, clock: ManualClock) -> None:
    """While one service's quota is used up and the other is full, `auto` jobs wait without a step."""
    settings = load({"TENXSOM_HOME": str(tmp_path), "TENXSOM_LIMITS": "alpha=1/h"})
    known = priced_services(clock, alpha=0.1, beta=0.9)
    known[BETA].max_in_flight = 1
    with open_engine(settings, "local", clock=clock, services=known) as engine:
        engine.queue.enqueue([engine.prepare(a_job(f"job-{number}", service=AUTO)).new for number in range(20)])
        for service in sold(engine):
            service.checks.extend([Progress(None, 3000.0)] * 2)  # each render holds its slot this long
        assert isinstance(engine.queue, PullsJobs)
        in_vain = 0
        end = clock.now() + 3000
        while clock.now() < end:
            closed = engine.gate.closed()
            claim = engine.queue.claim("w", 8, engine.slots, auto_services=engine.auto_services, closed=closed)
            for record in claim.records:
                in_vain += engine.step(record).submission.state == "none"
            if not claim.records:
                clock.set(max(clock.now() + 0.001, claim.again_at or end))
        assert [len(service.sold) for service in sold(engine)] == [1, 1]
        assert in_vain <= 8  # claimed before the worker knows the state of the services


def test_options_hold_where_the_cheaper_gate_is_open(engine: Engine, clock: ManualClock) -> None:
    """A job with a script for one service is bought there, and waits for it, although another is free and cheaper."""
    engine.store.cancel("job-1")
    engine.queue.enqueue([engine.prepare(a_job("spoken", service=AUTO, options={BETA: {"script": "Hi."}})).new])
    script(engine, BETA, Busy(BETA, "too many", retry_after=60.0))
    refused = step(engine, clock, "spoken")
    assert (refused.due, refused.attempts) == (clock.now() + 60.0, 0)
    assert step(engine, clock, "spoken").service == BETA
    assert sold(engine)[0].sent == {}


def test_a_worker_without_the_service_of_a_script_leaves_the_job(engine: Engine, clock: ManualClock) -> None:
    """A worker without any service that the job has options for passes the job on and buys nothing."""
    engine.store.cancel("job-1")
    engine.queue.enqueue([engine.prepare(a_job("spoken", service=AUTO, options={BETA: {"script": "Hi."}})).new])
    alone = {ALPHA: engine.services[ALPHA]}
    with open_engine(engine.settings, "local", clock=clock, services=alone, gate=ScriptedGates(clock)) as other:
        left = step(other, clock, "spoken")
    assert (left.status, left.attempts, sold(engine)[0].sent) == ("queued", 0, {})
    assert "beta is not configured on this worker" in left.events[-1].detail
    assert step(engine, clock, "spoken").service == BETA


@pytest.mark.parametrize("service", [AUTO, ALPHA])
def test_options_for_an_unknown_service(engine: Engine, service: str) -> None:
    """A misspelled service among a job's options is refused when the job is added, not ignored."""
    with pytest.raises(InvalidInput, match="unknown service 'heygn'"):
        engine.prepare(a_job("misspelled", service=service, options={"heygn": {"script": "Hi."}}))


def test_a_service_that_is_not_configured(engine: Engine) -> None:
    """Naming a service that is not configured gives an error with a link to its page, not that it is unknown."""
    with pytest.raises(InvalidInput, match="heygen is not configured") as refusal:
        engine.prepare(a_job("named", service="heygen"))
    assert refusal.value.next_step == "see docs/services/heygen.md"
