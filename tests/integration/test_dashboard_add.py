"""Adding jobs on the dashboard: the form, the preview of its plan, and adding that plan once."""

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
    """A visitor that fills in the form."""

    def fields(self, page: str) -> dict[str, str]:
        """Return the hidden fields of the form of a page."""
        form = page[page.index('enctype="multipart/form-data"') :]
        found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)
        return {name: html.unescape(value) for name, value in found}

    def post(self, path: str, *, page: str | None = None, **fields: Any) -> TestResponse:
        # The token of `/add`: loading the overview would fetch the balances of the services.
        return super().post(path, page=page or self.client.get("/add").text, **fields)

    def plan(self, topics: str, **fields: str) -> TestResponse:
        return self.post("/add", act="plan", topics=topics, **fields)

    def add(self, planned: TestResponse, **changed: str) -> TestResponse:
        """Submit the form of a preview, with some of its fields changed."""
        return self.client.post("/add", data=self.fields(planned.text) | {"act": "add"} | changed)

    def messages(self, answer: TestResponse) -> str:
        """Return the messages of the page that a response redirects to."""
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
    """Scripted replacements for calls of the engine's queue and store."""
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
    """Return the visible text of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_one_topic_becomes_one_job(adder: Adder, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """The preview shows service, start, price and prompt and adds nothing; its button adds the job and opens it."""
    caplog.set_level("INFO")
    planned = adder.plan("How tides work", duration="8", channel="sea", quality="720p")
    assert planned.status_code == 200
    text = words(planned.text)
    assert "1 new job, about $0.22" in text
    assert "now, pixverse, 8 s, $0.22" in text
    assert "How tides work. Realistic documentary footage" in text
    assert jobs(engine) == []
    added = adder.add(planned)
    (record,) = jobs(engine)
    assert (added.status_code, added.headers["Location"]) == (303, f"/jobs/{record.job_id}")
    assert (record.job.topic, record.job.duration, record.job.channel) == ("How tides work", 8, "sea")
    assert "1 job added." in adder.messages(added)
    (line,) = [record for record in caplog.records if getattr(record, "audit", "") == "jobs added"]
    assert (line.__dict__["jobs"], line.__dict__["first"]) == (1, record.job_id)


def test_each_line_becomes_a_job_with_its_start(adder: Adder, engine: Engine) -> None:
    """A batch begins at the requested start, and its jobs follow at the requested rate, as the preview shows."""
    planned = adder.plan("Tides\n\n# no topic\nDreams\nSalt\n", start="2026-12-24T18:00", per_hour="4")
    text = words(planned.text)
    assert "3 new jobs" in text
    assert re.findall(r"2026-12-24 18:\d\d UTC", text) == [
        f"2026-12-24 18:{minute} UTC" for minute in ("30", "00", "15", "30")
    ]
    added = adder.add(planned)
    assert added.headers["Location"].startswith("/jobs")
    assert [(record.job.topic, record.due) for record in jobs(engine)] == [
        (topic, NOON + 6 * 3600 + place * 900) for place, topic in enumerate(("Tides", "Dreams", "Salt"))
    ]
    assert "3 jobs added." in adder.messages(added)


def test_a_plan_is_added_once(adder: Adder, engine: Engine, tmp_path: Path, clock: ManualClock) -> None:
    """A double click, a reload, and a later submit of the same page to another process add no job twice."""
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
        assert "0 jobs added; 3 already existed." in elsewhere.messages(added)
    assert jobs(engine) == first


def test_the_current_minute_means_now(adder: Adder, engine: Engine, clock: ManualClock) -> None:
    """A start in the current minute means now; surrounding spaces in fields are ignored."""
    clock.advance(59.0)
    planned = adder.plan("Tides", start="2026-12-24T12:00", channel=" sea ", duration=" 8 ")
    assert "now, pixverse, 8 s" in words(planned.text)
    assert adder.add(planned).status_code == 303
    assert [record.job.channel for record in jobs(engine)] == ["sea"]


def test_topics_added_before_are_skipped(adder: Adder, engine: Engine) -> None:
    """A longer list adds only its new topics, unless duplicates are allowed."""
    adder.add(adder.plan("Tides\nDreams"))
    planned = adder.plan("Tides\nDreams\nSalt")
    assert "1 new job, about $0.14; 2 already added" in words(planned.text)
    assert f'href="/jobs/{jobs(engine)[0].job_id}"' in planned.text
    assert "1 job added; 2 already existed." in adder.messages(adder.add(planned))
    again = adder.plan("Tides\nDreams\nSalt")
    assert "No new jobs; 3 already added" in words(again.text)
    assert 'value="add"' not in again.text
    once_more = adder.plan("Tides\nDreams\nSalt", again="on")
    assert "3 new jobs" in words(once_more.text)
    adder.add(once_more)
    assert len(jobs(engine)) == 6


def test_invalid_lines_are_listed_and_the_others_are_added(adder: Adder, engine: Engine) -> None:
    """Each invalid line is listed with its number, reason and text; going back keeps the typed fields."""
    text = '{"topic": "Tides"}\n{"topic": "Dreams", "duration": "long"}\n{"topic": "Salt"\n'
    planned = adder.plan(text, channel="sea", options='{"pixverse": {"seed": 7}}')
    shown = words(planned.text)
    assert "2 invalid lines:" in shown
    assert "Line 2 duration: must be a whole number, not 'long'" in shown
    assert "Line 3 is not JSON" in shown
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
        ("service", "unknown", "unknown service"),
        ("aspect_ratio", "2:1", "must be one of 9:16"),
        ("style", "baroque", "must be one of documentary"),
        ("quality", "x" * 41, "at most 40 are allowed"),
        ("channel", "a b", "letters, digits"),
        ("prompt", "x" * 10_001, "at most 10000 are allowed"),
        ("options", "{", "is not JSON"),
        ("options", '{"pixverse": 7}', "must be objects by service"),
        ("options", '{"pixverse": {"seed": "x"}}', "the options are"),
        ("options", '{"unknown": {}}', "unknown service"),
        ("start", "soon", "is not a date and time such as"),
        ("start", "2026-12-24T11:58", "is in the past: it is 2026-12-24 12:00 UTC now"),
        ("per_hour", "many", "is not a number such as 4"),
        ("topics", "", "are empty; write one per line"),
        ("topics", "# nothing", "are empty"),
        ("topics", "[" + '"x",' * MOST_LINES + '"x"]', "have more than 5,000 entries"),
        ("topics", '["Tides', "is not JSON"),
        ("past", "ignore", "must be now or skip"),
        ("start", "2026-12-24 18.30", "has no colon"),
        ("topics", "x" * 501, "have no valid line"),
        ("topics", "a\0b", "is not a text file"),
        ("topics", "x\n" * (MOST_LINES + 1), "5,001 lines; the maximum is 5,000 per request"),
        ("topics", "x" * 1_000_001, "more than 1,000,000 characters; put them into a file"),
    ],
)
def test_an_invalid_field_is_marked_with_the_reason(
    adder: Adder, engine: Engine, field: str, value: str, why: str
) -> None:
    """The form comes back with its values; an invalid field is marked, and the reason is next to it."""
    answer = adder.plan(**({"topics": "Tides", "channel": "sea", "service": "pixverse"} | {field: value}))
    assert answer.status_code == 400
    reason = re.search(rf'<p class="wrong" id="{field}-wrong">(.*?)</p>', answer.text, re.DOTALL)
    assert reason
    assert why in words(reason[1])
    control = re.search(rf'<(?:input|select|textarea) id="{field}"[^>]*>', answer.text)
    assert control
    assert 'aria-invalid="true"' in control[0]
    assert f'aria-describedby="{field}-wrong' in control[0]
    assert field == "channel" or 'value="sea"' in answer.text
    assert jobs(engine) == []


def test_all_invalid_fields_are_reported_together(adder: Adder) -> None:
    """One response reports every invalid field."""
    page = adder.plan("Tides", duration="x", style="y", start="z").text
    assert re.findall(r'class="wrong" id="(\w+)-wrong"', page) == ["duration", "style", "start"]


def test_a_prompt_is_for_one_video(adder: Adder) -> None:
    """A prompt for several topics is rejected, unless each line has its own prompt."""
    assert "would use it" in adder.plan("Tides\nDreams", prompt="A wave.").text
    assert "A wave." in words(adder.plan("Tides", prompt="A wave.\r\nAnd foam.").text)
    own = '{"topic": "Tides"}\n{"topic": "Dreams", "prompt": "A bed."}'
    assert adder.plan(own, prompt="A wave.").status_code == 200


def test_a_script_is_for_one_video(adder: Adder, engine: Engine) -> None:
    """A script for several topics is rejected; one that the service does not use is noted in the plan."""
    assert "is for one video, but 2 would use it" in adder.plan("Tides\nDreams", script="It rolls.").text
    planned = adder.plan("Tides", script="It rolls.\r\nIt breaks.")
    assert "pixverse neither shows nor speaks the script" in planned.text
    adder.add(planned)
    (record,) = jobs(engine)
    assert record.job.script == "It rolls.\nIt breaks."
    assert "It rolls.\nIt breaks." in html.unescape(adder.client.get(f"/jobs/{record.job_id}").text)


def test_an_empty_duration_is_the_default_one(adder: Adder, engine: Engine) -> None:
    """Without a duration, a draft is as long as its script takes to read, and other videos have five seconds."""
    script = "Tides rise and tides fall. " * 12
    assert re.search(r"draft, 2\d s", words(adder.plan("Tides", script=script, service="draft").text))
    assert "pixverse, 5 s" in words(adder.plan("Tides", script=script).text)
    adder.add(adder.plan("Tides", script=script, service="draft"))
    assert jobs(engine)[0].job.duration in range(20, 30)


@pytest.mark.parametrize(
    ("field", "value"),
    [("topics", "Tides\nDreams\nMore"), ("service", "draft"), ("salt", "x"), ("planned_at", "1"), ("digest", "x"),
     ("planned_at", "inf"), ("planned_at", "x"), ("duration", "6"), ("again", "on")],
)  # fmt: skip
def test_only_the_previewed_plan_is_added(adder: Adder, engine: Engine, field: str, value: str) -> None:
    """If a field of a preview has changed, nothing is added; the new plan is shown and can then be added."""
    planned = adder.plan("Tides\nDreams", again="on" if field == "salt" else "")
    answer = adder.add(planned, **{field: value})
    assert answer.status_code == 409
    assert "the plan has changed since it was shown" in answer.text
    assert jobs(engine) == []
    assert adder.add(answer).status_code == 303


def test_another_price_is_shown_before_anything_is_added(adder: Adder, tmp_path: Path, clock: ManualClock) -> None:
    """A plan is not added after a restart with other prices; the new price is shown first."""
    planned = adder.plan("Tides", quality="720p")
    with opened(tmp_path, clock, USEAPI_PIXVERSE_PRICES="720p=70") as restarted:
        now = at(restarted)
        answer = now.add(planned, csrf=now.fields(now.client.get("/add").text)["csrf"])
        assert answer.status_code == 409
        assert "about $1.40" in words(answer.text)
        assert jobs(restarted) == []


def test_passed_starts_are_planned_again(adder: Adder, engine: Engine, clock: ManualClock) -> None:
    """If starts pass while the preview is open, the jobs are planned again instead of all starting together."""
    planned = adder.plan("Tides\nDreams\nSalt", per_hour="4")
    clock.advance(1800.0)
    answer = adder.add(planned)
    assert answer.status_code == 409
    assert "some of its start times have passed" in answer.text
    adder.add(answer)
    assert [record.due for record in jobs(engine)] == [clock.now(), clock.now() + 900, clock.now() + 1800]


CALENDAR = "topic\tat\nTides\t2025-12-24T12:00\nDreams\t2025-12-25T12:00\nSalt\t2099-12-24T12:00\n"


def test_times_in_the_past_need_a_choice(adder: Adder, engine: Engine) -> None:
    """The preview counts and lists times in the past, and adds nothing before the choice to start or skip them."""
    planned = adder.plan(CALENDAR)
    text = words(planned.text)
    assert "The times of 2 jobs lie in the past, so nothing can be added yet:" in text
    assert "Line 2 2025-12-24 12:00 UTC" in text
    assert '<bdi dir="auto"><q class="hint">Tides' in planned.text
    assert 'value="add"' not in planned.text
    answer = adder.add(planned)
    assert answer.status_code == 409
    assert "Nothing was added: the times of its jobs lie in the past." in answer.text
    assert jobs(engine) == []
    chosen = adder.client.post("/add", data=adder.fields(planned.text) | {"act": "plan", "past": "skip"})
    assert "they are left out" in words(chosen.text)
    adder.add(chosen)
    assert [record.job.topic for record in jobs(engine)] == ["Salt"]
    started = adder.plan(CALENDAR, past="now")
    assert "they will start as if no time were set" in words(started.text)
    assert "2 new jobs, about $0.28; 1 already added" in words(started.text)
    adder.add(started)
    assert [(record.job.topic, record.due) for record in jobs(engine)][1:] == [("Tides", NOON), ("Dreams", NOON)]
    again = adder.plan(CALENDAR)
    assert "No new jobs; 3 already added" in words(again.text)
    assert "lie in the past" not in again.text


def test_a_list_that_is_skipped_completely_adds_nothing(adder: Adder, engine: Engine) -> None:
    """If all jobs are left out, the preview has no button, and submitting it anyway adds nothing."""
    planned = adder.plan("topic;at\nTides;2025-12-24T12:00\n", past="skip")
    assert "No new jobs" in words(planned.text)
    assert adder.add(planned).status_code == 409
    assert jobs(engine) == []


def test_a_pasted_table_with_other_columns(adder: Adder, engine: Engine) -> None:
    """Unknown columns of a table copied from a spreadsheet are named; by choice the rest is added."""
    table = "Topic\tNotes\tAspect Ratio\n#1 of 5\tfor Ann\t09:16\n\t\t\n"
    refused = adder.plan(table)
    assert refused.status_code == 400
    assert "has the unknown column 'Notes'" in words(refused.text)
    assert "or select “Ignore unknown columns and fields”" in words(refused.text)
    planned = adder.plan(table, ignore_unknown="on")
    assert "Unknown fields left out: Notes." in words(planned.text)
    adder.add(planned)
    assert [(record.job.topic, record.job.aspect_ratio) for record in jobs(engine)] == [("#1 of 5", "9:16")]
    lines = words(adder.plan('{"topic": "a", "notes": "x"}\n{"topic": "b"}\n').text)
    assert "Line 1 has an unknown field 'notes'" in lines
    assert "To leave out unknown fields, select" in lines


def test_comments_are_counted(adder: Adder) -> None:
    """The preview counts the comment lines of a list."""
    assert "2 comment lines skipped." in words(adder.plan("# a list\nTides\n#MeToo explained\n#\n").text)


def add_one_and_fail(real: Callable[[list[NewJob]], Added], new: list[NewJob]) -> Added:
    """Add the first job, then fail because the store is unavailable."""
    real(new[:1])
    raise StoreUnavailable("the store is locked", next_step="try again")


def test_adding_continues_after_a_failure_of_the_store(adder: Adder, engine: Engine, script: Script) -> None:
    """Jobs added before a failure stay; the preview shows the reason, and its button adds the rest."""
    planned = adder.plan("Tides\nDreams\nSalt", per_hour="4")
    script.instead["enqueue"] = add_one_and_fail
    answer = adder.add(planned)
    assert answer.status_code == 503
    assert "the store is locked (try again)" in answer.text
    assert "2 new jobs" in words(answer.text)
    del script.instead["enqueue"]
    assert "2 jobs added; 1 already existed." in adder.messages(adder.add(answer))
    assert [record.due for record in jobs(engine)] == [NOON, NOON + 900, NOON + 1800]


def test_one_form_adds_its_duplicates_once(adder: Adder, engine: Engine, script: Script) -> None:
    """Submitting an edited form again after a failure adds no duplicate twice; a new form adds them once more."""
    planned = adder.plan("Tides\nDreams", again="on")
    script.instead["enqueue"] = add_one_and_fail
    answer = adder.add(planned)
    del script.instead["enqueue"]
    back = adder.client.post("/add", data=adder.fields(answer.text) | {"act": "change"})
    edited = adder.plan("Dreams\nTides", again="on", salt=adder.fields(back.text)["salt"])
    assert "1 new job" in words(edited.text)
    adder.add(edited)
    assert len(jobs(engine)) == 2
    adder.add(adder.plan("Dreams\nTides", again="on"))
    assert len(jobs(engine)) == 4


def test_the_form_survives_an_unavailable_store(adder: Adder, script: Script) -> None:
    """If the store is unavailable, the form comes back with its values and the reason."""

    def unavailable(*_: object, **__: object) -> None:
        raise StoreUnavailable("the store is locked", next_step="try again")

    secret = adder.fields(adder.client.get("/add").text)["csrf"]
    script.instead |= dict.fromkeys(("page", "get_each", "queue_state"), unavailable)
    answer = adder.client.post("/add", data={"csrf": secret, "act": "plan", "topics": "Tides", "channel": "sea"})
    assert answer.status_code == 503
    assert "the store is locked (try again)" in answer.text
    assert ">\nTides</textarea>" in answer.text
    assert 'value="sea"' in answer.text


def test_five_thousand_lines(adder: Adder, engine: Engine) -> None:
    """A list of maximum length is previewed in part, counted completely, and added."""
    topics = "".join(
        f"Why does tide number {n} rise and fall twice a day at the coasts of the sea\r\n" for n in range(5000)
    )
    planned = adder.plan(topics, service="draft")
    text = words(planned.text)
    assert "5,000 new jobs, about $0.00" in text
    assert "and 4,800 jobs more" in text
    assert len(planned.data) < 1_000_000
    assert "5,000 jobs added." in adder.messages(adder.add(planned))
    assert engine.store.status_counts().unfinished == 5000


def test_an_oversized_form_is_refused_with_a_reason(adder: Adder) -> None:
    """A request that is too large returns the form with a hint to use the command `batch`."""
    answer = adder.plan("x" * 1_200_000)
    assert answer.status_code == 413
    assert "too many for one request" in answer.text
    assert "put them into a file and add it with the command batch" in answer.text


def test_a_job_is_duplicated_with_all_its_fields(adder: Adder, engine: Engine) -> None:
    """Duplicating fills in the form with all settings of the job, and adds another job."""
    job = VideoJob(
        job_id="old", topic="# 1 of the sea", prompt="A <wave>.\nFoam.", script="It <rolls>.\nIt breaks.",
        style="retro", duration=8, aspect_ratio="16:9",
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
    """An address can set any field; a job that no longer exists is reported."""
    page = adder.client.get("/add?topic=How+tides+work&service=draft&channel=sea").text
    assert ">\nHow tides work</textarea>" in page
    assert '<option value="draft" selected>' in page
    assert 'value="sea"' in page
    gone = adder.client.get("/add?from=gone%3Cb%3E")
    assert gone.status_code == 200
    assert "Job gone&lt;b&gt; no longer exists" in gone.text


def test_the_form_lists_services_and_channels(adder: Adder, engine: Engine) -> None:
    """The form marks services that are not configured, and suggests recent channels."""
    adder.add(adder.plan("Tides", channel="sea"))
    page = adder.client.get("/add").text
    assert '<option value="pixverse">pixverse</option>' in page
    assert '<option value="heygen">heygen (not configured)</option>' in page
    assert '<option value="sea"></option>' in page
    assert '<option value="auto" selected>' in page


def test_the_preview_shows_adjustments_and_delays(adder: Adder) -> None:
    """The preview shows adjustments for each job and in total, and the delay that limits cause."""
    text = words(adder.plan("\n".join("abcdefghijkl"), service="pixverse", duration="17").text)
    assert text.count("duration 15 instead of 17, which pixverse does not support") == 13
    assert "which pixverse does not support (12 jobs)" in text
    assert (
        "pixverse: the limit is 1 in a second, 10 in a minute and 100 in an hour, so the last of 12 jobs begins at "
        "least 1 min 1 s after its start time." in text
    )
    assert "the limit is" not in words(adder.plan("a\nb", service="pixverse", per_hour="4").text)


def test_a_message_warns_if_no_worker_runs(adder: Adder, engine: Engine) -> None:
    """If no worker is running, the message after adding jobs says so."""
    assert "No worker is running" in adder.messages(adder.add(adder.plan("Tides")))
    engine.store.heartbeat(WorkerInfo("w", "local", "here", 1, 1, NOON, NOON))
    assert "No worker is running" not in adder.messages(adder.add(adder.plan("Dreams")))


def test_a_message_warns_if_the_queue_is_paused(adder: Adder, engine: Engine) -> None:
    """If the queue is paused, the message after adding jobs says that they wait."""
    engine.queue.pause()
    assert "The queue is paused" in adder.messages(adder.add(adder.plan("Tides")))
    engine.queue.resume()
    assert "The queue is paused" not in adder.messages(adder.add(adder.plan("Dreams")))


def test_the_form_and_the_command_line_compute_the_same_ids(adder: Adder, engine: Engine) -> None:
    """A line gets the same job id from the form as from the command `batch`."""
    adder.add(adder.plan('{"topic": "d", "duration": 8}'))
    assert [record.job_id for record in jobs(engine)] == ["d-47a013f17b472251"]
