"""A job's page: what it says, what may be done there, and its files."""

from __future__ import annotations

import contextlib
import errno
import html
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from werkzeug.test import EnvironBuilder, TestResponse
from werkzeug.wrappers import Request, Response

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput, Uncertain
from tenxsom_flow_engine.jobs import Cost, Event, JobRecord, Status, Submission, SubmissionState, Ticket, lifecycle
from tenxsom_flow_engine.jobs.lifecycle import FIRST_EVENTS, LAST_EVENTS
from tenxsom_flow_engine.jobs.outcomes import ConfirmedPurchase, GiveUp, Resolution, Resubmit
from tenxsom_flow_engine.jobs.submission import Receipt
from tenxsom_flow_engine.queues.base import PullsJobs
from tenxsom_flow_engine.services.base import Failed, Progress
from tenxsom_flow_engine.services.tiny_video import tiny_video
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.gates import OpenGate
from tenxsom_flow_engine.testing.samples import ALPHA, BETA, a_claim, a_job, new
from tenxsom_flow_engine.testing.services import ScriptedService
from tenxsom_flow_engine.web.app import dashboard_app
from tenxsom_flow_engine.web.dashboard.actions import choices
from tenxsom_flow_engine.web.dashboard.timeline import timeline
from tenxsom_flow_engine.web.file_streaming import BLOCK, PIECE, STREAMS, send
from tenxsom_flow_engine.web.runtime import NullWorker, OpenRuntime, WorkerRuntime
from tests.dashboard_client import TOKEN, Visitor

VIDEO = "/jobs/a/video"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def service(clock: ManualClock) -> ScriptedService:
    service = ScriptedService(clock, price=Cost(usd=0.14))
    service.video = tiny_video("9:16", 5)
    return service


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock, service: ScriptedService) -> Iterator[Engine]:
    settings = load({"TENXSOM_HOME": str(tmp_path)})
    with open_engine(settings, "local", clock=clock, services={ALPHA: service}, gate=OpenGate(clock)) as engine:
        engine.store.add("local", new("a", topic="Why the sea is salt: <b>a list</b>", channel="sea"))
        yield engine


@pytest.fixture
def visitor(engine: Engine) -> Visitor:
    parts = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    return Visitor.let_in(dashboard_app(parts, queue_type="local", admin=TOKEN).test_client())


def step(engine: Engine, times: int = 1) -> None:
    """Take the next steps of the job."""
    assert isinstance(engine.queue, PullsJobs)
    assert isinstance(engine.clock, ManualClock)
    for _ in range(times):
        engine.clock.advance(1.0)  # so that no limit of the queue is reached
        (record,) = engine.queue.claim("w-7", 1, engine.slots, auto_services=engine.auto_services).records
        engine.step(record)


@pytest.fixture
def video(engine: Engine) -> Path:
    """The published video of the job, made larger than a piece."""
    step(engine, 3)
    path = engine.store.require("a").result
    assert path
    with Path(path.path).open("wb") as file:
        file.write(os.urandom(3 * PIECE))
    return Path(path.path)


def fetch(visitor: Visitor, path: str = VIDEO, *, method: str = "GET", **headers: str) -> TestResponse:
    """Ask for a file, and read and close it."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return visitor.client.open(path, method=method, headers=told, buffered=True)


def status(engine: Engine) -> Status:
    return engine.store.require("a").status


# What the page says.


def test_a_finished_job_shows_all_that_is_known(visitor: Visitor, video: Path) -> None:
    """Its video plays in the page, its files can be taken away, and facts, timeline, order and price are there."""
    page = visitor.client.get("/jobs/a").text
    for address in (*re.findall(r'(?:src|poster)="(/jobs/[^"]+)"', page), *re.findall(r'href="(/jobs/a/[^"]+)"', page)):
        assert fetch(visitor, address).status_code == 200, address
    for name in ("video", "thumbnail", "captions.vtt", "metadata?download=1"):
        assert f"/jobs/a/{name}" in page
    assert "&lt;b&gt;a list" in page
    assert "<b>a list" not in page
    for words in ("Published", "by w-7", "$0.14", "&#34;prompt&#34;: &#34;Why the sea is salt", "/add?from=a"):
        assert words in page
    assert "Retry" not in page
    assert "Cancel" not in page


def test_an_unfinished_job_is_live(
    visitor: Visitor, engine: Engine, service: ScriptedService, clock: ManualClock
) -> None:
    """It says how far it is and what comes next, and loads anew with its video once the status has changed."""
    service.checks.append(Progress(0.25, 30.0))
    step(engine, 2)
    clock.advance(10)
    page = visitor.client.get("/jobs/a").text
    assert "25%" in page
    assert "alpha is asked again in 20 s" in page
    before = live(page)
    assert {"head-rendering", "facts", "timeline", "choices"} <= before
    clock.advance(20)
    step(engine, 2)
    # What is live there and not here makes the page load anew.
    assert live(visitor.client.get("/jobs/a").text) - before == {"head-succeeded"}


def test_a_job_says_what_it_waits_for(visitor: Visitor, engine: Engine, clock: ManualClock) -> None:
    """Who waits for a worker, for a paused queue, for its time or for a person reads so at the top of the page."""

    def head(job_id: str) -> str:
        return visitor.client.get(f"/jobs/{job_id}").text.partition("</header>\n")[2].partition("</header>")[0]

    clock.advance(90)
    assert "due for 1 min 30 s, and waits for a worker" in head("a")
    engine.queue.pause()
    assert "its queue is paused" in head("a")
    engine.queue.resume()
    engine.store.add("local", new("later", due=clock.now() + 3600))
    assert "It starts in 1 h" in head("later")
    (record,) = engine.store.claim(a_claim(count=1)).records
    assert f"Worker {record.lease.worker if record.lease else ''} is working on it" in head("a")


def live(page: str) -> set[str]:
    """Return the ids of what a page keeps up to date."""
    return set(re.findall(r'id="([\w-]+)" data-live', page))


def test_a_failure_tells_its_next_step_and_the_button(
    visitor: Visitor, engine: Engine, service: ScriptedService
) -> None:
    """A failed job shows code and sentence, and links to the buttons and the form that help, and names no command."""
    service.checks.append(Failed("too dark"))
    step(engine, 2)
    page = visitor.client.get("/jobs/a").text
    for words in ("alpha failed: too dark", "generation_failed", '<a href="/jobs/a#retry">Retry</a>',
                  '<a href="/add?from=a">Add a changed copy</a>'):  # fmt: skip
        assert words in page
    assert ".py" not in page
    assert 'id="retry"' in page


def test_a_video_that_is_gone_is_said(visitor: Visitor, video: Path) -> None:
    """Where the file was deleted, page and address say so instead of showing a player that cannot play."""
    video.unlink()
    page = visitor.client.get("/jobs/a").text
    assert "<video" not in page
    assert "moved or deleted" in page
    answer = fetch(visitor, VIDEO)
    assert answer.status_code == 404
    assert "is not there any more" in answer.text


def test_an_unknown_job(visitor: Visitor, engine: Engine, clock: ManualClock) -> None:
    """An address of no job is a page that helps on, and tells those that were forgotten from those that never were."""
    answer = visitor.client.get("/jobs/nobody")
    assert answer.status_code == 404
    assert "has never known it" in answer.text
    assert 'href="/jobs?text=nobody"' in answer.text
    engine.cancel("a")
    clock.advance(60)
    engine.store.trim(Retention(age=1.0))
    assert "There was one" in visitor.client.get("/jobs/a").text
    assert visitor.post("/jobs/nobody/retry").status_code == 404


def test_a_timeline_has_durations_and_says_what_it_left_out() -> None:
    """Each line tells how long after the one before it came, counted from when that happened last."""
    record = lifecycle.add(a_job(), queue="q", nonce="n", now=10.0, due=10.0)
    polled = Event(at=20.0, what="waiting", detail="rendering", times=3, last_at=50.0)
    lines = timeline(msgspec.structs.replace(record, events=(*record.events, polled, Event(at=57.0, what="published"))))
    assert [(line.what, line.after, line.kind) for line in lines] == [
        ("Added", None, ""), ("Rendering", 10.0, ""), ("Published", 7.0, "ok")
    ]  # fmt: skip
    many = tuple(Event(at=float(at), what="fault") for at in range(FIRST_EVENTS + LAST_EVENTS))
    gaps = [line.gap for line in timeline(msgspec.structs.replace(record, events=many))]
    assert gaps.index(True) == FIRST_EVENTS
    assert gaps.count(True) == 1


# What may be done.

NONE, INTENT, ACCEPTED, UNKNOWN = SubmissionState
#: Status, submission, more of the submission; the choices, and what the first of them says.
SITUATIONS: list[tuple[Status, SubmissionState, dict[str, Any], list[str], str]] = [
    (Status.QUEUED, NONE, {}, ["cancel"], "Nothing was bought."),
    (Status.RUNNING, INTENT, {}, ["cancel"], "it is paid all the same"),
    (Status.RENDERING, ACCEPTED, {}, ["cancel"], "It was bought at alpha for $0.20; that stays spent."),
    (Status.RENDERING, ACCEPTED, {"over": True}, ["cancel"], "is made already"),
    (Status.HELD, UNKNOWN, {}, ["ticket", "resubmit", "give-up", "cancel"], "It buys nothing."),
    (Status.FAILED, UNKNOWN, {}, ["ticket", "resubmit"], "It buys nothing."),
    (Status.FAILED, NONE, {}, ["retry"], "It is ordered at alpha for about $0.14."),
    (Status.FAILED, INTENT, {}, ["retry"], "First it is found out"),
    (Status.FAILED, ACCEPTED, {}, ["retry"], "goes on from its ticket at alpha, and buys nothing"),
    (Status.CANCELLED, ACCEPTED, {"over": True, "failed": True}, ["retry"], "about $0.14. What it has cost so far"),
    (Status.SUCCEEDED, ACCEPTED, {"over": True}, [], ""),
]


@pytest.mark.parametrize(("now", "state", "more", "names", "says"), SITUATIONS)
def test_choices_say_what_they_do(
    engine: Engine, now: Status, state: SubmissionState, more: dict[str, Any], names: list[str], says: str
) -> None:
    """Each situation offers what can be done in it and nothing else, and says what it buys or leaves spent."""
    record = situated(engine, now, state, more)
    possible = choices(record, engine.services)
    assert list(possible) == names
    assert says in (possible[names[0]].says if names else "")
    # What is offered is not refused.
    for name in names:
        apply(record, name)


def situated(engine: Engine, now: Status, state: SubmissionState, more: dict[str, Any]) -> JobRecord:
    """Return the job in a situation."""
    record = msgspec.structs.replace(engine.store.require("a"), status=now)
    if state is NONE:
        return record
    submission = Submission(state=INTENT if state is ACCEPTED else state, id="s-1", **more)
    record = msgspec.structs.replace(record, submission=submission, service=ALPHA)
    if state is not ACCEPTED:
        return record
    paid = Cost(usd=0.2, estimated=False)
    return lifecycle.accept(record, 1.0, Receipt(submission_id="s-1", ticket=Ticket("t-1"), lifetime=9.0, cost=paid))


def apply(record: JobRecord, name: str) -> JobRecord:
    """Do what a choice does."""
    match name:
        case "cancel":
            return lifecycle.cancel(record, 5.0)
        case "retry":
            return lifecycle.retry(record, 5.0)
    ticket = ConfirmedPurchase(Ticket("t-2"), 9.0)
    decisions: dict[str, Resolution] = {"ticket": ticket, "resubmit": Resubmit(), "give-up": GiveUp()}
    return lifecycle.resolve(record, 5.0, decisions[name])


def test_what_ordering_costs_is_said_as_far_as_it_is_known(engine: Engine, clock: ManualClock) -> None:
    """An unknown price, several services and none that can make it are said; only what is free is not asked."""
    failed = situated(engine, Status.FAILED, NONE, {})
    anyone = msgspec.structs.replace(failed, job=msgspec.structs.replace(failed.job, service="auto"))
    alpha, beta = (ScriptedService(clock, name=name) for name in (ALPHA, BETA))

    def retry(record: JobRecord, *services: ScriptedService) -> tuple[str, bool]:
        choice = choices(record, {service.name: service for service in services})["retry"]
        return choice.says, choice.asks

    assert retry(failed, alpha) == ("It is ordered at alpha at a price that is not known.", True)
    alpha.price, beta.price = Cost(usd=0.0), Cost(usd=0.3)
    assert retry(failed, alpha) == ("It is ordered at alpha for nothing.", False)
    first = "It is ordered at the service that is free first for about $0.00 or more."
    assert retry(anyone, alpha, beta) == (first, True)
    alpha.unfit = InvalidInput("duration", "alpha makes 5 seconds")
    assert retry(failed, alpha) == ("It is ordered, but not by this process: duration: alpha makes 5 seconds.", True)


def test_what_costs_money_is_asked_once_more(visitor: Visitor, engine: Engine, service: ScriptedService) -> None:
    """A retry that buys anew leads to a page that names the price; only its button retries."""
    service.checks.append(Failed("too dark"))
    step(engine, 2)
    asked = visitor.post("/jobs/a/retry")
    assert (asked.status_code, asked.headers["Location"]) == (303, "/jobs/a/retry")
    assert status(engine) is Status.FAILED
    page = visitor.client.get("/jobs/a/retry").text
    assert "about $0.14" in page
    assert visitor.post("/jobs/a/retry", page=page, sure=said(page)).headers["Location"] == "/jobs/a"
    assert status(engine) is Status.QUEUED


def said(page: str) -> str:
    """Return what a page that asks once more has said, as its form sends it back."""
    (sure,) = re.findall(r'name="sure" value="([^"]*)"', page)
    return html.unescape(sure)


def test_what_was_not_said_is_not_done(visitor: Visitor, engine: Engine, service: ScriptedService) -> None:
    """Who says yes to a price, or to what a cancel means, is asked anew if that has changed since."""
    service.checks.append(Failed("too dark"))
    step(engine, 2)
    page = visitor.client.get("/jobs/a/retry").text
    for price in (9.0, 0.1401):  # the second reads like the first price
        service.price = Cost(usd=price)
        assert visitor.post("/jobs/a/retry", page=page, sure=said(page)).headers["Location"] == "/jobs/a/retry"
        assert status(engine) is Status.FAILED
    service.price = Cost(usd=9.0)
    assert "about $9.00" in visitor.client.get("/jobs/a/retry").text


def test_what_costs_nothing_is_done_at_once(
    visitor: Visitor, engine: Engine, service: ScriptedService, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that waits is cancelled by one click, and one that has a ticket retried; the log says who did it."""
    caplog.set_level("INFO")
    assert "cancelled" in visitor.client.get(visitor.post("/jobs/a/cancel").headers["Location"]).text
    assert status(engine) is Status.CANCELLED
    engine.retry("a")
    step(engine)
    engine.cancel("a")
    visitor.post("/jobs/a/retry")
    assert status(engine) is Status.RENDERING
    audited = [(line.__dict__["audit"], line.__dict__["job_id"]) for line in caplog.records if "audit" in line.__dict__]
    assert audited[-2:] == [("job cancel", "a"), ("job retry", "a")]


def test_a_held_job_is_decided(visitor: Visitor, engine: Engine, service: ScriptedService) -> None:
    """The page says what to look for and where; a ticket, an order anew and giving up are each taken."""
    service.lookup_hint = "in the drawer"
    for act, fields, after in (
        ("ticket", {"ticket": " t-9 ", "account": "me"}, Status.RENDERING),
        ("resubmit", {}, Status.QUEUED),
        ("give-up", {}, Status.FAILED),
    ):
        hold(engine, service)
        page = visitor.client.get("/jobs/a").text
        assert engine.store.require("a").submission.id in page
        assert "in the drawer" in page
        assert 'href="/jobs/a#ticket"' in page
        if act == "resubmit":
            fields["sure"] = said(visitor.client.get("/jobs/a/resubmit").text)
        visitor.post(f"/jobs/a/{act}", page=page, **fields)
        assert status(engine) is after
        if act == "ticket":
            assert engine.store.require("a").submission.ticket == Ticket("t-9", account="me")
            engine.cancel("a")
            engine.store.update("a", lifecycle.render_stopped)
            engine.retry("a")


def hold(engine: Engine, service: ScriptedService) -> None:
    """Let the job's create go out and nobody hear what came of it."""
    service.creates.append(Uncertain(ALPHA, "the connection broke"))
    step(engine)
    while status(engine) is not Status.HELD:
        due = engine.store.require("a").due
        assert due is not None
        assert isinstance(engine.clock, ManualClock)
        engine.clock.set(max(due, engine.clock.now()))
        step(engine)


@pytest.mark.parametrize(
    ("act", "fields", "words"),
    [
        ("retry", {}, "job a is queued; only failed and cancelled jobs can be retried"),
        ("give-up", {}, "is not marked as unknown"),
        ("ticket", {"ticket": "two words"}, "without spaces"),
    ],
)
def test_a_refusal_is_a_sentence_on_the_page(visitor: Visitor, act: str, fields: dict[str, str], words: str) -> None:
    """What cannot be done any more, and a ticket that is none, come back as a plain sentence."""
    answer = visitor.post(f"/jobs/a/{act}", **fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs/a")
    assert words in visitor.client.get("/jobs/a").text
    assert visitor.client.get("/jobs/a/retry").headers["Location"] == "/jobs/a"


# Its files.

SIZE = 3 * PIECE
RANGES: list[tuple[str, int, int, int]] = [
    # What is asked for, the status, and the bytes from … to, excluded.
    ("bytes=0-99", 206, 0, 100),
    ("bytes=100-", 206, 100, 100 + PIECE),
    ("bytes=0-", 206, 0, PIECE),
    (f"bytes={SIZE - 10}-", 206, SIZE - 10, SIZE),
    ("bytes=-10", 206, SIZE - 10, SIZE),
    (f"bytes={SIZE - 10}-{SIZE + 10}", 206, SIZE - 10, SIZE),
    (f"bytes={PIECE - 3}-{PIECE + 3}", 206, PIECE - 3, PIECE + 4),
    (f"bytes={SIZE}-", 416, 0, 0),
    ("bytes=9-1", 416, 0, 0),
    ("bytes=0-1,5-6", 416, 0, 0),
    ("lines=1-2", 416, 0, 0),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ranges(visitor: Visitor, video: Path, method: str) -> None:
    """A player gets the range that it asks for, of a long one the first piece, and 416 where there is none."""
    content = video.read_bytes() if method == "GET" else b""
    for wanted, code, start, stop in RANGES:
        answer = fetch(visitor, method=method, Range=wanted)
        told = f"bytes {start}-{stop - 1}/{SIZE}" if code == 206 else f"bytes */{SIZE}"
        assert (wanted, answer.status_code, answer.headers["Content-Range"]) == (wanted, code, told)
        assert answer.data == content[start:stop]
        if code == 206:
            assert int(answer.headers["Content-Length"]) == stop - start


def test_conditions(visitor: Visitor, video: Path) -> None:
    """Whoever has the video is told so without it, and a range of another version than it has becomes the whole."""
    whole = fetch(visitor)
    assert (whole.status_code, whole.data) == (200, video.read_bytes())
    told = {name: whole.headers[name] for name in ("Content-Type", "Accept-Ranges", "X-Content-Type-Options")}
    assert told == {"Content-Type": "video/mp4", "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff"}
    assert whole.headers["Cache-Control"] == "private, max-age=300"
    tag, part = whole.headers["ETag"], {"Range": "bytes=0-9"}
    assert fetch(visitor, If_None_Match=tag).status_code == 304
    assert fetch(visitor, **part, If_Range=tag).status_code == 206
    video.write_bytes(b"another")
    assert fetch(visitor, **part, If_Range=tag).data == b"another"
    assert fetch(visitor, If_None_Match=tag).data == b"another"


def test_four_streams_at_once(visitor: Visitor, video: Path) -> None:
    """The fifth reader of a video is told to come back, at once; what holds no thread is not counted."""
    client = visitor.client
    readers = [client.get(VIDEO, buffered=False) for _ in range(STREAMS)]
    fifth = fetch(visitor, Range="bytes=0-")
    assert (fifth.status_code, fifth.headers["Retry-After"]) == (503, "5")
    tag = readers[0].headers["ETag"]
    assert fetch(visitor, method="HEAD").status_code == 200
    assert fetch(visitor, If_None_Match=tag).status_code == 304
    assert fetch(visitor, Range=f"bytes={SIZE}-").status_code == 416
    thumbnail = fetch(visitor, "/jobs/a/thumbnail")
    assert (thumbnail.status_code, thumbnail.headers["Cache-Control"]) == (200, "private, max-age=3600")
    assert fetch(visitor, "/jobs/a/thumbnail", If_None_Match=thumbnail.headers["ETag"]).status_code == 304
    for reader in readers:
        reader.close()
    for _ in range(2 * STREAMS):
        assert fetch(visitor).status_code == 200


def test_a_reader_that_stops_reading_is_left(video: Path) -> None:
    """Who reads nothing for too long loses the connection, and the stream is another's; so is one never begun."""
    streams = threading.BoundedSemaphore(1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        request = Request(EnvironBuilder().get_environ() | {"gunicorn.socket": ours})

        def begin() -> Response:
            return send(request, video, "video/mp4", max_age=0, streams=streams, read_timeout=0.0)

        with contextlib.closing(begin()) as answer:
            assert next(iter(answer.response)) == video.read_bytes()[:BLOCK]
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while ours.send(bytes(BLOCK)):
                pass
        with contextlib.closing(begin()) as answer, pytest.raises(ConnectionResetError):
            next(iter(answer.response))
        with begin().response.file:  # type: ignore[union-attr]
            pass
        with contextlib.closing(begin()) as answer:
            assert answer.status_code == 200


def test_captions_that_go_at_this_moment_are_no_defect(
    visitor: Visitor, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is deleted just when it is read is said to be gone, like one that was deleted before."""
    assert fetch(visitor, "/jobs/a/captions.vtt").text.startswith("WEBVTT")

    def gone(self: Path, *_: object) -> str:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(Path, "read_text", gone)
    answer = fetch(visitor, "/jobs/a/captions.vtt")
    assert (answer.status_code, "captions.srt of job a cannot be read" in answer.text) == (404, True)


@pytest.mark.parametrize("elsewhere", ["a path", "a link", "a folder", "nonsense"])
def test_no_file_from_elsewhere_is_served(
    visitor: Visitor, engine: Engine, video: Path, tmp_path: Path, elsewhere: str
) -> None:
    """Whatever path a record names, nothing outside of the folder of videos is shown."""
    secret = tmp_path / "video.mp4"
    secret.write_text("a secret")
    path = {"a path": secret, "nonsense": Path("a\0b"), "a folder": video}.get(elsewhere, video)
    if elsewhere == "a link":
        video.unlink()
        video.symlink_to(secret)
    if elsewhere == "a folder":
        video.unlink()
        video.mkdir()

    def moved(record: JobRecord, now: float) -> JobRecord:
        assert record.result
        return msgspec.structs.replace(record, result=msgspec.structs.replace(record.result, path=str(path)))

    engine.store.update("a", moved)
    answer = fetch(visitor)
    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert fetch(visitor, "/jobs/a").status_code == 200


def test_files_are_taken_away_under_a_good_name(visitor: Visitor, video: Path, engine: Engine) -> None:
    """A download is named after its topic, without what file systems do not take; captions suit browsers too."""
    answer = fetch(visitor, f"{VIDEO}?download=1")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="Why the sea is salt b a list b.mp4"'
    assert "Content-Disposition" not in fetch(visitor).headers
    assert fetch(visitor, "/jobs/a/metadata?download=1").get_json()["title"].startswith("Why the sea")
    track = fetch(visitor, "/jobs/a/captions.vtt")
    assert track.content_type == "text/vtt; charset=utf-8"
    assert track.text.startswith("WEBVTT\n\n1\n00:00:00.000 --> 00:00:0")


def test_a_job_without_a_video_has_no_files(visitor: Visitor) -> None:
    """Before there is a video its addresses say how the job stands."""
    answer = fetch(visitor, "/jobs/a/thumbnail")
    assert answer.status_code == 404
    assert "it is queued" in answer.text
