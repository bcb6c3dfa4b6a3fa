"""PixVerse against a fake UseAPI on a real socket: every status, every state, and lookups of orders."""

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
from tenxsom_flow_engine.services.base import Failed, Progress, Ready
from tenxsom_flow_engine.services.http.download import Downloader
from tenxsom_flow_engine.services.http.fake_server import At, Cut, Hang, Reply
from tenxsom_flow_engine.services.pixverse.config import PixVerseConfig
from tenxsom_flow_engine.services.pixverse.errors import ERRORS
from tenxsom_flow_engine.services.pixverse.fake import EMAIL, TOKEN, FakeUseApi
from tenxsom_flow_engine.services.pixverse.service import PixVerseService
from tenxsom_flow_engine.timings import Timings
from tests.service_fixtures import IMPATIENT, REFERENCE, order_and_create, refusal

JOB = VideoJob(job_id="tides", topic="How tides work", duration=2, quality="720p", created_at=1.0)
WORKING = Progress(None, 15.0)


@pytest.fixture
def useapi() -> Iterator[FakeUseApi]:
    with FakeUseApi() as server:
        yield server


def connect(useapi: FakeUseApi, *, timings: Timings = Timings(), **changes: Any) -> PixVerseService:
    setup = PixVerseConfig(Secret(TOKEN), useapi.url, **changes)
    return PixVerseService(setup, Downloader(allow_private=True), timings)


@pytest.fixture
def pixverse(useapi: FakeUseApi) -> PixVerseService:
    return connect(useapi)


def test_from_order_to_file(useapi: FakeUseApi, pixverse: PixVerseService, tmp_path: Path) -> None:
    """A video that is not found first, then renders and has its URL too early, is delivered as a file."""
    useapi.life = ("404", "QUEUED", "GENERATING", "EARLY", "COMPLETED")
    ticket = order_and_create(pixverse, JOB, REFERENCE)
    assert ticket == Ticket(f"user:7-pixverse:{EMAIL}-video:1", account=EMAIL, credits=14.0)
    assert [pixverse.check(ticket) for _ in range(4)] == [WORKING] * 4
    ready = pixverse.check(ticket)
    assert isinstance(ready, Ready)
    assert ready.duration == 2.0
    pixverse.fetch(JOB, ready, tmp_path)
    assert (tmp_path / "video.mp4").stat().st_size > 500
    assert {request.bare_path for request in useapi.seen["video"]} == {f"/pixverse/videos/{ticket.id}"}
    (sale,) = useapi.sold
    assert sale.order == pixverse.order(JOB, REFERENCE)["body"]
    assert sale.reference == REFERENCE
    assert sale.order["prompt"] == pixverse.prompt(JOB)
    assert (sale.order["duration"], sale.order["quality"], sale.order["aspect_ratio"]) == (2, "720p", "9:16")


#: The error of a create and of a poll, by status; `None`: no error.
TABLE: dict[int, tuple[type[ServiceError], type[ServiceError] | None]] = {
    400: (Rejected, Rejected),
    401: (Misconfigured, Misconfigured),
    402: (Misconfigured, Misconfigured),
    403: (Rejected, Rejected),
    404: (Misconfigured, None),
    408: (Uncertain, Transient),
    410: (Uncertain, None),
    412: (OutOfCredit, OutOfCredit),
    422: (Rejected, Rejected),
    429: (Busy, Busy),
    500: (Uncertain, Transient),
    502: (Uncertain, Transient),
    503: (Uncertain, Transient),
    504: (Uncertain, Transient),
    524: (Uncertain, Transient),
    596: (Misconfigured, Misconfigured),
    418: (Uncertain, Transient),
    301: (Uncertain, Transient),
}


def test_the_table_is_tested_row_by_row() -> None:
    """The table above contains every status of the service."""
    assert {row.status for row in ERRORS} <= TABLE.keys()
    assert len({row.status for row in ERRORS}) == len(ERRORS)


@pytest.mark.parametrize("status", TABLE)
def test_a_status_of_a_create(useapi: FakeUseApi, pixverse: PixVerseService, status: int) -> None:
    """Each documented refusal of a create has its class, message and next step; other errors prove nothing."""
    useapi.faults["create"].append(Reply(status, {"error": "the service's own words"}))
    error = refusal(lambda: order_and_create(pixverse, JOB, REFERENCE))
    assert type(error) is TABLE[status][0]
    assert f"(HTTP {status}): the service's own words" in error.message
    if type(error) in (Misconfigured, OutOfCredit, Rejected):
        assert error.next_step


@pytest.mark.parametrize("status", TABLE)
def test_a_status_of_a_poll(useapi: FakeUseApi, pixverse: PixVerseService, status: int) -> None:
    """For a poll, 404 means in progress, 410 means failed, and other statuses are errors."""
    ticket = order_and_create(pixverse, JOB, REFERENCE)
    useapi.life = ("GENERATING",)
    useapi.sold[0].life.clear()
    useapi.sold[0].life.append("GENERATING")
    useapi.faults["video"].append(Reply(status, {"error": "the service's own words"}))
    kind = TABLE[status][1]
    if kind is not None:
        assert type(refusal(lambda: pixverse.check(ticket))) is kind
    elif status == 404:
        assert pixverse.check(ticket) == WORKING
    else:
        assert isinstance(pixverse.check(ticket), Failed)


CUTS = {
    "cut before it was read": ("unread", Cut(At.UNREAD)),
    "cut after it was read": ("create", Cut(At.READ)),
    "cut when it was sold": ("create", Cut(At.DONE)),
    "cut in the answer": ("create", Cut(At.ANSWERING)),
    "no answer": ("create", Hang(At.DONE)),
    "an answer without a video": ("create", Reply(200, {"cost_credits": 5}, done=True)),
    "a video without an id": ("create", Reply(200, {"video_id": ""}, done=True)),
    "an id that is invalid in a path": ("create", Reply(200, {"video_id": "../x?y"}, done=True)),
    "an id of dots": ("create", Reply(200, {"video_id": ".."}, done=True)),
    "a number in its place": ("create", Reply(200, {"video_id": 7}, done=True)),
}


@pytest.mark.parametrize(("route", "fault"), CUTS.values(), ids=CUTS)
def test_a_create_whose_outcome_is_not_known(useapi: FakeUseApi, route: str, fault: Any) -> None:
    """A cut, missing or unreadable answer is uncertain, and the create is not repeated."""
    pixverse = connect(useapi, timings=IMPATIENT if isinstance(fault, Hang) else Timings())
    if route == "unread":
        # The scheduler is read first, over a separate connection.
        useapi.on_moment = lambda route, at, request: (
            useapi.unread.append(fault) if (route, at) == ("scheduler", At.READ) else None
        )
    else:
        useapi.faults[route].append(fault)
    assert type(refusal(lambda: order_and_create(pixverse, JOB, REFERENCE))) is Uncertain
    assert len(useapi.seen["create"]) <= 1


def test_no_create_is_sent_if_the_scheduler_fails(useapi: FakeUseApi, pixverse: PixVerseService) -> None:
    """If the free slots cannot be read, nothing is ordered, and the error is not uncertain."""
    for fault in (Reply(503), Cut(At.READ), Reply(401)):
        useapi.faults["scheduler"].append(fault)
        assert not isinstance(refusal(lambda: order_and_create(pixverse, JOB, REFERENCE)), Uncertain)
    assert useapi.seen["create"] == []


def test_no_create_is_sent_where_all_slots_are_taken(useapi: FakeUseApi) -> None:
    """If all slots are taken, no create is sent and the service is paused for half a minute."""
    useapi.most = 1
    useapi.emails.append("b@example.org")
    useapi.life = ("GENERATING",)
    pixverse = connect(useapi, email=EMAIL)
    order_and_create(pixverse, JOB, "a.1.0")
    error = refusal(lambda: order_and_create(pixverse, JOB, "b.1.0"))
    assert (type(error), error.retry_after) == (Busy, 30.0)
    assert len(useapi.seen["create"]) == 1
    # The other account has a free slot.
    assert order_and_create(connect(useapi, email="b@example.org"), JOB, "b.1.0").account == "b@example.org"


def test_a_race_for_the_last_slot_is_lost_for_free(useapi: FakeUseApi, pixverse: PixVerseService) -> None:
    """A 429 for a slot that was taken after the scheduler was read buys nothing; `Retry-After` is obeyed."""
    useapi.faults["create"].append(Reply(429, {"error": "busy"}, {"Retry-After": "77"}))
    error = refusal(lambda: order_and_create(pixverse, JOB, REFERENCE))
    assert (type(error), error.retry_after) == (Busy, 77.0)


def test_credits_that_run_out(useapi: FakeUseApi, pixverse: PixVerseService) -> None:
    """Nothing is sold without credits."""
    useapi.balance = 1.0
    assert type(refusal(lambda: order_and_create(pixverse, JOB, REFERENCE))) is OutOfCredit
    assert useapi.sold == []


def test_a_create_that_names_no_cost(useapi: FakeUseApi, pixverse: PixVerseService) -> None:
    """The price of a video is optional in the answer."""
    useapi.tells_credits = False
    assert order_and_create(pixverse, JOB, REFERENCE).credits is None


STATES: list[tuple[dict[str, Any], type]] = [
    ({"video_status_name": "COMPLETED", "url": "https://x/v.mp4", "output_width": 720}, Ready),
    ({"video_status": 1, "url": "https://x/v.mp4", "output_width": 720}, Ready),
    ({"video_status_name": "completed", "url": "https://x/v.mp4", "output_width": 720}, Ready),
    ({"video_status_name": "COMPLETED", "url": "https://x/v.mp4", "output_width": 0}, Progress),
    ({"video_status_name": "COMPLETED", "output_width": 720}, Progress),
    ({"video_status_name": "COMPLETED", "url": None, "output_width": None}, Progress),
    ({"video_status_name": "GENERATING", "url": "https://x/v.mp4", "output_width": 720}, Progress),
    ({"video_status_name": "QUEUED", "video_status_final": True}, Progress),
    ({"video_status_name": "DREAMING", "video_status": 42, "video_status_final": True}, Progress),
    ({"video_status": 10}, Progress),
    ({"video_status": [1]}, Progress),
    ({}, Progress),
    ({"video_status_name": "FAILED"}, Failed),
    ({"video_status_name": "MODERATED"}, Failed),
    ({"video_status": 8}, Failed),
    ({"video_status": 7}, Failed),
]


@pytest.mark.parametrize(("video", "kind"), STATES)
def test_states(useapi: FakeUseApi, pixverse: PixVerseService, video: dict[str, Any], kind: type) -> None:
    """The status name decides; unknown ones are in progress; a URL is ready only together with a picture size."""
    ticket = order_and_create(pixverse, JOB, REFERENCE)
    useapi.faults["video"].append(Reply(200, video))
    assert type(pixverse.check(ticket)) is kind


@pytest.mark.parametrize(("state", "kind"), [("COMPLETED", Ready), ("FAILED", Failed), ("GENERATING", Progress)])
def test_a_video_that_only_the_list_shows(
    useapi: FakeUseApi, pixverse: PixVerseService, state: str, kind: type
) -> None:
    """The state of a video that cannot be read by its id comes from the account's list."""
    useapi.life = (state,)
    ticket = order_and_create(pixverse, JOB, REFERENCE)
    useapi.faults["video"].append(Reply(404, {"error": "not found"}))
    assert type(pixverse.check(ticket)) is kind
    assert useapi.seen["list"][0].query["email"] == EMAIL


def test_a_running_generation_is_found_in_the_scheduler(useapi: FakeUseApi, pixverse: PixVerseService) -> None:
    """A create whose answer was lost is found by its reference while it runs."""
    useapi.life = ("GENERATING",)
    useapi.faults["create"].append(Cut(At.DONE))
    refusal(lambda: order_and_create(pixverse, JOB, REFERENCE))
    found = pixverse.find(REFERENCE)
    assert found is not None
    assert found.id == useapi.sold[0].id
    assert pixverse.find("tides.0123456789abcdef.2") is None


@pytest.mark.parametrize(
    ("later_orders", "listed", "is_found"), [(0, True, True), (100, True, True), (130, True, False), (0, False, False)]
)
def test_a_finished_generation_is_found_in_the_list(
    useapi: FakeUseApi, pixverse: PixVerseService, later_orders: int, listed: bool, is_found: bool
) -> None:
    """A finished generation is found on the first pages of a list with references; not finding it proves nothing."""
    useapi.list_tells_reference = listed
    useapi.balance = 1e6
    order_and_create(pixverse, JOB, REFERENCE)
    for number in range(later_orders):
        useapi.work("create", _create_of(f"other-{number}.1.0"))
    assert (pixverse.find(REFERENCE) is not None) is is_found
    assert not pixverse.find_is_complete


def _create_of(reference: str) -> Any:
    import json

    from tenxsom_flow_engine.services.http.fake_server import Request

    order = {"prompt": "x", "model": "v6", "duration": 1, "replyRef": reference}
    return Request("POST", "/pixverse/videos/create", {"Authorization": f"Bearer {TOKEN}"}, json.dumps(order).encode())


def test_all_accounts_are_searched(useapi: FakeUseApi) -> None:
    """The lists of all linked accounts are read."""
    useapi.emails.append("b@example.org")
    order_and_create(connect(useapi, email="b@example.org"), JOB, REFERENCE)
    found = connect(useapi).find(REFERENCE)
    assert found is not None
    assert found.account == "b@example.org"


@pytest.mark.parametrize(
    "body", [[], {}, {"data": {}}, {"data": [1, None, {"replyRef": 7}]}, {"videos": [{"response": None}]}]
)
def test_lists_in_odd_forms(useapi: FakeUseApi, pixverse: PixVerseService, body: Any) -> None:
    """An empty or malformed list contains no video and causes no error."""
    useapi.faults["list"].append(Reply(200, body))
    assert pixverse.find(REFERENCE) is None


@pytest.mark.parametrize("body", [
    [{"video_id": "v-9", "replyRef": REFERENCE}],
    {"data": [{"video_id": "v-9", "response": {"replyRef": REFERENCE}}]},
    {"videos": [{"id": "v-9", "replyRef": REFERENCE}]},
])  # fmt: skip
def test_references_in_their_forms(useapi: FakeUseApi, pixverse: PixVerseService, body: Any) -> None:
    """The reference is found in each field in which lists and callbacks can contain it."""
    useapi.faults["list"].append(Reply(200, body))
    assert pixverse.find(REFERENCE) == Ticket("v-9")


def test_credits(useapi: FakeUseApi) -> None:
    """The balance is the sum of all kinds of credits, over all linked accounts or only the configured one."""
    useapi.emails.append("b@example.org")
    useapi.faults["features"].extend(
        [
            Reply(200, {"credit_daily": 30, "credit_monthly": 5, "credit_package": 100, "credit_monthly_gift": 1}),
            Reply(200, {"credit_monthly": 4, "plan_name": "Pro"}),
            Reply(200, {"plan_name": "Pro"}),
        ]
    )
    assert connect(useapi).credits().remaining == 140.0
    assert connect(useapi, email=EMAIL).credits().remaining is None
    assert [request.query["email"] for request in useapi.seen["features"]] == [EMAIL, "b@example.org", EMAIL]


def test_an_expired_url_is_transient(useapi: FakeUseApi, pixverse: PixVerseService, tmp_path: Path) -> None:
    """An expired URL is a transient error, because another poll returns a fresh one."""
    ticket = order_and_create(pixverse, JOB, REFERENCE)
    ready = pixverse.check(ticket)
    assert isinstance(ready, Ready)
    useapi.files.expire()
    assert type(refusal(lambda: pixverse.fetch(JOB, ready, tmp_path))) is Transient
    fresh = pixverse.check(ticket)
    assert isinstance(fresh, Ready)
    pixverse.fetch(JOB, fresh, tmp_path)


def test_the_token_is_nowhere(useapi: FakeUseApi, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The token appears in no representation, error or log line of the service."""
    caplog.set_level(logging.DEBUG)
    pixverse = connect(useapi)
    ticket = order_and_create(pixverse, JOB, REFERENCE)
    pixverse.check(ticket)
    useapi.faults["video"].append(Reply(400, {"error": f"Bearer {TOKEN} is odd"}))
    error = refusal(lambda: pixverse.check(ticket))
    assert "***" in error.message
    for text in (repr(pixverse), repr(pixverse._config), repr(ticket), str(error), caplog.text):
        assert TOKEN not in text
