"""The certificates of delivery tokens, as their server sends them.

Only Google's are used in production; an emulator signs its tokens with its own key.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tenxsom_flow_engine.errors import CertificatesUnavailable
from tenxsom_flow_engine.queues.cloud_tasks.loopback import proxies

#: Google's certificates for ID tokens, as `{key id: PEM}` (google-auth's `id_token` uses the same address).
GOOGLE_CERTS_URL = "https://www.googleapis.com/oauth2/v1/certs"
#: Accepted difference in seconds between this machine's clock and that of the signer of tokens.
CLOCK_SKEW = 10
#: Seconds to keep certificates if their server names no time, and the bounds for the time that it names.
USUAL_AGE, LEAST_AGE, LONGEST_AGE = 3600.0, 60.0, 86400.0
#: Timeouts in seconds: to connect, and to read each part of the response.
TIMEOUTS = (3.0, 5.0)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Certificates by key id, and the number of seconds to keep them."""

    by_key: Mapping[str, str]
    age: float
    #: How far their server's clock is ahead of this machine's, in seconds; None if it sends no date.
    server_ahead: float | None = None


def fetch(url: str) -> Fetched:
    """Fetch certificates in the form `{key id: PEM}`. Raises `CertificatesUnavailable`."""
    import requests

    asked = time.time()
    try:
        answer = requests.get(url, timeout=TIMEOUTS, allow_redirects=False, proxies=dict(proxies(url)))
        if answer.status_code != 200:
            raise CertificatesUnavailable(f"the server of the certificates returned {answer.status_code}: {url}")
        by_key = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise CertificatesUnavailable(f"cannot fetch the certificates from {url}: {type(error).__name__}") from error
    if not isinstance(by_key, dict) or not all(isinstance(text, str) for text in by_key.values()):
        raise CertificatesUnavailable(f"{url} does not contain certificates by key id")
    return Fetched(by_key, _age(answer.headers), _ahead(answer.headers, (asked + time.time()) / 2))


def _age(headers: Mapping[str, str]) -> float:
    """Return the number of seconds to keep a response (RFC 9111: its `max-age` minus its `Age`)."""
    from werkzeug.datastructures import ResponseCacheControl
    from werkzeug.http import parse_cache_control_header

    longest = parse_cache_control_header(headers.get("Cache-Control"), cls=ResponseCacheControl).max_age
    if longest is None:
        return USUAL_AGE
    return min(max(longest - _cached(headers), LEAST_AGE), LONGEST_AGE)


def _ahead(headers: Mapping[str, str], here: float) -> float | None:
    """Return how far the clock of a response's server is ahead of the instant `here`, to about a second."""
    from werkzeug.http import parse_date

    written = parse_date(headers.get("Date"))
    # A cached response has the date of its origin. A date has no fraction, so on average it is half a second old.
    return None if written is None else written.timestamp() + _cached(headers) + 0.5 - here


def _cached(headers: Mapping[str, str]) -> float:
    """Return for how many seconds a response was in caches."""
    from werkzeug.http import parse_age

    age = parse_age(headers.get("Age"))
    return age.total_seconds() if age else 0.0
