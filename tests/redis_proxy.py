"""A proxy in front of a Redis server that can answer in its place, and whose target can change, as after a failover."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Collection, Iterator

from tests.tcp_proxy import TcpProxy, forward

#: Commands that set up a connection; they are never refused.
_SETUP = (b"HELLO", b"CLIENT", b"SELECT", b"AUTH")


class RedisProxy(TcpProxy):
    """Open connections stay with the server that they were opened to."""

    def __init__(self, to_port: int) -> None:
        #: The port of the server that new connections reach.
        self.to_port = to_port
        #: Returns the answer to a command, by its name; None: the server answers it.
        self._answer: Callable[[bytes], bytes | None] = lambda name: None
        super().__init__()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    @contextlib.contextmanager
    def refusing(self, reply: str, only: Collection[bytes] | None = None) -> Iterator[list[bytes]]:
        """Answer every command, or `only` those, with this error reply during a block; yield the refused commands."""
        refused: list[bytes] = []

        def answer(name: bytes) -> bytes | None:
            if name in _SETUP or (only is not None and name not in only):
                return None
            refused.append(name)
            return f"-{reply}\r\n".encode()

        with self.answering(answer):
            yield refused

    @contextlib.contextmanager
    def answering(self, answer: Callable[[bytes], bytes | None]) -> Iterator[None]:
        """Ask this function for the answer to each command during a block; None leaves a command to the server."""
        before, self._answer = self._answer, answer
        try:
            yield
        finally:
            self._answer = before

    def serve(self, client: socket.socket) -> None:
        """Answer commands, or pass them to the server."""
        with (
            contextlib.suppress(OSError, ValueError),
            client,
            socket.create_connection(("127.0.0.1", self.to_port)) as server,
        ):
            threading.Thread(target=forward, args=(server, client), daemon=True).start()
            commands = client.makefile("rb")
            while command := _read_command(commands):
                name, raw = command
                answer = self._answer(name)
                if answer is None:
                    server.sendall(raw)
                else:
                    client.sendall(answer)


def _read_command(stream: object) -> tuple[bytes, bytes] | None:
    """Read one command: its name, and its bytes. None at the end of the stream."""
    readline, read = stream.readline, stream.read  # type: ignore[attr-defined]
    head = readline()
    if not head:
        return None
    raw, parts = head, []
    for _ in range(int(head[1:])):
        size = readline()
        body = read(int(size[1:]) + 2)
        parts.append(body[:-2])
        raw += size + body
    return parts[0].upper(), raw
