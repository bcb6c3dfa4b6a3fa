"""The price that was shown when a job was added is binding, also if it is free. A retry accepts new prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import ActionRefused, InvalidInput
from tenxsom_flow_engine.jobs import AUTO, Cost, JobRecord, Status
from tenxsom_flow_engine.operations.bulk import Act, plan
from tenxsom_flow_engine.services.base import Failed, VideoService
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, a_claim, a_job
from tenxsom_flow_engine.testing.services import ScriptedService

JOB = a_job(service=AUTO)


class FreeService(ScriptedService):
    """A scripted service that `auto` uses only if no paid one is configured."""

    is_fallback = True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
def services(clock: ManualClock) -> dict[str, ScriptedService]:
    """The free service `draft`, and two paid ones."""
    return {
        "draft": FreeService(clock, name="draft", price=Cost(usd=0.0)),
        ALPHA: ScriptedService(clock, name=ALPHA, price=Cost(usd=0.1)),
        BETA: ScriptedService(clock, name=BETA, price=Cost(usd=0.9)),
    }


class Home:
    """An installation whose services change."""

    def __init__(self, path: Path, clock: ManualClock, services: Mapping[str, ScriptedService]) -> None:
        self._path = path
        self._clock = clock
        self.services = services

    def engine(self, *names: str) -> Engine:
        """Open it with some of the services configured."""
        settings = replace(load({"TENXSOM_HOME": str(self._path)}), max_dispatches_per_second=500.0)
        chosen: dict[str, VideoService] = {name: self.services[name] for name in names}
        return open_engine(settings, "local", clock=self._clock, services=chosen)


@pytest.fixture
def home(tmp_path: Path, clock: ManualClock, services: dict[str, ScriptedService]) -> Home:
    return Home(tmp_path, clock, services)


def step(engine: Engine) -> JobRecord:
    """Run the next step of the only due job."""
    claim = a_claim(queue="local", slots=engine.slots, auto_services=engine.auto_services)
    (record,) = engine.store.claim(claim).records
    return engine.step(record)


def fail(engine: Engine, service: ScriptedService) -> JobRecord:
    """Run the job until its generation has failed."""
    service.checks.append(Failed("too dark"))
    while (record := step(engine)).status is not Status.FAILED:
        pass
    return record


def test_a_job_that_was_planned_as_free_is_never_bought(home: Home) -> None:
    """A draft that was planned without any key stays a draft when a key is set."""
    with home.engine("draft") as engine:
        prepared = engine.prepare(JOB)
        assert prepared.notes == ("no paid service is configured, so this is a free draft",)
        engine.queue.enqueue([prepared.new])
    with home.engine("draft", ALPHA) as engine:
        assert step(engine).service == "draft"
        fail(engine, home.services["draft"])
        assert engine.retry("job-1").job.service == "draft"
        assert step(engine).service == "draft"
    assert home.services[ALPHA].sold == []


def test_a_record_of_an_earlier_release_that_was_shown_as_free_stays_free(home: Home) -> None:
    """Release 0.2 stored a planned draft as `auto` with the estimate 0: it is made as a draft, also after a retry."""
    with home.engine("draft", ALPHA) as engine:
        new = replace(engine.prepare(JOB).new, cost=Cost(usd=0.0), max_usd=None)
        assert new.job.service == AUTO
        engine.queue.enqueue([new])
        assert step(engine).service == "draft"
        fail(engine, home.services["draft"])
        engine.retry("job-1")
        assert step(engine).service == "draft"
    assert home.services[ALPHA].sold == []


def test_auto_never_costs_more_than_was_shown(home: Home) -> None:
    """A job does not go to a more expensive service that was configured later; a retry accepts its price."""
    with home.engine(ALPHA) as engine:
        engine.queue.enqueue([engine.prepare(JOB).new])
    with home.engine(BETA) as engine:
        refused = step(engine)
        assert refused.status is Status.FAILED
        assert refused.error is not None
        assert "beta costs about $0.90 now, more than the $0.10 shown when the job was added" in refused.error.message
        (price,) = [plan(Act.RETRY, [[refused]], engine.services, 0.0, most=9, seconds=9.0).price]
        assert str(price) == "about $0.90"
        engine.retry("job-1")
        assert step(engine).service == BETA


def test_auto_can_use_every_service_that_was_shown(home: Home) -> None:
    """The highest price of the candidates is shown and agreed to, so the most expensive one can be used."""
    with home.engine(ALPHA, BETA) as engine:
        prepared = engine.prepare(JOB)
        assert (prepared.new.cost, prepared.new.max_usd) == (Cost(usd=0.1), 0.9)
        engine.queue.enqueue([prepared.new])
    with home.engine(BETA) as engine:
        assert step(engine).service == BETA


def test_a_service_of_unknown_price_is_not_used_if_a_price_was_shown(home: Home) -> None:
    """The highest known price is the limit; without any known price there is none."""
    home.services[BETA].price = None
    with home.engine(ALPHA, BETA) as engine:
        assert engine.prepare(JOB).new.max_usd == 0.1
    with home.engine(BETA) as engine:
        assert engine.prepare(JOB).new.max_usd is None


def test_a_record_of_an_earlier_release_with_a_price_can_use_any_service(home: Home) -> None:
    """Release 0.2 stored the lowest price only, so its paid jobs are not limited."""
    with home.engine(ALPHA) as engine:
        engine.queue.enqueue([replace(engine.prepare(JOB).new, max_usd=None)])
    with home.engine(BETA) as engine:
        assert step(engine).service == BETA


@pytest.mark.parametrize(
    "changes", [{"prompt": "a calm sea"}, {"topic": "Calm seas", "style": "retro"}, {"service": BETA, "duration": 9}]
)
def test_a_failed_job_is_changed_and_retried(home: Home, changes: dict[str, Any]) -> None:
    """A retry can change a job whose generation failed; the new order has the changes, and the timeline names them."""
    with home.engine(ALPHA, BETA) as engine:
        engine.queue.enqueue([engine.prepare(a_job(service=ALPHA)).new])
        failed = fail(engine, home.services[ALPHA])
        record = engine.retry("job-1", changes)
        assert (record.status, record.job) == (Status.QUEUED, msgspec.structs.replace(failed.job, **changes))
        assert record.events[-1].detail == f"changed {', '.join(changes)}"
        bought = step(engine)
        assert bought.service == changes.get("service", ALPHA)
        assert bought.submission.prompt == home.services[bought.service].prompt(record.job)
        assert engine.store.get("job-1") == bought


def test_only_a_job_that_is_bought_again_can_be_changed(home: Home) -> None:
    """A job with a good ticket, an invalid change and an unknown field are refused, and the job stays as it was."""
    with home.engine(ALPHA) as engine:
        engine.queue.enqueue([engine.prepare(a_job(service=ALPHA)).new])
        step(engine)
        before = engine.cancel("job-1")
        with pytest.raises(ActionRefused, match="cannot be changed: its video is bought, or might be"):
            engine.retry("job-1", {"prompt": "a calm sea"})
        with pytest.raises(InvalidInput, match="style: must be one of"):
            engine.retry("job-1", {"style": "cubist"})
        with pytest.raises(InvalidInput, match="channel: cannot be changed"):
            engine.retry("job-1", {"channel": "sea"})
        with pytest.raises(InvalidInput, match="unknown service 'gamma'"):
            engine.retry("job-1", {"service": "gamma"})
        assert engine.store.require("job-1") == before
        assert engine.retry("job-1").status is Status.RENDERING
