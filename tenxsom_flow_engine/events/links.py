"""The addresses of videos in messages: a path of the HTTP API, which needs a key, or a signed link for some days."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from tenxsom_flow_engine.jobs import JobRecord

#: Returns the address at which a receiver gets the video of a job.
VideoLink = Callable[[JobRecord], str]

#: Seconds for which a signed link is valid: longer than a message is repeated.
LIFETIME = 7 * 86400


def api_path(record: JobRecord) -> str:
    """Return the path of a video in the HTTP API, which needs a key."""
    return f"/api/v1/jobs/{record.job_id}/video"


def api_links(address: str) -> VideoLink:
    """Return links to the HTTP API at an address, such as that of the web worker; without one only its paths."""
    return lambda record: f"{address}{api_path(record)}"


def signed_links(address: str, secret: str) -> VideoLink:
    """Return links to the web worker at an address that need no key, signed with a secret of all processes."""

    def link(record: JobRecord) -> str:
        until = int(record.updated_at) + LIFETIME
        return f"{address}/videos/{record.job_id}?until={until}&signature={_signature(secret, record.job_id, until)}"

    return link


def is_signed(secret: str, job_id: str, until: str, signature: str, now: float) -> bool:
    """Return whether the parts of a link were signed with a secret, and the link is still valid."""
    if not until.isdecimal() or len(until) > 12 or now > int(until):
        return False
    return hmac.compare_digest(signature.encode(), _signature(secret, job_id, int(until)).encode())


def _signature(secret: str, job_id: str, until: int) -> str:
    # The prefix keeps this use of the secret apart from any other.
    key = b"link to a video\n" + secret.encode("utf-8", "surrogatepass")
    return hmac.new(key, f"{job_id}\n{until}".encode(), "sha256").hexdigest()
