"""Signatures of Standard Webhooks (spec 1.0.0, `v1`): HMAC-SHA256 of the id, the time of the attempt and the body."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
#: Bytes of a new secret; the specification allows 24 to 64.
SECRET_BYTES = 32


def new_secret() -> str:
    """Make a secret: `whsec_` and Base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return `v1,` and the signature of a message with one secret. Raises `ValueError` for a malformed secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("the secret is not Base64") from error
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, "sha256").digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def headers(keys: Iterable[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of a message that is signed with each of the secrets, in the order of the secrets."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, message_id, timestamp, body) for key in keys),
    }
