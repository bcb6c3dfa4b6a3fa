"""The certificates that bearer tokens are checked with: fetched once, kept as long as their server says.

google-auth fetches them anew for each token that it verifies; a worker checks ten tokens a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tenxsom_flow_engine.errors import CertificatesUnavailable

#: Where Google publishes the certificates of its ID tokens, as `{key id: PEM}` (google-auth's `id_token` reads it too).
GOOGLE_CERTS_URL = "https://www.googleapis.com/oauth2/v1/certs"
#: Seconds for which certificates are kept where their server names no time, and bounds for the time that it names.
USUAL_AGE, LEAST_AGE, LONGEST_AGE = 3600.0, 60.0, 86400.0
#: Seconds between two fetches, so that made-up key ids and an outage cause no storm of them.
PAUSE = 10.0
#: Seconds to wait for a connection, and for each part of an answer.
TIMEOUTS = (3.0, 5.0)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Certificates by key id, and for how many seconds they may be kept."""

    by_key: Mapping[str, str]
    age: float


class Certificates:
    """A source of certificates. Safe to use from several threads; fetches nothing before the first question."""

    def __init__(self, fetch: Callable[[], Fetched], now: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._now = now
        self._lock = threading.Lock()
        self._by_key: Mapping[str, str] = {}
        self._fresh_until = float("-inf")
        self._fetched_at = float("-inf")
        #: Why the last fetch failed; empty if it did not.
        self._failure = ""

    def find(self, key_id: str) -> str | None:
        """Return the certificate of a key, or None if there is no such key.

        A key that is not known may be new, so it causes a fetch, at most one in `PAUSE` seconds. Raises
        `CertificatesUnavailable` while it cannot be told.
        """
        found = self._fresh().get(key_id)
        if found is None:
            with self._lock:
                if key_id not in self._fresh():  # else another thread has fetched meanwhile
                    self._refresh()
                found = self._fresh().get(key_id)
        return found

    def _fresh(self) -> Mapping[str, str]:
        return self._by_key if self._now() < self._fresh_until else {}

    def _refresh(self) -> None:
        if self._now() >= self._fetched_at + PAUSE:
            self._fetched_at = self._now()
            try:
                fetched = self._fetch()
            except CertificatesUnavailable as error:
                self._failure = error.message
            else:
                self._failure = ""
                self._by_key = fetched.by_key
                self._fresh_until = self._now() + fetched.age
        if self._failure:
            raise CertificatesUnavailable(
                self._failure, next_step="see that this machine reaches the address; deliveries are tried again"
            )


def fetch(url: str) -> Fetched:
    """Fetch certificates in the form `{key id: PEM}`. Raises `CertificatesUnavailable`."""
    import requests

    try:
        answer = requests.get(url, timeout=TIMEOUTS, allow_redirects=False)
        if answer.status_code != 200:
            raise CertificatesUnavailable(f"the certificates' server answered {answer.status_code}: {url}")
        by_key = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise CertificatesUnavailable(f"the certificates cannot be had from {url}: {type(error).__name__}") from error
    if not isinstance(by_key, dict) or not all(isinstance(text, str) for text in by_key.values()):
        raise CertificatesUnavailable(f"what {url} holds are no certificates by key id")
    return Fetched(by_key, _age(answer.headers))


def _age(headers: Mapping[str, str]) -> float:
    """Return for how many seconds an answer may be kept (RFC 9111: `max-age`, less the `Age` it came with)."""
    from werkzeug.datastructures import ResponseCacheControl
    from werkzeug.http import parse_age, parse_cache_control_header

    longest = parse_cache_control_header(headers.get("Cache-Control"), cls=ResponseCacheControl).max_age
    if longest is None:
        return USUAL_AGE
    age = parse_age(headers.get("Age"))
    return min(max(longest - (age.total_seconds() if age else 0.0), LEAST_AGE), LONGEST_AGE)
