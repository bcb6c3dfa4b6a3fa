"""Parsing HTTP answers: waiting times, error codes and messages, redaction."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.services.http.client import MAX_WORDS, HttpApi
from tenxsom_flow_engine.services.http.responses import error_code, error_words, read_retry_after

NOON = "Mon, 23 Nov 2026 12:00:00 GMT"
NOON_SECONDS = 1795435200.0

WAITS: list[tuple[dict[str, str], Any, float | None]] = [
    ({"Retry-After": "120"}, None, 120.0),
    ({"Retry-After": "1.5"}, None, 1.5),
    ({"Retry-After": "-5"}, None, 0.0),
    ({"Retry-After": "Mon, 23 Nov 2026 12:01:30 GMT", "Date": NOON}, None, 90.0),
    ({"Retry-After": "Mon, 23 Nov 2026 12:01:30 GMT"}, None, 60.0),  # by our clock, which is 30 s ahead
    ({"Retry-After": "Mon, 23 Nov 2026 11:00:00 GMT", "Date": NOON}, None, 0.0),
    ({"Retry-After": "1e999"}, None, 86400.0),
    ({"Retry-After": "Mon, 23 Nov 2099 12:00:00 GMT", "Date": NOON}, None, 86400.0),
    ({"Retry-After": "soon"}, None, None),
    ({"Retry-After": "nan"}, None, None),
    ({"Retry-After": "Mon, 99 Nov 2026 12:00:00 GMT"}, None, None),
    ({}, {"retryAfter": 45}, 45.0),
    ({"Retry-After": "10"}, {"retryAfter": 45}, 10.0),
    ({}, {"retryAfter": True}, None),
    ({}, {"retryAfter": []}, None),
    ({}, ["a list"], None),
    ({}, None, None),
]


@pytest.mark.parametrize(("headers", "body", "seconds"), WAITS)
def test_retry_after(headers: dict[str, str], body: Any, seconds: float | None) -> None:
    """Seconds and dates are parsed, dates by the server's clock; invalid values are ignored."""
    assert read_retry_after(headers, body, now=NOON_SECONDS + 30) == seconds


ERRORS: list[tuple[Any, str, str]] = [
    ({"error": "All slots are taken"}, "", "All slots are taken"),
    ({"error": "bad", "code": 400017}, "400017", "bad"),
    ({"error": {"code": 500044, "message": "too many"}}, "500044", "too many"),
    ({"ErrCode": 500043, "ErrMsg": "no credits"}, "500043", "no credits"),
    ({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}, "rate_limit_error", "slow"),
    ({"error": {"code": "quota_exceeded", "message": "m", "param": None}}, "quota_exceeded", "m"),
    ({"message": "gone"}, "", "gone"),
    ({"error": {"deep": {"er": 1}}}, "", ""),
    ({"error": None}, "", ""),
    (["no", "object"], "", ""),
    ("text", "", ""),
    (None, "", ""),
]


@pytest.mark.parametrize(("body", "code", "words"), ERRORS)
def test_errors_in_their_forms(body: Any, code: str, words: str) -> None:
    """Code and message of an error are found in every format of our services."""
    assert (error_code(body), error_words(body)) == (code, words)


SECRET = "user:7-geheim/+="


def redact(text: str, secret: str = SECRET) -> str:
    return HttpApi("alpha", "https://api.test", headers={}, secrets=[secret], errors=[]).redact(text)


@given(st.text(), st.text())
def test_a_secret_is_redacted_wherever_it_stands(before: str, after: str) -> None:
    """A secret is redacted from external text, both plain and percent-encoded in a URL."""
    redacted = redact(f"{before}{SECRET}{after} /x?t=user%3A7-geheim%2F%2B%3D&u=1")
    assert SECRET not in redacted
    assert "geheim" not in redacted.replace(before, "").replace(after, "")


@pytest.mark.parametrize(
    ("text", "secret"),
    [("the key k-1 is wrong", "k-1"), ("see https://files.test/v.mp4?sig=abcdef123", "abcdef123")],
)
def test_short_keys_and_what_looks_like_a_secret_are_redacted(text: str, secret: str) -> None:
    """A key is redacted however short it is, and so is a signature in a URL."""
    assert secret not in redact(text, "k-1")


@given(st.text())
def test_a_services_words_are_one_short_printable_line(text: str) -> None:
    """A service's text cannot fill a log or control a terminal."""
    redacted = redact(text)
    assert len(redacted) <= MAX_WORDS
    assert redacted == "" or redacted.isprintable()
