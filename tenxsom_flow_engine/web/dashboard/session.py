"""Sessions of the dashboard: a signed cookie, valid for a week after a login with the admin token.

The signing key is derived from the token, so all processes with the same token accept each other's sessions, and
changing the token ends every session.
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

#: Lifetime of a login.
LIFETIME = timedelta(days=7)
#: The file of the generated token.
TOKEN_FILE = "admin-token"
#: The field with the CSRF token in every form that changes something.
CSRF_FIELD = "csrf"
#: The header of the script's own requests, whose pages are shown in part or not at all.
LIVE = "X-Live"
#: The session key for the time of the login.
_SINCE = "since"


class StaleForm(FlowError):
    """A form does not carry the CSRF token of its session."""

    code = "stale_form"


class _Cookie(SecureCookieSessionInterface):
    digest_method = staticmethod(hashlib.sha256)

    def get_cookie_secure(self, app: Flask) -> bool:
        # A TLS proxy reports the browser's protocol; of several proxies the first entry counts. A forged header only
        # affects the sender's own cookie.
        protocol = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip()
        return request.is_secure or protocol.lower() == "https"


class Sessions:
    """Sessions that are opened with one admin token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def serve(self, app: Flask) -> None:
        """Configure an application to use these sessions."""
        key = self._derived("session key")
        app.secret_key = key
        app.session_interface = _Cookie()
        app.config.update(
            # Cookies are shared between ports, so two dashboards on one host need different names.
            SESSION_COOKIE_NAME=f"flow_{self._derived('cookie name').hex()[:8]}",
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Strict",
            PERMANENT_SESSION_LIFETIME=LIFETIME,
            SESSION_REFRESH_EACH_REQUEST=False,
        )
        app.extensions["admin"] = self

    def log_in(self, token: str) -> bool:
        """Start a session if the token is right; return whether it is."""
        if not hmac.compare_digest(token.strip().encode(), self._token):
            return False
        session.clear()  # a CSRF token from before the login must not be valid after it
        session[_SINCE] = time.time()
        session[CSRF_FIELD] = secrets.token_urlsafe(24)  # pages loaded in parallel would otherwise create one each
        session.permanent = True
        return True

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self._token, f"tenxsom dashboard {purpose}".encode(), "sha256")


def logged_in() -> bool:
    """Return whether the request belongs to a session that is logged in."""
    # A cookie is signed again whenever its content changes, so its age is not the age of the login.
    return bool(time.time() < session.get(_SINCE, float("-inf")) + LIFETIME.total_seconds())


def csrf_token() -> str:
    """Return the CSRF token of this session, which another site cannot know."""
    if CSRF_FIELD not in session:
        session[CSRF_FIELD] = secrets.token_urlsafe(24)
    return str(session[CSRF_FIELD])


def csrf_field() -> Markup:
    """Return the hidden field that each form with `method=post` needs."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, csrf_token())


def check_csrf() -> None:
    """Raise `StaleForm` for a change that was not sent from one of our pages."""
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    sent = request.form.get(CSRF_FIELD, "")
    if not hmac.compare_digest(sent.encode(), session.get(CSRF_FIELD, "").encode()) or not sent:
        raise StaleForm(
            "this form belongs to another session, so nothing was done",
            next_step="reload the page and try again",
        )


def messages() -> list[tuple[str, str]]:
    """Return and clear the flashed messages with their kinds; none for a request of the script, which shows no page."""
    return [] if LIVE in request.headers else list(get_flashed_messages(with_categories=True))  # type: ignore[arg-type]


def audit(what: str, **facts: Any) -> None:
    """Log a change made through the dashboard, one line for each.

    `from` is the address of the connection. Behind a proxy that is the proxy's address, and `forwarded_for` has the
    `X-Forwarded-For` header, of which a client can forge all addresses but the last.
    """
    fields = {"audit": what, "from": request.remote_addr or "", **facts}
    if forwarded := request.headers.get("X-Forwarded-For", ""):
        fields["forwarded_for"] = forwarded[-200:]
    _log.info("dashboard: %s", what, extra=fields)


def admin_token(settings: Settings) -> str:
    """Return the admin token: `TENXSOM_ADMIN_TOKEN`, or else the content of the token file, which is created if needed.

    Raises `ConfigurationError` if the file can neither be read nor created.
    """
    if settings.admin_token:
        return settings.admin_token
    path = token_file(settings)
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            _log.warning("other users can read the admin token: chmod 600 %s", path)
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"the admin token cannot be stored in {path}: {error.strerror or error}",
            next_step="set TENXSOM_ADMIN_TOKEN, or set TENXSOM_HOME to a writable folder",
        ) from error
    if len(token) < MIN_ADMIN_TOKEN_CHARACTERS:
        raise ConfigurationError(f"{path} contains no token", next_step="delete the file, and a new token is generated")
    return token


def token_file(settings: Settings) -> Path:
    """Return the path of the generated token."""
    return settings.home / TOKEN_FILE


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Several processes can start at the same time: each writes a token, and the first link wins.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{TOKEN_FILE}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
            _log.info("generated an admin token for the dashboard: %s", path)
    finally:
        Path(name).unlink()
