"""Cache of the certificates for checking bearer tokens, kept as long as their server allows.

google-auth fetches them again for each token, and a worker checks ten tokens a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tenxsom_flow_engine.errors import CertificatesUnavailable

#: Google's certificates for ID tokens, as `{key id: PEM}` (google-auth's `id_token` uses the same address).
GOOGLE_CERTS_URL = "https://www.googleapis.com/oauth2/v1/certs"
#: Seconds to keep certificates if their server names no time, and the bounds for the time that it names.
USUAL_AGE, LEAST_AGE, LONGEST_AGE = 3600.0, 60.0, 86400.0
#: Minimum seconds between two fetches, so that made-up key ids or an outage cannot cause a burst of requests.
PAUSE = 10.0
#: Timeouts in seconds: to connect, and to read each part of the response.
TIMEOUTS = (3.0, 5.0)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Certificates by key id, and the number of seconds to keep them."""

    by_key: Mapping[str, str]
    age: float


class Certificates:
    """A cache of certificates. Thread-safe; fetches nothing before the first call."""

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

        An unknown key might be new, so it causes a fetch, at most one in `PAUSE` seconds. Raises
        `CertificatesUnavailable` if the certificates cannot be fetched.
        """
        found = self._fresh().get(key_id)
        if found is None:
            with self._lock:
                if key_id not in self._fresh():  # else another thread has fetched it
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
                self._failure, next_step="check that this machine can reach the address; deliveries are retried"
            )


def fetch(url: str) -> Fetched:
    """Fetch certificates in the form `{key id: PEM}`. Raises `CertificatesUnavailable`."""
    import requests

    try:
        answer = requests.get(url, timeout=TIMEOUTS, allow_redirects=False)
        if answer.status_code != 200:
            raise CertificatesUnavailable(f"the server of the certificates returned {answer.status_code}: {url}")
        by_key = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise CertificatesUnavailable(f"cannot fetch the certificates from {url}: {type(error).__name__}") from error
    if not isinstance(by_key, dict) or not all(isinstance(text, str) for text in by_key.values()):
        raise CertificatesUnavailable(f"{url} does not contain certificates by key id")
    return Fetched(by_key, _age(answer.headers))


def _age(headers: Mapping[str, str]) -> float:
    """Return the number of seconds to keep a response (RFC 9111: its `max-age` minus its `Age`)."""
    from werkzeug.datastructures import ResponseCacheControl
    from werkzeug.http import parse_age, parse_cache_control_header

    longest = parse_cache_control_header(headers.get("Cache-Control"), cls=ResponseCacheControl).max_age
    if longest is None:
        return USUAL_AGE
    age = parse_age(headers.get("Age"))
    return min(max(longest - (age.total_seconds() if age else 0.0), LEAST_AGE), LONGEST_AGE)
