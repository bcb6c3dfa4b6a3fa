"""Signed links to videos, for the receivers of messages, who have no key.

A link is the address of a video in the HTTP API with the endpoint, an instant, and their signature by the endpoint's
secret (HMAC-SHA256). It is valid until that instant, and as long as the endpoint has that secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import urlencode

#: Seconds for which a link is valid: as long as its message can be sent again.
LIFETIME = 7 * 86400


def signed(address: str, job_id: str, *, endpoint_id: str, secret: str, until: int) -> str:
    """Return the link to the video of a job at an address, for an endpoint with a secret."""
    query = {"endpoint": endpoint_id, "until": until, "signature": _signature(secret, job_id, endpoint_id, until)}
    return f"{address}?{urlencode(query)}"


def valid(job_id: str, *, endpoint_id: str, secrets: Iterable[str], until: int, signature: str, now: float) -> bool:
    """Return whether the parts of a link are valid now, for an endpoint that has these secrets."""
    given = signature.encode("utf-8", "surrogatepass")
    matches = [
        hmac.compare_digest(_signature(secret, job_id, endpoint_id, until).encode(), given) for secret in secrets
    ]
    return now < until and any(matches)


def _signature(secret: str, *parts: object) -> str:
    text = "\n".join(("video", *map(str, parts)))
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), text.encode(), hashlib.sha256)).decode().rstrip("=")
