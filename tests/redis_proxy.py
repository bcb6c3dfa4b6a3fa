"""A proxy in front of a Redis server that can refuse all commands, and whose target can change, as after a failover."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

#: Commands that set up a connection; they are never refused.
_SETUP = (b"HELLO", b"CLIENT", b"SELECT", b"AUTH")


class RedisProxy:
    """Listens on a free loopback port. Open connections stay with the server that they were opened to."""

    def __init__(self, to_port: int) -> None:
        #: The port of the server that new connections reach.
        self.to_port = to_port
        self._refusal = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def refusing(self, reply: str) -> Iterator[None]:
        """Answer every command with this error reply during a block."""
        self._refusal = f"-{reply}\r\n".encode()
        try:
            yield
        finally:
            self._refusal = b""

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError, ValueError),
            client,
            socket.create_connection(("127.0.0.1", self.to_port)) as server,
        ):
            threading.Thread(target=_forward, args=(server, client), daemon=True).start()
            commands = client.makefile("rb")
            while command := _read_command(commands):
                name, raw = command
                if self._refusal and name not in _SETUP:
                    client.sendall(self._refusal)
                else:
                    server.sendall(raw)


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


def _forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
