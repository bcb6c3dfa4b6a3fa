"""The login needs the admin token and is valid in every process of the worker."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import expect

from tests.browser.page import Visitor, log_in
from tests.browser.seeded_app import Installation


def test_the_login_refuses_a_wrong_token_and_opens_the_requested_page(
    visitor: Visitor, untouched: Installation
) -> None:
    """A page asks for the token, reports a wrong one, and opens with the right one."""
    page = visitor.open("/?from=a-bookmark", logged_in=False)
    expect(page).to_have_title("Log in · Tenxsom Flow Engine")
    visitor.watched.expected = {403}
    log_in(page, "a-token-that-is-wrong")
    expect(page.get_by_role("alert")).to_have_text("That is not the admin token.")
    log_in(page, untouched.token)
    expect(page).to_have_url(f"{untouched.url}/?from=a-bookmark")
    expect(page.get_by_role("heading", name="Overview")).to_be_attached()


def test_after_the_logout_nothing_is_shown(visitor: Visitor, untouched: Installation) -> None:
    """After a logout, the login form appears, also with the browser's back button."""
    page = visitor.open("/login", logged_in=False)
    log_in(page, untouched.token)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Admin token")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Admin token")).to_be_visible()


def test_a_login_holds_in_every_process(visitor: Visitor, untouched: Installation) -> None:
    """The cookie of a login is valid in each of gunicorn's processes, and scripts cannot read it."""
    page = visitor.open()
    cookies = page.context.cookies()
    assert {(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies} == {(True, "Strict")}
    (cookie,) = (cookie for cookie in cookies if not cookie["name"].endswith("_known"))
    visitor.leave()

    request = urllib.request.Request(untouched.url, headers={"Cookie": f"{cookie['name']}={cookie['value']}"})
    processes = untouched.processes()
    assert len(processes) == 2
    for process in processes:
        with _stopped([other for other in processes if other != process]), urllib.request.urlopen(request) as answer:
            assert b"Log out" in answer.read()


@contextmanager
def _stopped(processes: list[int]) -> Iterator[None]:
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
