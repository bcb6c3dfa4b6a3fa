"""A job's page: its content, its actions and its files."""

from __future__ import annotations

import contextlib
import errno
import html
import os
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from werkzeug.http import parse_options_header
from werkzeug.test import EnvironBuilder, TestResponse
from werkzeug.wrappers import Request

from tenxsom_flow_engine.composition import open_engine
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput, Transient, Uncertain
from tenxsom_flow_engine.jobs import (
    FINAL,
    Cost,
    Event,
    JobRecord,
    Status,
    Submission,
    SubmissionState,
    Ticket,
    lifecycle,
)
from tenxsom_flow_engine.jobs.lifecycle import FIRST_EVENTS, LAST_EVENTS
from tenxsom_flow_engine.jobs.outcomes import ConfirmedPurchase, GiveUp, Resolution, Resubmit, Terms, Times
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
from tenxsom_flow_engine.web.download_names import file_name
from tenxsom_flow_engine.web.file_streaming import PIECE, STREAMS, send
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
    """Run the next steps of the job."""
    assert isinstance(engine.queue, PullsJobs)
    assert isinstance(engine.clock, ManualClock)
    for _ in range(times):
        engine.clock.advance(1.0)  # stay below the limits of the queue
        (record,) = engine.queue.claim("w-7", 1, engine.slots, auto_services=engine.auto_services).records
        engine.step(record)


@pytest.fixture
def video(engine: Engine) -> Path:
    """The published video of the job, enlarged beyond one piece."""
    step(engine, 3)
    path = engine.store.require("a").result
    assert path
    with Path(path.path).open("wb") as file:
        file.write(os.urandom(3 * PIECE))
    return Path(path.path)


def fetch(visitor: Visitor, path: str = VIDEO, *, method: str = "GET", **headers: str) -> TestResponse:
    """Request a file, and read and close the response."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return visitor.client.open(path, method=method, headers=sent, buffered=True)


def status(engine: Engine) -> Status:
    return engine.store.require("a").status


# The content of the page.


class Places(HTMLParser):
    """The elements and fields of a page that show a text, each with the nearest `dir`."""

    def __init__(self, text: str, page: str) -> None:
        super().__init__()
        self.text = text
        self.found: list[tuple[str, str | None]] = []
        self._open: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "input":
            if given.get("type") != "hidden" and self.text in (given.get("value") or ""):
                self.found.append((tag, given.get("dir")))
        elif tag not in ("br", "img", "link", "meta", "rect"):
            self._open.append((tag, given.get("dir", self._open[-1][1] if self._open else None)))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.text in data:
            self.found.append(self._open[-1])


def test_topics_and_prompts_have_their_own_direction(visitor: Visitor, engine: Engine, video: Path) -> None:
    """Every element that shows a topic or prompt, or in which one is typed, takes the direction of its text."""
    topic = "למה ארה״ב ב-2026 השקיעה ב-AI?"

    def renamed(record: JobRecord, now: float) -> JobRecord:
        return msgspec.structs.replace(record, job=msgspec.structs.replace(record.job, topic=topic, prompt=topic))

    engine.store.update("a", renamed)
    engine.store.add("local", new("b", due=engine.store.now() + 3600, topic=topic))
    form = visitor.client.get("/add?from=a").text
    fields = {"service": ALPHA, "duration": "5", "aspect_ratio": "9:16", "style": "retro", "act": "plan"}
    pages = {path: visitor.client.get(path).text for path in ("/", "/jobs", "/jobs/a", "/jobs/b/cancel")} | {
        "form": form,
        "preview": visitor.post("/add", page=form, topics=f"{topic}\n{topic}{'?' * 500}", **fields).text,
    }
    places = {name: Places("השקיעה", page).found for name, page in pages.items()}
    assert {name: [tag for tag, _ in found] for name, found in places.items()} == {
        "/": ["a", "span"], "/jobs": ["a", "a"], "/jobs/a": ["title", "h1", "dd"], "/jobs/b/cancel": ["strong"],
        "form": ["textarea", "textarea"], "preview": ["q", "p", "p"],
    }  # fmt: skip
    assert {direction for found in places.values() for _, direction in found} == {"auto"}
    search = visitor.client.get("/jobs", query_string={"text": topic}).text
    assert Places(topic, search).found[0] == ("input", "auto")


def test_a_finished_job_shows_all_details(visitor: Visitor, video: Path) -> None:
    """The page of a finished job has its video, downloads, facts, timeline, order and price."""
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
    """The page shows progress and the next poll; when the status changes, new live elements make it reload."""
    service.checks.append(Progress(0.25, 30.0))
    step(engine, 2)
    clock.advance(10)
    page = visitor.client.get("/jobs/a").text
    assert "25%" in page
    assert "Next poll of alpha in 20 s" in page
    before = live(page)
    assert {"head-rendering", "facts", "timeline", "choices"} <= before
    clock.advance(20)
    step(engine, 2)
    # The script reloads the page if a live element is new.
    assert live(visitor.client.get("/jobs/a").text) - before == {"head-succeeded"}


def test_a_job_says_what_it_waits_for(visitor: Visitor, engine: Engine, clock: ManualClock) -> None:
    """The top of the page says whether a job waits for a worker, a paused queue, its start or a person."""

    def head(job_id: str) -> str:
        return visitor.client.get(f"/jobs/{job_id}").text.partition("</header>\n")[2].partition("</header>")[0]

    clock.advance(90)
    assert "Due for 1 min 30 s; waiting for a worker" in head("a")
    engine.queue.pause()
    assert "its queue is paused" in head("a")
    engine.queue.resume()
    engine.store.add("local", new("later", due=clock.now() + 3600))
    assert "Starts in 1 h" in head("later")
    (record,) = engine.store.claim(a_claim(count=1)).records
    assert f"Worker {record.lease.worker if record.lease else ''} is working on it" in head("a")


def live(page: str) -> set[str]:
    """Return the ids of a page's live elements."""
    return set(re.findall(r'id="([\w-]+)" data-live', page))


def test_a_failure_shows_its_next_step_and_the_button(
    visitor: Visitor, engine: Engine, service: ScriptedService
) -> None:
    """A failed job shows code and message, and links to buttons and a form instead of naming commands."""
    service.checks.append(Failed("too dark"))
    step(engine, 2)
    page = visitor.client.get("/jobs/a").text
    for words in ("alpha failed: too dark", "generation_failed", '<a href="/jobs/a#retry">Retry</a>',
                  '<a href="/jobs/a#edit">Edit and retry</a>'):  # fmt: skip
        assert words in page
    assert ".py" not in page
    assert 'id="retry"' in page


def test_a_deleted_video_is_reported(visitor: Visitor, video: Path) -> None:
    """If the video was deleted, the page and the address of the file say so, and the page has no player."""
    video.unlink()
    page = visitor.client.get("/jobs/a").text
    assert "<video" not in page
    assert "moved or deleted" in page
    answer = fetch(visitor, VIDEO)
    assert answer.status_code == 404
    assert "no longer exists" in answer.text


def test_an_unknown_job(visitor: Visitor, engine: Engine, clock: ManualClock) -> None:
    """The page of an unknown job links to a search, and distinguishes removed records from ids that never existed."""
    answer = visitor.client.get("/jobs/unknown")
    assert answer.status_code == 404
    assert "was ever added to this store" in answer.text
    assert 'href="/jobs?text=unknown"' in answer.text
    engine.cancel("a")
    clock.advance(60)
    engine.store.trim(Retention(age=1.0))
    assert "its record was removed" in visitor.client.get("/jobs/a").text
    assert visitor.post("/jobs/unknown/retry").status_code == 404


def test_a_timeline_has_durations_and_marks_omitted_events() -> None:
    """Each line has the time since the last occurrence of the previous one, and a gap is marked."""
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


# Actions.

NONE, INTENT, ACCEPTED, UNKNOWN = SubmissionState
#: Status, submission state, other fields of the submission; the actions, and a part of the first one's description.
SITUATIONS: list[tuple[Status, SubmissionState, dict[str, Any], list[str], str]] = [
    (Status.QUEUED, NONE, {}, ["edit", "cancel"], "Nothing is bought by that."),
    (Status.SCHEDULED, NONE, {}, ["run-now", "edit", "cancel"], "Starting it now costs about $0.14 at alpha."),
    (Status.RUNNING, INTENT, {}, ["cancel"], "it is charged despite the cancellation"),
    (Status.RENDERING, ACCEPTED, {}, ["cancel"], "It was bought at alpha for $0.20; cancelling does not refund that."),
    (Status.RENDERING, ACCEPTED, {"over": True}, ["cancel"], "is finished but will not be downloaded"),
    (Status.RENDERING, ACCEPTED, {"by_hand": True}, ["ticket", "resubmit", "cancel"], "Nothing new is bought."),
    (Status.HELD, UNKNOWN, {}, ["ticket", "resubmit", "give-up", "cancel"], "Nothing new is bought."),
    (Status.FAILED, UNKNOWN, {}, ["ticket", "resubmit"], "Nothing new is bought."),
    (Status.FAILED, NONE, {}, ["retry", "edit"], "Retrying costs about $0.14 at alpha."),
    (Status.FAILED, INTENT, {}, ["retry"], "first checks whether the interrupted order bought anything"),
    (Status.FAILED, ACCEPTED, {}, ["retry"], "continues from its ticket at alpha. Nothing new is bought."),
    (
        Status.CANCELLED,
        ACCEPTED,
        {"over": True, "failed": True},
        ["retry", "edit"],
        "costs about $0.14 more at alpha ($0.20 already spent)",
    ),
    (Status.SUCCEEDED, ACCEPTED, {"over": True}, [], ""),
]


@pytest.mark.parametrize(("now", "state", "more", "names", "effect"), SITUATIONS)
def test_actions_describe_their_effect(
    engine: Engine, now: Status, state: SubmissionState, more: dict[str, Any], names: list[str], effect: str
) -> None:
    """Each situation offers exactly the possible actions, with their effect and cost."""
    record = situated(engine, now, state, more)
    possible = choices(record, engine.services)
    assert list(possible) == names
    assert effect in (possible[names[0]].effect if names else "")
    # No offered action is refused.
    for name in names:
        apply(record, name)


def situated(engine: Engine, now: Status, state: SubmissionState, more: dict[str, Any]) -> JobRecord:
    """Return the job in a situation."""
    record = msgspec.structs.replace(engine.store.require("a"), status=now)
    if state is NONE:
        return record
    submission = Submission(state=INTENT if state is ACCEPTED else state, id="s-1")
    record = msgspec.structs.replace(record, submission=submission, service=ALPHA)
    if state is not ACCEPTED:
        return record
    paid = Cost(usd=0.2, estimated=False)
    receipt = Receipt(submission_id="s-1", ticket=Ticket("t-1"), lifetime=9.0, cost=paid)
    record = lifecycle.accept(record, 1.0, receipt)
    return msgspec.structs.replace(record, submission=msgspec.structs.replace(record.submission, **more))


def apply(record: JobRecord, name: str) -> JobRecord:
    """Carry out an action."""
    match name:
        case "cancel":
            return lifecycle.cancel(record, 5.0)
        case "run-now":
            return lifecycle.run_now(record, 5.0)
        case "retry" | "edit" if record.status in FINAL:
            return lifecycle.retry(record, 5.0)
        case "edit":
            return lifecycle.edit(record, 5.0, Terms(record.job))
    ticket = ConfirmedPurchase(Ticket("t-2"), 9.0)
    decisions: dict[str, Resolution] = {"ticket": ticket, "resubmit": Resubmit(), "give-up": GiveUp()}
    return lifecycle.resolve(record, 5.0, decisions[name])


def test_the_effect_of_ordering_includes_its_cost(engine: Engine, clock: ManualClock) -> None:
    """The effect covers unknown prices, several services and no able service; only free orders need no confirmation."""
    failed = situated(engine, Status.FAILED, NONE, {})
    automatic = msgspec.structs.replace(failed, job=msgspec.structs.replace(failed.job, service="auto"))
    alpha, beta = (ScriptedService(clock, name=name) for name in (ALPHA, BETA))

    def retry(record: JobRecord, *services: ScriptedService) -> tuple[str, bool]:
        choice = choices(record, {service.name: service for service in services})["retry"]
        return choice.effect, choice.confirm

    assert retry(failed, alpha) == ("Retrying costs an unknown amount at alpha.", True)
    alpha.price, beta.price = Cost(usd=0.0), Cost(usd=0.3)
    assert retry(failed, alpha) == ("Retrying costs nothing at alpha.", False)
    first = "Retrying costs about $0.00 to $0.30 at the first available service."
    assert retry(automatic, alpha, beta) == (first, True)
    alpha.unfit = InvalidInput("duration", "alpha makes 5 seconds")
    effect = "Retrying puts the job into the queue, but this process cannot make it: duration: alpha makes 5 seconds."
    assert retry(failed, alpha) == (effect, True)


def test_a_paid_action_needs_confirmation(visitor: Visitor, engine: Engine, service: ScriptedService) -> None:
    """A retry that buys again opens a page with the price; only the button there retries."""
    service.checks.append(Failed("too dark"))
    step(engine, 2)
    asked = visitor.post("/jobs/a/retry")
    assert (asked.status_code, asked.headers["Location"]) == (303, "/jobs/a/retry")
    assert status(engine) is Status.FAILED
    page = visitor.client.get("/jobs/a/retry").text
    assert "about $0.14" in page
    assert visitor.post("/jobs/a/retry", page=page, sure=terms(page)).headers["Location"] == "/jobs/a"
    assert status(engine) is Status.QUEUED


def terms(page: str) -> str:
    """Return the terms in the form of a confirmation page."""
    (sure,) = re.findall(r'name="sure" value="([^"]*)"', page)
    return html.unescape(sure)


def test_a_failed_job_is_edited_and_retried(visitor: Visitor, engine: Engine, service: ScriptedService) -> None:
    """The form has the job's settings; it shows the price, then retries with what was typed; nonsense is refused."""
    service.checks.append(Failed("too dark"))
    step(engine, 2)
    assert 'href="/jobs/a/edit"' in visitor.client.get("/jobs/a").text
    form = visitor.client.get("/jobs/a/edit").text
    assert "Why the sea is salt: &lt;b&gt;a list&lt;/b&gt;" in form
    typed = {
        "topic": "Why the sea is calm", "prompt": "a calm\r\nsea", "style": "retro", "service": ALPHA, "duration": "9",
        "aspect_ratio": "9:16", "quality": "", "options": "",
    }  # fmt: skip
    refused = visitor.post("/jobs/a/edit", page=form, **(typed | {"duration": "9000"}))
    assert (refused.status_code, "must be 1 to 1800 seconds" in refused.text) == (400, True)
    asked = visitor.post("/jobs/a/edit", page=form, **typed).text
    assert "Retrying costs about $0.14 more at alpha" in asked
    assert status(engine) is Status.FAILED
    service.price = Cost(usd=9.0)
    assert "about $9.00" in visitor.post("/jobs/a/edit", page=asked, sure=terms(asked), **typed).text
    assert status(engine) is Status.FAILED
    service.price = Cost(usd=0.14)
    done = visitor.post("/jobs/a/edit", page=asked, sure=terms(asked), **typed)
    assert (done.status_code, done.headers["Location"]) == (303, "/jobs/a")
    record = engine.store.require("a")
    assert (record.status, record.job.topic, record.job.prompt) == (Status.QUEUED, "Why the sea is calm", "a calm\nsea")
    assert "<h1>Edit</h1>" in visitor.client.get("/jobs/a/edit").text
    step(engine)
    assert visitor.client.get("/jobs/a/edit").status_code == 303


def test_a_scheduled_job_is_edited(visitor: Visitor, engine: Engine, service: ScriptedService) -> None:
    """A waiting job is changed after its price was shown, and keeps its time, or gets the one that was typed."""
    due = 1_900_000_020.0  # 2030-03-17T17:47:00Z
    engine.store.add("local", new("later", due=due, start_by=due + 3600))
    assert 'href="/jobs/later/edit"' in visitor.client.get("/jobs/later").text
    form = visitor.client.get("/jobs/later/edit").text
    assert 'value="2030-03-17T17:47"' in form
    typed = {
        "topic": "Why the sea is calm", "prompt": "", "script": "", "style": "retro", "service": ALPHA, "duration": "9",
        "aspect_ratio": "9:16", "quality": "", "options": "", "start": "2030-03-17T17:47",
    }  # fmt: skip
    asked = visitor.post("/jobs/later/edit", page=form, **typed).text
    assert "The changed job costs about $0.14 at alpha." in asked
    assert engine.store.require("later").job.topic == "Why the sea is salt"
    visitor.post("/jobs/later/edit", page=asked, sure=terms(asked), **typed)
    record = engine.store.require("later")
    assert (record.job.topic, record.due, record.status) == ("Why the sea is calm", due, Status.SCHEDULED)
    typed["start"] = "2030-03-17T18:47"
    asked = visitor.post("/jobs/later/edit", page=visitor.client.get("/jobs/later/edit").text, **typed).text
    visitor.post("/jobs/later/edit", page=asked, sure=terms(asked), **typed)
    record = engine.store.require("later")
    assert (record.due, record.start_by) == (due + 3600, due + 7200)
    assert "The job is changed." in visitor.client.get("/jobs/later").text
    form = visitor.client.get("/jobs/later/edit").text
    assert visitor.post("/jobs/later/edit", page=form, **typed).status_code == 303
    assert "The job is changed." not in visitor.client.get("/jobs/later").text
    assert engine.store.require("later") == record


@pytest.mark.parametrize("theirs", [{"topic": "Why the sea is blue"}, {}])
def test_a_form_does_not_overwrite_a_later_change(
    visitor: Visitor, engine: Engine, service: ScriptedService, theirs: dict[str, str]
) -> None:
    """A form that someone else's change made out of date is shown again with what was typed, and changes nothing."""
    service.price = Cost(usd=0.0)
    due = 1_900_000_000.0
    engine.store.add("local", new("later", due=due))
    form = visitor.client.get("/jobs/later/edit").text
    record = engine.edit("later", theirs, Times(due + 3600))
    typed = {
        "topic": "Why the sea is calm", "style": "documentary", "service": ALPHA, "duration": "8",
        "aspect_ratio": "9:16",
    }  # fmt: skip
    again = visitor.post("/jobs/later/edit", page=form, **typed)
    assert (again.status_code, "The job has just been changed by someone else" in again.text) == (400, True)
    assert "Why the sea is calm" in again.text
    assert engine.store.require("later") == record
    assert visitor.post("/jobs/later/edit", page=again.text, **typed).status_code == 303
    assert engine.store.require("later").job.topic == "Why the sea is calm"


def test_new_options_keep_the_playlist_position(visitor: Visitor, engine: Engine) -> None:
    """The form does not show the position in the playlist, so replacing or removing the options keeps it."""
    position = {"schedule": {"list": "abc", "place": 3}}
    engine.store.add("local", new("later", due=1_900_000_000.0, options={ALPHA: {"seed": 1}, **position}))
    form = visitor.client.get("/jobs/later/edit").text
    typed = {
        "topic": "Tides", "style": "documentary", "service": ALPHA, "duration": "8", "aspect_ratio": "9:16",
        "options": '{"alpha": {"seed": 2}}',
    }  # fmt: skip
    asked = visitor.post("/jobs/later/edit", page=form, **typed).text
    visitor.post("/jobs/later/edit", page=asked, sure=terms(asked), **typed)
    assert engine.store.require("later").job.options == {ALPHA: {"seed": 2}, **position}
    assert engine.edit("later", {"options": {}}).job.options == position


def test_a_latest_start_before_the_start_is_refused(engine: Engine) -> None:
    """A new latest start must not lie before the new start, nor before the one that the job keeps."""
    due = 1_900_000_000.0
    engine.store.add("local", new("later", due=due))
    for times in (Times(due + 60, due + 59), Times(start_by=due - 1)):
        with pytest.raises(InvalidInput, match="start_by: lies before the start"):
            engine.reschedule("later", times)
    record = engine.reschedule("later", Times(due + 60, due + 60))
    assert (record.due, record.start_by) == (due + 60, due + 60)


def test_a_scheduled_job_starts_now_after_its_price_was_shown(visitor: Visitor, engine: Engine) -> None:
    """Starting a job now opens a page with the price; only the button there starts it."""
    engine.store.add("local", new("later", due=1_900_000_000.0))
    assert visitor.post("/jobs/later/run-now").headers["Location"] == "/jobs/later/run-now"
    page = visitor.client.get("/jobs/later/run-now").text
    assert "Starting it now costs about $0.14 at alpha." in page
    visitor.post("/jobs/later/run-now", page=page, sure=terms(page))
    assert engine.store.require("later").status is Status.QUEUED


def test_an_expired_job_shows_why(visitor: Visitor, engine: Engine, clock: ManualClock) -> None:
    """The page of an expired job has the reason, and offers a retry."""
    engine.store.add("local", new("late", start_by=clock.now() + 60))
    assert "unless something is bought before" in visitor.client.get("/jobs/late").text
    clock.advance(61)
    assert engine.expire_unstarted() == 1
    page = visitor.client.get("/jobs/late").text
    assert "bought nothing by then" in page
    assert "Expired: it could not start in time" in page
    assert 'href="/jobs/late#retry"' in page


def test_a_ticket_that_was_entered_by_hand_is_no_fact(
    visitor: Visitor, engine: Engine, service: ScriptedService
) -> None:
    """The page says that a person claimed a purchase, and offers to correct it; the service is asked first."""
    hold(engine, service)
    service.checks.append(Transient(ALPHA, "no connection"))
    visitor.post("/jobs/a/ticket", ticket="1/a")
    assert "alpha cannot be asked about the ticket: no connection" in visitor.client.get("/jobs/a").text
    assert status(engine) is Status.HELD
    visitor.post("/jobs/a/ticket", ticket="1/a", force="on")
    assert status(engine) is Status.RENDERING
    page = visitor.client.get("/jobs/a").text
    for words in (
        "Is its ticket correct?",
        "entered by hand as bought at alpha",
        "According to the ticket that was entered by hand, it was bought at alpha for about $0.14",
    ):
        assert words in " ".join(page.split())
    visitor.post("/jobs/a/ticket", ticket="2/a")
    record = engine.store.require("a")
    assert (record.submission.ticket, len(record.purchases)) == (Ticket("2/a"), 1)


def test_the_purchase_of_a_wrong_ticket_is_withdrawn_after_a_retry(
    visitor: Visitor, engine: Engine, service: ScriptedService
) -> None:
    """After a failed ticket and a retry, the page offers to withdraw the purchase that was entered by hand."""
    hold(engine, service)
    service.checks.extend([Failed("too dark"), Failed("too dark")])
    visitor.post("/jobs/a/ticket", ticket="1/a")
    step(engine)
    engine.retry("a")
    assert "withdraw its purchase from the totals" in " ".join(visitor.client.get("/jobs/a").text.split())
    visitor.post("/jobs/a/withdraw")
    assert engine.store.require("a").purchases == ()
    assert "withdraw its purchase" not in visitor.client.get("/jobs/a").text


def test_changed_terms_need_a_new_confirmation(visitor: Visitor, engine: Engine, service: ScriptedService) -> None:
    """If the price has changed since the page was loaded, the action needs another confirmation."""
    service.checks.append(Failed("too dark"))
    step(engine, 2)
    page = visitor.client.get("/jobs/a/retry").text
    for price in (9.0, 0.1401):  # the second is displayed like the first price
        service.price = Cost(usd=price)
        assert visitor.post("/jobs/a/retry", page=page, sure=terms(page)).headers["Location"] == "/jobs/a/retry"
        assert status(engine) is Status.FAILED
    service.price = Cost(usd=9.0)
    assert "about $9.00" in visitor.client.get("/jobs/a/retry").text


def test_a_free_action_needs_no_confirmation(
    visitor: Visitor, engine: Engine, service: ScriptedService, caplog: pytest.LogCaptureFixture
) -> None:
    """One click cancels a waiting job or retries a job with a ticket, and each change is logged."""
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


def test_a_held_job_is_resolved(visitor: Visitor, engine: Engine, service: ScriptedService) -> None:
    """The page says what to search for and where; a ticket, a new order and giving up are all accepted."""
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
            fields["sure"] = terms(visitor.client.get("/jobs/a/resubmit").text)
        visitor.post(f"/jobs/a/{act}", page=page, **fields)
        assert status(engine) is after
        if act == "ticket":
            assert engine.store.require("a").submission.ticket == Ticket("t-9", account="me")
            engine.cancel("a")
            engine.store.update("a", lifecycle.render_stopped)
            engine.retry("a")


def hold(engine: Engine, service: ScriptedService) -> None:
    """Let the job's create end with an unknown outcome."""
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
        ("ticket", {"ticket": "two words"}, "is not marked as unknown"),
    ],
)
def test_a_refusal_is_shown_on_the_page(visitor: Visitor, act: str, fields: dict[str, str], words: str) -> None:
    """An action that is no longer possible and an invalid ticket are refused with the reason on the page."""
    answer = visitor.post(f"/jobs/a/{act}", **fields)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs/a")
    assert words in visitor.client.get("/jobs/a").text
    assert visitor.client.get("/jobs/a/retry").headers["Location"] == "/jobs/a"


# Files.

SIZE = 3 * PIECE
RANGES: list[tuple[str, int, int, int]] = [
    # The requested range, the status, and the first and last byte (exclusive) of the response.
    ("bytes=0-99", 206, 0, 100),
    ("bytes=100-", 206, 100, SIZE),
    ("bytes=0-", 206, 0, SIZE),
    (f"bytes={SIZE - 10}-", 206, SIZE - 10, SIZE),
    ("bytes=-10", 206, SIZE - 10, SIZE),
    (f"bytes={SIZE - 10}-{SIZE + 10}", 206, SIZE - 10, SIZE),
    (f"bytes={PIECE - 3}-{PIECE + 3}", 206, PIECE - 3, PIECE + 4),
    (f"bytes={SIZE}-", 416, 0, 0),
    ("bytes=9-1", 200, 0, SIZE),
    ("bytes=0-1,5-6", 200, 0, SIZE),
    ("lines=1-2", 200, 0, SIZE),
    ("nonsense", 200, 0, SIZE),
]
PLAYED: list[tuple[str, int, int, int]] = [
    ("bytes=0-99", 206, 0, 100),
    ("bytes=0-", 206, 0, PIECE),
    ("bytes=100-", 206, 100, 100 + PIECE),
    (f"bytes={SIZE - 10}-", 206, SIZE - 10, SIZE),
]


@pytest.mark.parametrize("player", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ranges(visitor: Visitor, video: Path, method: str, player: bool) -> None:
    """A client gets the requested range, a player the first piece of a long one; unusable ranges are ignored."""
    content = video.read_bytes() if method == "GET" else b""
    destination = {"Sec_Fetch_Dest": "video"} if player else {}
    for wanted, code, start, stop in PLAYED if player else RANGES:
        answer = fetch(visitor, method=method, Range=wanted, **destination)
        expected = {200: None, 206: f"bytes {start}-{stop - 1}/{SIZE}", 416: f"bytes */{SIZE}"}[code]
        assert (wanted, answer.status_code, answer.headers.get("Content-Range")) == (wanted, code, expected)
        assert answer.data == content[start:stop]
        if code != 416:
            assert int(answer.headers["Content-Length"]) == stop - start


def test_conditions(visitor: Visitor, video: Path) -> None:
    """An unchanged video is a 304; a range of an outdated version returns the whole file."""
    whole = fetch(visitor)
    assert (whole.status_code, whole.data) == (200, video.read_bytes())
    headers = {name: whole.headers[name] for name in ("Content-Type", "Accept-Ranges", "X-Content-Type-Options")}
    assert headers == {"Content-Type": "video/mp4", "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff"}
    assert whole.headers["Cache-Control"] == "private, max-age=300"
    tag, part = whole.headers["ETag"], {"Range": "bytes=0-9"}
    assert fetch(visitor, If_None_Match=tag).status_code == 304
    assert fetch(visitor, **part, If_Range=tag).status_code == 206
    video.write_bytes(b"another")
    assert fetch(visitor, **part, If_Range=tag).data == b"another"
    assert fetch(visitor, If_None_Match=tag).data == b"another"


def test_four_streams_at_once(visitor: Visitor, video: Path) -> None:
    """The fifth stream gets a 503 with `Retry-After`; responses that occupy no thread do not count."""
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


def test_a_response_that_is_never_sent_frees_its_stream(video: Path) -> None:
    """A response that is dropped before it was started occupies no stream."""
    streams = threading.BoundedSemaphore(1)
    request = Request(EnvironBuilder().get_environ())
    with send(request, video, "video/mp4", max_age=0, streams=streams).response.file:  # type: ignore[union-attr]
        pass
    with contextlib.closing(send(request, video, "video/mp4", max_age=0, streams=streams)) as answer:
        assert answer.status_code == 200


def test_captions_deleted_during_a_request_are_not_found(
    visitor: Visitor, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is deleted while it is read is a 404, like a file that was deleted earlier."""
    assert fetch(visitor, "/jobs/a/captions.vtt").text.startswith("WEBVTT")

    def gone(self: Path, *_: object) -> bytes:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(Path, "read_bytes", gone)
    answer = fetch(visitor, "/jobs/a/captions.vtt")
    assert (answer.status_code, "captions.srt of job a cannot be read" in answer.text) == (404, True)


@pytest.mark.parametrize("elsewhere", ["a path", "a link", "a folder", "nonsense"])
def test_no_file_from_elsewhere_is_served(
    visitor: Visitor, engine: Engine, video: Path, tmp_path: Path, elsewhere: str
) -> None:
    """Only files inside the output folder are served, whatever path a record contains."""
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


def test_downloads_have_safe_names(visitor: Visitor, video: Path, engine: Engine) -> None:
    """A download is named after its topic, without reserved characters; captions are also served as WebVTT."""
    answer = fetch(visitor, f"{VIDEO}?download=1")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="Why the sea is salt b a list b.mp4"'
    assert "Content-Disposition" not in fetch(visitor).headers
    assert fetch(visitor, "/jobs/a/metadata?download=1").get_json()["title"].startswith("Why the sea")
    track = fetch(visitor, "/jobs/a/captions.vtt")
    assert track.content_type == "text/vtt; charset=utf-8"
    assert track.text.startswith("WEBVTT\n\n1\n00:00:00.000 --> 00:00:0")


@pytest.mark.parametrize(
    "topic",
    ["How tides work", "Vacuum Bossfight — Victory by Socket", "Don’t panic: a guide", "Cómo ahorrar dinero",
     "Warum wir träumen", "50 € a day", "Łódź in 60 seconds", "🔥 Top 5 AI tools",
     'AT&T "quoted" topic; with semicolon', "日本の" * 100, "ما هذا؟", "con"],
)  # fmt: skip
def test_a_topic_in_any_script_can_be_downloaded(visitor: Visitor, topic: str, video: Path, engine: Engine) -> None:
    """All files of a job can be downloaded, whole or in part; the header is in Latin-1 and names the file."""
    engine.store.update(
        "a", lambda record, now: msgspec.structs.replace(record, job=msgspec.structs.replace(record.job, topic=topic))
    )
    for name, suffix in {"video": ".mp4", "thumbnail": ".jpg", "captions": ".srt", "metadata": ".json"}.items():
        address = f"/jobs/a/{name}?download=1"
        answers = (
            fetch(visitor, address),
            fetch(visitor, address, method="HEAD"),
            fetch(visitor, address, Range="bytes=0-1"),
        )
        assert [answer.status_code for answer in answers] == [200, 200, 206]
        for answer in answers:
            # The test client accepts headers that a server refuses.
            answer.headers["Content-Disposition"].encode("latin-1")
            kind, names = parse_options_header(answer.headers["Content-Disposition"])
            assert (kind, names["filename"]) == ("attachment", file_name(topic, suffix, "a"))


def test_captions_with_markup_are_shown_as_text(visitor: Visitor, video: Path) -> None:
    """A browser shows markup in captions as it is written."""
    (video.parent / "captions.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\n<i>Tom</i> & Jerry --> x\n", "utf-8")
    track = fetch(visitor, "/jobs/a/captions.vtt")
    assert track.text == ("WEBVTT\n\n1\n00:00:00.000 --> 00:00:02.000\n&lt;i&gt;Tom&lt;/i&gt; &amp; Jerry --&gt; x\n")


def test_a_job_without_a_video_has_no_files(visitor: Visitor) -> None:
    """Without a video, the addresses of the files return a 404 with the job's status."""
    answer = fetch(visitor, "/jobs/a/thumbnail")
    assert answer.status_code == 404
    assert "it is queued" in answer.text


def test_a_damaged_order_is_shown_as_text(engine: Engine, visitor: Visitor) -> None:
    """The page of a job whose stored order is no JSON, in a damaged record, is shown with the text."""
    engine.store.add("local", new("damaged"))
    engine.store.update("damaged", lambda record, now: msgspec.structs.replace(record, order='{"prompt'))
    answer = fetch(visitor, "/jobs/damaged")
    assert answer.status_code == 200
    assert "{\\&#34;prompt" in answer.text
