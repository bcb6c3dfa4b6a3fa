"""LTX against a fake of its API on a real socket: every status, every error type, and deletion after a day."""

from __future__ import annotations

import logging
from collections.abc import Iterator
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
from tenxsom_flow_engine.services.http.download import Downloader
from tenxsom_flow_engine.services.http.fake_server import At, Cut, Hang, Reply
from tenxsom_flow_engine.services.ltx_studio.config import LtxConfig
from tenxsom_flow_engine.services.ltx_studio.errors import ROWS
from tenxsom_flow_engine.services.ltx_studio.fake import FORBIDDEN, KEY, SHOWN, FakeLtx, error
from tenxsom_flow_engine.services.ltx_studio.service import LtxStudioService
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.timings import Timings
from tests.service_fixtures import IMPATIENT, REFERENCE, order_and_create, refusal

JOB = VideoJob(job_id="tides", topic="How tides work", duration=6, quality="720p", service="ltx_studio", created_at=1.0)
WORKING = Progress(None, 5.0)


@pytest.fixture
def ltx(clock: ManualClock) -> Iterator[FakeLtx]:
    with FakeLtx(clock.now) as server:
        yield server


def connect(ltx: FakeLtx, *, timings: Timings = Timings(), **changes: Any) -> LtxStudioService:
    return LtxStudioService(LtxConfig(Secret(KEY), ltx.url, **changes), Downloader(allow_private=True), timings)


@pytest.fixture
def service(ltx: FakeLtx) -> LtxStudioService:
    return connect(ltx)


def test_from_order_to_file(ltx: FakeLtx, service: LtxStudioService, tmp_path: Path) -> None:
    """An accepted order is polled every five seconds and fetched, with a fresh URL after the first one expired."""
    ltx.life = ("pending", "processing", "dreaming", "completed")
    ticket = order_and_create(service, JOB, REFERENCE)
    assert ticket == Ticket("vid_0001")
    assert [service.check(ticket) for _ in range(3)] == [WORKING] * 3
    ready = service.check(ticket)
    assert isinstance(ready, Ready)
    ltx.files.expire()
    assert type(refusal(lambda: service.fetch(JOB, ready, tmp_path))) is Transient
    fresh = service.check(ticket)
    assert isinstance(fresh, Ready)
    service.fetch(JOB, fresh, tmp_path)
    assert (tmp_path / "video.mp4").stat().st_size > 500
    (sale,) = ltx.sold
    assert sale.order == service.order(JOB, REFERENCE)["body"]
    assert sale.order == {
        "prompt": service.prompt(JOB), "model": "ltx-2-5-fast", "duration": 6, "resolution": "720x1280", "fps": 24
    }  # fmt: skip
    cost = service.estimate(JOB)
    assert cost is not None
    assert cost.usd == pytest.approx(sale.usd)


#: Status, type in the body (empty: not LTX's format), error of a create, and error of a poll; `None`: no error.
TABLE: list[tuple[int, str, type[ServiceError], type[ServiceError] | None]] = [
    (400, "invalid_request_error", Rejected, Rejected),
    (401, "authentication_error", Misconfigured, Misconfigured),
    (402, "insufficient_funds_error", OutOfCredit, OutOfCredit),
    (404, "not_found_error", Misconfigured, None),
    (413, "request_too_large", Rejected, Rejected),
    (422, "content_filtered_error", Rejected, Rejected),
    (429, "rate_limit_error", Busy, Busy),
    (429, "concurrency_limit_error", Busy, Busy),
    (500, "api_error", Uncertain, Transient),
    (503, "service_unavailable", Uncertain, Transient),
    (504, "", Uncertain, Transient),
    (529, "overloaded_error", Busy, Busy),
    # The type decides, also with another status. A 5xx proves nothing, whatever its type.
    (403, "authentication_error", Misconfigured, Misconfigured),
    (400, "insufficient_funds_error", OutOfCredit, OutOfCredit),
    (400, "content_filtered_error", Rejected, Rejected),
    (500, "invalid_request_error", Uncertain, Transient),
    # Without a type or with an unknown one, the status decides.
    (400, "", Rejected, Rejected),
    (402, "brand_new_error", OutOfCredit, OutOfCredit),
    (429, "", Busy, Busy),
    (529, "", Busy, Busy),
    # Undocumented answers prove nothing.
    (418, "", Uncertain, Transient),
    (409, "brand_new_error", Uncertain, Transient),
    (502, "", Uncertain, Transient),
    (301, "", Uncertain, Transient),
    (200, "", Uncertain, Transient),
]


def test_the_table_is_tested_row_by_row() -> None:
    """The table above contains every pair of status and type of the service."""
    tested = {(status, kind) for status, kind, *_ in TABLE}
    assert [row for row in ROWS if (row.status, row.code) not in tested] == []


def answer(status: int, kind: str) -> Reply:
    return error(status, kind) if kind else Reply(status, b"<html>the service's own words</html>")


@pytest.mark.parametrize(("status", "kind", "of_create", "of_poll"), TABLE)
def test_errors(ltx: FakeLtx, service: LtxStudioService, status: int, kind: str, of_create: Any, of_poll: Any) -> None:
    """Each documented refusal has its class, message and next step; other errors of a create prove nothing."""
    ltx.faults["create"].append(answer(status, kind))
    fault = refusal(lambda: order_and_create(service, JOB, REFERENCE))
    assert type(fault) is of_create
    assert f"(HTTP {status})" in fault.message
    if kind:
        assert "the service's own words" in fault.message
    if type(fault) in (Misconfigured, OutOfCredit, Rejected):
        assert fault.next_step
    ltx.life = ("processing",)
    ticket = order_and_create(service, JOB, REFERENCE)
    ltx.faults["video"].append(answer(status, kind))
    if of_poll is None:
        assert isinstance(service.check(ticket), Failed)
    else:
        assert type(refusal(lambda: service.check(ticket))) is of_poll


@pytest.mark.parametrize(
    ("headers", "seconds"), [({}, 30.0), ({"Retry_After": "77"}, 77.0), ({"Retry_After": "2"}, 30.0)]
)
def test_the_pause_of_a_busy_service(
    ltx: FakeLtx, service: LtxStudioService, headers: dict[str, str], seconds: float
) -> None:
    """The pause after a busy answer is as long as LTX asks, and at least half a minute."""
    for status in (429, 529):
        ltx.faults["create"].append(error(status, "rate_limit_error", **headers))
        assert refusal(lambda: order_and_create(service, JOB, REFERENCE)).retry_after == seconds


@pytest.mark.parametrize(
    ("kind", "words", "next_step"),
    [
        ("content_filtered_error", "LTX does not allow the prompt", "change the prompt"),
        ("insufficient_funds_error", "no money left", "buy credits"),
        ("overloaded_error", "LTX is overloaded", ""),
        ("brand_new_error", "it failed", ""),
        ("", "it failed", ""),
    ],
)
def test_a_generation_that_failed(
    ltx: FakeLtx, service: LtxStudioService, kind: str, words: str, next_step: str
) -> None:
    """The error types of failed generations are those of answers, and LTX's message is kept."""
    ltx.life = (f"failed:{kind}",)
    failed = service.check(order_and_create(service, JOB, REFERENCE))
    assert isinstance(failed, Failed)
    assert failed.message.endswith(": the service's own words")
    assert words in failed.message
    assert next_step in failed.next_step


def test_a_video_is_lost_after_a_day(ltx: FakeLtx, service: LtxStudioService, clock: ManualClock) -> None:
    """A video that LTX deleted a day after its end is a failure that names the possible reasons."""
    ticket = order_and_create(service, JOB, REFERENCE)
    clock.advance(SHOWN - 1)
    assert isinstance(service.check(ticket), Ready)
    clock.advance(1)
    lost = service.check(ticket)
    assert isinstance(lost, Failed)
    assert "24 hours" in lost.message
    assert "LTX_API_KEY" in lost.next_step


CUTS = {
    "cut before it was read": ("unread", Cut(At.UNREAD)),
    "cut after it was read": ("create", Cut(At.READ)),
    "cut when it was sold": ("create", Cut(At.DONE)),
    "cut in the answer": ("create", Cut(At.ANSWERING)),
    "no answer": ("create", Hang(At.DONE)),
    "an answer without a video": ("create", Reply(202, {"created_at": "now"}, done=True)),
    "an id that is invalid in a path": ("create", Reply(202, {"id": "../x?y"}, done=True)),
}


@pytest.mark.parametrize(("route", "fault"), CUTS.values(), ids=CUTS)
def test_a_create_whose_outcome_is_not_known(ltx: FakeLtx, route: str, fault: Any) -> None:
    """A cut, missing or unreadable answer is uncertain, and LTX offers no lookup or idempotency key."""
    service = connect(ltx, timings=IMPATIENT if isinstance(fault, Hang) else Timings())
    (ltx.unread if route == "unread" else ltx.faults[route]).append(fault)
    assert type(refusal(lambda: order_and_create(service, JOB, REFERENCE))) is Uncertain
    assert service.idempotency_window(JOB) == 0.0
    assert not isinstance(service, FindsByReference)


def test_the_vendor_sells_within_its_bounds(ltx: FakeLtx, service: LtxStudioService) -> None:
    """Nothing is sold without money, with a forbidden prompt, or with all slots taken; each has its error class."""
    bad = VideoJob(job_id="bad", topic=FORBIDDEN, duration=6, quality="720p", created_at=1.0)
    assert type(refusal(lambda: order_and_create(service, bad, REFERENCE))) is Rejected
    ltx.life = ("processing",)
    assert [order_and_create(service, JOB, REFERENCE).id for _ in range(2)] == ["vid_0001", "vid_0002"]
    assert type(refusal(lambda: order_and_create(service, JOB, REFERENCE))) is Busy
    ltx.balance = 0.0
    assert type(refusal(lambda: order_and_create(service, JOB, REFERENCE))) is OutOfCredit
    assert len(ltx.sold) == 2


def test_the_balance_is_unknown(ltx: FakeLtx, service: LtxStudioService) -> None:
    """LTX has no API for the balance, so no request is sent and the note names the website that shows it."""
    assert service.credits() == Credits(None, "USD", "see console.ltx.io")
    assert not ltx.seen


def test_the_key_is_nowhere(ltx: FakeLtx, caplog: pytest.LogCaptureFixture) -> None:
    """The key appears in no representation, log line or failure of the service."""
    caplog.set_level(logging.DEBUG)
    service = connect(ltx)
    ticket = order_and_create(service, JOB, REFERENCE)
    ltx.faults["video"].append(error(400, "invalid_request_error", f"Bearer {KEY} is odd"))
    ltx.faults["video"].append(Reply(200, {"status": "failed", "error": {"message": f"{KEY} has no money"}}))
    fault, failed = refusal(lambda: service.check(ticket)), service.check(ticket)
    assert isinstance(failed, Failed)
    assert "***" in fault.message
    for text in (repr(service._config), str(fault), failed.message, caplog.text):
        assert KEY not in text
