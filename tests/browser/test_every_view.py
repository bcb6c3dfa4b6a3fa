"""Every view fits all widths and is accessible."""

from __future__ import annotations

from itertools import groupby

import pytest
from playwright.sync_api import Page, expect

from tenxsom_flow_engine.jobs import Status
from tests.browser.page import Visitor, assert_fits
from tests.browser.seeded_app import Installation

#: Views by name; a job's is that of the newest job of a status.
VIEWS = {
    "login": "/login", "overview": "/", "jobs": "/jobs", "no jobs": "/jobs?channel=none", "add": "/add",
    "endpoints": "/endpoints",
    "question": "/bulk?act=retry&all=1&status=failed", "unknown job": "/jobs/no-such-job",
} | {
    f"{status} job": status for status in (Status.SUCCEEDED, Status.FAILED, Status.HELD, Status.RENDERING)
}  # fmt: skip
#: All focusable elements, in the order of the page. Queried again each time, because live elements are replaced.
_USABLE = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, video")]
  .filter(one => one.checkVisibility() && !one.disabled && one.type !== "hidden")"""
#: Maximum number of additional tab stops inside video controls and date fields.
_PARTS = 16
#: Index of the focused element, whether it is visible and uncovered, and whether it has a focus outline.
_HERE = """() => {
  const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  const above = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
  const seen = above !== null && (one.contains(above) || above.contains(one));
  return [usable().indexOf(one), seen, style.outlineStyle !== "none" && style.outlineWidth !== "0px"];
}"""


@pytest.fixture(params=VIEWS)
def view(request: pytest.FixtureRequest, visitor: Visitor, untouched: Installation) -> Page:
    """Each view, open."""
    where = VIEWS[request.param]
    visitor.watched.expected = {404} if request.param == "unknown job" else set()
    path = f"/jobs/{untouched.newest(where).job_id}" if isinstance(where, Status) else where
    return visitor.open(path, logged_in=request.param != "login")


def test_a_view_fits_and_is_accessible(view: Page) -> None:
    """No view scrolls sideways from 360 pixels on, and axe-core finds no serious problem in either colour scheme."""
    assert_fits(view)


def test_a_view_can_be_used_with_the_keyboard(view: Page) -> None:
    """The tab key reaches all focusable elements in the order of the page, each visible and with an outline."""
    view.evaluate(f"globalThis.usable = {_USABLE}")
    # A field with `autofocus` gets the focus at the first paint.
    view.evaluate("document.body.tabIndex = -1; requestAnimationFrame(() => document.body.focus())")
    expect(view.locator("body")).to_be_focused()
    count = view.evaluate("usable().length")
    assert count
    stops: list[tuple[int, bool, bool]] = []
    while len(stops) < count + _PARTS and (not stops or stops[-1][0] != count - 1):
        view.keyboard.press("Tab")
        stops.append(tuple(view.evaluate(_HERE)))
    walked = [next(parts) for _, parts in groupby(stops, key=lambda stop: stop[0])]
    assert walked == [(number, True, True) for number in range(count)]
