"""What holds of every view: it fits, and everybody can use it."""

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
    "question": "/bulk?act=retry&all=1&status=failed", "unknown job": "/jobs/no-such-job",
} | {
    f"{status} job": status for status in (Status.SUCCEEDED, Status.FAILED, Status.HELD, Status.RENDERING)
}  # fmt: skip
#: Everything that can be used, in the order of the page; asked for anew each time, since live parts are renewed.
_USABLE = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, video")]
  .filter(one => one.checkVisibility() && !one.disabled && one.type !== "hidden")"""
#: The parts of a video's controls, and of a field for a date and a time, are stops too: so many of them at most.
_PARTS = 16
#: Which of it has the focus, whether it is within sight and nothing covers it, and whether it is marked.
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


def test_a_view_fits_and_has_no_barriers(view: Page) -> None:
    """No view scrolls sideways from 360 pixels on, and axe-core finds nothing serious in either colour scheme."""
    assert_fits(view)


def test_a_view_can_be_walked_through_with_the_keyboard(view: Page) -> None:
    """The tab key reaches everything that can be used, in the order in which it stands there, and shows where it is."""
    view.evaluate(f"globalThis.usable = {_USABLE}")
    # A field that wants the focus gets it when it is painted.
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
