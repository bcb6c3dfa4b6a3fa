"""The dashboard's list of jobs, and acting on many of them, asked as a browser does."""

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
from tenxsom_flow_engine.jobs import Cost, JobRecord, Status, Ticket
from tenxsom_flow_engine.jobs.outcomes import Dead, Held
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
    """What happens instead of some calls of the engine's queue and store."""
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
    """Add jobs and let them fail: with nothing bought, with a ticket, or with an order of which nobody knows."""
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
    """Return the words of a page, without its marks and superfluous blanks."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def rows(page: str) -> list[str]:
    """Return the ids of the jobs that a page lists."""
    return re.findall(r'id="pick-([^"]+)"', page)


def field(page: str, name: str) -> str:
    """Return what a hidden field of a page holds."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found
    return html.unescape(found[1])


def statuses(engine: Engine) -> dict[str, str]:
    """Return where each job stands."""
    return {record.job_id: str(record.status) for record in engine.store.page(JobFilter(), limit=100).records}


def test_each_condition_of_the_address_narrows_the_list(visitor: Visitor, engine: Engine, clock: ManualClock) -> None:
    """Status, service, channel, day (UTC) and text in the address say together which jobs are listed, newest first."""
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


def test_the_form_holds_what_the_address_says(visitor: Visitor, engine: Engine) -> None:
    """An address that was shared shows the same conditions in the form, and links of statuses keep the others."""
    failed(engine, "a")
    page = visitor.client.get("/jobs?status=failed&channel=fun&service=alpha&text=sea&day=2027-01-15").text
    for name, value in {"channel": "fun", "text": "sea", "day": "2027-01-15", "status": "failed"}.items():
        assert re.search(rf'name="{name}"[^>]* value="{value}"', page), name
    assert "<option selected>alpha</option>" in page
    assert 'href="/jobs?status=held&amp;service=alpha&amp;channel=fun&amp;day=2027-01-15&amp;text=sea"' in page


@pytest.mark.parametrize("query", ["status=lost", "day=yesterday", "day=2026-02-30", "after=x"])
def test_a_condition_that_cannot_be_is_refused(visitor: Visitor, query: str) -> None:
    """An address with a status, day or place that cannot be is answered with what is wrong, not with a wrong list."""
    answer = visitor.client.get(f"/jobs?{query}")
    assert answer.status_code == 400
    assert query.split("=")[0].replace("after", "cursor") in text_of(answer.text)


def test_a_row_tells_what_matters(visitor: Visitor, engine: Engine) -> None:
    """A row holds status, topic with its link, service, channel, times, cost, attempts and the error's sentence."""
    failed(engine, "a", bought="ticket")
    page = visitor.client.get("/jobs").text
    told = text_of(page)
    assert 'href="/jobs/a"' in page
    for words in ("failed", "Why the sea is salt", ALPHA, "fun", FAILURE.message, "over"):
        assert words in told


def test_pages_follow_one_another(visitor: Visitor, engine: Engine) -> None:
    """Each page leads to older jobs under the same conditions until there are none, and back to the newest."""
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
    """Where only the newest jobs were looked at, the page says so and leads further, and not that nothing matches."""
    engine.store.add("local", new("needle", *(f"straw-{number}" for number in range(80))))
    page = visitor.client.get("/jobs?text=needle").text
    assert ("None of the latest jobs matched" in text_of(page), "Look further" in page) == (True, True)
    assert "No jobs match" not in page
    further = re.search(r'id="older" rel="next"\s+href="([^"]*)"', page)
    assert further
    assert rows(visitor.client.get(html.unescape(further[1])).text) == ["needle"]


def test_empty_lists_say_what_to_do(visitor: Visitor, engine: Engine) -> None:
    """Without jobs the page says where to add some; where none match, a link shows all."""
    assert '<a href="/add">add work here</a>' in visitor.client.get("/jobs?status=failed").text
    engine.store.add("local", new("a"))
    page = visitor.client.get("/jobs?status=failed&channel=fun").text
    assert "There are no failed jobs of channel fun" in text_of(page)
    assert "See all jobs" in page


def test_counts_stand_at_the_statuses_only_where_they_are_right(visitor: Visitor, engine: Engine) -> None:
    """Statuses carry their numbers of jobs, but not beside other conditions, which these do not count."""
    failed(engine, "a", "b")
    assert "failed 2" in text_of(visitor.client.get("/jobs?status=held").text)
    assert "failed 2" not in text_of(visitor.client.get("/jobs?channel=sea").text)


def test_many_are_retried_after_the_price_was_shown(
    visitor: Visitor, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """All that match are put in again once number, filter and price were shown, and the log tells of it."""
    failed(engine, "a", "b", "c")
    failed(engine, "paid", bought="ticket")
    failed(engine, "unknown", bought="unknown")
    failed(engine, "other", channel="sea")
    asked = visitor.client.get("/bulk?act=retry&all=1&channel=fun").text
    told = text_of(asked)
    assert "Retry 4 jobs?" in told
    assert "jobs of channel fun" in told
    assert "3 are bought again , for about $0.75 or more" in told
    assert "1 goes on from its ticket" in told
    assert "1 of them cannot be retried" in told
    assert "it is unknown whether its paid create was accepted" in told
    assert set(statuses(engine).values()) == {"failed"}
    caplog.set_level(logging.INFO)
    answer = visitor.post("/bulk", page=asked, sure="yes", act="retry", channel="fun", jobs=field(asked, "jobs"))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/jobs?channel=fun")
    assert statuses(engine) == {
        "a": "queued", "b": "queued", "c": "queued", "paid": "rendering", "unknown": "failed", "other": "failed"
    }  # fmt: skip
    assert "4 jobs were put in again." in text_of(visitor.client.get("/jobs").text)
    told_of = [vars(record) for record in caplog.records if "audit" in vars(record)]
    assert sorted(line["job_id"] for line in told_of if line["audit"] == "job retry") == ["a", "b", "c", "paid"]
    (line,) = [line for line in told_of if line["audit"] == "jobs retry"]
    assert (line["done"], line["refused"], line["search"]) == (4, 0, "jobs of channel fun")


def test_no_other_job_is_touched_than_those_that_were_shown(visitor: Visitor, engine: Engine) -> None:
    """A job that has come to match since is left alone; one that has gone on is refused with the reason."""
    failed(engine, "a", "b")
    asked = visitor.client.get("/bulk?act=retry&all=1&status=failed").text
    failed(engine, "later")
    engine.retry("a")
    visitor.post("/bulk", page=asked, sure="yes", act="retry", status="failed", jobs=field(asked, "jobs"))
    assert statuses(engine) == {"a": "queued", "b": "queued", "later": "failed"}
    told = text_of(visitor.client.get("/jobs").text)
    assert "1 job was put in again." in told
    assert "Not done for 1: job a is queued; only failed and cancelled jobs can be retried" in told


def test_those_that_were_ticked_are_cancelled(visitor: Visitor, engine: Engine) -> None:
    """Of the jobs that were chosen one by one those that can be are cancelled, and it is said what was bought."""
    engine.store.add("local", new("a", "b", "c"))
    record = engine.store.claim(a_claim(only="b")).records[0]
    engine.store.intend(
        "b", record.lease_token, Intent(submission_id="s", service=ALPHA, lifetime=9e9, max_in_flight=9)
    )
    engine.store.settle("b", record.lease_token, Held(FAILURE))
    failed(engine, "over")
    asked = visitor.post("/bulk", act="cancel", job=["b", "c", "over"]).text
    told = text_of(asked)
    assert "Cancel 2 jobs?" in told
    assert "1 is taken out of the queue. Nothing was bought." in told
    assert "For 1 something was bought, or may be" in told
    visitor.post("/bulk", page=asked, sure="yes", act="cancel", jobs=field(asked, "jobs"))
    found = statuses(engine)
    assert (found["b"], found["c"], found["over"]) == ("cancelled", "cancelled", "failed")


@pytest.mark.parametrize("query", ["act=retry", "act=retry&all=1", "act=cancel&status=failed"])
def test_nobody_acts_on_every_job_by_mistake(visitor: Visitor, engine: Engine, query: str) -> None:
    """Without chosen jobs, or with all of them under no condition, nothing is asked and nothing is done."""
    failed(engine, "a")
    answer = visitor.client.get(f"/bulk?{query}")
    assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (303, "/jobs")
    assert "Nothing was done" in visitor.client.get("/jobs").text
    with pytest.raises(InvalidInput):
        next(matching(engine.store, JobFilter(queue="local")))


def test_what_takes_long_is_done_in_parts(
    visitor: Visitor, engine: Engine, tmp_path: Path, clock: ManualClock, script: Script
) -> None:
    """A request that has acted for some seconds offers to continue with exactly those that are left."""
    failed(engine, "a", "b", "c")
    asked = visitor.client.get("/bulk?act=retry&all=1&status=failed").text
    sent = {"sure": "yes", "act": "retry", "status": "failed"}
    with opened(tmp_path, clock, script, Timings(bulk_request=-1.0)) as hurried:
        page = at(hurried).post("/bulk", jobs=field(asked, "jobs"), **sent).text
    assert "2 jobs are left" in text_of(page)
    assert list(statuses(engine).values()).count("queued") == 1
    assert visitor.post("/bulk", page=asked, jobs=field(page, "jobs"), **sent).status_code == 303
    assert set(statuses(engine).values()) == {"queued"}


def test_what_was_done_before_the_store_went_away_is_told(
    visitor: Visitor, engine: Engine, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the store goes away in the middle, page and log say what was done, and the page goes on with the rest."""
    failed(engine, "a", "b", "c")
    asked = visitor.client.get("/bulk?act=retry&all=1&status=failed").text

    def retry(real: Callable[[str], JobRecord], job_id: str) -> JobRecord:
        if job_id == "b":
            raise StoreUnavailable("the store does not answer")
        return real(job_id)

    script.instead["retry"] = retry
    caplog.set_level(logging.INFO)
    page = visitor.post("/bulk", page=asked, sure="yes", act="retry", status="failed", jobs=field(asked, "jobs")).text
    told = text_of(page)
    for words in ("the store does not answer", "1 job was put in again.", "2 jobs are left"):
        assert words in told
    assert field(page, "jobs") == "b a"
    (line,) = (vars(record) for record in caplog.records if getattr(record, "audit", "") == "jobs retry")
    assert (line["done"], line["left"]) == (1, 2)


def test_a_question_is_about_so_many_jobs_only(visitor: Visitor, engine: Engine) -> None:
    """Of more jobs than one request may act on the newest are meant, and the page says how many there are."""
    engine.store.add("local", new(*(f"job-{number}" for number in range(MAX_JOBS + 1))))
    engine.store.cancel_waiting("local", MAX_JOBS + 1)
    told = text_of(visitor.client.get("/bulk?act=retry&all=1&status=cancelled").text)
    assert "Retry 1,000 jobs?" in told
    assert "These are the newest of 1,001;" in told


@pytest.mark.parametrize("act", Act)
def test_an_act_is_refused_exactly_where_the_rules_of_a_job_refuse_it(act: Act, engine: Engine) -> None:
    """Jobs in every status: those that a plan says can be retried or cancelled are those that then are."""
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


def test_a_search_is_written_as_it_is_read() -> None:
    """What a search writes into an address is read back as the same search, and it says in words what it asks for."""
    search = Search((Status.FAILED, Status.HELD), "pixverse", "fun", "2026-12-24", "a & b")
    pairs = [
        (name, one) for name, value in search.fields.items() for one in ([value] if isinstance(value, str) else value)
    ]
    assert Search.read(MultiDict(pairs)) == search
    assert search.words == (
        "failed or held jobs of channel fun, at pixverse, with “a & b” in topic or id, added on 2026-12-24 (UTC)"
    )
