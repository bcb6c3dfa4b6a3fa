"""Authentication of deliveries: an ID token that Google signed for our audience and our service account.

The caller's address proves nothing: behind a proxy every caller is local.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Protocol

from tenxsom_flow_engine.errors import ConfigurationError, Forbidden, Unauthenticated
from tenxsom_flow_engine.queues.cloud_tasks.certificates import CLOCK_SKEW, GOOGLE_CERTS_URL, fetch
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.text import duration
from tenxsom_flow_engine.web.certificates import Certificates

#: Issuers of Google's ID tokens (google-auth's `id_token` accepts the same two).
ISSUERS = ("https://accounts.google.com", "accounts.google.com")


class Access(Protocol):
    """Decides whether a request may deliver."""

    def __call__(self, authorization: str | None) -> None:
        """Return if a request with this `Authorization` header may deliver.

        Raises `Unauthenticated`, `Forbidden` or `CertificatesUnavailable`.
        """


class TokensOf:
    """Accepts the tokens of one service account for one audience."""

    def __init__(self, account: str, audience: str, certificates: Certificates) -> None:
        self._account = account
        self._audience = audience
        self._certificates = certificates

    def __call__(self, authorization: str | None) -> None:
        scheme, _, token = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(
                "the request carries no bearer token", next_step="create tasks with an OIDC token, as the queue does"
            )
        claims = self._verified(token)
        if claims.get("iss") not in ISSUERS:
            raise Unauthenticated("the token was not issued by Google")
        if claims.get("aud") != self._audience:
            raise Unauthenticated(
                f"the audience of the token is not {self._audience}",
                next_step="set CLOUD_TASKS_AUDIENCE to the same value for this worker and where tasks are created",
            )
        # Google issues tokens for any audience to any service account, so only the account identifies the sender.
        if claims.get("email") != self._account or claims.get("email_verified") is not True:
            raise Forbidden(
                f"the token does not belong to {self._account}",
                next_step="set CLOUD_TASKS_SERVICE_ACCOUNT to the same value for this worker and where tasks are "
                "created",
            )

    def _verified(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token after checking its signature and times. Raises `Unauthenticated`."""
        from google.auth import jwt

        # Exceptions of google-auth quote parts of the token, so they appear neither in the message nor as the cause.
        try:
            key_id = jwt.decode_header(token).get("kid")  # type: ignore[no-untyped-call]
        except (ValueError, RecursionError):
            raise Unauthenticated("the token cannot be read") from None
        certificate = self._certificates.find(key_id) if isinstance(key_id, str) else None
        if certificate is None:
            raise Unauthenticated("the token is not signed with one of Google's keys")
        if (claims := _decoded(token, certificate, CLOCK_SKEW)) is not None:
            return claims
        if (early_or_late := _decoded(token, certificate, math.inf)) is None:
            raise Unauthenticated("the token is forged or invalid")
        seconds = early_or_late["iat"] - time.time()
        if seconds > 0:
            raise Unauthenticated(
                "the token is not valid yet: check this machine's clock, "
                f"which is about {duration(seconds)} behind the signer's",
                next_step="set this machine's clock: timedatectl set-ntp true",
            )
        raise Unauthenticated(
            "the token has expired",
            next_step="if all tokens have, check this machine's clock: timedatectl set-ntp true",
        )


def _decoded(token: str, certificate: str, clock_skew: float) -> Mapping[str, Any] | None:
    """Return the claims of a token; None if its signature is wrong or its times differ by more than `clock_skew`."""
    from google.auth import exceptions, jwt

    try:
        claims: Mapping[str, Any] = jwt.decode(  # type: ignore[no-untyped-call]
            token, certs=certificate, clock_skew_in_seconds=clock_skew
        )
    except (exceptions.GoogleAuthError, ValueError, TypeError):
        return None
    return claims


def open_access(settings: Settings) -> Access:
    """Return the access rule for these settings. Raises `ConfigurationError`."""
    google, web = settings.cloud_tasks, settings.web
    if web.token_certs_url and not google.emulator_host:
        raise ConfigurationError(
            "TENXSOM_TOKEN_CERTS_URL is for emulators only, because it changes which tokens the worker accepts",
            next_step="unset it, or also set CLOUD_TASKS_EMULATOR_HOST",
        )
    if web.allow_unauthenticated:
        return anybody
    if missing := _missing(settings):
        return closed(missing)
    url = web.token_certs_url or GOOGLE_CERTS_URL
    return TokensOf(google.service_account, google.audience, Certificates(lambda: fetch(url)))


def advice(settings: Settings) -> str:
    """Return a warning about the access rule; empty if there is none."""
    if settings.web.allow_unauthenticated:
        return "this worker accepts deliveries without authentication"
    missing = _missing(settings)
    return f"this worker rejects all deliveries until {missing} is set" if missing else ""


def _missing(settings: Settings) -> str:
    needed = {
        "CLOUD_TASKS_SERVICE_ACCOUNT": settings.cloud_tasks.service_account,
        "CLOUD_TASKS_AUDIENCE or CLOUD_TASKS_WORKER_URL": settings.cloud_tasks.audience,
    }
    return " and ".join(name for name, value in needed.items() if not value)


def closed(missing: str) -> Access:
    """Return a rule that rejects every delivery, because the variables named by `missing` are not set."""

    def refuse(authorization: str | None) -> None:
        raise Forbidden(
            f"this worker accepts no deliveries: {missing} is not set",
            next_step=f"set {missing}, or TENXSOM_ALLOW_UNAUTHENTICATED=true if only trusted processes can reach this "
            "worker",
        )

    return refuse


def anybody(authorization: str | None) -> None:
    """Accept every delivery."""
