"""In-flight slots of jobs that no worker polls: cancelled, failed, or of unknown outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Transient
from tenxsom_flow_engine.jobs import JobRecord, Status, Ticket
from tenxsom_flow_engine.jobs.outcomes import GiveUp, Held, Resubmit
from tenxsom_flow_engine.report.query import take_report
from tenxsom_flow_engine.services.base import Cancels, CountsRunning, Failed, Progress, Ready
from tenxsom_flow_engine.services.pixverse.fake import TOKEN, FakeUseApi
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, FAILURE, a_job
from tenxsom_flow_engine.testing.services import CheckAnswer, ScriptedService
from tests.contract.store_suite.shared import accept, intend, take

#: Seconds after which a create can no longer appear at the service.
SETTLED = 100.0


class CountingService(ScriptedService, CountsRunning):
    """A scripted service that reports how many generations it runs."""

    reported: int | Transient | None = 0

    def running(self) -> int | None:
        if isinstance(self.reported, Transient):
            raise self.reported
        return self.reported


class StoppingService(ScriptedService, Cancels):
    """A scripted service that can stop a generation."""

    stops = 0

    def cancel(self, ticket: Ticket) -> None:
        self.stops += 1
        if self.stops == 1:
            raise Transient(ALPHA, "no connection")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
def service(clock: ManualClock) -> CountingService:
    return CountingService(clock, name=ALPHA, max_in_flight=5)


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock, service: ScriptedService) -> Iterator[Engine]:
    with an_engine(tmp_path, clock, service) as engine:
        yield engine


def an_engine(tmp_path: Path, clock: ManualClock, service: ScriptedService) -> Engine:
    settings = replace(load({"TENXSOM_HOME": str(tmp_path)}), max_dispatches_per_second=500.0)
    return open_engine(settings, "local", clock=clock, services={ALPHA: service})


def submitted(engine: Engine, *job_ids: str) -> list[JobRecord]:
    """Add jobs and journal the intents of their creates."""
    engine.queue.enqueue([engine.prepare(a_job(job_id, service=ALPHA)).new for job_id in job_ids])
    store = engine.store
    records = [take(store, queue="local", slots=engine.slots, only=job_id) for job_id in job_ids]
    return [intend(store, record, slots=5, lifetime=3600.0) for record in records]


def hold(engine: Engine, *job_ids: str) -> None:
    for record in submitted(engine, *job_ids):
        engine.store.settle(record.job_id, record.lease_token, Held(FAILURE))


@pytest.mark.parametrize(
    ("answer", "free", "status_of_retry"),
    [
        (Progress(0.5, 5.0), False, Status.RENDERING),
        (Ready("https://example.test/a"), True, Status.RENDERING),
        (Failed("too dark"), True, Status.QUEUED),
        (Transient(ALPHA, "no connection"), False, Status.RENDERING),
    ],
)
def test_a_cancelled_generation_frees_its_slot_when_it_ends(
    engine: Engine, service: CountingService, answer: CheckAnswer, free: bool, status_of_retry: Status
) -> None:
    """A cancelled job's slot is free as soon as the service reports the end; a finished video is never bought again."""
    (record,) = submitted(engine, "a")
    accept(engine.store, record, lifetime=3600.0)
    engine.cancel("a")
    assert engine.store.in_flight(ALPHA) == 1
    service.checks.append(answer)
    engine.free_slots("w-1")
    assert engine.store.in_flight(ALPHA) == (0 if free else 1)
    after = engine.store.require("a")
    assert (after.status, len(after.purchases)) == (Status.CANCELLED, 1)
    assert engine.retry("a").status is status_of_retry


def test_a_render_that_could_not_be_stopped_is_stopped_later(tmp_path: Path, clock: ManualClock) -> None:
    """If a service could not be reached when its job was cancelled, the generation is stopped by the next check."""
    service = StoppingService(clock, name=ALPHA)
    with an_engine(tmp_path, clock, service) as engine:
        (record,) = submitted(engine, "a")
        accept(engine.store, record, lifetime=3600.0)
        engine.cancel("a")
        assert engine.store.in_flight(ALPHA) == 1
        engine.free_slots("w-1")
        assert (engine.store.in_flight(ALPHA), service.stops) == (0, 2)


def test_one_worker_at_a_time_asks(engine: Engine, service: CountingService, clock: ManualClock) -> None:
    """Only one worker asks in each interval, and only if there is something to ask about."""
    calls: list[str] = []
    service.on_call = calls.append
    engine.free_slots("w-1")
    assert calls == []
    (record,) = submitted(engine, "a")
    accept(engine.store, record, lifetime=3600.0)
    engine.cancel("a")
    service.checks += [Progress(None, 5.0)] * 9
    for owner in ("w-1", "w-2"):
        engine.free_slots(owner)
    assert calls == ["check"]
    clock.advance(engine.timings.slot_check_interval + 1)
    engine.free_slots("w-2")
    assert calls == ["check", "check"]


@pytest.mark.parametrize(
    ("reported", "left"), [(0, 0), (1, 1), (5, 3), (None, 3), (Transient(ALPHA, "no connection"), 3)]
)
def test_a_slot_of_unknown_outcome_is_held_as_long_as_the_service_says_so(
    engine: Engine, service: CountingService, clock: ManualClock, reported: int | Transient | None, left: int
) -> None:
    """The slot of an unknown create is free once the service runs nothing that could be its generation."""
    hold(engine, "a", "b", "c")
    service.reported = reported
    engine.free_slots("w-1")
    assert engine.store.in_flight(ALPHA) == 3  # the creates can still appear
    clock.advance(SETTLED)
    engine.free_slots("w-1")
    assert engine.store.in_flight(ALPHA) == left
    for name in "abc":
        record = engine.store.require(name)
        assert (record.status, record.submission.state) == (Status.HELD, "unknown")
    # The decision stays open: a ticket occupies a slot again.
    service.checks.append(Progress(0.5, 5.0))
    assert engine.resolve("a", Ticket("1/a")).holds_slot


def test_known_generations_do_not_occupy_the_slots_of_unknown_ones(
    engine: Engine, service: CountingService, clock: ManualClock
) -> None:
    """Generations with a ticket explain what the service runs."""
    hold(engine, "a", "b")
    (record,) = submitted(engine, "c")
    accept(engine.store, record, lifetime=3600.0)
    clock.advance(SETTLED)
    service.reported = 1
    engine.free_slots("w-1")
    assert [record.job_id for record in engine.store.slot_holders(ALPHA, 9)] == ["c"]


@pytest.mark.parametrize("decision", [Resubmit(), GiveUp()])
def test_resolving_frees_the_slot_at_once(engine: Engine, decision: Resubmit | GiveUp) -> None:
    """A decision that no generation continues frees the slot."""
    hold(engine, "a")
    engine.resolve("a", decision)
    assert engine.store.in_flight(ALPHA) == 0


def test_a_full_service_names_the_jobs(engine: Engine, clock: ManualClock) -> None:
    """The verdict of a full service names the jobs of unknown outcome and counts the cancelled ones."""
    hold(engine, "held-1", "held-2")
    for record in submitted(engine, "c", "d", "e"):
        accept(engine.store, record, lifetime=1800.0)
        engine.cancel(record.job_id)
    engine.queue.enqueue([engine.prepare(a_job("waits", service=ALPHA)).new])
    (verdict,) = [one for one in take_report(engine).verdicts if one.code == "service-full"]
    assert verdict.detail == (
        "3 generations of cancelled or failed jobs still occupy their slots; slots occupied by purchases of unknown "
        "outcome until they are resolved: held-1, held-2; all free in 1 h at the latest"
    )
    assert "held-1" not in verdict.text


def test_pixverse_reports_what_it_runs(tmp_path: Path, clock: ManualClock) -> None:
    """Five creates of unknown outcome do not shut PixVerse while it reports free slots."""
    with FakeUseApi() as useapi:
        environment = {"TENXSOM_HOME": str(tmp_path), "USEAPI_TOKEN": TOKEN, "USEAPI_BASE_URL": useapi.url}
        with open_engine(load(environment), "local", clock=clock) as engine:
            ids = [f"job-{number}" for number in range(5)]
            engine.queue.enqueue([engine.prepare(a_job(one, service="pixverse", duration=1)).new for one in ids])
            for one in ids:
                record = take(engine.store, queue="local", slots=engine.slots, only=one)
                record = intend(engine.store, record, service="pixverse", lifetime=3600.0)
                engine.store.settle(one, record.lease_token, Held(FAILURE))
            clock.advance(300.0)
            assert engine.store.in_flight("pixverse") == 5
            engine.free_slots("w-1")
            assert engine.store.in_flight("pixverse") == 0
