"""The overview in the browser: its figures, live updates and buttons."""

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


def test_it_shows_the_counts_of_the_store(visitor: Visitor, untouched: Installation) -> None:
    """The tiles show the store's counts, and the headline is the most serious verdict."""
    page = visitor.open()
    counts = untouched.engine.store.status_counts().by_status
    for name, status in {"Rendering": Status.RENDERING, "Scheduled": Status.SCHEDULED, "Failed": Status.FAILED,
                         "Held": Status.HELD}.items():  # fmt: skip
        assert tile(page, name) == counts[status] > 0
    expect(page.locator("#verdict .headline")).to_contain_text(f"{counts[Status.HELD]} jobs need a decision")
    for service in ("pixverse", "ltx_studio", "heygen"):
        expect(page.get_by_role("article", name=service)).to_contain_text("bought")
    expect(page.get_by_role("article", name="heygen")).to_contain_text("checking the last bill")


@pytest.mark.parametrize("java_script", [True, False])
def test_the_queue_is_paused_and_resumed(operator: Visitor, own: Installation, java_script: bool) -> None:
    """One click pauses the queue and one resumes it, with and without JavaScript; the page shows each change."""
    page = operator.open(java_script=java_script)
    page.get_by_role("button", name="Pause the queue").click()
    expect(page.get_by_role("button", name="Resume the queue")).to_be_visible()
    assert own.engine.queue.status().paused
    expect(page.locator("#verdict")).to_contain_text("paused")
    page.get_by_role("button", name="Resume the queue").click()
    expect(page.get_by_role("button", name="Pause the queue")).to_be_visible()
    assert not own.engine.queue.status().paused


def test_a_service_is_resumed_and_paused(operator: Visitor, own: Installation) -> None:
    """One click resumes a paused service, and another one pauses it."""
    page = operator.open()
    card = page.get_by_role("article", name="heygen")
    card.get_by_role("button", name="Resume heygen").click()
    expect(card.locator(".chip")).to_have_text("open")
    assert own.engine.limiter.opens_at("heygen") <= own.engine.store.now()
    card.get_by_role("button", name="Pause heygen").click()
    expect(card.locator(".chip")).to_have_text("paused")
    assert own.engine.limiter.opens_at("heygen") == float("inf")


def test_changes_appear_without_a_reload(operator: Visitor, own: Installation) -> None:
    """The open page counts a finished video, and keeps its focus and open details."""
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


def test_an_outage_of_the_worker_is_shown(operator: Visitor, own: Installation) -> None:
    """While the worker is down the page says that it is outdated; afterwards it refreshes automatically."""
    page = operator.open()
    page.evaluate("window.loaded = 'once'")
    offline = page.locator("#offline")
    expect(offline).to_be_hidden()
    with operator.outage():
        own.kill()
        _refresh(page)
        _refresh(page)
        expect(offline).to_contain_text("The worker does not answer")
        page.get_by_role("button", name="Pause the queue").click()
        expect(offline).to_contain_text("nothing was sent")
        own.start()
        _refresh(page)
        expect(offline).to_be_hidden()
    assert page.evaluate("window.loaded") == "once"
    assert not own.engine.queue.status().paused


def test_a_refresh_keeps_the_focus_on_links_and_summaries(operator: Visitor, own: Installation) -> None:
    """A refresh does not move the keyboard focus."""
    page = operator.open()
    for place in (page.locator("#day-table summary"), page.get_by_role("article", name="ltx_studio").locator("dd a")):
        place.focus()
        done = tile(page, "Done today")
        # Check that both elements were replaced.
        page.evaluate("document.querySelectorAll('[data-live]').forEach(one => one.dataset.old = 'yes')")
        own.finish_one()
        expect(page.locator(".tile", has_text="Done today").locator(".value")).to_have_text(str(done + 1))
        expect(page.locator("#day[data-old], #services[data-old]")).to_have_count(0)
        expect(place).to_be_focused()


def test_a_click_works_during_a_refresh(operator: Visitor, own: Installation) -> None:
    """A button that is clicked just before a refresh still works."""
    page = operator.open()
    checks: list[Route] = []
    page.route("**/health", lambda route: checks.append(route))
    page.get_by_role("button", name="Pause the queue").click()
    own.until(lambda: page.evaluate("1") and bool(checks), "the health check before the submit")
    own.engine.limiter.pause("ltx_studio", "a test")  # changes the element that contains the button
    with page.expect_response("**/"):
        _refresh(page)
    with page.expect_navigation():
        checks[0].continue_()
    expect(page.get_by_role("button", name="Resume the queue")).to_be_visible()
    assert own.engine.queue.status().paused
    own.engine.queue.resume()
    own.engine.limiter.resume("ltx_studio")


def test_new_verdicts_are_announced_to_screen_readers(operator: Visitor, own: Installation) -> None:
    """Screen readers announce a new verdict, but not every changed number."""
    page = operator.open()
    announced, verdict = page.locator("#said"), page.locator("#verdict .headline")
    scheduled = tile(page, "Scheduled")
    own.engine.store.add("cloud_tasks", new("another", due=own.engine.store.now() + 9e6))
    expect(page.locator("#tile-scheduled .value")).to_have_text(str(scheduled + 1))
    expect(announced).to_be_empty()
    own.engine.limiter.pause("ltx_studio", "a test")
    expect(announced).to_have_text(verdict.inner_text())
    own.engine.limiter.resume("ltx_studio")


def test_times_get_a_date_after_midnight(visitor: Visitor) -> None:
    """On a page that is open over midnight, the times of the previous day get a date."""
    page = visitor.open()
    time = page.locator("#coming time").first
    today = time.inner_text()
    page.evaluate(
        """{ const now = Date.now;
          globalThis.Date = class extends Date {
            constructor(...given) { super(...(given.length ? given : [now() + 9 * 86400000])); }
          } } 0"""
    )
    _refresh(page)
    expect(time).not_to_have_text(today)


def test_the_page_of_a_proxy_is_an_outage(visitor: Visitor) -> None:
    """If a proxy answers in place of the worker, the page keeps its content and reports an error."""
    page = visitor.open()
    page.route("**/", lambda route: route.fulfill(status=200, content_type="text/html", body="<p>Back soon</p>"))
    _refresh(page)
    _refresh(page)
    expect(page.locator("#offline")).to_contain_text("answers with an error")
    expect(page.locator("#verdict")).to_be_visible()


def _refresh(page: Page) -> None:
    """Make a page refresh immediately."""
    with page.expect_request("**/"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_a_channel_is_paused_and_resumed(operator: Visitor, own: Installation) -> None:
    """The channels of the month have their figures; one click pauses a channel, and one resumes it."""
    page = operator.open()
    row = page.get_by_role("row", name="deep-sea")
    expect(row.locator("td").nth(1)).not_to_have_text("0")
    row.get_by_role("button", name="Pause deep-sea").click()
    expect(row.locator(".chip")).to_have_text("paused")
    assert own.engine.store.channel("deep-sea").paused
    row.get_by_role("button", name="Resume deep-sea").click()
    expect(row.get_by_role("button", name="Pause deep-sea")).to_be_visible()
    assert not own.engine.store.channel("deep-sea").paused
