"""Sessions of the dashboard: a signed cookie, valid until the logout, at most for a week after the login.

The signing key is derived from the admin token, so all processes with the same token accept each other's sessions, and
changing the token ends every session. Only somebody who sent the token gets anything that is signed with the key: a
signature would let others check guesses of the token. The store remembers which sessions have ended.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from flask import Flask, Request, current_app, g, get_flashed_messages, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import BadSignature, URLSafeTimedSerializer
from markupsafe import Markup
from werkzeug.wrappers import Response

from tenxsom_flow_engine.errors import ConfigurationError, FlowError, StoreError
from tenxsom_flow_engine.files import make_private_folder
from tenxsom_flow_engine.settings import MIN_ADMIN_TOKEN_CHARACTERS, Settings
from tenxsom_flow_engine.web.dashboard.login_limits import LoginLimits, keys_of

_log = logging.getLogger(__name__)

#: Lifetime of a login, and of the cookie by which a browser that has logged in is known (see `login_limits`).
LIFETIME, KNOWN_LIFETIME = timedelta(days=7), timedelta(days=180)
#: The file of the generated token.
TOKEN_FILE = "admin-token"
#: The field with the CSRF token in every form that changes something.
CSRF_FIELD = "csrf"
#: The header of the script's own requests, whose pages are shown in part or not at all.
LIVE = "X-Live"
#: The beginnings of addresses that have no session.
_WITHOUT_SESSION = ("/process", "/api", "/health")
#: The session keys for the time of the login and for the session's id.
_SINCE, _ID = "since", "id"
#: Cost of deriving a key from the token: about 0.1 s and 32 MiB for each guess.
_SCRYPT = {"n": 2**15, "r": 8, "p": 1, "maxmem": 64 << 20, "dklen": 32}


class StaleForm(FlowError):
    """A form does not carry the CSRF token of its session."""

    code = "stale_form"


class Locks(Protocol):
    """The part of a job store that remembers ended sessions; `store.base` documents the methods."""

    def acquire_lock(self, name: str, owner: str, seconds: float) -> bool:
        """Take or renew a named lock."""

    def lock_owner(self, name: str) -> str | None:
        """Return who has a named lock."""


class _Cookie(SecureCookieSessionInterface):
    digest_method = staticmethod(hashlib.sha256)

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # Deliveries and programs prove themselves in their own way, and never by a cookie.
        return None if request.path.startswith(_WITHOUT_SESSION) else super().open_session(app, request)

    def get_cookie_name(self, app: Flask) -> str:
        # Browsers share cookies between the ports of a host, so two dashboards on one host need different names.
        port = re.search(r":(\d{1,5})$", request.headers.get("Host", ""))
        return f"flow_{port[1]}" if port else "flow"

    def get_cookie_secure(self, app: Flask) -> bool:
        # A TLS proxy reports the browser's protocol; of several proxies the first entry counts. A forged header only
        # affects the sender's own cookie.
        protocol = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip()
        return request.is_secure or protocol.lower() == "https"


class Sessions:
    """Sessions that are opened with one admin token.

    `locks` returns the store, or raises `StoreError`.
    """

    def __init__(self, token: str, locks: Callable[[], Locks], limits: LoginLimits | None = None) -> None:
        self._token = token.encode()
        self._locks = locks
        self._limits = limits or LoginLimits()

    def serve(self, app: Flask) -> None:
        """Configure an application to use these sessions."""
        app.secret_key = _derived_key(self._token)
        app.session_interface = _Cookie()
        app.config.update(
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Strict",
            PERMANENT_SESSION_LIFETIME=LIFETIME,
            SESSION_REFRESH_EACH_REQUEST=False,
        )
        app.extensions["admin"] = self

    def log_in(self, token: str) -> bool:
        """Start a session if the token is right; return whether it is.

        Raises `TooManyLogins` after too many wrong ones.
        """
        if not self._is_right(token, self._known_browser()):
            return False
        session.clear()  # nothing from before the login must be valid after it
        session[_ID], session[_SINCE] = secrets.token_urlsafe(16), time.time()
        session[CSRF_FIELD] = secrets.token_urlsafe(24)
        session.permanent = True
        return True

    def proves_admin(self, token: str) -> bool:
        """Return whether a program sent the right token; wrong ones count like wrong logins. Raises `TooManyLogins`."""
        return self._is_right(token, None)

    def _is_right(self, token: str, browser: str | None) -> bool:
        keys = keys_of(browser, request.remote_addr or "", request.headers.get("X-Forwarded-For", ""))
        if wait := self._limits.attempt(keys):
            raise TooManyLogins(wait)
        if not hmac.compare_digest(token.strip().encode("utf-8", "surrogatepass"), self._token):
            return False
        self._limits.undo(keys)
        return True

    def log_out(self) -> None:
        """End the session in all processes that share the store. Raises `StoreError`."""
        ended = session.get(_ID)
        session.clear()
        if ended is not None:
            # Longer than the session, because the clocks of store and process can differ.
            self._locks().acquire_lock(_ended(ended), "logout", 2 * LIFETIME.total_seconds())

    def logged_in(self) -> bool:
        """Return whether the request belongs to a session that is logged in. Raises `StoreError`."""
        # A cookie is signed again whenever its content changes, so its age is not the age of the login.
        if time.time() >= session.get(_SINCE, float("-inf")) + LIFETIME.total_seconds():
            return False
        return self._locks().lock_owner(_ended(session[_ID])) is None

    def remember_browser(self, answer: Response) -> None:
        """Add the cookie by which this browser is known at its next login."""
        cookies = current_app.session_interface
        answer.set_cookie(
            self._known_name(), self._signer().dumps(self._known_browser() or secrets.token_urlsafe(16)),
            max_age=KNOWN_LIFETIME, path="/login", secure=cookies.get_cookie_secure(current_app), httponly=True,
            samesite="Strict",
        )  # fmt: skip

    def _known_browser(self) -> str | None:
        try:
            cookie = request.cookies.get(self._known_name(), "")
            return str(self._signer().loads(cookie, max_age=int(KNOWN_LIFETIME.total_seconds())))
        except BadSignature:
            return None

    def _known_name(self) -> str:
        return current_app.session_interface.get_cookie_name(current_app) + "_known"

    def _signer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            _derived_key(self._token), "known browser", signer_kwargs={"digest_method": hashlib.sha256}
        )


class TooManyLogins(FlowError):
    """Too many wrong tokens were sent; `wait` is the number of seconds until the next attempt."""

    code = "too_many_logins"

    def __init__(self, wait: float) -> None:
        super().__init__("too many wrong admin tokens were sent")
        self.wait = wait


@lru_cache(maxsize=8)
def _derived_key(token: bytes) -> bytes:
    return hashlib.scrypt(token, salt=b"tenxsom dashboard session key", **_SCRYPT)


def _ended(session_id: str) -> str:
    """Return the name of the lock that marks a session as ended."""
    return f"ended-session:{session_id}"


def logged_in() -> bool:
    """Return whether the request belongs to a session that is logged in. Raises `StoreError`."""
    if "logged_in" not in g:
        sessions: Sessions = current_app.extensions["admin"]
        g.logged_in = sessions.logged_in()
    return bool(g.logged_in)


def shows_menu() -> bool:
    """Return whether a page has the menu of a session; not if the store cannot say whether it has ended."""
    try:
        return logged_in()
    except StoreError:
        return False


def csrf_token() -> str:
    """Return the CSRF token of this session, which another site cannot know; empty before the login."""
    return str(session.get(CSRF_FIELD, ""))


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
    make_private_folder(path.parent)
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
