"""Cache of the certificates for checking bearer tokens, kept as long as their server allows.

google-auth fetches them again for each token, and a worker checks ten tokens a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from tenxsom_flow_engine.errors import CertificatesUnavailable
from tenxsom_flow_engine.queues.cloud_tasks.certificates import Fetched

#: Minimum seconds between two fetches, so that made-up key ids or an outage cannot cause a burst of requests.
PAUSE = 10.0


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
