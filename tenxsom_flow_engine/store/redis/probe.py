"""Finds out whether a Redis server answers, without its library: `auto` asks before anything is opened."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

#: A server on this machine answers within one thousandth of it.
TIMEOUT_SECONDS = 0.25


def is_redis_listening(url: str) -> bool:
    """Return whether something that speaks Redis listens there."""
    parts = urlsplit(url)
    try:
        with socket.create_connection(
            (parts.hostname or "localhost", parts.port or 6379), TIMEOUT_SECONDS
        ) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.sendall(b"PING\r\n")
            # A server that wants a password refuses the PING, and is a Redis server all the same.
            return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
