"""The error detection that the other browser tests rely on."""

from __future__ import annotations

import pytest

from tests.browser.page import Visitor, barriers, overflow
from tests.browser.seeded_app import Installation


@pytest.mark.parametrize(
    ("act", "complaint"),
    [
        ("console.error('a word')", "console: a word"),
        ("setTimeout(() => { throw new Error('a fault') })", "a fault"),
        ("fetch('/nowhere')", "404: GET"),
        ("fetch('http://127.0.0.1:1/').catch(() => {})", "Content Security Policy"),
    ],
)
def test_an_error_in_a_page_fails_the_test(visitor: Visitor, untouched: Installation, act: str, complaint: str) -> None:
    """A console error, an exception, an error response and a forbidden request each fail the test."""
    page = visitor.open("/login", logged_in=False)
    page.evaluate(f"() => {{ {act}; }}")
    untouched.until(lambda: bool(page.title()) and len(visitor.watched.complaints) > 0, "a complaint")
    with pytest.raises(AssertionError, match=complaint):
        visitor.leave()


def test_overflow_and_accessibility_problems_are_found(visitor: Visitor) -> None:
    """An element that is too wide, text without contrast and a field without a label are each found."""
    page = visitor.open("/health", logged_in=False)
    assert not overflow(page)
    page.evaluate(
        """() => { document.body.innerHTML = "<p>too wide</p><b>too pale</b><input>";
                   document.querySelector("p").style.width = "200vw";
                   document.querySelector("b").style.color = "#eeeeee"; }"""
    )
    assert [found.split('"')[1] for found in overflow(page)] == ["too wide"]
    assert {found.split()[0] for found in barriers(page)} >= {"color-contrast", "label"}
    assert {found.split()[0] for found in barriers(page, "color-contrast")} == {"color-contrast"}
