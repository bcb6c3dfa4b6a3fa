"""Adding work on the dashboard: a form, the plan it comes to, and that plan added once."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import StoreUnavailable
from tenxsom_flow_engine.jobs import JobRecord, VideoJob
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import Added, JobFilter, NewJob, WorkerInfo
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.web.app import dashboard_app
from tenxsom_flow_engine.web.dashboard.add_form import MOST_LINES
from tenxsom_flow_engine.web.runtime import NullWorker, OpenRuntime, WorkerRuntime
from tests.dashboard_client import TOKEN, Visitor
from tests.scripted_parts import Script, open_scripted

#: 2026-12-24T12:00:00Z
NOON = 1798113600.0


class Adder(Visitor):
    """A visitor who fills in the form."""

    def fields(self, page: str) -> dict[str, str]:
        """Return the hidden fields of a page's own form."""
        form = page[page.index('enctype="multipart/form-data"') :]
        found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)
        return {name: html.unescape(value) for name, value in found}

    def post(self, path: str, *, page: str | None = None, **fields: Any) -> TestResponse:
        # Not the overview's secret: that page asks services what is left.
        return super().post(path, page=page or self.client.get("/add").text, **fields)

    def plan(self, topics: str, **fields: str) -> TestResponse:
        return self.post("/add", act="plan", topics=topics, **fields)

    def add(self, planned: TestResponse, **changed: str) -> TestResponse:
        """Press the button of a plan's page, after some of its fields were changed."""
        return self.client.post("/add", data=self.fields(planned.text) | {"act": "add"} | changed)

    def told(self, answer: TestResponse) -> str:
        """Return the messages of the page that an answer leads to."""
        page = self.client.get(answer.headers["Location"]).text
        return " ".join(re.findall(r'<p class="notice[^>]*>(.*?)</p>', page, re.DOTALL))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


def opened(home: Path, clock: ManualClock, script: Script | None = None, **environment: str) -> Engine:
    given = {"TENXSOM_HOME": str(home), "USEAPI_TOKEN": "user:1-abc", "USEAPI_BASE_URL": "http://127.0.0.1:1"}
    given |= environment
    return open_scripted(load(given), clock, script or Script())


@pytest.fixture
def script() -> Script:
    """What happens instead of some calls of the engine's queue and store."""
    return Script()


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock, script: Script) -> Iterator[Engine]:
    with opened(tmp_path, clock, script) as engine:
        yield engine


def at(engine: Engine) -> Adder:
    parts = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    visitor = Adder(dashboard_app(parts, queue_type="local", admin=TOKEN).test_client())
    visitor.log_in(TOKEN)
    return visitor


@pytest.fixture
def adder(engine: Engine) -> Adder:
    return at(engine)


def jobs(engine: Engine) -> list[JobRecord]:
    """Return all jobs, oldest first."""
    return list(reversed(engine.store.page(JobFilter(), limit=10_000).records))


def words(page: str) -> str:
    """Return the text of a page as a person reads it."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_one_topic_becomes_one_job(adder: Adder, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """The plan says service, start, price and prompt and adds nothing; the button adds it and leads to the job."""
    caplog.set_level("INFO")
    planned = adder.plan("How tides work", duration="8", channel="sea", quality="720p")
    assert planned.status_code == 200
    told = words(planned.text)
    assert "1 new job, about $0.22" in told
    assert "at once, pixverse, 8 s, $0.22" in told
    assert "How tides work. Realistic documentary footage" in told
    assert jobs(engine) == []
    added = adder.add(planned)
    (record,) = jobs(engine)
    assert (added.status_code, added.headers["Location"]) == (303, f"/jobs/{record.job_id}")
    assert (record.job.topic, record.job.duration, record.job.channel) == ("How tides work", 8, "sea")
    assert "1 job added." in adder.told(added)
    (line,) = [record for record in caplog.records if getattr(record, "audit", "") == "jobs added"]
    assert (line.__dict__["jobs"], line.__dict__["first"]) == (1, record.job_id)


def test_many_lines_become_as_many_jobs_at_their_times(adder: Adder, engine: Engine) -> None:
    """A batch starts where it was asked to, one video after the other, as the plan has shown."""
    planned = adder.plan("Tides\n\n# no topic\nDreams\nSalt\n", start="2026-12-24T18:00", per_hour="4")
    told = words(planned.text)
    assert "3 new jobs" in told
    assert re.findall(r"2026-12-24 18:\d\d UTC", told) == [
        f"2026-12-24 18:{minute} UTC" for minute in ("30", "00", "15", "30")
    ]
    added = adder.add(planned)
    assert added.headers["Location"].startswith("/jobs")
    assert [(record.job.topic, record.due) for record in jobs(engine)] == [
        (topic, NOON + 6 * 3600 + place * 900) for place, topic in enumerate(("Tides", "Dreams", "Salt"))
    ]
    assert "3 jobs added." in adder.told(added)


def test_a_plan_is_added_once(adder: Adder, engine: Engine, tmp_path: Path, clock: ManualClock) -> None:
    """A double click, a reload, and the same page sent to another process later add nothing twice."""
    planned = adder.plan("Tides\nDreams\nSalt", again="on", per_hour="60")
    assert adder.add(planned).status_code == 303
    first = jobs(engine)
    clock.advance(30.0)
    assert adder.add(planned).status_code == 303
    with opened(tmp_path, clock) as other:
        elsewhere = at(other)
        secret = elsewhere.fields(elsewhere.client.get("/add").text)["csrf"]
        clock.advance(86400.0)
        added = elsewhere.add(planned, csrf=secret)
        assert "0 jobs added, 3 known already." in elsewhere.told(added)
    assert jobs(engine) == first


def test_now_to_the_minute_is_at_once(adder: Adder, engine: Engine, clock: ManualClock) -> None:
    """Whoever picks the present minute means now; blanks around what was typed mean nothing."""
    clock.advance(59.0)
    planned = adder.plan("Tides", start="2026-12-24T12:00", channel=" sea ", duration=" 8 ")
    assert "at once, pixverse, 8 s" in words(planned.text)
    assert adder.add(planned).status_code == 303
    assert [record.job.channel for record in jobs(engine)] == ["sea"]


def test_what_is_known_is_told_and_not_paid_for_again(adder: Adder, engine: Engine) -> None:
    """A list that has grown adds what is new; what is known is made again only where that is asked for."""
    adder.add(adder.plan("Tides\nDreams"))
    planned = adder.plan("Tides\nDreams\nSalt")
    assert "1 new job, about $0.14; 2 known already" in words(planned.text)
    assert f'href="/jobs/{jobs(engine)[0].job_id}"' in planned.text
    assert "1 job added, 2 known already." in adder.told(adder.add(planned))
    again = adder.plan("Tides\nDreams\nSalt")
    assert "Nothing is new; 3 known already" in words(again.text)
    assert 'value="add"' not in again.text
    once_more = adder.plan("Tides\nDreams\nSalt", again="on")
    assert "3 new jobs" in words(once_more.text)
    adder.add(once_more)
    assert len(jobs(engine)) == 6


def test_bad_lines_are_told_and_the_good_are_added(adder: Adder, engine: Engine) -> None:
    """Each bad line is shown with its number, reason and text; going back keeps all that was typed."""
    text = '{"topic": "Tides"}\n{"topic": "Dreams", "duration": "long"}\n{"topic": "Salt"\n'
    planned = adder.plan(text, channel="sea", options='{"pixverse": {"seed": 7}}')
    told = words(planned.text)
    assert "2 lines cannot be used" in told
    assert "Line 2 duration: must be a whole number, not 'long'" in told
    assert "Line 3 is not JSON" in told
    assert 'q class="hint">{&#34;topic&#34;: &#34;Salt&#34;<' in planned.text
    back = adder.client.post("/add", data=adder.fields(planned.text) | {"act": "change"}).text
    assert html.escape(text.rstrip(), quote=True).replace("&quot;", "&#34;") in back
    assert 'value="sea"' in back
    assert "{&#34;pixverse&#34;: {&#34;seed&#34;: 7}}" in back
    adder.add(planned)
    assert [record.job.topic for record in jobs(engine)] == ["Tides"]


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("duration", "long", "must be a whole number"),
        ("duration", "0", "must be 1 to 1800 seconds"),
        ("duration", "99", "15 seconds, not 99"),
        ("service", "heygen", "heygen is not configured (see docs/services/heygen.md)"),
        ("service", "nobody", "unknown service"),
        ("aspect_ratio", "2:1", "must be one of 9:16"),
        ("style", "baroque", "must be one of documentary"),
        ("quality", "x" * 41, "at most 40 are allowed"),
        ("channel", "a b", "letters, digits"),
        ("prompt", "x" * 10_001, "at most 10000 are allowed"),
        ("options", "{", "is not JSON"),
        ("options", '{"pixverse": 7}', "must be objects by service"),
        ("options", '{"pixverse": {"seed": "x"}}', "the options are"),
        ("options", '{"nobody": {}}', "unknown service"),
        ("start", "soon", "is not a date and time"),
        ("start", "2026-12-24T11:58", "is past: it is 2026-12-24 12:00 in UTC"),
        ("per_hour", "many", "is not a number such as 4"),
        ("topics", "", "are empty; write one a line"),
        ("topics", "# nothing", "are empty"),
        ("topics", "x" * 501, "no line can be used"),
        ("topics", "a\0b", "is not a text file"),
        ("topics", "x\n" * (MOST_LINES + 1), "5,001 lines, and at most 5,000"),
        ("topics", "x" * 1_000_001, "more than 1,000,000 characters; put them into a file"),
    ],
)
def test_what_is_wrong_is_said_next_to_its_field(
    adder: Adder, engine: Engine, field: str, value: str, why: str
) -> None:
    """A field that cannot be used is sent back marked, with the reason beside it and all that was typed."""
    answer = adder.plan(**({"topics": "Tides", "channel": "sea", "service": "pixverse"} | {field: value}))
    assert answer.status_code == 400
    beside = re.search(rf'<p class="wrong" id="{field}-wrong">(.*?)</p>', answer.text, re.DOTALL)
    assert beside
    assert why in words(beside[1])
    control = re.search(rf'<(?:input|select|textarea) id="{field}"[^>]*>', answer.text)
    assert control
    assert 'aria-invalid="true"' in control[0]
    assert f'aria-describedby="{field}-wrong' in control[0]
    assert field == "channel" or 'value="sea"' in answer.text
    assert jobs(engine) == []


def test_all_that_is_wrong_is_said_at_once(adder: Adder) -> None:
    """Nobody mends a form one field at a time."""
    page = adder.plan("Tides", duration="x", style="y", start="z").text
    assert re.findall(r'class="wrong" id="(\w+)-wrong"', page) == ["duration", "style", "start"]


def test_a_prompt_is_for_one_video(adder: Adder) -> None:
    """The same video is not bought twelve times under twelve names; a line's own prompt is its own."""
    assert "would be made with it" in adder.plan("Tides\nDreams", prompt="A wave.").text
    assert "A wave." in words(adder.plan("Tides", prompt="A wave.\r\nAnd foam.").text)
    own = '{"topic": "Tides"}\n{"topic": "Dreams", "prompt": "A bed."}'
    assert adder.plan(own, prompt="A wave.").status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [("topics", "Tides\nDreams\nMore"), ("service", "draft"), ("salt", "x"), ("planned_at", "1"), ("digest", "x"),
     ("planned_at", "inf"), ("planned_at", "x"), ("duration", "6"), ("again", "on")],
)  # fmt: skip
def test_only_what_was_shown_is_added(adder: Adder, engine: Engine, field: str, value: str) -> None:
    """A plan of which anything was changed is not added but shown anew, and can be added then."""
    planned = adder.plan("Tides\nDreams", again="on" if field == "salt" else "")
    answer = adder.add(planned, **{field: value})
    assert answer.status_code == 409
    assert "this is not the plan that was shown before" in answer.text
    assert jobs(engine) == []
    assert adder.add(answer).status_code == 303


def test_another_price_is_shown_before_anything_is_added(adder: Adder, tmp_path: Path, clock: ManualClock) -> None:
    """After a restart with other prices the plan that was shown is not added at them."""
    planned = adder.plan("Tides", quality="720p")
    with opened(tmp_path, clock, USEAPI_PIXVERSE_PRICES="720p=70") as dearer:
        now = at(dearer)
        answer = now.add(planned, csrf=now.fields(now.client.get("/add").text)["csrf"])
        assert answer.status_code == 409
        assert "about $1.40" in words(answer.text)
        assert jobs(dearer) == []


def test_starts_that_have_gone_by_are_planned_anew(adder: Adder, engine: Engine, clock: ManualClock) -> None:
    """Videos an hour are not begun all together since somebody looked at the plan for long."""
    planned = adder.plan("Tides\nDreams\nSalt", per_hour="4")
    clock.advance(1800.0)
    answer = adder.add(planned)
    assert answer.status_code == 409
    assert "some of its starts have gone by" in answer.text
    adder.add(answer)
    assert [record.due for record in jobs(engine)] == [clock.now(), clock.now() + 900, clock.now() + 1800]


def add_one_and_fail(real: Callable[[list[NewJob]], Added], new: list[NewJob]) -> Added:
    """Add the first job, then meet a store that has gone away."""
    real(new[:1])
    raise StoreUnavailable("the store is locked", next_step="try again")


def test_adding_goes_on_after_a_store_that_fails_in_the_middle(adder: Adder, engine: Engine, script: Script) -> None:
    """What was added stays, the plan is shown again with the reason, and the same button adds the rest."""
    planned = adder.plan("Tides\nDreams\nSalt", per_hour="4")
    script.instead["enqueue"] = add_one_and_fail
    answer = adder.add(planned)
    assert answer.status_code == 503
    assert "the store is locked (try again)" in answer.text
    assert "2 new jobs" in words(answer.text)
    del script.instead["enqueue"]
    assert "2 jobs added, 1 known already." in adder.told(adder.add(answer))
    assert [record.due for record in jobs(engine)] == [NOON, NOON + 900, NOON + 1800]


def test_what_is_made_again_is_made_once_by_a_form(adder: Adder, engine: Engine, script: Script) -> None:
    """Whoever goes back and plans again after a failure pays for nothing twice; a new form makes it once more."""
    planned = adder.plan("Tides\nDreams", again="on")
    script.instead["enqueue"] = add_one_and_fail
    answer = adder.add(planned)
    del script.instead["enqueue"]
    back = adder.client.post("/add", data=adder.fields(answer.text) | {"act": "change"})
    anew = adder.plan("Dreams\nTides", again="on", salt=adder.fields(back.text)["salt"])
    assert "1 new job" in words(anew.text)
    adder.add(anew)
    assert len(jobs(engine)) == 2
    adder.add(adder.plan("Dreams\nTides", again="on"))
    assert len(jobs(engine)) == 4


def test_a_store_that_is_away_loses_nothing_that_was_typed(adder: Adder, script: Script) -> None:
    """The form comes back as it was, with the reason."""

    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("the store is locked", next_step="try again")

    secret = adder.fields(adder.client.get("/add").text)["csrf"]
    script.instead |= dict.fromkeys(("page", "get_each", "queue_state"), away)
    answer = adder.client.post("/add", data={"csrf": secret, "act": "plan", "topics": "Tides", "channel": "sea"})
    assert answer.status_code == 503
    assert "the store is locked (try again)" in answer.text
    assert ">\nTides</textarea>" in answer.text
    assert 'value="sea"' in answer.text


def test_five_thousand_lines(adder: Adder, engine: Engine) -> None:
    """The longest list is planned, shown in part, counted whole and added."""
    topics = "".join(
        f"Why does tide number {n} rise and fall twice a day at the coasts of the sea\r\n" for n in range(5000)
    )
    planned = adder.plan(topics, service="draft")
    told = words(planned.text)
    assert "5,000 new jobs, about $0.00" in told
    assert "and 4,800 jobs more" in told
    assert len(planned.data) < 1_000_000
    assert "5,000 jobs added." in adder.told(adder.add(planned))
    assert engine.store.status_counts().unfinished == 5000


def test_a_form_of_megabytes_is_refused_in_words(adder: Adder) -> None:
    """What no request may hold is answered with the form, and says where any number can be added."""
    answer = adder.plan("x" * 1_200_000)
    assert answer.status_code == 413
    assert "too many to be sent at once" in answer.text
    assert "put them into a file and add that as a batch" in answer.text


def test_a_job_is_made_once_more_with_all_its_fields(adder: Adder, engine: Engine) -> None:
    """Duplicating fills in the form with all that the job was asked for, and adds another job."""
    job = VideoJob(
        job_id="old", topic="# 1 of the sea", prompt="A <wave>.\nFoam.", style="retro", duration=8, aspect_ratio="16:9",
        service="pixverse", quality="720p", channel="sea", options={"pixverse": {"seed": 7}, "schedule": {"place": 1}},
        created_at=NOON,
    )  # fmt: skip
    engine.queue.enqueue([engine.prepare(job).new])
    form = adder.client.get("/add?from=old").text
    assert "A &lt;wave&gt;.\nFoam." in form
    for pressed in range(2):
        typed = {
            name: html.unescape(text)
            for name, text in re.findall(r'<(?:input|textarea) id="(\w+)"[^>]*?(?:value="([^"]*)"|>)', form)
        }
        typed |= {
            name: html.unescape(text)
            for name, text in re.findall(r'<textarea id="(\w+)"[^>]*>\n(.*?)</textarea>', form, re.DOTALL)
        }
        typed |= dict(re.findall(r'<select id="(\w+)".*?value="([^"]*)" selected', form, re.DOTALL))
        assert 'name="again" value="on" aria-describedby="again-hint" checked' in form
        adder.add(adder.plan(**typed, again="on"))
        copy = jobs(engine)[pressed + 1].job
        fields = {name: getattr(copy, name) for name in VideoJob.__struct_fields__} | {"options": copy.options}
        before = {name: getattr(job, name) for name in VideoJob.__struct_fields__}
        assert fields | {"job_id": "", "created_at": 0} == before | {
            "job_id": "", "created_at": 0, "options": {"pixverse": {"seed": 7}}
        }  # fmt: skip


def test_the_form_can_be_filled_in_by_its_address(adder: Adder) -> None:
    """A link may bring any field; a job that is not there any more is said."""
    page = adder.client.get("/add?topic=How+tides+work&service=draft&channel=sea").text
    assert ">\nHow tides work</textarea>" in page
    assert '<option value="draft" selected>' in page
    assert 'value="sea"' in page
    gone = adder.client.get("/add?from=gone%3Cb%3E")
    assert gone.status_code == 200
    assert "There is no job gone&lt;b&gt; any more" in gone.text


def test_the_form_tells_what_there_is(adder: Adder, engine: Engine) -> None:
    """Services that are not configured are shown as such, and the channels of late are offered."""
    adder.add(adder.plan("Tides", channel="sea"))
    page = adder.client.get("/add").text
    assert '<option value="pixverse">pixverse</option>' in page
    assert '<option value="heygen">heygen (not configured)</option>' in page
    assert '<option value="sea"></option>' in page
    assert '<option value="auto" selected>' in page


def test_the_plan_says_what_was_bent_and_what_limits_do(adder: Adder) -> None:
    """What a service cannot make as asked is said for each job and in sum, and so is how long limits hold jobs up."""
    told = words(adder.plan("\n".join("abcdefghijkl"), service="pixverse", duration="17").text)
    assert told.count("duration 15 instead of 17, which pixverse does not support") == 13
    assert "which pixverse does not support (12 jobs)" in told
    assert (
        "pixverse may be asked for 1 in a second, 10 in a minute and 100 in an hour, so the last of 12 jobs begins "
        "1 min 1 s after its start at the earliest." in told
    )
    assert "may be asked for" not in words(adder.plan("a\nb", service="pixverse", per_hour="4").text)


def test_jobs_without_a_worker_are_said_to_wait(adder: Adder, engine: Engine) -> None:
    """Where no worker runs that would take them, the message says so."""
    assert "No worker is running" in adder.told(adder.add(adder.plan("Tides")))
    engine.store.heartbeat(WorkerInfo("w", "local", "here", 1, 1, NOON, NOON))
    assert "No worker is running" not in adder.told(adder.add(adder.plan("Dreams")))


def test_the_same_list_is_known_to_the_command_line_and_here(adder: Adder, engine: Engine) -> None:
    """What was added with the command `batch` is known here, under the same id."""
    adder.add(adder.plan('{"topic": "d", "duration": 8}'))
    assert [record.job_id for record in jobs(engine)] == ["d-47a013f17b472251"]
