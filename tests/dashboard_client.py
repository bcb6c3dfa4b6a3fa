"""A client of the dashboard without a browser: it logs in and submits the forms of pages."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

TOKEN = "an-admin-token-of-tests"


class Visitor:
    """A test client with a session."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    @classmethod
    def let_in(cls, client: FlaskClient, token: str = TOKEN) -> Visitor:
        """Return a visitor that is logged in."""
        visitor = cls(client)
        assert visitor.log_in(token).status_code == 303
        return visitor

    def log_in(self, token: str, *, at: str = "/login", onward: str | None = None) -> TestResponse:
        """Submit the login form of an address; `onward` replaces its target page."""
        target = re.search(r'name="next" value="([^"]*)"', self.client.get(at).text)
        assert target
        return self.client.post("/login", data={"token": token, "next": target[1] if onward is None else onward})

    def post(self, path: str, *, page: str | None = None, **fields: Any) -> TestResponse:
        """Submit a form with the CSRF token of a page of the session, and with its digest of what it showed."""
        found = re.search(r'name="csrf" value="([^"]*)"', self.client.get("/").text if page is None else page)
        assert found
        seen = re.findall(r'name="(seen)" value="([^"]*)"', page or "")
        return self.client.post(path, data={"csrf": found[1], **dict(seen), **fields})
