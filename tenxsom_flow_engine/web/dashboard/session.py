"""Who may look and act: whoever has shown the admin token, as a signed cookie says until a week later.

The key that signs is made of the token. So all processes that were given the same token agree without a word, and
whoever changes the token logs everybody out.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import stat
import tempfile
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask, get_flashed_messages, request, session
from flask.sessions import SecureCookieSessionInterface
from markupsafe import Markup

from tenxsom_flow_engine.errors import ConfigurationError, FlowError
from tenxsom_flow_engine.settings import MIN_ADMIN_TOKEN_CHARACTERS, Settings

_log = logging.getLogger(__name__)

#: For how long a login lasts.
LIFETIME = timedelta(days=7)
#: The file of the token that was made because none was set.
TOKEN_FILE = "admin-token"
#: The field of every form that changes something.
CSRF_FIELD = "csrf"
#: The header of requests that the script makes by itself: what they fetch is seen in part, or by nobody.
LIVE = "X-Live"
#: Where a session notes when it began.
_SINCE = "since"


class StaleForm(FlowError):
    """A form does not carry the token of the session that it is sent in."""

    code = "stale_form"


class _Cookie(SecureCookieSessionInterface):
    digest_method = staticmethod(hashlib.sha256)

    def get_cookie_secure(self, app: Flask) -> bool:
        # A proxy that speaks TLS for us says so; of several the first, to which the browser speaks. Who makes that up
        # harms a cookie of his own.
        said = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip()
        return request.is_secure or said.lower() == "https"


class Sessions:
    """The sessions of those who know one admin token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def serve(self, app: Flask) -> None:
        """Let an application keep its sessions so."""
        key = self._derived("session key")
        app.secret_key = key
        app.session_interface = _Cookie()
        app.config.update(
            # Cookies know no ports: two dashboards on one machine must not throw each other's visitors out.
            SESSION_COOKIE_NAME=f"flow_{self._derived('cookie name').hex()[:8]}",
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Strict",
            PERMANENT_SESSION_LIFETIME=LIFETIME,
            SESSION_REFRESH_EACH_REQUEST=False,
        )
        app.extensions["admin"] = self

    def log_in(self, token: str) -> bool:
        """Begin a session for whoever shows the token; return whether this is it."""
        if not hmac.compare_digest(token.strip().encode(), self._token):
            return False
        session.clear()  # what was known before the login must not be valid after it
        session[_SINCE] = time.time()
        session[CSRF_FIELD] = secrets.token_urlsafe(24)  # now, since pages that are loaded at once would each make one
        session.permanent = True
        return True

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self._token, f"tenxsom dashboard {purpose}".encode(), "sha256")


def logged_in() -> bool:
    """Tell whether the request comes from somebody who has logged in."""
    # A cookie is signed anew whenever something in it changes, so its own age says nothing of the login.
    return bool(time.time() < session.get(_SINCE, float("-inf")) + LIFETIME.total_seconds())


def csrf_token() -> str:
    """Return the secret that forms of this session carry; another site cannot know it."""
    if CSRF_FIELD not in session:
        session[CSRF_FIELD] = secrets.token_urlsafe(24)
    return str(session[CSRF_FIELD])


def csrf_field() -> Markup:
    """Return the hidden field that each form with `method=post` needs."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, csrf_token())


def check_csrf() -> None:
    """Raise `StaleForm` for a change that does not come from a page of ours."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    sent = request.form.get(CSRF_FIELD, "")
    if not hmac.compare_digest(sent.encode(), session.get(CSRF_FIELD, "").encode()) or not sent:
        raise StaleForm(
            "this form belongs to another session, so nothing was done",
            next_step="load the page anew, and try again",
        )


def messages() -> list[tuple[str, str]]:
    """Return what the session is to be told once, each with its kind: by a page that a person sees."""
    return [] if LIVE in request.headers else list(get_flashed_messages(with_categories=True))  # type: ignore[arg-type]


def audit(what: str, **facts: Any) -> None:
    """Write down who did what: one line of the log for each change that the dashboard makes.

    `from` is who connected; behind a proxy that is the proxy, and `forwarded_for` is what it says, of which anybody can
    make up all but the last address.
    """
    fields = {"audit": what, "from": request.remote_addr or "", **facts}
    if said := request.headers.get("X-Forwarded-For", ""):
        fields["forwarded_for"] = said[-200:]
    _log.info("dashboard: %s", what, extra=fields)


def admin_token(settings: Settings) -> str:
    """Return the token that opens the dashboard: the one that was set, else the one in the home, made at need.

    Raises `ConfigurationError` where it can neither be read nor made.
    """
    if settings.admin_token:
        return settings.admin_token
    path = token_file(settings)
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            _log.warning("others can read the dashboard's token: chmod 600 %s", path)
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"the dashboard's token cannot be kept in {path}: {error.strerror or error}",
            next_step="set TENXSOM_ADMIN_TOKEN, or let TENXSOM_HOME be a folder that can be written",
        ) from error
    if len(token) < MIN_ADMIN_TOKEN_CHARACTERS:
        raise ConfigurationError(f"{path} holds no token", next_step="remove it, and a new one is made")
    return token


def token_file(settings: Settings) -> Path:
    """Return where the token is kept that was made because none was set."""
    return settings.home / TOKEN_FILE


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Several processes may start at once: each writes a token, and the first link wins.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{TOKEN_FILE}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
            _log.info("made a token that opens the dashboard: %s", path)
    finally:
        Path(name).unlink()
