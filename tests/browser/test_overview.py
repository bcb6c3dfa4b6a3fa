"""The overview: how things are, as they are, and the switches."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tenxsom_flow_engine.jobs import Status
from tenxsom_flow_engine.testing.samples import new
from tests.browser.page import Visitor
from tests.browser.seeded_app import Installation


def tile(page: Page, name: str) -> int:
    """Read a number of the overview."""
    return int(page.locator(".tile", has_text=name).locator(".value").inner_text())


def test_it_shows_what_the_store_holds(visitor: Visitor, untouched: Installation) -> None:
    """The tiles hold the store's counts, and what needs a person comes first."""
    page = visitor.open()
    counts = untouched.engine.store.status_counts().by_status
    for name, status in {"Rendering": Status.RENDERING, "Scheduled": Status.SCHEDULED, "Failed": Status.FAILED,
                         "Held": Status.HELD}.items():  # fmt: skip
        assert tile(page, name) == counts[status] > 0
    expect(page.locator("#verdict .headline")).to_contain_text(f"{counts[Status.HELD]} jobs are held")
    for service in ("pixverse", "ltx_studio", "heygen"):
        expect(page.get_by_role("article", name=service)).to_contain_text("bought")
    expect(page.get_by_role("article", name="heygen")).to_contain_text("the bill is being looked at")


@pytest.mark.parametrize("java_script", [True, False])
def test_the_queue_is_paused_and_resumed(operator: Visitor, own: Installation, java_script: bool) -> None:
    """One press pauses the queue and one resumes it, with and without JavaScript; the page says so each time."""
    page = operator.open(java_script=java_script)
    page.get_by_role("button", name="Pause the queue").click()
    expect(page.get_by_role("button", name="Resume the queue")).to_be_visible()
    assert own.engine.queue.status().paused
    expect(page.locator("#verdict")).to_contain_text("paused")
    page.get_by_role("button", name="Resume the queue").click()
    expect(page.get_by_role("button", name="Pause the queue")).to_be_visible()
    assert not own.engine.queue.status().paused


def test_a_service_is_resumed_and_paused(operator: Visitor, own: Installation) -> None:
    """A service that was paused by hand goes on at one press, and another one pauses it."""
    page = operator.open()
    card = page.get_by_role("article", name="heygen")
    card.get_by_role("button", name="Resume heygen").click()
    expect(card.locator(".chip")).to_have_text("open")
    assert own.engine.limiter.opens_at("heygen") <= own.engine.store.now()
    card.get_by_role("button", name="Pause heygen").click()
    expect(card.locator(".chip")).to_have_text("paused")
    assert own.engine.limiter.opens_at("heygen") == float("inf")


def test_what_happens_shows_without_a_reload(operator: Visitor, own: Installation) -> None:
    """A video that gets done meanwhile is counted on the open page, which keeps its focus and what was opened."""
    page = operator.open()
    page.get_by_text("As a table").click()
    page.locator("#queue-switch").focus()
    page.evaluate("window.loaded = 'once'")
    done, rendering = tile(page, "Done today"), tile(page, "Rendering")
    own.finish_one()
    expect(page.locator(".tile", has_text="Done today").locator(".value")).to_have_text(str(done + 1))
    assert tile(page, "Rendering") == rendering - 1
    assert page.evaluate("window.loaded") == "once"
    expect(page.locator("#day-table")).to_have_attribute("open", "")
    expect(page.locator("#queue-switch")).to_be_focused()


def test_a_worker_that_is_away_is_told_and_its_return_too(operator: Visitor, own: Installation) -> None:
    """While the worker restarts the page says that it shows the past, and goes on by itself when it is back."""
    page = operator.open()
    page.evaluate("window.loaded = 'once'")
    away = page.locator("#offline")
    expect(away).to_be_hidden()
    with operator.outage():
        own.kill()
        _look_now(page)
        _look_now(page)
        expect(away).to_contain_text("The worker does not answer")
        page.get_by_role("button", name="Pause the queue").click()
        expect(away).to_contain_text("nothing was sent")
        own.start()
        _look_now(page)
        expect(away).to_be_hidden()
    assert page.evaluate("window.loaded") == "once"
    assert not own.engine.queue.status().paused


def test_the_focus_stays_where_it_is_also_on_links_and_summaries(operator: Visitor, own: Installation) -> None:
    """Who goes along the page by keyboard is not thrown back to its begin when something changes."""
    page = operator.open()
    for place in (page.locator("#day-table summary"), page.get_by_role("article", name="ltx_studio").locator("dd a")):
        place.focus()
        done = tile(page, "Done today")
        # Both parts are new, and not only the numbers of one.
        page.evaluate("document.querySelectorAll('[data-live]').forEach(one => one.dataset.old = 'yes')")
        own.finish_one()
        expect(page.locator(".tile", has_text="Done today").locator(".value")).to_have_text(str(done + 1))
        expect(page.locator("#day[data-old], #services[data-old]")).to_have_count(0)
        expect(place).to_be_focused()


def test_a_press_counts_though_the_page_changes_under_it(operator: Visitor, own: Installation) -> None:
    """A button that is pressed just before news come does what it says."""
    page = operator.open()
    asked: list[Route] = []
    page.route("**/health", lambda route: asked.append(route))
    page.get_by_role("button", name="Pause the queue").click()
    own.until(lambda: page.evaluate("1") and bool(asked), "the question whether the worker is there")
    own.engine.limiter.pause("ltx_studio", "a test")  # which stands beside the button
    with page.expect_response("**/"):
        _look_now(page)
    with page.expect_navigation():
        asked[0].continue_()
    expect(page.get_by_role("button", name="Resume the queue")).to_be_visible()
    assert own.engine.queue.status().paused
    own.engine.queue.resume()
    own.engine.limiter.resume("ltx_studio")


def test_news_are_said_to_those_who_cannot_see_them_and_numbers_are_not(operator: Visitor, own: Installation) -> None:
    """A screen reader hears a new verdict once, and not every number that changes in an old one."""
    page = operator.open()
    said, verdict = page.locator("#said"), page.locator("#verdict .headline")
    scheduled = tile(page, "Scheduled")
    own.engine.store.add("cloud_tasks", new("another", due=own.engine.store.now() + 9e6))
    expect(page.locator("#tile-scheduled .value")).to_have_text(str(scheduled + 1))
    expect(said).to_be_empty()
    own.engine.limiter.pause("ltx_studio", "a test")
    expect(said).to_have_text(verdict.inner_text())
    own.engine.limiter.resume("ltx_studio")


def test_a_time_of_today_is_one_of_yesterday_after_midnight(visitor: Visitor) -> None:
    """A page that stays open over midnight does not let yesterday's times pass for today's."""
    page = visitor.open()
    time = page.locator("#coming time").first
    today = time.inner_text()
    page.evaluate(
        """{ const now = Date.now;
          globalThis.Date = class extends Date {
            constructor(...given) { super(...(given.length ? given : [now() + 9 * 86400000])); }
          } } 0"""
    )
    _look_now(page)
    expect(time).not_to_have_text(today)


def test_the_page_of_a_proxy_is_not_taken_for_the_workers(visitor: Visitor) -> None:
    """What stands before the worker may answer for it while it restarts: the page keeps what it shows, and says so."""
    page = visitor.open()
    page.route("**/", lambda route: route.fulfill(status=200, content_type="text/html", body="<p>Back soon</p>"))
    _look_now(page)
    _look_now(page)
    expect(page.locator("#offline")).to_contain_text("answers with an error")
    expect(page.locator("#verdict")).to_be_visible()


def _look_now(page: Page) -> None:
    """Have a page look for news without waiting for its time."""
    with page.expect_request("**/"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
