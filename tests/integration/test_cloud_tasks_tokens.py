"""google-auth accepts the emulator's tokens as Google's, and rejects its forged tokens."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from google.auth import exceptions
from google.oauth2 import id_token

from tenxsom_flow_engine.emulator.server import CloudTasksServer
from tenxsom_flow_engine.emulator.tokens import TokenIssuer
from tests.emulator_harness import Setting

ACCOUNT, AUDIENCE = "worker@project-1.iam.gserviceaccount.com", "https://worker.test"
GOOGLE = "https://www.googleapis.com/oauth2/v1/certs"


class Answer:
    """The parts of an HTTP answer that google-auth reads."""

    def __init__(self, status: int, data: bytes) -> None:
        self.status, self.data = status, data


def fetching(server: CloudTasksServer) -> Callable[..., Answer]:
    """Return a request function for google-auth that returns the emulator's certificates as Google's."""

    def request(url: str, method: str = "GET", **options: Any) -> Answer:
        assert (url, method) == (GOOGLE, "GET")
        try:
            with urllib.request.urlopen(server.certs_url, timeout=60) as answer:
                return Answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, b"")

    return request


def verify(token: str, server: CloudTasksServer, audience: str = AUDIENCE) -> Mapping[str, Any]:
    claims: Mapping[str, Any] = id_token.verify_oauth2_token(token, fetching(server), audience, 10)  # type: ignore[no-untyped-call]
    return claims


def test_a_delivery_carries_a_token_that_google_auth_accepts(cloud: Setting) -> None:
    """The bearer token of a delivery has issuer, audience and account like Google's, and is signed."""
    cloud.queue()
    oidc_token = {"service_account_email": ACCOUNT, "audience": AUDIENCE}
    cloud.task("t-1", request={"oidc_token": oidc_token, "headers": {"authorization": "Basic bWU6bWU="}})
    cloud.server.wait_idle()
    [header] = cloud.headers("Authorization")
    assert header is not None
    kind, _, token = header.partition(" ")
    assert kind == "Bearer"
    claims = verify(token, cloud.server)
    assert (claims["email"], claims["email_verified"], claims["aud"]) == (ACCOUNT, True, AUDIENCE)
    assert claims["iss"] == "https://accounts.google.com"
    assert claims["exp"] - claims["iat"] == 3600


def test_the_audience_is_the_tasks_address_if_none_is_named(cloud: Setting) -> None:
    """A token without a configured audience is for the whole URL."""
    cloud.queue()
    url = f"{cloud.target.url}?a=1"
    cloud.task("t-1", request={"url": url, "oidc_token": {"service_account_email": ACCOUNT}})
    cloud.server.wait_idle()
    [header] = cloud.headers("Authorization")
    assert header is not None
    assert verify(header.removeprefix("Bearer "), cloud.server, url)["aud"] == url


@pytest.mark.parametrize(
    "make",
    [
        lambda tokens: tokens.issue(ACCOUNT, "https://other.test"),
        lambda tokens: tokens.issue(ACCOUNT, AUDIENCE, age=3700),
        lambda tokens: tokens.issue(ACCOUNT, AUDIENCE, age=-3700),
        lambda tokens: tokens.issue(ACCOUNT, AUDIENCE, iss="https://issuer.test"),
        lambda tokens: tokens.forge(ACCOUNT, AUDIENCE),
        lambda tokens: tokens.forge(ACCOUNT, AUDIENCE, known_key=False),
        lambda tokens: tokens.unsigned(ACCOUNT, AUDIENCE),
    ],
    ids=["audience", "expired", "early", "issuer", "forged", "unknown key", "unsigned"],
)
def test_bad_tokens_are_made_so_that_google_auth_refuses_them(
    cloud: Setting, make: Callable[[TokenIssuer], str]
) -> None:
    """Each bad token is rejected for its defect: the corresponding good token is accepted."""
    tokens = cloud.server.tokens
    assert verify(tokens.issue(ACCOUNT, AUDIENCE), cloud.server)
    with pytest.raises((ValueError, exceptions.GoogleAuthError)):
        verify(make(tokens), cloud.server)


def test_keys_change_as_googles_do(cloud: Setting) -> None:
    """After a rotation new tokens have a new key; tokens of the previous key pass until it is withdrawn."""
    tokens = cloud.server.tokens
    before = tokens.issue(ACCOUNT, AUDIENCE)
    tokens.rotate()
    after = tokens.issue(ACCOUNT, AUDIENCE)
    key_ids = [json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))["kid"] for token in (before, after)]
    assert list(tokens.certificates()) == key_ids
    assert verify(before, cloud.server)
    assert verify(after, cloud.server)
    tokens.rotate(keep=5)
    assert list(tokens.certificates())[:2] == key_ids
    tokens.rotate(keep=0)
    with pytest.raises(ValueError, match=r"[Cc]ertificate"):
        verify(after, cloud.server)


def test_certificates_can_be_away(cloud: Setting) -> None:
    """Requests for the certificates are counted, and can be made to fail."""
    token = cloud.server.tokens.issue(ACCOUNT, AUDIENCE)
    cloud.server.certificates.down = True
    with pytest.raises(exceptions.TransportError):
        verify(token, cloud.server)
    cloud.server.certificates.down = False
    assert verify(token, cloud.server)
    assert cloud.server.certificates.fetches == 2
