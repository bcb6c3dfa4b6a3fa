"""Who may deliver: whoever shows a token that Google has signed for our audience and our service account.

A rule about the caller's address would be none: behind a proxy everybody is local.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tenxsom_flow_engine.errors import ConfigurationError, Forbidden, Unauthenticated
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.web.certificates import GOOGLE_CERTS_URL, Certificates, fetch

#: Who signs the ID tokens of Google accounts (google-auth's `id_token` takes the same two).
ISSUERS = ("https://accounts.google.com", "accounts.google.com")
#: Seconds by which this machine's clock may differ from the signer's.
CLOCK_SKEW = 10


class Access(Protocol):
    """Decides who may deliver."""

    def __call__(self, authorization: str | None) -> None:
        """Return if a request with this `Authorization` header may deliver.

        Raises `Unauthenticated`, `Forbidden` or `CertificatesUnavailable`.
        """


class TokensOf:
    """Lets in the tokens of one service account for one audience."""

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
                f"the token is meant for another audience than {self._audience}",
                next_step="set CLOUD_TASKS_AUDIENCE alike where tasks are created and here",
            )
        # Anybody's service account is given a token for any audience, so this is what proves who sent it.
        if claims.get("email") != self._account or claims.get("email_verified") is not True:
            raise Forbidden(
                f"the token is not one of {self._account}",
                next_step="set CLOUD_TASKS_SERVICE_ACCOUNT alike where tasks are created and here",
            )

    def _verified(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token whose signature and times are right."""
        from google.auth import exceptions, jwt

        # What google-auth raises names parts of the token, so it is neither told nor kept as the cause.
        try:
            key_id = jwt.decode_header(token).get("kid")  # type: ignore[no-untyped-call]
        except (ValueError, RecursionError):
            raise Unauthenticated("the token cannot be read") from None
        certificate = self._certificates.find(key_id) if isinstance(key_id, str) else None
        if certificate is None:
            raise Unauthenticated("the token is not signed with a key of Google's")
        try:
            claims: Mapping[str, Any] = jwt.decode(  # type: ignore[no-untyped-call]
                token, certs=certificate, clock_skew_in_seconds=CLOCK_SKEW
            )
        except (exceptions.GoogleAuthError, ValueError, TypeError):
            raise Unauthenticated("the token is forged, expired or not valid yet") from None
        return claims


def open_access(settings: Settings) -> Access:
    """Return the rule that the settings ask for. Raises `ConfigurationError`."""
    google, web = settings.cloud_tasks, settings.web
    if web.token_certs_url and not google.emulator_host:
        raise ConfigurationError(
            "TENXSOM_TOKEN_CERTS_URL is for emulators only: it says whose tokens open the worker",
            next_step="unset it, or set CLOUD_TASKS_EMULATOR_HOST too",
        )
    if web.allow_unauthenticated:
        return anybody
    if missing := _missing(settings):
        return closed(missing)
    url = web.token_certs_url or GOOGLE_CERTS_URL
    return TokensOf(google.service_account, google.audience, Certificates(lambda: fetch(url)))


def advice(settings: Settings) -> str:
    """Return what a person should know about who may deliver; empty if all is well."""
    if settings.web.allow_unauthenticated:
        return "deliveries are taken from anybody who reaches this worker"
    missing = _missing(settings)
    return f"no delivery is taken until {missing} is set" if missing else ""


def _missing(settings: Settings) -> str:
    needed = {
        "CLOUD_TASKS_SERVICE_ACCOUNT": settings.cloud_tasks.service_account,
        "CLOUD_TASKS_AUDIENCE or CLOUD_TASKS_WORKER_URL": settings.cloud_tasks.audience,
    }
    return " and ".join(name for name, value in needed.items() if not value)


def closed(missing: str) -> Access:
    """Let nobody in: it is not known yet who may deliver. `missing` names what has to be set."""

    def refuse(authorization: str | None) -> None:
        raise Forbidden(
            f"nobody may deliver here yet: {missing} is not set",
            next_step=f"set {missing}, or TENXSOM_ALLOW_UNAUTHENTICATED=true where nobody else can reach this worker",
        )

    return refuse


def anybody(authorization: str | None) -> None:
    """Let everybody in."""
