"""The dashboard's list of jobs, and bulk actions."""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from werkzeug.datastructures import MultiDict

from tenxsom_flow_engine.composition import Overrides
from tenxsom_flow_engine.engine import Engine
from tenxsom_flow_engine.errors import InvalidInput, StoreUnavailable
from tenxsom_flow_engine.jobs import Cost, JobRecord, Status, Ticket, VideoJob
from tenxsom_flow_engine.jobs.outcomes import Dead, Held, Terms
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.operations.bulk import Act, matching
from tenxsom_flow_engine.settings import load
from tenxsom_flow_engine.store.values import JobFilter, ListBounds
from tenxsom_flow_engine.testing.clock import ManualClock
from tenxsom_flow_engine.testing.samples import ALPHA, FAILURE, a_claim, new
from tenxsom_flow_engine.testing.services import ScriptedService
from tenxsom_flow_engine.timings import Timings
from tenxsom_flow_engine.web.app import dashboard_app
from tenxsom_flow_engine.web.dashboard.bulk import MAX_JOBS
from tenxsom_flow_engine.web.dashboard.search import Search
from tenxsom_flow_engine.web.runtime import NullWorker, OpenRuntime, WorkerRuntime
from tests.dashboard_client import TOKEN, Visitor
from tests.scripted_parts import Script, open_scripted


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def script() -> Script:
    """Scripted replacements for calls of the engine's queue and store."""
    return Script()


@pytest.fixture
def engine(tmp_path: Path, clock: ManualClock, script: Script) -> Iterator[Engine]:
    with opened(tmp_path, clock, script) as engine:
        yield engine


def opened(home: Path, clock: ManualClock, script: Script, timings: Timings = Timings()) -> Engine:
    services = {ALPHA: ScriptedService(clock, price=Cost(usd=0.25))}
    settings, overrides = load({"TENXSOM_HOME": str(home)}), Overrides(timings=timings)
    # A page examines few records, so that a short list can end early.
    bounds = ListBounds(page=60, count=50_000)
    return open_scripted(settings, clock, script, services=services, overrides=overrides, bounds=bounds)


@pytest.fixture
def visitor(engine: Engine) -> Visitor:
    return at(engine)


def at(engine: Engine) -> Visitor:
    parts = WorkerRuntime(lambda: OpenRuntime(engine, NullWorker()))
    return Visitor.let_in(dashboard_app(parts, queue_type="local", admin=TOKEN).test_client())


def failed(engine: Engine, *names: str, bought: str = "", channel: str = "fun") -> None:
    """Add jobs and let them fail: with nothing bought, with a ticket, or with an order of unknown outcome."""
    store = engine.store
    store.add("local", new(*names, channel=channel))
    for name in names:
        (record,) = store.claim(a_claim(only=name)).records
        if bought:
            intent = Intent(submission_id=record.job_id, service=ALPHA, lifetime=9e9)
            store.intend(record.job_id, record.lease_token, intent)
        if bought == "ticket":
            store.accept(record.job_id, Receipt(submission_id=record.job_id, ticket=Ticket("t"), lifetime=9e9))
        if bought == "unknown":
            store.mark_unknown(record.job_id, submission_id=record.job_id, reason="time-out")
        store.settle(record.job_id, record.lease_token, Dead(FAILURE))


def text_of(page: str) -> str:
    """Return the text of a page, without tags and extra spaces."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def rows(page: str) -> list[str]:
    """Return the ids of the jobs that a page lists."""
    return re.findall(r'id="pick-([^"]+)"', page)


def field(page: str, name: str) -> str:
    """Return the value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found
    return html.unescape(found[1])


def statuses(engine: Engine) -> dict[str, str]:
    """Return the status of each job."""
    return {record.job_id: str(record.status) for record in engine.store.page(JobFilter(), limit=100).records}


def test_each_condition_of_the_address_narrows_the_list(visitor: Visitor, engine: Engine, clock: ManualClock) -> None:
    """Status, service, channel, day (UTC) and text in the address filter the list, which is newest first."""
    failed(engine, "a1", "a2")
    clock.advance(86400)
    failed(engine, "a3", channel="sea")
    engine.store.add("local", new("b1", "b2", channel="sea", service="auto", topic="Red fox"))

    def listed(query: str) -> list[str]:
        return rows(visitor.client.get(f"/jobs?{query}").text)

    assert listed("") == ["b2", "b1", "a3", "a2", "a1"]
    assert listed("status=failed") == ["a3", "a2", "a1"]
    assert listed("status=failed&channel=sea") == ["a3"]
    assert listed("status=failed&status=queued&channel=sea") == ["b2", "b1", "a3"]
    assert listed("service=auto") == ["b2", "b1"]
    assert listed("text=FOX") == ["b2", "b1"]
    assert listed("day=2027-01-15") == ["a2", "a1"]
    assert listed("day=2027-01-16&text=a") == ["a3"]


def test_the_form_shows_the_filters_of_the_address(visitor: Visitor, engine: Engine) -> None:
    """The form shows the filters of the address, and the status links keep the other filters."""
    failed(engine, "a")
    page = visitor.client.get("/jobs?status=failed&channel=fun&service=alpha&text=sea&day=2027-01-15").text
    for name, value in {"channel": "fun", "text": "sea", "day": "2027-01-15", "status": "failed"}.items():
        assert re.search(rf'name="{name}"[^>]* value="{value}"', page), name
    assert "<option selected>alpha</option>" in page
    assert 'href="/jobs?status=held&amp;service=alpha&amp;channel=fun&amp;day=2027-01-15&amp;text=sea"' in page


@pytest.mark.parametrize("query", ["status=lost", "day=yesterday", "day=2026-02-30", "after=x"])
def test_an_invalid_filter_is_refused(visitor: Visitor, query: str) -> None:
    """An invalid status, day or cursor in the address is an error with the reason."""
    answer = visitor.client.get(f"/jobs?{query}")
    assert answer.status_code == 400
    assert query.split("=")[0].replace("after", "cursor") in text_of(answer.text)


def test_a_row_summarizes_a_job(visitor: Visitor, engine: Engine) -> None:
    """A row has status, linked topic, service, channel, times, cost, attempts and the error message."""
    failed(engine, "a", bought="ticket")
    page = visitor.client.get("/jobs").text
    text = text_of(page)
    assert 'href="/jobs/a"' in page
    for words in ("failed", "Why the sea is salt", ALPHA, "fun", FAILURE.message, "ended"):
        assert words in text


def test_pages_follow_one_another(visitor: Visitor, engine: Engine) -> None:
    """Each page links to older jobs with the same filters, until none are left, and to the newest page."""
    engine.store.add("local", new(*(f"j{number}" for number in range(120)), channel="fun"))
    seen, address = [], "/jobs?channel=fun"
    while address:
        page = visitor.client.get(address).text
        seen += rows(page)
        assert ('id="newest"' in page) is ("after=" in address)
        onward = re.search(r'id="older" rel="next"\s+href="([^"]*)"', page)
        address = html.unescape(onward[1]) if onward else ""
    assert seen == [f"j{number}" for number in reversed(range(120))]


def test_a_search_that_ends_early_says_so(visitor: Visitor, engine: Engine) -> None:
    """If only the newest jobs were searched, the page says so and links to older ones."""
    engine.store.add("local", new("needle", *(f"straw-{number}" for number in range(80))))
    page = visitor.client.get("/jobs?text=needle").text
    assert ("None of the newest jobs match" in text_of(page), "Search older jobs" in page) == (True, True)
    assert "No jobs match" not in page
    further = re.search(r'id="older" rel="next"\s+href="([^"]*)"', page)
    assert further
    assert rows(visitor.client.get(html.unescape(further[1])).text) == ["needle"]


def test_empty_lists_say_what_to_do(visitor: Visitor, engine: Engine) -> None:
    """Without jobs the page links to the form; if none match, a link shows all jobs."""
    assert '<a href="/add">add jobs here</a>' in visitor.client.get("/jobs?status=failed").text
    engine.store.add("local", new("a"))
    page = visitor.client.get("/jobs?status=failed&channel=fun").text
    assert "There are no failed jobs of channel fun" in text_of(page)
    assert "See all jobs" in page


def test_status_counts_are_hidden_with_other_filters(visitor: Visitor, engine: Engine) -> None:
    """The status links show counts only without other filters, because the counts ignore those."""
    failed(engine, "a", "b")
    assert "failed 2" in text_of(visitor.client.get("/jobs?status=held").text)
    assert "failed 2" not in text_of(visitor.client.get("/jobs?channel=sea").text)


def test_many_are_retried_after_the_price_was_shown(
    visitor: Visitor, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """A bulk retry shows number, filter and price first; after the confirmation it queues and logs each job."""
    failed(engine, "a", "b", "c")
    failed(engine, "paid", bought="ticket")
    failed(engine, "unknown", bought="unknown")
    failed(engine, "other", channel="sea")
    asked = visitor.client.get("/bulk?act=retry&all=1&channel=fun").text
    text = text_of(asked)
    assert "Retry 4 jobs?" in text
    assert "jobs of channel fun" in text
    assert "3 will be ordered again , for about $0.75" in text
    assert "1 will continue from its ticket" in text
    assert "1 of them cannot be retried" in text
    assert "it is unknown whether its paid create was accepted" in text
    assert set(statuses(engine).values()) == {"failed"}
    caplog.set_level(logging.INFO)
    answer = visitor.post("/bulk", page=asked, sure="yes", act="retry", channel="fun", jobs=field(asked, "jobs"))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs?channel=fun")
    assert statuses(engine) == {
        "a": "queued", "b": "queued", "c": "queued", "paid": "rendering", "unknown": "failed", "other": "failed"
    }  # fmt: skip
    assert "4 jobs were queued again." in text_of(visitor.client.get("/jobs").text)
    audited = [vars(record) for record in caplog.records if "audit" in vars(record)]
    assert sorted(line["job_id"] for line in audited if line["audit"] == "job retry") == ["a", "b", "c", "paid"]
    (line,) = [line for line in audited if line["audit"] == "jobs retry"]
    assert (line["done"], line["refused"], line["search"]) == (4, 0, "jobs of channel fun")


def test_only_the_jobs_shown_are_changed(visitor: Visitor, engine: Engine) -> None:
    """A job that matches only later is not changed; one whose state has changed is refused with the reason."""
    failed(engine, "a", "b")
    asked = visitor.client.get("/bulk?act=retry&all=1&status=failed").text
    failed(engine, "later")
    engine.retry("a")
    visitor.post("/bulk", page=asked, sure="yes", act="retry", status="failed", jobs=field(asked, "jobs"))
    assert statuses(engine) == {"a": "queued", "b": "queued", "later": "failed"}
    text = text_of(visitor.client.get("/jobs").text)
    assert "1 job was queued again." in text
    assert "1 refused: job a is queued; only failed and cancelled jobs can be retried" in text


def test_selected_jobs_are_cancelled(visitor: Visitor, engine: Engine) -> None:
    """Selected jobs are cancelled if possible, after a page that says how many of them were bought."""
    engine.store.add("local", new("a", "b", "c"))
    record = engine.store.claim(a_claim(only="b")).records[0]
    engine.store.intend(
        "b", record.lease_token, Intent(submission_id="s", service=ALPHA, lifetime=9e9, max_in_flight=9)
    )
    engine.store.settle("b", record.lease_token, Held(FAILURE))
    failed(engine, "over")
    asked = visitor.post("/bulk", act="cancel", job=["b", "c", "over"]).text
    text = text_of(asked)
    assert "Cancel 2 jobs?" in text
    assert "1 will be removed from the queue. Nothing has been charged." in text
    assert "1 was bought, or might have been" in text
    visitor.post("/bulk", page=asked, sure="yes", act="cancel", jobs=field(asked, "jobs"))
    found = statuses(engine)
    assert (found["b"], found["c"], found["over"]) == ("cancelled", "cancelled", "failed")


@pytest.mark.parametrize("query", ["act=retry", "act=retry&all=1", "act=cancel&status=failed"])
def test_a_bulk_action_needs_a_selection(visitor: Visitor, engine: Engine, query: str) -> None:
    """Without selected jobs, or with all jobs and no filter, a bulk action is refused."""
    failed(engine, "a")
    answer = visitor.client.get(f"/bulk?{query}")
    assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (303, "/jobs")
    assert "Nothing was done" in visitor.client.get("/jobs").text
    with pytest.raises(InvalidInput):
        next(matching(engine.store, JobFilter(queue="local")))


def test_a_long_bulk_action_is_split(
    visitor: Visitor, engine: Engine, tmp_path: Path, clock: ManualClock, script: Script
) -> None:
    """A request that reaches its time limit offers to continue with exactly the remaining jobs."""
    failed(engine, "a", "b", "c")
    asked = visitor.client.get("/bulk?act=retry&all=1&status=failed").text
    sent = {"sure": "yes", "act": "retry", "status": "failed"}
    with opened(tmp_path, clock, script, Timings(bulk_request=-1.0)) as hurried:
        page = at(hurried).post("/bulk", jobs=field(asked, "jobs"), **sent).text
    assert "2 jobs are left" in text_of(page)
    assert list(statuses(engine).values()).count("queued") == 1
    assert visitor.post("/bulk", page=asked, jobs=field(page, "jobs"), **sent).status_code == 303
    assert set(statuses(engine).values()) == {"queued"}


def test_a_partial_result_is_reported_if_the_store_fails(
    visitor: Visitor, engine: Engine, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """If the store fails half-way, page and log report the jobs changed so far, and the page offers the rest."""
    failed(engine, "a", "b", "c")
    asked = visitor.client.get("/bulk?act=retry&all=1&status=failed").text

    def retry(real: Callable[..., JobRecord], job_id: str, changes: Terms | None) -> JobRecord:
        if job_id == "b":
            raise StoreUnavailable("the store does not answer")
        return real(job_id, changes)

    script.instead["retry"] = retry
    caplog.set_level(logging.INFO)
    page = visitor.post("/bulk", page=asked, sure="yes", act="retry", status="failed", jobs=field(asked, "jobs")).text
    text = text_of(page)
    for words in ("the store does not answer", "1 job was queued again.", "2 jobs are left"):
        assert words in text
    assert field(page, "jobs") == "b a"
    (line,) = (vars(record) for record in caplog.records if getattr(record, "audit", "") == "jobs retry")
    assert (line["done"], line["left"]) == (1, 2)


def test_the_size_of_a_bulk_action_is_limited(visitor: Visitor, engine: Engine) -> None:
    """With more matching jobs than the limit, the page acts on the newest and shows the total."""
    engine.store.add("local", new(*(f"job-{number}" for number in range(MAX_JOBS + 1))))
    engine.store.cancel_waiting("local", MAX_JOBS + 1)
    text = text_of(visitor.client.get("/bulk?act=retry&all=1&status=cancelled").text)
    assert "Retry 1,000 jobs?" in text
    assert "These are the newest of 1,001;" in text


@pytest.mark.parametrize("act", Act)
def test_the_preview_of_a_bulk_action_predicts_its_refusals(act: Act, engine: Engine) -> None:
    """For jobs in every status, the preview predicts correctly whether a retry or cancellation is refused."""
    failed(engine, "nothing-bought")
    failed(engine, "paid", bought="ticket")
    failed(engine, "unknown", bought="unknown")
    engine.store.add("local", [*new("queued", "taken", "gone"), *new("later", due=engine.store.now() + 99)])
    engine.store.claim(a_claim(only="taken"))
    engine.store.cancel("gone")
    for record in engine.store.page(JobFilter(), limit=50).records:
        refusal = act.refusal(record, engine.store.now())
        assert refusal is not None or record.status in act.statuses
        if refusal is None:
            act.on(engine)(record.job_id)
        else:
            with pytest.raises(type(refusal), match=re.escape(refusal.message)):
                act.on(engine)(record.job_id)


def test_a_search_round_trips_through_an_address() -> None:
    """A search written into an address reads back as the same search, and has a description."""
    search = Search((Status.FAILED, Status.HELD), "pixverse", "fun", "2026-12-24", "a & b")
    pairs = [
        (name, one) for name, value in search.fields.items() for one in ([value] if isinstance(value, str) else value)
    ]
    assert Search.read(MultiDict(pairs)) == search
    assert search.words == (
        "failed or held jobs of channel fun, at pixverse, with “a & b” in topic or id, added on 2026-12-24 (UTC)"
    )


def test_a_job_that_bought_nothing_shows_no_cost(visitor: Visitor, engine: Engine) -> None:
    """The expected cost of a job is shown until the job ends without a purchase."""
    job = VideoJob(job_id="a", topic="Tides", service=ALPHA, created_at=1.0)
    engine.store.add("local", [engine.prepare(job).new])
    assert "about $0.25" in visitor.client.get("/jobs").text
    assert "$0.25" in visitor.client.get("/jobs/a").text
    engine.store.cancel("a")
    assert "about $0.25" not in visitor.client.get("/jobs").text
    assert "Expected" not in visitor.client.get("/jobs/a").text
