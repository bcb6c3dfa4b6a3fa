"""The overview: how things are, as they are, and the switches."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tenxsom_flow_engine.jobs import Status
from tests.browser.installation import Installation
from tests.browser.visitor import Visitor


def tile(page: Page, name: str) -> int:
    """Read a number of the overview."""
    return int(page.locator(".tile", has_text=name).locator(".value").inner_text())


def test_it_shows_what_the_store_holds(visitor: Visitor, untouched: Installation) -> None:
    """The tiles hold the store's counts, and what needs a person comes first."""
    page = visitor.open()
    counts = untouched.engine.store.counts().by_status
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


def _look_now(page: Page) -> None:
    """Have a page look for news without waiting for its time."""
    with page.expect_request("**/"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
