"""HeyGen against a fake of its API on a real socket: both endpoints, every error code, keys, agents, credits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tenxsom_flow_engine.env import Secret
from tenxsom_flow_engine.errors import (
    Busy,
    Misconfigured,
    OutOfCredit,
    Rejected,
    ServiceError,
    Transient,
    Uncertain,
)
from tenxsom_flow_engine.jobs import Ticket, VideoJob
from tenxsom_flow_engine.services.base import Credits, Failed, FindsByReference, Progress, Ready
from tenxsom_flow_engine.services.heygen.config import HeyGenConfig
from tenxsom_flow_engine.services.heygen.errors import ERRORS
from tenxsom_flow_engine.services.heygen.fake import AVATAR, KEY, VOICE, FakeHeyGen, error
from tenxsom_flow_engine.services.heygen.service import CREATE_SECONDS, KEY_LASTS, HeyGenService
from tenxsom_flow_engine.services.http.client import post
from tenxsom_flow_engine.services.http.download import Downloader
from tenxsom_flow_engine.services.http.fake_server import At, Cut, Hang, Reply
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.timings import CallTimeouts, Timings
from tests.service_fixtures import IMPATIENT, REFERENCE, order_and_create, refusal

TEXT = "Tides rise and fall twice a day, because the moon pulls at the sea."
TOPIC = VideoJob(job_id="tides", topic="How tides work", duration=4, service="heygen", created_at=1.0)
SCRIPT = VideoJob(
    job_id="tides", topic="How tides work", duration=5, quality="720p", aspect_ratio="16:9", service="heygen",
    options={"heygen": {"script": TEXT, "avatar_id": AVATAR, "voice_id": VOICE, "speed": 1.2}}, created_at=1.0,
)  # fmt: skip


@pytest.fixture
def heygen(clock: ManualClock) -> Iterator[FakeHeyGen]:
    with FakeHeyGen(clock.now) as server:
        yield server


def connect(heygen: FakeHeyGen, clock: ManualClock, *, timings: Timings = Timings(), **changes: Any) -> HeyGenService:
    setup = HeyGenConfig(Secret(KEY), heygen.url, **changes)
    return HeyGenService(setup, Downloader(allow_private=True), clock, timings)


@pytest.fixture
def service(heygen: FakeHeyGen, clock: ManualClock) -> HeyGenService:
    return connect(heygen, clock)


def test_a_topic_becomes_a_video(heygen: FakeHeyGen, clock: ManualClock, tmp_path: Path) -> None:
    """A topic is sent to the video agent; its video, whose id arrives late, is polled to its end and fetched."""
    heygen.agent_life = ("thinking", "generating", "reviewing", "completed")
    heygen.life = ("waiting", "processing", "completed")
    service = connect(heygen, clock, avatar_id=AVATAR)
    ticket = order_and_create(service, TOPIC, REFERENCE)
    assert ticket == Ticket("video-agents/0001")
    assert heygen.sold[0].order == {
        "prompt": service.prompt(TOPIC), "mode": "generate", "orientation": "portrait", "avatar_id": AVATAR
    }  # fmt: skip
    assert service.order(TOPIC, REFERENCE) == post("/v3/video-agents", heygen.sold[0].order)
    assert "How tides work" in service.prompt(TOPIC)
    assert "The video lasts 4 seconds." in service.prompt(TOPIC)
    assert [service.check(ticket) for _ in range(3)] == [Progress(0.4, 10.0)] * 3
    assert [service.check(ticket) for _ in range(2)] == [Progress(None, 10.0)] * 2
    ready = service.check(ticket)
    assert isinstance(ready, Ready)
    assert ready.duration == 4.0
    service.fetch(TOPIC, ready, tmp_path)
    assert (tmp_path / "video.mp4").stat().st_size > 500
    assert "Idempotency-Key" not in heygen.seen["create_agent"][0].headers


def test_a_script_is_spoken(heygen: FakeHeyGen, service: HeyGenService, tmp_path: Path) -> None:
    """A script is sent with an idempotency key; an expired URL is replaced by another poll."""
    heygen.life = ("waiting", "pending", "dreaming", "completed")
    job = service.fit(SCRIPT).job
    ticket = order_and_create(service, job, REFERENCE)
    assert ticket == Ticket("videos/0001")
    (sale,) = heygen.sold
    assert service.order(job, REFERENCE) == post("/v3/videos", sale.order)
    assert sale.key == REFERENCE
    assert sale.order == {
        "type": "avatar", "title": "How tides work", "script": TEXT, "avatar_id": AVATAR, "voice_id": VOICE,
        "voice_settings": {"speed": 1.2}, "aspect_ratio": "16:9", "resolution": "720p",
        "engine": {"type": "avatar_iv"},
    }  # fmt: skip
    assert [service.check(ticket) for _ in range(3)] == [Progress(None, 10.0)] * 3
    ready = service.check(ticket)
    assert isinstance(ready, Ready)
    heygen.files.expire()
    assert type(refusal(lambda: service.fetch(job, ready, tmp_path))) is Transient
    fresh = service.check(ticket)
    assert isinstance(fresh, Ready)
    service.fetch(job, fresh, tmp_path)


#: Status, code in the body, error of a create, and error of a poll of a video; `None`: no error.
TABLE: list[tuple[int, str, type[ServiceError], type[ServiceError] | None]] = [
    (400, "invalid_parameter", Rejected, Rejected),
    (400, "content_policy_violation", Rejected, Rejected),
    (400, "avatar_not_usable", Rejected, Rejected),
    (400, "voice_unavailable", Rejected, Rejected),
    (400, "download_failed", Rejected, Rejected),
    (401, "unauthorized", Misconfigured, Misconfigured),
    (402, "insufficient_credit", OutOfCredit, OutOfCredit),
    (402, "quota_exceeded", OutOfCredit, OutOfCredit),
    (402, "trial_limit_exceeded", OutOfCredit, OutOfCredit),
    (402, "subscription_required", OutOfCredit, OutOfCredit),
    (403, "forbidden", Misconfigured, Misconfigured),
    (403, "plan_upgrade_required", Misconfigured, Misconfigured),
    (404, "video_not_found", Rejected, None),
    (404, "avatar_not_found", Rejected, None),
    (404, "resource_not_found", Rejected, None),
    (409, "request_in_progress", Uncertain, Transient),
    (409, "conflict", Rejected, Rejected),
    (413, "payload_too_large", Rejected, Rejected),
    (429, "rate_limit_exceeded", Busy, Busy),
    (500, "internal_error", Uncertain, Transient),
    (503, "service_unavailable", Uncertain, Transient),
    (502, "voice_provider_error", Uncertain, Transient),
    (504, "", Uncertain, Transient),
    # An unknown code or none: classified by status if all codes of it agree.
    (400, "", Rejected, Rejected),
    (401, "", Misconfigured, Misconfigured),
    (402, "brand_new", OutOfCredit, OutOfCredit),
    (403, "", Misconfigured, Misconfigured),
    (404, "", Rejected, None),
    (409, "", Uncertain, Transient),
    (413, "", Rejected, Rejected),
    (429, "", Busy, Busy),
    (500, "", Uncertain, Transient),
    (502, "", Uncertain, Transient),
    (503, "", Uncertain, Transient),
    (418, "", Uncertain, Transient),
    (301, "", Uncertain, Transient),
    (200, "", Uncertain, Transient),
]


def test_the_table_is_tested_row_by_row() -> None:
    """The table above contains every pair of status and code of the service."""
    tested = {(status, code) for status, code, *_ in TABLE}
    assert [row for row in ERRORS if row.code and (row.status, row.code) not in tested] == []
    assert {row.status for row in ERRORS} <= {status for status, _ in tested}


def answer(status: int, code: str) -> Reply:
    return error(status, code) if code else Reply(status, b"<html>the service's own words</html>")


@pytest.mark.parametrize("job", [TOPIC, SCRIPT], ids=["topic", "script"])
@pytest.mark.parametrize(("status", "code", "of_create", "of_poll"), TABLE)
def test_errors(
    heygen: FakeHeyGen, service: HeyGenService, job: VideoJob, status: int, code: str, of_create: Any, of_poll: Any
) -> None:
    """Each documented refusal has its class, message and next step at both endpoints; other errors prove nothing."""
    route = "create" if job is SCRIPT else "create_agent"
    heygen.faults[route].append(answer(status, code))
    fault = refusal(lambda: order_and_create(service, job, REFERENCE))
    assert type(fault) is of_create
    assert f"(HTTP {status})" in fault.message
    if code:
        assert "the service's own words" in fault.message
    if type(fault) in (Misconfigured, OutOfCredit, Rejected):
        assert fault.next_step
    if job is SCRIPT:
        ticket = order_and_create(service, job, REFERENCE)
        heygen.faults["video"].append(answer(status, code))
        if of_poll is None:
            failed = service.check(ticket)
            assert isinstance(failed, Failed)
            assert "HEYGEN_API_KEY" in failed.next_step
        else:
            assert type(refusal(lambda: service.check(ticket))) is of_poll


@pytest.mark.parametrize(("headers", "seconds"), [({}, 30.0), ({"Retry_After": "77"}, 77.0)])
def test_the_pause_of_a_busy_service(
    heygen: FakeHeyGen, service: HeyGenService, headers: dict[str, str], seconds: float
) -> None:
    """The pause after a busy answer is as long as HeyGen asks, and at least half a minute."""
    heygen.faults["create"].append(error(429, "rate_limit_exceeded", **headers))
    assert refusal(lambda: order_and_create(service, SCRIPT, REFERENCE)).retry_after == seconds


CUTS = {
    "cut before it was read": Cut(At.UNREAD),
    "cut after it was read": Cut(At.READ),
    "cut when it was sold": Cut(At.DONE),
    "cut in the answer": Cut(At.ANSWERING),
    "no answer": Hang(At.DONE),
    "an answer without data": Reply(200, {"data": None}, done=True),
    "an answer without an id": Reply(200, {"data": {"status": "waiting"}}, done=True),
    "an id that is invalid in a path": Reply(200, {"data": {"video_id": "../x", "session_id": "a/b"}}, done=True),
}


@pytest.mark.parametrize("job", [TOPIC, SCRIPT], ids=["topic", "script"])
@pytest.mark.parametrize("fault", CUTS.values(), ids=CUTS)
def test_a_create_whose_outcome_is_not_known(heygen: FakeHeyGen, clock: ManualClock, job: VideoJob, fault: Any) -> None:
    """A cut, missing or unreadable answer is uncertain. A repeated create of a script then buys nothing more."""
    service = connect(heygen, clock, timings=IMPATIENT if isinstance(fault, Hang) else Timings())
    unread = isinstance(fault, Cut) and fault.at is At.UNREAD
    (heygen.unread if unread else heygen.faults["create" if job is SCRIPT else "create_agent"]).append(fault)
    assert type(refusal(lambda: order_and_create(service, job, REFERENCE))) is Uncertain
    assert service.idempotency_window(job) == (KEY_LASTS if job is SCRIPT else 0.0)
    assert not isinstance(service, FindsByReference)
    if job is SCRIPT:
        assert order_and_create(service, job, REFERENCE) == Ticket("videos/0001")
        assert len(heygen.sold) == 1


def test_a_key_is_honoured_for_a_day(heygen: FakeHeyGen, service: HeyGenService, clock: ManualClock) -> None:
    """The same key returns the same video for a day, even for a different order; another key does not."""
    first = order_and_create(service, SCRIPT, REFERENCE)
    clock.advance(KEY_LASTS - 1)
    other = VideoJob(job_id="b", topic="b", options={"heygen": {"script": "b", "avatar_id": AVATAR}}, created_at=1.0)
    assert order_and_create(service, service.fit(other).job, REFERENCE) == first
    assert order_and_create(service, SCRIPT, "tides.0123456789abcdef.4") != first
    clock.advance(1)
    assert order_and_create(service, SCRIPT, REFERENCE) != first
    assert len(heygen.sold) == 3


def test_a_concurrent_create_with_the_same_key(heygen: FakeHeyGen, service: HeyGenService) -> None:
    """During a create with the same key the outcome is uncertain; a later repetition returns its video."""
    entered, released = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert released.wait(30)

    heygen.while_creating = hold
    with ThreadPoolExecutor(1) as other:
        first = other.submit(order_and_create, service, SCRIPT, REFERENCE)
        assert entered.wait(30)
        error_of_second = refusal(lambda: order_and_create(service, SCRIPT, REFERENCE))
        released.set()
        ticket = first.result()
    assert type(error_of_second) is Uncertain
    assert "still processing" in error_of_second.message
    assert order_and_create(service, SCRIPT, REFERENCE) == ticket
    assert len(heygen.sold) == 1


def test_an_agent_that_asks_is_stopped(heygen: FakeHeyGen, service: HeyGenService) -> None:
    """An agent that waits for input is stopped, and the job fails with a next step."""
    heygen.agent_life = ("thinking", "waiting_for_input")
    ticket = order_and_create(service, TOPIC, REFERENCE)
    service.check(ticket)
    heygen.faults["stop"].extend([Reply(503), Cut(At.READ)])
    for _ in range(2):  # polls are repeated until stopping succeeds
        assert type(refusal(lambda: service.check(ticket))) is Transient
    failed = service.check(ticket)
    assert isinstance(failed, Failed)
    assert "prompt" in failed.next_step
    assert heygen.sold[0].stopped
    heygen.agent_life = ("waiting_for_input",)
    over = order_and_create(service, TOPIC, REFERENCE)
    heygen.faults["stop"].append(error(404, "resource_not_found"))
    assert isinstance(service.check(over), Failed)


AGENTS: list[tuple[dict[str, Any], type]] = [
    ({"status": "thinking", "progress": 10}, Progress),
    ({"status": "completed", "video_id": None}, Progress),
    ({"status": "completed", "video_id": 7}, Progress),
    ({"status": "completed", "video_id": "not-shown-yet"}, Progress),
    ({"status": "reviewing", "video_id": "0001"}, Ready),
    ({"status": "dreaming", "progress": 900}, Progress),
    ({"status": ["x"], "progress": "much"}, Progress),
    ({"status": "failed"}, Failed),
    ({"status": "failed", "video_id": "0001"}, Failed),
    ({}, Progress),
]


@pytest.mark.parametrize(("session", "kind"), AGENTS)
def test_agents(heygen: FakeHeyGen, service: HeyGenService, session: dict[str, Any], kind: type) -> None:
    """An agent without a video is in progress in every state except `failed`; its video is polled once it has an id."""
    ticket = order_and_create(service, TOPIC, REFERENCE)
    heygen.faults["agent"].append(Reply(200, {"data": session}))
    state = service.check(ticket)
    assert type(state) is kind
    if isinstance(state, Progress):
        assert state.fraction is None or 0 <= state.fraction <= 1


VIDEOS: list[tuple[dict[str, Any], type]] = [
    ({"status": "completed", "video_url": "https://x/v.mp4", "duration": 61.2}, Ready),
    ({"status": "completed", "video_url": "https://x/v.mp4", "duration": None}, Ready),
    ({"status": "completed", "video_url": None}, Progress),
    ({"status": "completed"}, Progress),
    ({"status": "processing", "video_url": "https://x/v.mp4"}, Progress),
    ({"status": "dreaming"}, Progress),
    ({}, Progress),
    ({"status": "failed", "failure_code": "x", "failure_message": "y"}, Failed),
    ({"status": "failed"}, Failed),
]


@pytest.mark.parametrize(("video", "kind"), VIDEOS)
def test_videos(heygen: FakeHeyGen, service: HeyGenService, video: dict[str, Any], kind: type) -> None:
    """A completed video with a URL is ready, a failed one has failed, and any other state is in progress."""
    ticket = order_and_create(service, SCRIPT, REFERENCE)
    heygen.faults["video"].append(Reply(200, {"data": video}))
    assert type(service.check(ticket)) is kind


@pytest.mark.parametrize(
    ("created_at", "pace"),
    [(lambda now: now, 10.0), (lambda now: now - 119, 10.0), (lambda now: now - 121, 30.0),
     (lambda now: now - 599, 30.0), (lambda now: now - 601, 60.0), (lambda now: now + 50, 10.0),
     (lambda now: "2027-01-15T07:58:00Z", 30.0), (lambda now: "2027-01-15T07:59:00", 10.0),
     (lambda now: None, 30.0), (lambda now: "soon", 30.0)],
)  # fmt: skip
def test_the_pace_of_polls(
    heygen: FakeHeyGen, service: HeyGenService, clock: ManualClock, created_at: Any, pace: float
) -> None:
    """Polls are 10 s apart for two minutes, then 30 s, as HeyGen asks, and 60 s after ten minutes."""
    clock.set(1_800_000_000.0)  # 2027-01-15 08:00 UTC
    ticket = order_and_create(service, SCRIPT, REFERENCE)
    heygen.faults["video"].append(Reply(200, {"data": {"status": "processing", "created_at": created_at(clock.now())}}))
    assert service.check(ticket) == Progress(None, pace)


def test_a_ticket_that_an_operator_sets(heygen: FakeHeyGen, service: HeyGenService) -> None:
    """The bare id of a video or of an agent's session, as shown on HeyGen's website, is a valid ticket."""
    order_and_create(service, SCRIPT, REFERENCE)
    assert isinstance(service.check(Ticket("0001")), Ready)
    session = order_and_create(service, TOPIC, REFERENCE).id.partition("/")[2]
    heygen.faults["video"].append(error(404, "video_not_found"))
    assert isinstance(service.check(Ticket(session)), Progress | Ready)
    assert service.check(Ticket("9999")) == service.check(Ticket("videos/9999"))


CREDITS: list[tuple[dict[str, Any], Credits]] = [
    ({"billing_type": "wallet", "wallet": {"currency": "usd", "remaining_balance": 12.5, "auto_reload": {"on": True}}},
     Credits(12.5, "USD", "refills automatically")),
    ({"billing_type": "wallet"}, Credits(None, "USD")),
    ({"billing_type": "subscription", "subscription": {"plan": "Creator", "credits": {
        "premium_credits": {"remaining": 150, "resets_at": "2026-12-01"}, "add_on_credits": {"remaining": 20}}}},
     Credits(170.0, note="Creator, until 2026-12-01")),
    ({"billing_type": "subscription", "subscription": {"credits": {"add_on_credits": 20}}}, Credits(20.0)),
    ({"billing_type": "subscription", "subscription": None}, Credits(None)),
    ({"billing_type": "usage_based", "usage_based": {
        "spending_current_usd": 3.5, "spending_cap_usd": 100, "remaining_credits": 965}},
     Credits(965.0, note="$3.50 spent of at most $100.00")),
    ({"billing_type": "usage_based", "usage_based": {}}, Credits(None)),
    ({"billing_type": "barter"}, Credits(None, note="unknown billing type 'barter'")),
    ({}, Credits(None)),
]  # fmt: skip


@pytest.mark.parametrize(("user", "left"), CREDITS)
def test_credits(heygen: FakeHeyGen, service: HeyGenService, user: dict[str, Any], left: Credits) -> None:
    """The balance is read from the fields of the account's billing type; a missing one is unknown."""
    heygen.faults["me"].append(Reply(200, {"data": user}))
    assert service.credits() == left


def test_the_vendor_sells_within_its_bounds(heygen: FakeHeyGen, service: HeyGenService) -> None:
    """Nothing is sold without credit, with an unknown avatar, or with all slots taken."""
    assert (
        type(refusal(lambda: order_and_create(connect(heygen, ManualClock(), avatar_id="x"), TOPIC, "r"))) is Rejected
    )
    heygen.most, heygen.life = 1, ("processing",)
    order_and_create(service, SCRIPT, REFERENCE)
    busy = refusal(lambda: order_and_create(service, SCRIPT, "r-2"))
    assert (type(busy), busy.retry_after) == (Busy, 40.0)
    heygen.balance = 0.0
    assert type(refusal(lambda: order_and_create(service, TOPIC, "r-3"))) is OutOfCredit
    assert len(heygen.sold) == 1
    assert service.credits() == Credits(0.0, "USD")


def test_the_key_is_nowhere(heygen: FakeHeyGen, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """The key appears in no representation, log line or failure of the service."""
    caplog.set_level(logging.DEBUG)
    service = connect(heygen, clock)
    ticket = order_and_create(service, SCRIPT, REFERENCE)
    heygen.faults["video"].append(error(400, "invalid_parameter", f"{KEY} is odd"))
    heygen.faults["video"].append(Reply(200, {"data": {"status": "failed", "failure_message": f"{KEY} has no money"}}))
    fault, failed = refusal(lambda: service.check(ticket)), service.check(ticket)
    assert isinstance(failed, Failed)
    assert "***" in fault.message
    for text in (repr(service._config), str(fault), failed.message, caplog.text):
        assert KEY not in text


@pytest.mark.parametrize(("given", "create"), [(60.0, CREATE_SECONDS), (2.0, 4.0), (90.0, CREATE_SECONDS)])
def test_a_create_has_the_recommended_time_limit(
    heygen: FakeHeyGen, clock: ManualClock, given: float, create: float
) -> None:
    """The time limit of a create is two minutes; shorter timings, as in a rehearsal, shorten it."""
    timings = Timings(paid_call=CallTimeouts(connect=1.0, read=given, total=given))
    assert connect(heygen, clock, timings=timings).create_timeout == create
