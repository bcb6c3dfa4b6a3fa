"""Somebody at the dashboard, without a browser: logs in, and sends forms as its pages do."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

TOKEN = "an-admin-token-of-tests"


class Visitor:
    """A client of the application that carries a session."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    @classmethod
    def let_in(cls, client: FlaskClient, token: str = TOKEN) -> Visitor:
        """Return a visitor who has logged in."""
        visitor = cls(client)
        assert visitor.log_in(token).status_code == 303
        return visitor

    def log_in(self, token: str, *, at: str = "/login", onward: str | None = None) -> TestResponse:
        """Send the login form of an address, or with another aim than it has."""
        page = self.client.get(at).text
        aim = re.search(r'name="next" value="([^"]*)"', page)
        assert aim
        return self.post("/login", page=page, token=token, next=aim[1] if onward is None else onward)

    def post(self, path: str, *, page: str | None = None, **fields: Any) -> TestResponse:
        """Send a form, with the secret of a page of the session."""
        found = re.search(r'name="csrf" value="([^"]*)"', self.client.get("/").text if page is None else page)
        assert found
        return self.client.post(path, data={"csrf": found[1], **fields})
