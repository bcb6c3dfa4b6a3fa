"""What holds of every view: it fits, and everybody can use it."""

from __future__ import annotations

from itertools import groupby

import pytest

from tests.browser.installation import Installation
from tests.browser.visitor import NARROW, WIDE, Visitor, barriers, overflow

VIEWS = {"login": "/login", "overview": "/", "add": "/add"}
#: Everything that can be used, in the order of the page; asked for anew each time, since live parts are renewed.
_USABLE = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, video")]
  .filter(one => one.checkVisibility() && !one.disabled && one.type !== "hidden")"""
#: A field for a date and a time has this many parts to stop at, and more.
_PARTS = 8
#: Which of it has the focus, whether it is within sight, and whether it is marked.
_HERE = """() => {
  const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  const seen = box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight;
  return [usable().indexOf(one), seen, style.outlineStyle !== "none" && style.outlineWidth !== "0px"];
}"""


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_fits_and_has_no_barriers(visitor: Visitor, untouched: Installation, view: str) -> None:
    """No view scrolls sideways from 360 pixels on, and axe-core finds nothing serious in either colour scheme."""
    page = visitor.open(VIEWS[view], logged_in=view != "login")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width, height in (NARROW, WIDE):
            page.set_viewport_size({"width": width, "height": height})
            assert not overflow(page), f"{width} pixels"
        assert not barriers(page), scheme


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_can_be_walked_through_with_the_keyboard(visitor: Visitor, view: str) -> None:
    """The tab key reaches everything that can be used, in the order in which it stands there, and shows where it is."""
    page = visitor.open(VIEWS[view], logged_in=view != "login")
    page.evaluate(f"globalThis.usable = {_USABLE}")
    # A field that wants the focus gets it when it is painted.
    page.evaluate("document.body.tabIndex = -1; requestAnimationFrame(() => document.body.focus())")
    page.wait_for_function("document.activeElement === document.body")
    count = page.evaluate("usable().length")
    assert count
    stops = []
    for _ in range(count + _PARTS):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(_HERE))
    walked = [next(parts) for _, parts in groupby(stops, key=lambda stop: stop[0])]
    assert walked[:count] == [[number, True, True] for number in range(count)]
