"""The probe that finds a Redis server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tenxsom_flow_engine.store.redis.probe import is_redis_listening
from tests.ports import free_port
from tests.redis_server import RedisServer


@contextmanager
def answering(listener: socket.socket, reply: bytes) -> Iterator[None]:
    """Answer one connection with some bytes."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(64)
            connection.sendall(reply)

    thread = threading.Thread(target=serve)
    with listener:
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize(
    ("reply", "there"),
    [
        (b"+PONG\r\n", True),
        (b"-NOAUTH Authentication required.\r\n", True),
        (b"-LOADING Redis is loading the dataset in memory\r\n", True),
        (b"-BUSY Redis is busy running a script.\r\n", True),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", True),
        (b"-MASTERDOWN Link with MASTER is down\r\n", True),
        (b"-ERR max number of clients reached\r\n", True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"", False),
    ],
)
def test_any_reply_of_the_protocol_counts(reply: bytes, there: bool) -> None:
    """A server that cannot be used now is found; another kind of server is not."""
    listener = socket.create_server(("127.0.0.1", 0))
    with answering(listener, reply):
        assert is_redis_listening(f"redis://127.0.0.1:{listener.getsockname()[1]}/0") is there


def test_a_real_server(tmp_path: Path) -> None:
    """A real server is found by its port and by its Unix socket, also when it accepts no more clients."""
    server = RedisServer(tmp_path, "--maxclients", "1", "--unixsocket", str(tmp_path / "redis.sock"))
    try:
        with redis.Redis(port=server.port) as client:
            client.ping()
            assert is_redis_listening(server.url)
        assert is_redis_listening(f"unix://{tmp_path}/redis.sock?db=0")
    finally:
        server.kill()
    assert not is_redis_listening(f"unix://{tmp_path}/redis.sock?db=0")


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}/0", "redis://127.0.0.1:x/0", "unix:///nowhere/r.sock"])
def test_no_server(url: str) -> None:
    """Where nothing listens, there is no server."""
    assert not is_redis_listening(url.format(port=free_port()))
