"""A ticket that a person enters: the service is asked first, and a wrong answer can be corrected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import Action, ActionRefused, InvalidInput, Misconfigured, Rejected, Transient
from tenxsom_flow_engine.jobs import AUTO, Cost, JobRecord, Lease, Status, SubmissionState, Ticket, lifecycle
from tenxsom_flow_engine.jobs.delivery import Delivery
from tenxsom_flow_engine.jobs.outcomes import Held, Resubmit, Withdraw
from tenxsom_flow_engine.jobs.submission import Receipt
from tenxsom_flow_engine.services.base import Failed, Lost, Progress, Ready
from tenxsom_flow_engine.services.http.fake_server import Reply
from tenxsom_flow_engine.services.pixverse.fake import TOKEN, FakeUseApi
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.totals import EVER
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, FAILURE, a_claim, a_job
from tenxsom_flow_engine.testing.services import ScriptedService
from tests.contract.store_suite.shared import intend, take

PRICE = Cost(usd=0.14)


class PickyService(ScriptedService):
    """A scripted service that knows only one generation."""

    answer: Failed | Lost | Ready | BaseException = Lost("no such generation")

    def check(self, ticket: Ticket) -> Progress | Ready | Failed | Lost:  # type: ignore[override]
        if ticket.id == "right":
            return Ready("https://example.test/right")
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def service(clock: ManualClock) -> PickyService:
    service = PickyService(clock, name=ALPHA, price=PRICE)
    service.video = tiny_video("9:16", 5)
    return service


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock, service: PickyService) -> Iterator[Engine]:
    """An engine with a held job."""
    settings = replace(load({"TENXSOM_HOME": str(tmp_path)}), max_dispatches_per_second=500.0)
    with open_engine(settings, "local", clock=clock, services={ALPHA: service}) as engine:
        engine.queue.enqueue([engine.prepare(a_job("a", service=ALPHA)).new])
        record = intend(engine.store, take(engine.store, queue="local", slots=engine.slots))
        engine.store.settle("a", record.lease_token, Held(FAILURE))
        yield engine


def spent(engine: Engine) -> tuple[int, float]:
    """Return the number of purchases and the USD in the store's totals."""
    days = engine.store.spent("")
    return sum(day.videos for day in days), round(sum(day.usd for day in days), 6)


def step(engine: Engine) -> JobRecord:
    (claimed,) = engine.store.claim(a_claim(queue="local", slots=engine.slots)).records
    return engine.step(claimed)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Lost("no such generation"), "alpha knows no generation 'wrong'"),
        (Rejected(ALPHA, "it belongs to another user"), "alpha refuses the ticket 'wrong': it belongs to another user"),
        (Transient(ALPHA, "no connection"), "alpha cannot be asked about the ticket: no connection"),
        (Misconfigured(ALPHA, "the key is wrong"), "alpha cannot be asked about the ticket: the key is wrong"),
    ],
)
def test_a_ticket_that_the_service_does_not_confirm_is_refused(
    engine: Engine, service: PickyService, answer: Lost | BaseException, reason: str
) -> None:
    """A ticket is used only if the service knows it, or if it is forced; until then nothing is booked."""
    service.answer = answer
    before = engine.store.require("a")
    with pytest.raises(ActionRefused, match=reason):
        engine.resolve("a", Ticket("wrong"))
    assert (engine.store.require("a"), spent(engine)) == (before, (0, 0.0))
    record = engine.resolve("a", Ticket("wrong"), force=True)
    assert (record.status, record.submission.by_hand, spent(engine)) == (Status.RENDERING, True, (1, 0.14))


def test_a_wrong_ticket_is_replaced(engine: Engine) -> None:
    """Another ticket replaces a wrong one and its purchase; with the video, nothing can be corrected any more."""
    engine.resolve("a", Ticket("wrong"), force=True)
    record = engine.resolve("a", Ticket("right"))
    assert record.submission.ticket == Ticket("right")
    assert (len(record.purchases), spent(engine)) == (1, (1, 0.14))
    while record.status is Status.RENDERING:
        record = step(engine)
    assert record.status is Status.SUCCEEDED
    for decision in (Ticket("right"), Resubmit()):
        with pytest.raises(ActionRefused, match="nothing to resolve"):
            engine.resolve("a", decision)


def test_a_wrong_purchase_is_withdrawn(engine: Engine) -> None:
    """If nothing was bought after all, the purchase leaves the day's totals, and the job is bought once."""
    engine.resolve("a", Ticket("wrong"), force=True)
    record = engine.resolve("a", Resubmit())
    assert (record.status, record.submission.state) == (Status.QUEUED, SubmissionState.NONE)
    assert (record.purchases, record.cost, spent(engine)) == ((), Cost(usd=0.14, estimated=True), (0, 0.0))
    assert engine.store.spent("") == []
    bought = step(engine)
    assert (len(bought.purchases), spent(engine)) == (1, (1, 0.14))
    # Prometheus reads these as counters, which never go down.
    assert {total.name: total.amount for total in engine.store.totals(EVER)}["videos"] == 2.0


def test_a_ticket_that_failed_is_corrected(engine: Engine, service: PickyService) -> None:
    """A wrong ticket can be corrected also after the job failed because of it."""
    service.answer = Failed("too dark")
    engine.resolve("a", Ticket("wrong"))
    assert step(engine).status is Status.FAILED
    record = engine.resolve("a", Ticket("right"))
    assert (record.status, record.submission.failed, spent(engine)) == (Status.RENDERING, False, (1, 0.14))


def test_a_ticket_that_the_service_never_knew_proves_nothing(engine: Engine, service: PickyService) -> None:
    """Its purchase is withdrawn, and the job is held again instead of being bought by a retry."""
    engine.resolve("a", Ticket("wrong"), force=True)
    record = step(engine)
    assert (record.status, record.submission.state) == (Status.HELD, SubmissionState.UNKNOWN)
    assert (record.submission.ticket, record.submission.by_hand) == (None, False)
    assert record.error is not None
    assert "alpha knows no generation 'wrong', which was entered by hand" in record.error.message
    assert (record.purchases, spent(engine)) == ((), (0, 0.0))
    assert engine.resolve("a", Ticket("right")).status is Status.RENDERING
    assert spent(engine) == (1, 0.14)


@pytest.mark.parametrize("finished", [False, True])
def test_the_purchase_of_a_failed_ticket_is_withdrawn_after_a_retry(
    engine: Engine, service: PickyService, finished: bool
) -> None:
    """A retry keeps the purchase of a failed ticket, until a person says that the ticket was wrong."""
    service.answer = Failed("too dark")
    engine.resolve("a", Ticket("wrong"))
    assert step(engine).status is Status.FAILED
    with pytest.raises(ActionRefused, match="no purchase that was entered by hand and followed") as correctable:
        engine.resolve("a", Withdraw())
    assert correctable.value.actions == (Action.RESUBMIT,)
    assert engine.retry("a").status is Status.QUEUED
    assert spent(engine) == (1, 0.14)
    if finished:
        service.answer = Ready("https://example.test/second")
        while step(engine).status is not Status.SUCCEEDED:
            pass
        assert spent(engine) == (2, 0.28)
    before = engine.store.require("a")
    record = engine.resolve("a", Withdraw())
    assert (record.status, record.due, record.submission) == (before.status, before.due, before.submission)
    assert (len(record.purchases), spent(engine)) == ((1, (1, 0.14)) if finished else (0, (0, 0.0)))
    assert record.cost == Cost(usd=0.14, estimated=True)
    with pytest.raises(ActionRefused):
        engine.resolve("a", Withdraw())


def test_a_worker_knows_better_than_a_person(engine: Engine) -> None:
    """A late ticket of the same create replaces the one that was entered, and a poll of the other has no effect."""
    held = engine.store.require("a")
    engine.resolve("a", Ticket("wrong"), force=True)
    (polling,) = engine.store.claim(a_claim(queue="local", slots=engine.slots)).records
    cost = Cost(usd=0.2, estimated=False)
    receipt = Receipt(submission_id=held.submission.id, ticket=Ticket("right"), lifetime=50.0, cost=cost)
    record = engine.store.accept("a", receipt)
    assert (record.submission.ticket, record.submission.by_hand, record.lease) == (Ticket("right"), False, None)
    assert (record.cost, spent(engine)) == (cost, (1, 0.2))
    with pytest.raises(ActionRefused, match="nothing to resolve"):
        engine.resolve("a", Ticket("wrong"), force=True)
    assert polling.lease is not None


def test_a_person_names_the_service_of_a_lost_store(tmp_path: Path, clock: ManualClock, service: PickyService) -> None:
    """If only a lost store knew which service `auto` chose, the person names it with the ticket."""
    services = {ALPHA: service, BETA: PickyService(clock, name=BETA, price=Cost(usd=0.5))}
    settings = replace(load({"TENXSOM_HOME": str(tmp_path)}), max_dispatches_per_second=500.0)
    with open_engine(settings, "local", clock=clock, services=services) as engine:
        delivery = Delivery(job=a_job("a", service=AUTO), nonce="n", seq=0, added_at=clock.now())
        engine.store.adopt(lifecycle.adopt(delivery, "local", clock.now(), previous_attempt_unanswered=True))
        lease = Lease("token", "worker", clock.now() + 60)
        leased = engine.store.update("a", lambda record, now: lifecycle.take(record, lease, now))
        record = engine.step(leased)
        assert (record.status, record.service) == (Status.HELD, "")
        assert record.error is not None
        assert record.error.actions == (Action.RESUBMIT, Action.CONFIRM_PURCHASE, Action.GIVE_UP)
        with pytest.raises(ActionRefused, match="its service is unknown") as unnamed:
            engine.resolve("a", Ticket("right"))
        assert unnamed.value.actions == (Action.NAME_SERVICE,)
        with pytest.raises(ActionRefused, match="its service gamma is not configured"):
            engine.resolve("a", Ticket("right"), service_name="gamma")
        with pytest.raises(ActionRefused, match="beta knows no generation 'wrong'"):
            engine.resolve("a", Ticket("wrong"), service_name=BETA)
        record = engine.resolve("a", Ticket("right"), service_name=BETA)
        assert (record.status, record.service, spent(engine)) == (Status.RENDERING, BETA, (1, 0.5))
        record = engine.resolve("a", Ticket("right"), service_name=ALPHA)
        assert (record.service, [one.service for one in record.purchases]) == (ALPHA, [ALPHA])
        assert spent(engine) == (1, 0.14)
        assert {day.service: day.videos for day in engine.store.spent("")} == {ALPHA: 1}


def test_the_service_of_a_job_that_names_one_is_fixed(engine: Engine) -> None:
    """Only for `auto` can a ticket be of another service."""
    with pytest.raises(InvalidInput, match="is alpha for this job, not 'beta'"):
        engine.resolve("a", Ticket("right"), service_name=BETA)


def test_pixverse_is_asked(tmp_path: Path, clock: ManualClock) -> None:
    """PixVerse knows a video that is only in its list, and none with an invented id."""
    with FakeUseApi() as useapi:
        useapi.life = ("404", "404", "GENERATING", "COMPLETED")
        environment = {"TENXSOM_HOME": str(tmp_path), "USEAPI_TOKEN": TOKEN, "USEAPI_BASE_URL": useapi.url}
        with open_engine(load(environment), "local", clock=clock) as engine:
            service = engine.services["pixverse"]
            ticket = service.create(service.order(service.fit(a_job(duration=1)).job, "r-1"), "r-1")
            assert service.knows(ticket)
            assert not service.knows(Ticket("nonsense"))
            useapi.faults["video"].append(Reply(410))
            assert service.knows(Ticket("deleted"))
