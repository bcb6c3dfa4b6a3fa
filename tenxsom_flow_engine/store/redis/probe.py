"""Check whether a Redis server answers, without the client library: `auto` needs this before it opens a store."""

from __future__ import annotations

import socket
from urllib.parse import unquote, urlsplit

from tenxsom_flow_engine.store.redis import sentinels
from tenxsom_flow_engine.text import host_in_url

#: A server on the same machine answers within a thousandth of this.
TIMEOUT_SECONDS = 0.25
#: The first byte of each reply: https://redis.io/docs/latest/develop/reference/protocol-spec/
_REPLIES = (b"+", b"-", b":", b"$", b"*")


def is_redis_listening(url: str) -> bool:
    """Return whether a Redis server listens at `url`.

    Any reply counts: a server that answers LOADING, BUSY, MISCONF, NOAUTH or "max number of clients reached" runs,
    though it cannot be used now. With TLS, a connection counts; of several sentinels, one that answers.
    """
    try:
        address = sentinels.parse(url)
    except ValueError:  # an invalid address is reported when the store is opened
        return False
    if address:
        return any(_answers(f"redis://{host_in_url(host)}:{port}") for host, port in address.sentinels)
    return _answers(url)


def _answers(url: str) -> bool:
    try:
        with _connected(url) as connection:
            if urlsplit(url).scheme == "rediss":
                return True
            connection.sendall(b"PING\r\n")
            return connection.recv(1) in _REPLIES
    except (OSError, ValueError):
        return False


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return socket.create_connection((parts.hostname or "localhost", parts.port or 6379), TIMEOUT_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_SECONDS)
    try:
        connection.connect(unquote(parts.path))
    except OSError:
        connection.close()
        raise
    return connection
