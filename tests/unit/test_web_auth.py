"""Deliveries need a token that Google signed for our audience and our service account."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.errors import AccessError, CertificatesUnavailable, FlowError, Forbidden, Unauthenticated
from tenxsom_flow_engine.queues.cloud_tasks.certificates import Fetched
from tenxsom_flow_engine.web.auth import TokensOf
from tenxsom_flow_engine.web.certificates import Certificates

ACCOUNT, AUDIENCE = "flow@project.iam.gserviceaccount.com", "https://worker.example.test"


@cache
def key_pair(name: str) -> tuple[str, str]:
    """Return a private and a public key as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def token(*, key: str = "google", key_id: str | None = "k-1", leave_out: str = "", **claims: Any) -> str:
    """Return a valid token, or one with the given changes."""
    now = int(time.time())
    payload = {
        "iss": "https://accounts.google.com", "aud": AUDIENCE, "email": ACCOUNT, "email_verified": True,
        "iat": now, "exp": now + 3600, "sub": "1",
    } | claims  # fmt: skip
    payload.pop(leave_out, None)
    signer = crypt.RSASigner.from_string(key_pair(key)[0], key_id)  # type: ignore[no-untyped-call]
    encoded: bytes = jwt.encode(signer, payload)  # type: ignore[no-untyped-call]
    return encoded.decode()


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def resealed(header: dict[str, Any], seal: bytes = b"") -> str:
    """Return a token with valid claims, another header, and a signature made with `seal`."""
    claims = token().split(".")[1]
    body = f"{part(header)}.{claims}"
    mac = hmac.new(seal, body.encode(), hashlib.sha256).digest() if seal else b""
    return f"{body}.{base64.urlsafe_b64encode(mac).decode()}"


access = TokensOf(
    ACCOUNT, AUDIENCE, Certificates(lambda: Fetched({"k-1": key_pair("google")[1], "k-2": "no PEM"}, 1e9))
)


@pytest.mark.parametrize("issuer", ["https://accounts.google.com", "accounts.google.com"])
def test_a_valid_token_is_accepted(issuer: str) -> None:
    """Google's token of our account for our audience is accepted."""
    access(f"Bearer {token(iss=issuer)}")
    access(f"bearer {token(iss=issuer)} ")


@pytest.mark.parametrize("ahead", [5, -3605])
def test_clocks_may_differ_by_some_seconds(ahead: int) -> None:
    """A token that was issued five seconds in the future, or expired five seconds ago, is still valid."""
    key_pair("google")  # generating the keys can take a while, so do it before reading the clock
    issued = int(time.time()) + ahead
    access(f"Bearer {token(iat=issued, exp=issued + 3600)}")


@pytest.mark.parametrize(
    ("why", "made"),
    [
        ("no bearer token", None),
        ("no bearer token", ""),
        ("no bearer token", "Bearer"),
        ("no bearer token", "Basic dXNlcjpwYXNz"),
        ("cannot be read", "Bearer nonsense"),
        ("cannot be read", "Bearer a.b.c"),
        ("cannot be read", f"Bearer {part([])}.{part({})}.x"),
        ("cannot be read", "Bearer " + base64.urlsafe_b64encode(b"[" * 5000).decode() + f".{part({})}.eA"),
        ("not signed with one of Google's keys", lambda: token(key_id="k-9")),
        ("not signed with one of Google's keys", lambda: token(key_id=None)),
        ("not signed with one of Google's keys", lambda: resealed({"alg": "RS256", "kid": ["k-1"]})),
        ("forged or invalid", lambda: token(key="mallory")),
        ("forged or invalid", lambda: token(key_id="k-2")),
        ("forged or invalid", lambda: resealed({"alg": "none", "kid": "k-1"})),
        ("forged or invalid", lambda: resealed({"kid": "k-1"})),
        ("forged or invalid", lambda: resealed({"alg": ["RS256"], "kid": "k-1"})),
        ("forged or invalid", lambda: resealed({"alg": "ES256", "kid": "k-1"}, b"x")),
        # The public key used as the secret of a symmetric signature.
        ("forged or invalid", lambda: resealed({"alg": "HS256", "kid": "k-1"}, key_pair("google")[1].encode())),
        ("has expired", lambda: token(exp=int(time.time()) - 60, iat=int(time.time()) - 3600)),
        ("not valid yet: check this machine's clock", lambda: token(iat=int(time.time()) + 60)),
        ("forged or invalid", lambda: token(iat=int(time.time()) + 60, key="mallory")),
        ("forged or invalid", lambda: token(leave_out="exp")),
        ("forged or invalid", lambda: token(leave_out="iat")),
        ("forged or invalid", lambda: token(exp="tomorrow")),
        ("not issued by Google", lambda: token(iss="https://accounts.example.test")),
        ("not issued by Google", lambda: token(leave_out="iss")),
        ("not issued by Google", lambda: token(iss=["accounts.google.com"])),
        ("the audience of the token is not", lambda: token(aud="https://other.example.test")),
        ("the audience of the token is not", lambda: token(aud=[AUDIENCE, "https://other.example.test"])),
        ("the audience of the token is not", lambda: token(leave_out="aud")),
    ],
)
def test_a_bad_token_is_refused_with_the_reason(why: str, made: Any) -> None:
    """Unsigned, forged, expired and misdirected tokens are refused, and the message repeats no part of them."""
    header = f"Bearer {made()}" if callable(made) else made
    with pytest.raises(Unauthenticated, match=why) as refusal:
        access(header)
    assert_tells_nothing(refusal.value, header or "")


@pytest.mark.parametrize(
    "made",
    [
        {"email": "mallory@other.iam.gserviceaccount.com"},
        {"email": ACCOUNT.upper()},
        {"leave_out": "email"},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email_verified": 1},
        {"leave_out": "email_verified"},
    ],
)
def test_a_good_token_of_another_account_is_forbidden(made: dict[str, Any]) -> None:
    """A valid token of another account is refused, and so is one whose address is not verified."""
    header = f"Bearer {token(**made)}"
    with pytest.raises(Forbidden) as refusal:
        access(header)
    assert_tells_nothing(refusal.value, header)


def assert_tells_nothing(error: FlowError, header: str) -> None:
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    text = str(error)
    assert "mallory" not in text
    assert not any(piece in text for piece in header.removeprefix("Bearer ").split(".") if len(piece) > 4)


def test_unavailable_certificates_are_not_an_invalid_token() -> None:
    """While the certificates are unavailable, a valid token is neither accepted nor reported as invalid."""

    def unavailable() -> Fetched:
        raise CertificatesUnavailable("no answer")

    with pytest.raises(CertificatesUnavailable):
        TokensOf(ACCOUNT, AUDIENCE, Certificates(unavailable))(f"Bearer {token()}")


_pieces = st.one_of(
    st.text(max_size=20), st.binary(max_size=20).map(lambda raw: base64.urlsafe_b64encode(raw).decode())
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["alg", "kid", "exp", "iat"]), inner),
    max_leaves=6,
)
_headers = st.fixed_dictionaries(
    {}, optional={"alg": st.sampled_from(["RS256", "ES256", "ES384", "none"]) | _json, "kid": st.just("k-1") | _json}
)


@given(st.lists(_pieces | _headers.map(part) | _json.map(part), max_size=4).map(".".join))
def test_any_text_is_refused(text: str) -> None:
    """Any text in the header is refused without an unexpected error."""
    with pytest.raises(AccessError):
        access(f"Bearer {text}")
