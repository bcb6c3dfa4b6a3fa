"""Budgets on an open engine: a spent budget is a closed gate, for one service or for all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_job

from tenxsom_flow_engine.budgets import ALL, Amounts, Span, parse_budget, parse_budgets
from tenxsom_flow_engine.budgets.limits import period
from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import BudgetSpent
from tenxsom_flow_engine.generation.budget_gate import TRY_OTHERS_SECONDS, BudgetGate
from tenxsom_flow_engine.jobs import AUTO, Cost, JobRecord, Status
from tenxsom_flow_engine.jobs.submission import Intent
from tenxsom_flow_engine.services.base import Failed
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, QUEUE, a_claim, a_job
from tenxsom_flow_engine.testing.services import ScriptedService
from tests.gates import priced_services

NOW = 1_800_014_400.0  # 2027-01-15 12:00 UTC
MIDNIGHT = NOW + 43_200


@contextmanager
def opened(
    tmp_path: Path, clock: ManualClock, budgets: str = "", unknown_price: float | None = None
) -> Iterator[Engine]:
    """Open an engine with two scripted services; beta is more expensive."""
    settings = replace(
        load({"TENXSOM_HOME": str(tmp_path)}), max_dispatches_per_second=500.0,
        budgets=parse_budgets(budgets), unknown_price=unknown_price,
    )  # fmt: skip
    services = priced_services(clock, alpha=0.1, beta=0.9)
    with open_engine(settings, "local", clock=clock, services=services) as engine:
        yield engine


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock) -> Iterator[Engine]:
    with opened(tmp_path, clock) as engine:
        yield engine


def add(engine: Engine, *names: str, service: str = ALPHA, channel: str = "") -> None:
    engine.add([engine.prepare(a_job(name, service=service, channel=channel)).new for name in names])


def step(engine: Engine, name: str) -> JobRecord:
    """Run the next step of a job, which must be due."""
    request = a_claim(count=1, slots=engine.slots, auto_services=engine.auto_services, only=name)
    (claimed,) = engine.store.claim(request).records
    return engine.step(claimed)


def scripted(engine: Engine, name: str = ALPHA) -> ScriptedService:
    service = engine.services[name]
    assert isinstance(service, ScriptedService)
    return service


def used(engine: Engine, scope: str = ALL) -> Amounts:
    return engine.store.amounts([(scope, period(Span.DAY, "UTC", engine.store.now()))])[0]


def test_a_spent_budget_is_no_attempt_and_no_request(engine: Engine) -> None:
    """A job that does not fit waits without attempt, request, admission and slot, and names the reset."""
    engine.store.set_budget(ALL, parse_budget(ALL, "0.15/d"))
    add(engine, "a", "b")
    assert step(engine, "a").status is Status.RENDERING
    waiting = step(engine, "b")
    assert (waiting.status, waiting.attempts, waiting.error) == (Status.QUEUED, 0, None)
    assert waiting.events[-1].detail == (
        "the budget all 0.15/d has $0.05 left ($0.10 spent and $0.00 reserved), and the video costs about $0.10; "
        "it is reset at 2027-01-16 00:00 UTC"
    )
    assert waiting.due is not None
    assert NOW < waiting.due <= NOW + engine.timings.max_hint
    assert len(scripted(engine).sold) == 1
    assert engine.store.in_flight(ALPHA) == 1
    assert engine.limiter.get_rate_limit_stats()["total"]["requests"] <= 1


def test_a_free_service_passes_a_spent_budget(engine: Engine) -> None:
    """What costs nothing needs no budget."""
    engine.store.set_budget(ALL, parse_budget(ALL, "0/d"))
    add(engine, "a")
    scripted(engine).price = Cost(usd=0.0)
    assert step(engine, "a").status is Status.RENDERING
    assert used(engine) == Amounts()


def test_a_raised_budget_is_noticed(engine: Engine, clock: ManualClock) -> None:
    """A waiting job is tried again within a quarter of an hour, and then fits into a raised budget."""
    engine.store.set_budget(ALL, parse_budget(ALL, "0/d"))
    add(engine, "a")
    step(engine, "a")
    engine.store.set_budget(ALL, parse_budget(ALL, "1/d"))
    clock.advance(engine.timings.max_hint)
    with open_again(engine, clock) as again:
        assert step(again, "a").status is Status.RENDERING


@contextmanager
def open_again(engine: Engine, clock: ManualClock) -> Iterator[Engine]:
    """Open another process's engine on the same store."""
    services = priced_services(clock, alpha=0.1, beta=0.9)
    with open_engine(engine.settings, "local", clock=clock, services=services) as again:
        yield again


def test_the_reset_lets_jobs_continue(engine: Engine, clock: ManualClock) -> None:
    """A job that is refused shortly before the reset is due at the reset."""
    clock.set(MIDNIGHT - 60)
    engine.store.set_budget(ALL, parse_budget(ALL, "0.1/d"))
    add(engine, "a", "b")
    step(engine, "a")
    assert step(engine, "b").due == MIDNIGHT
    clock.set(MIDNIGHT)
    with open_again(engine, clock) as again:
        assert step(again, "b").status is Status.RENDERING


def test_a_remembered_refusal_lets_jobs_wait_from_now_on(engine: Engine, clock: ManualClock) -> None:
    """Jobs that a spent budget holds back for long wait as long each time, and do not spin."""
    engine.store.set_budget("channel:sea", parse_budget("channel:sea", "0/mo"))
    add(engine, "a", channel="sea")
    for _ in range(3):
        waiting = step(engine, "a")
        assert waiting.due is not None
        assert waiting.due >= clock.now() + engine.timings.max_hint / 2
        clock.set(waiting.due)


def test_auto_goes_to_the_service_that_its_budget_allows(engine: Engine, clock: ManualClock) -> None:
    """If the budget of the best service is spent, `auto` uses the next one at once."""
    engine.store.set_budget("service:alpha", parse_budget("service:alpha", "0/d"))
    add(engine, "a", service=AUTO)
    refused = step(engine, "a")
    assert (refused.service, refused.due) == ("", clock.now())
    assert step(engine, "a").service == BETA


def test_an_unknown_price_counts_at_its_ceiling(tmp_path: Path, clock: ManualClock) -> None:
    """Without a price a create waits under a budget; with a ceiling it reserves that much."""
    with opened(tmp_path, clock, "all=1/d") as engine:
        scripted(engine).price = None
        add(engine, "a")
        waiting = step(engine, "a")
        assert (waiting.status, waiting.attempts) == (Status.QUEUED, 0)
        assert "the price of a video at alpha is unknown" in waiting.events[-1].detail
    clock.advance(900)
    with opened(tmp_path, clock, "all=1/d", unknown_price=0.6) as engine:
        scripted(engine).price = None
        assert step(engine, "a").status is Status.RENDERING
        assert used(engine) == Amounts(spent=600_000)
        add(engine, "b")
        assert step(engine, "b").status is Status.QUEUED


def test_a_refund_makes_room(engine: Engine) -> None:
    """A generation that the service does not charge for leaves the budget as it was."""
    engine.store.set_budget(ALL, parse_budget(ALL, "0.1/d"))
    add(engine, "a", "b")
    step(engine, "a")
    scripted(engine).checks.append(Failed("moderated", refunded=True))
    failed = step(engine, "a")
    assert (failed.status, failed.cost) == (Status.FAILED, Cost(usd=0.0, credits=0.0, estimated=False))
    assert used(engine) == Amounts()
    assert step(engine, "b").status is Status.RENDERING


class Seconds:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_spent_budget_closes_the_lanes_of_its_services(engine: Engine) -> None:
    """After a refusal, workers skip the lanes that the budget covers, and look once a second whether it has room."""
    seconds = Seconds()
    gate = BudgetGate(engine.store, {}, engine.timings, monotonic=seconds)
    for scope, closed in (("service:alpha", {ALPHA}), (ALL, {ALPHA, BETA}), ("channel:sea", set())):
        engine.store.set_budget(scope, parse_budget(scope, "0/d"))
        for service in (ALPHA, BETA):
            gate.remember(refused(engine, scope), service)
        assert set(gate.closed([ALPHA, BETA])) == closed
        engine.store.set_budget(scope, None)
        assert set(gate.closed([ALPHA, BETA])) == closed
        seconds.now += 1
        assert gate.closed([ALPHA, BETA]) == {}


def test_cheaper_jobs_get_a_turn(engine: Engine) -> None:
    """A refusal holds back no cheaper create, and now and then a closed lane is opened to find one."""
    seconds = Seconds()
    gate = BudgetGate(engine.store, {}, engine.timings, monotonic=seconds)
    engine.store.set_budget(ALL, parse_budget(ALL, "0.05/d"))
    gate.remember(refused(engine, ALL), ALPHA)
    assert gate.refusal(a_job("a"), ALPHA, 100_000) is not None
    assert gate.refusal(a_job("a"), BETA, 900_000) is not None
    assert gate.refusal(a_job("a"), ALPHA, 50_000) is None
    assert gate.refusal(a_job("a"), ALPHA, 0) is None
    assert set(gate.closed([ALPHA, BETA])) == {ALPHA}  # beta might have something cheaper, or be free
    seconds.now += TRY_OTHERS_SECONDS
    gate.remember(refused(engine, ALL), BETA)
    assert set(gate.closed([ALPHA, BETA])) == {BETA}
    assert set(gate.closed([ALPHA, BETA])) == {ALPHA, BETA}
    seconds.now += TRY_OTHERS_SECONDS
    assert gate.closed([ALPHA, BETA]) == {}
    assert set(gate.closed([ALPHA, BETA])) == {ALPHA, BETA}
    assert gate.refusal(a_job("a"), ALPHA, 100_000) is not None


def refused(engine: Engine, scope: str) -> BudgetSpent:
    """Return the refusal of a new job by a budget."""
    number = sum(engine.store.status_counts(QUEUE).by_status.values())
    add(engine, f"n{number}", channel="sea")
    (record,) = engine.store.claim(a_claim(count=1, slots=engine.slots, only=f"n{number}")).records
    intent = Intent(submission_id="s", service=ALPHA, lifetime=1.0, reserve=100_000)
    with pytest.raises(BudgetSpent) as refusal:
        engine.store.intend(record.job_id, record.lease_token, intent)
    assert scope in refusal.value.scopes
    return refusal.value


def test_the_budget_of_a_key_is_charged_for_its_jobs_only(engine: Engine, clock: ManualClock) -> None:
    """A spent budget of an API key holds back the jobs that it added, and no others."""
    engine.store.set_budget("key:a1", parse_budget("key:a1", "0.15/d"))
    jobs = [replace_job(a_job(name, service=ALPHA), key_id=key) for name, key in (("a", "a1"), ("b", "a1"), ("c", ""))]
    engine.add([engine.prepare(job).new for job in jobs])
    for name in ("a", "b", "c"):
        step(engine, name)
    assert [engine.store.require(name).submission.ticket is not None for name in ("a", "b", "c")] == [True, False, True]
    assert [use.amounts.used for use in engine.budgets.uses()] == [100_000]
    assert "key:a1" in str(engine.store.require("b").events[-1].kind_and_detail)
    (over,) = engine.overruns([engine.prepare(replace_job(a_job("d", service=ALPHA), key_id="a1"))])
    assert over.use.budget.scope == "key:a1"
