"""A visitor with a browser: opens pages of a given size and colour scheme, and records every error in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, Page, Request, Response

from tests.browser.seeded_app import WAIT_SECONDS, Installation

Scheme = Literal["light", "dark"]
#: CSS pixels: a small phone, and a desktop.
NARROW, WIDE = (360, 740), (1440, 900)

#: Sets the clock of a page ahead.
_AHEAD = """{ const Right = Date, ahead = %d;
  globalThis.Date = class extends Right {
    constructor(...given) { given.length ? super(...given) : super(Right.now() + ahead); }
    static now() { return Right.now() + ahead; }
  };
}"""


@dataclass
class Watched:
    """The errors of a page; `expected` are the error statuses that a test provokes."""

    complaints: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)
    #: Whether the worker is stopped on purpose.
    outage: bool = False

    def watch(self, page: Page) -> None:
        """Record the errors of a page from now on."""
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _console(self, kind: str, text: str) -> None:
        # The browser also logs each failed request here, without its address.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.complaints.append(f"console: {text}")

    def _failed(self, request: Request) -> None:
        # A player aborts its request when it has enough data, and a page when it is closed.
        if request.failure != "net::ERR_ABORTED" and not self.outage:
            self.complaints.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.complaints.append(f"{response.status}: {response.request.method} {response.url}")


class Visitor:
    """Opens pages of an installation, logged in by default."""

    def __init__(self, browser: Browser, installation: Installation) -> None:
        self.browser = browser
        self._installation = installation
        self._contexts: list[BrowserContext] = []
        self._cookies: Any = None
        self.watched = Watched()

    def open(
        self,
        path: str = "/",
        *,
        size: tuple[int, int] = WIDE,
        scheme: Scheme = "light",
        logged_in: bool = True,
        java_script: bool = True,
    ) -> Page:
        """Open a page in a new browser context."""
        if logged_in and self._cookies is None:
            self._cookies = self._log_in()
        context = self.browser.new_context(
            base_url=self._installation.url, color_scheme=scheme, locale="en-GB", timezone_id="UTC",
            viewport={"width": size[0], "height": size[1]}, java_script_enabled=java_script,
            storage_state=self._cookies if logged_in else None, reduced_motion="reduce",
        )  # fmt: skip
        self._contexts.append(context)
        if self._installation.ahead:
            context.add_init_script(_AHEAD % round(self._installation.ahead * 1000))
        page = context.new_page()
        page.set_default_timeout(WAIT_SECONDS * 1000)
        self.watched.watch(page)
        page.goto(path)
        return page

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Ignore failed requests."""
        self.watched.outage = True
        yield
        self.watched.outage = False

    def leave(self) -> None:
        """Close all pages, and check that none of them had an error."""
        for context in self._contexts:
            context.close()
        self._contexts.clear()
        complaints, self.watched = self.watched.complaints, Watched()
        assert not complaints, "\n".join(complaints)

    def _log_in(self) -> Any:
        page = self.open("/login", logged_in=False)
        log_in(page, self._installation.token)
        state = page.context.storage_state()
        page.context.close()
        return state


def log_in(page: Page, token: str) -> None:
    """Fill in and submit the form of `/login`."""
    page.get_by_label("Admin token").fill(token)
    with page.expect_navigation():
        page.get_by_role("button", name="Log in").click()


def overflow(page: Page) -> list[str]:
    """Return the elements that are wider than the page; empty if it does not scroll sideways."""
    found: list[str] = page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          return [...document.querySelectorAll("body *")]
            .filter(one => one.getBoundingClientRect().right > width + 0.5)
            .map(one => `${one.tagName.toLowerCase()}.${one.className} "${one.textContent.trim().slice(0, 40)}"`);
        }"""
    )
    return found


def barriers(page: Page, *rules: str) -> list[str]:
    """Return the serious and critical violations of accessibility rules that axe-core finds in a page.

    `rules`: check only these.
    """
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate((resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    found: Any = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:160]}: {' '.join(node['failureSummary'].split())[:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def assert_fits(page: Page) -> None:
    """Check that a page does not scroll sideways, and that axe-core finds no serious problem in either scheme."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width, height in (NARROW, WIDE):
            page.set_viewport_size({"width": width, "height": height})
            assert not overflow(page), f"{width} pixels"
        # The schemes differ only in colours.
        assert not barriers(page, *(["color-contrast"] if scheme == "dark" else [])), scheme
