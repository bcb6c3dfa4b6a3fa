"""Check whether a Redis server answers, without the client library: `auto` needs this before it opens a store."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

#: A server on the same machine answers within a thousandth of this.
TIMEOUT_SECONDS = 0.25


def is_redis_listening(url: str) -> bool:
    """Return whether a Redis server listens at `url`."""
    parts = urlsplit(url)
    try:
        with socket.create_connection(
            (parts.hostname or "localhost", parts.port or 6379), TIMEOUT_SECONDS
        ) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.sendall(b"PING\r\n")
            # A server that requires a password answers NOAUTH to the PING.
            return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
